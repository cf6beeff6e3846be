#!/usr/bin/env python3
"""How often are the verdicts and intervals of mixup_lab.study.statistics wrong? Simulated studies, as three tables.

    python scripts/simulate_statistics.py                  # two to three minutes on one core
    python scripts/simulate_statistics.py --studies 400    # rough

verdicts   share of studies without any effect in which some arm "helps" or "hurts"; at most 5 % are allowed
coverage   share of 95 % intervals that contain the truth; two bootstraps over seeds for comparison
power      share of arms found, with a true effect of one paired standard deviation (of d_s, over runs and test
           sets)

Many studies are simulated at once, with the inner functions of `compare_arms`; tests/study/test_statistics.py checks on
some studies that both agree.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from mixup_lab.study import statistics
from mixup_lab.study.statistics import intervals, p_values, verdicts

Array = NDArray[Any]
CHUNK = 100  # studies at once, so that arrays fit into the cache


@dataclass(frozen=True)
class Law:
    """The law of the latent score of arm a, seed s and example e; above 0 the example is classified correctly.

    shift_a + difficulty_e + own_ae + training_as + noise_ase; independent and normal, difficulty of variance 1.
    """

    base: float = 1.5  # mean of the baseline: about 86 % right
    own: float = 0.0  # sd of the effect of an arm on an example, the same for all seeds
    training: float = 0.05  # sd of the luck of a run
    noise: float = 0.5  # sd of the luck of a run on one example

    def accuracy(self, shift: float = 0.0) -> float:
        """The mean accuracy over runs and data."""
        spread = np.sqrt(1 + self.own**2 + self.training**2 + self.noise**2)
        return float(ndtr((self.base + shift) / spread))

    def draw(self, rng: np.random.Generator, arms: int, n: int, m: int, shift: float = 0.0) -> tuple[Array, Array]:
        """CHUNK studies: differences from the baseline, int8 (studies, arms, n, m) in {-1, 0, 1}, and their means over
        runs on these test examples, (studies, arms)."""
        fixed = self.base + rng.standard_normal((CHUNK, 1, 1, m), np.float32)
        fixed = fixed + self.own * rng.standard_normal((CHUNK, arms + 1, 1, m), np.float32)
        fixed[:, 1:] += shift
        luck = self.training * rng.standard_normal((CHUNK, arms + 1, n, 1), np.float32)
        latent = rng.standard_normal((CHUNK, arms + 1, n, m), np.float32)
        latent *= self.noise
        latent += luck
        latent += fixed
        right = (latent > 0).view(np.int8)
        expected = ndtr(fixed[:, :, 0] / np.hypot(self.training, self.noise)).mean(-1)
        return right[:, 1:] - right[:, :1], expected[:, 1:] - expected[:, :1]


NULLS = {
    "no example effects": Law(),
    "example effects": Law(own=0.4),
    "strong example effects, little luck": Law(own=0.6, training=0.02, noise=0.2),
    "luck of runs dominates": Law(training=0.2),
}


class Judged(NamedTuple):
    """Studies (k,) with several arms each."""

    differences: Array  # int8 (k, arms, n, m)
    codes: Array  # (k, arms)


def judge(differences: Array, min_effect: float = 0.001) -> Array:
    """The codes (k, arms) as `compare_arms` gives them, for whole-number scores and one test set for all seeds."""
    _, arms, n, m = differences.shape
    means, covariance, differing = intervals.full_crossing(differences)
    result = intervals.estimate(means, covariance, m, differing, m**-2.0)
    p = p_values.holm_rows(p_values.flip_all(means))
    p_new = p_values.holm_rows(result.p)
    alone = np.sqrt(result.seed_variance)
    equal = [
        statistics.equivalence_p(result.mean, se, df, min_effect) for se, df in ((result.se, result.df), (alone, n - 1))
    ]
    level = statistics.look_level(1)
    reachable = (statistics.smallest_p(n, arms) <= level) | (p <= level)
    all_p = statistics.PValues(p, p_new, p_values.holm_rows(np.maximum(*equal)))
    return verdicts.codes(result.mean, all_p, reachable, level, True)


def studies(
    law: Law, count: int, n: int, m: int, arms: int = 4, shift: float = 0.0, seed: int = 0, min_effect: float = 0.001
) -> Judged:
    """The codes of `count` studies (a multiple of CHUNK), and the differences of the last CHUNK of them."""
    rng = np.random.default_rng([seed, n, m])
    codes = []
    for _ in range(0, count, CHUNK):
        differences, _ = law.draw(rng, arms, n, m, shift)
        codes.append(judge(differences, min_effect))
    return Judged(differences, np.concatenate(codes))


def any_of(codes: Array, *names: str) -> Array:
    return np.isin(codes, names)


# Variances of a_s, b_e and r_se such that a_s / n and b_e / m have the shares of the variance of the mean at n = 8.
PARTS = {"seeds": (0.9, 0.05, 0.05), "examples": (0.1, 0.8, 0.1), "mixed": (0.4, 0.4, 0.2), "residual": (0.0, 0.0, 1.0)}
LAWS = {
    "seeds": Law(own=0.1, training=0.2),
    "examples": Law(own=0.6, training=0.03, noise=0.2),
    "mixed": Law(own=0.3, training=0.08),
    "residual": Law(own=0.0, training=0.0),
}


class Coverage(NamedTuple):
    """Shares of intervals that contain the truth; the bootstraps are over seeds, for the first truth."""

    retraining: float
    new_data: float
    percentile: float
    bca: float


def gaussian(rng: np.random.Generator, parts: str, n: int, m: int) -> tuple[Array, Array]:
    """CHUNK studies (CHUNK, n, m) with mu = 0, and mu plus the mean example effect, (CHUNK,)."""
    a, b, r = PARTS[parts]
    table = np.sqrt(r * m) * rng.standard_normal((CHUNK, n, m), np.float32)
    table += np.sqrt(a) * rng.standard_normal((CHUNK, n, 1), np.float32)
    effect = np.sqrt(b * m / 8) * rng.standard_normal((CHUNK, 1, m), np.float32)
    table += effect
    return table, effect[:, 0].mean(-1, dtype=np.float64)


def crossed_coverage(
    parts: str, binary: bool, count: int, n: int, m: int, shift: float = 0.1, bootstraps: bool = False, seed: int = 0
) -> Coverage:
    """Coverage with the same test examples for all seeds."""
    rng = np.random.default_rng([seed, n, m, binary])
    law, held = LAWS[parts], []
    for _ in range(0, count, CHUNK):
        if binary:
            table, here = (value[:, 0] for value in law.draw(rng, 1, n, m, shift))
            truth = law.accuracy(shift) - law.accuracy()
        else:
            (table, here), truth = gaussian(rng, parts, n, m), 0.0
        means, covariance, differing = intervals.full_crossing(table)
        result = intervals.estimate(means, covariance, m, differing, m**-2.0 if binary else 0.0)
        new = np.abs(result.mean - truth) <= intervals.half_width(result, means.shape[-1], 0.975)
        again = [inside(statistics.seed_interval(row), value) for row, value in zip(means, here, strict=True)]
        boots = bootstrap(rng, means, here) if bootstraps else (np.nan * new, np.nan * new)
        held.append([np.mean(hits) for hits in (again, new, *boots)])
    return Coverage(*np.mean(held, axis=0).tolist())


def carved_coverage(parts: str, binary: bool, count: int, n: int, m: int, pool: int, seed: int = 0) -> Coverage:
    """Coverage with test examples that each seed draws from a pool, so they overlap in part; by `crossed_interval`."""
    rng = np.random.default_rng([seed, n, m, pool, binary])
    law, held = LAWS[parts], []
    for _ in range(0, count, CHUNK):
        if binary:
            table, here = (value[:, 0] for value in law.draw(rng, 1, n, pool, 0.1))
            truth = law.accuracy(0.1) - law.accuracy()
        else:
            (table, here), truth = gaussian(rng, parts, n, pool), 0.0
        for study, expected in zip(table, here, strict=True):
            ids = [rng.choice(pool, m, replace=False) for _ in range(n)]
            crossed = statistics.crossed_interval([(i, row[i]) for i, row in zip(ids, study, strict=True)])
            again = statistics.seed_interval([row[i].mean(dtype=float) for i, row in zip(ids, study, strict=True)])
            assert crossed is not None
            held.append([inside(again, expected), inside((crossed.low, crossed.high), truth), np.nan, np.nan])
    return Coverage(*np.mean(held, axis=0).tolist())


def inside(interval: tuple[float, float] | None, value: float) -> bool:
    assert interval is not None
    return interval[0] <= value <= interval[1]


def bootstrap(rng: np.random.Generator, means: Array, truth: Array, draws: int = 1000) -> tuple[Array, Array]:
    """Whether the percentile and the BCa interval over seeds contain the truth, for rows (k, n). Efron (1987)."""
    k, n = means.shape
    drawn = np.sort(np.take_along_axis(means, rng.integers(0, n, (k, n * draws)), 1).reshape(k, draws, n).mean(-1), 1)
    centre = means.mean(1, keepdims=True)
    below = (drawn < centre).mean(1) + (drawn == centre).mean(1) / 2
    z0 = ndtri(np.clip(below, 1 / draws, 1 - 1 / draws))
    away = (means - centre) / (n - 1)  # of the jackknife
    skew = (away**3).sum(1) / np.maximum(6 * (away**2).sum(1) ** 1.5, 1e-300)
    results = []
    for bca in (False, True):
        ends = []
        for tail in (0.025, 0.975):
            z = z0 + ndtri(tail)
            share = ndtr(z0 + z / (1 - skew * z)) if bca else np.full(k, tail)
            place = np.clip(np.rint(share * (draws - 1)), 0, draws - 1).astype(int)
            ends.append(drawn[np.arange(k), place])
        results.append((ends[0] <= truth) & (truth <= ends[1]))
    return results[0], results[1]


class Power(NamedTuple):
    helps: float
    here: float  # helps, or helps on this test set
    shift: float  # of accuracy


def power(law: Law, count: int, n: int, m: int, arms: int, effect: float = 1.0, seed: int = 0) -> Power:
    """Power for arms that are better by `effect` standard deviations of d_s (over runs and test sets)."""
    rng = np.random.default_rng([seed, 1])
    sd = np.std([law.draw(rng, 1, 1, m)[0].mean((1, 2, 3)) for _ in range(10)])
    gains = np.linspace(0, 2, 2001)
    wanted = [law.accuracy(gain) - law.accuracy() for gain in gains]
    shift = float(np.interp(effect * sd, wanted, gains))
    codes = studies(law, count, n, m, arms, shift, seed).codes
    helps, here = any_of(codes, "helps").mean(), any_of(codes, "helps", "helps_here").mean()
    return Power(float(helps), float(here), law.accuracy(shift) - law.accuracy())


def _row(*cells: object) -> None:
    widths = (38, 9, 6, 6, 11, 11, 11, 11)
    words = [f"{100 * c:.1f} %" if isinstance(c, float) else str(c) for c in cells]
    words = ["" if word == "nan %" else word for word in words]
    print("  ".join(w.ljust(k) if not i else w.rjust(k) for i, (w, k) in enumerate(zip(words, widths, strict=False))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="for each line; rounded up to hundreds (2000)")
    count = -(-max(1, parser.parse_args().studies) // CHUNK) * CHUNK
    begun = time.perf_counter()
    print(f"{count} simulated studies for each line, fixed seeds\n")
    print("1. No effect, 4 arms, one baseline: studies with a verdict of this kind (at most 5 % allowed)")
    _row("null", "arms", "n", "m", "helps/hurts", "... here", "no differ.")
    for name, law in NULLS.items():
        for n, m in ((8, 300), (12, 300), (8, 1000), (12, 1000)):
            codes = studies(law, count, n, m).codes
            names = (("helps", "hurts"), ("helps_here", "hurts_here"), ("no_difference",))
            _row(name, 4, n, m, *(float(any_of(codes, *kinds).any(1).mean()) for kinds in names))
    print('   "here" is not wrong with example effects: the arms do differ on this very test set.\n')
    print("2. Coverage of 95 % intervals; bootstraps over seeds for comparison, for the first truth")
    _row("main source of variance, scores", "test set", "n", "m", "retraining", "new data", "percentile", "BCa")
    for parts in PARTS:
        for binary in (False, True):
            name = f"{parts}, {'binary' if binary else 'Gaussian'}"
            for n, m in ((8, 300), (12, 300), (8, 2000)):
                _row(name, "same", n, m, *crossed_coverage(parts, binary, count, n, m, bootstraps=True))
            _row(name, "carved", 8, 300, *carved_coverage(parts, binary, count, 8, 300, 900))
    print("\n3. Power: arms better by one standard deviation of d_s")
    _row("law", "arms", "n", "m", "helps", "at all", "gain")
    for name, law in NULLS.items():
        for arms, n in ((1, 8), (1, 12), (4, 8), (4, 12), (4, 20)):
            _row(name, arms, n, 1000, *power(law, -(-count // 500) * 100, n, 1000, arms))
    print(f"\n{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
