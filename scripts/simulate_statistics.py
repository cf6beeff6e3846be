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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from mixup_lab.study import statistics
from mixup_lab.study.results import Comparison, Interval
from mixup_lab.study.statistics import intervals, p_values, verdicts
from mixup_lab.study.statistics.looks import is_open, planned_looks

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


def inside(interval: Interval | None, value: float) -> bool:
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


# ---- groups of test examples ----------------------------------------------------------------------------------------


class Units(NamedTuple):
    """Shares of studies without an effect that have a verdict, and of intervals for new data that contain 0."""

    false_examples: float
    coverage_examples: float
    false_groups: float
    coverage_groups: float


def grouped(groups: int, share: float, count: int, n: int = 8, m: int = 500, seed: int = 0) -> Units:
    """An arm without any effect on average, on m test examples that come in groups of unequal size.

    `share`: the part of the variance of an arm's effect on an example that is common to its group.
    """
    rng = np.random.default_rng([seed, groups, int(100 * share)])
    law, own = Law(training=0.03, noise=0.3), 0.6
    false: list[list[bool]] = []
    covered: list[list[bool]] = []
    for _ in range(count):
        group = rng.integers(0, groups, m)
        effects = np.sqrt(share) * rng.standard_normal((2, groups))[:, group]
        effects += np.sqrt(1 - share) * rng.standard_normal((2, m))
        latent = law.base + rng.standard_normal(m) + own * effects
        luck = law.training * rng.standard_normal((2, n, 1)) + law.noise * rng.standard_normal((2, n, m))
        right = latent[:, None] + luck > 0
        table = right[1].astype(int) - right[0]
        examples = [(np.arange(m), row) for row in table]
        units = [statistics.by_group(group, row) for row in table]
        found = [statistics.compare_arms([statistics.Paired(range(n), table.mean(1), e)], 0.0)[0]
                 for e in (examples, units)]  # fmt: skip
        false.append([one.code in ("helps", "hurts") for one in found])
        covered.append([inside(one.new_data, 0.0) for one in found])
    (f_examples, f_groups), (c_examples, c_groups) = np.mean(false, 0).tolist(), np.mean(covered, 0).tolist()
    return Units(f_examples, c_examples, f_groups, c_groups)


# ---- looking again --------------------------------------------------------------------------------------------------


def differences_of_seeds(rng: np.random.Generator, arms: int, n: int, effect: float) -> Array:
    """(arms, n) with standard deviation 1 and one baseline for all arms, where the luck of runs is everything."""
    base = rng.standard_normal(n)
    table: Array = (rng.standard_normal((arms, n)) - base) / np.sqrt(2) + effect
    return table


def judged(table: Array, ends: Sequence[int], looks: Sequence[int]) -> list[Comparison]:
    """The comparisons of arms that have their first `ends` seeds."""
    pairs = [statistics.Paired(range(end), row[:end]) for row, end in zip(table, ends, strict=True)]
    return statistics.compare_arms(pairs, 0.0, looks=looks)


def settled(comparisons: Sequence[Comparison]) -> bool:
    return any(one.code != "cannot_tell" for one in comparisons)


class Looking(NamedTuple):
    """Shares of studies in which some look finds something; for `every` without and with a level that looks spend."""

    once: float
    advised: float  # as many seeds more as the first look advises, 16 in all at most
    every_naive: float  # at 8, 9, ..., 16 seeds, each time p <= 0.05
    every: float


def looking(arms: int, effect: float, count: int, first: int = 8, most: int = 16, seed: int = 0) -> Looking:
    rng = np.random.default_rng([seed, arms])
    found = []
    for _ in range(count):
        table = differences_of_seeds(rng, arms, most, effect)
        once = judged(table, [first] * arms, ())
        more = max((one.more_seeds or 0 for one in once), default=0)
        then = min(most, first + more)
        advised = settled(once) or (more > 0 and settled(judged(table, [then] * arms, [first])))
        naive = spent = False
        looks: list[int] = []
        for n in range(first, most + 1):
            p = statistics.holm([statistics.sign_flip_p(row[:n]) for row in table])
            naive |= bool((p <= statistics.LEVEL).any())
            comparisons = judged(table, [n] * arms, looks)
            spent |= settled(comparisons)
            looks += [n] * comparisons[0].counts
        found.append((settled(once), advised, naive, spent))
    return Looking(*np.mean(found, 0).tolist())


class Until(NamedTuple):
    """`compare until=decided`: studies with any verdict, arms that help, and runs saved against all seeds."""

    verdict: float
    helps: float
    saved: float


def until_decided(arms: int, effect: float, count: int, most: int = 24, seed: int = 0) -> Until:
    rng = np.random.default_rng([seed, arms, 1])
    found = []
    for _ in range(count):
        table = differences_of_seeds(rng, arms, most, effect)
        ends, going = [0] * arms, set(range(arms))
        looks: list[int] = []
        for n in planned_looks(arms, most):
            ends = [n if k in going else end for k, end in enumerate(ends)]
            comparisons = judged(table, ends, looks)
            looks.append(n)
            going = {k for k in going if is_open(comparisons[k], most)}
            if not going:
                break
        helps = sum(one.code == "helps_here" for one in comparisons) / arms
        found.append((float(settled(comparisons)), helps, 1 - (max(ends) + sum(ends)) / (most * (arms + 1))))
    return Until(*np.mean(found, 0).tolist())


# ---- the chosen arm, collapses, equivalence -------------------------------------------------------------------------


class Chosen(NamedTuple):
    """Bias in standard errors of a single arm, and coverage of 95 % intervals over seeds."""

    bias: float
    coverage: float
    honest_bias: float
    honest_coverage: float


def chosen(arms: int, n: int, count: int, luck: float = 0.9, spread: float = 0.0, seed: int = 0) -> Chosen:
    """The arm with the best val, where `luck` of the variance of val and test is that of the run, common to both.

    The true effects of the arms lie between 0 and `spread` standard deviations.
    """
    rng = np.random.default_rng([seed, arms, n, int(10 * spread)])
    truth = np.linspace(0, spread, arms)
    found = []
    for _ in range(count):
        own = np.sqrt(luck) * (rng.standard_normal((arms, n)) - rng.standard_normal(n))
        val, test = (own + np.sqrt(1 - luck) * rng.standard_normal((arms, n)) + truth[:, None] for _ in range(2))
        pairs = [statistics.Paired(range(n), row) for row in test]
        best = int(val.mean(1).argmax())
        honest = statistics.honest_estimate(val, range(n), pairs)
        assert honest is not None
        errors = test[best].mean() - truth[best], honest.mean - truth[best]
        held = inside(statistics.seed_interval(test[best]), truth[best]), inside(honest.retraining, truth[best])
        found.append((errors[0], held[0], errors[1], held[1]))
    bias, coverage, honest_bias, honest_coverage = np.mean(found, 0).tolist()
    se = np.sqrt((1 + luck) / n)
    return Chosen(bias / se, coverage, honest_bias / se, honest_coverage)


def collapses(n: int, count: int, rate: float = 0.05, seed: int = 0) -> tuple[float, float]:
    """One arm of which a run in 20 collapses, with the mean of its baseline: studies with a verdict, coverage."""
    rng = np.random.default_rng([seed, n])
    found = []
    for _ in range(count):
        values = rng.standard_normal(n) + np.where(rng.random(n) < rate, -10.0, 0.0) + 10 * rate
        (one,) = judged(values[None], [n], ())
        found.append((one.code != "cannot_tell", inside(one.retraining, 0.0)))
    false, covered = np.mean(found, 0).tolist()
    return false, covered


def equivalence(arms: int, m: int, count: int, n: int = 8, least: float = 0.02, seed: int = 0) -> float:
    """Studies in which some arm is said to have no difference, where all differ by exactly the least of interest."""
    law = Law(training=0.02, noise=0.3)
    gains = np.linspace(0, 1, 2001)
    shift = float(np.interp(least, [law.accuracy(gain) - law.accuracy() for gain in gains], gains))
    codes = studies(law, count, n, m, arms, shift, seed, least).codes
    return float(any_of(codes, "no_difference").any(1).mean())


OTHERS = 20  # partitions over which the truth for these data is averaged
FOLDED = (
    (60, 5, 1),
    (60, 5, 2),
    (60, 5, 4),
    (60, 2, 4),
    (60, 10, 1),
    (60, 10, 2),
    (200, 5, 1),
    (200, 5, 2),
    (200, 5, 4),
)  # examples, folds, partitions


class Folded(NamedTuple):
    """Shares of cross-validations."""

    naive: float  # the interval over seeds contains the truth for new data
    new_data: float  # so does the interval of Nadeau and Bengio
    these_data: float  # the interval over seeds contains the truth for these data, over other splits and trainings
    found: float  # helps or hurts


def ridge_differences(
    rng: np.random.Generator, size: int, folds: int, partitions: int, features: int = 5
) -> tuple[Array, Array]:
    """Accuracy of one ridge classifier minus that of another on each fold, (CHUNK, partitions * folds), and what it
    is on average over further partitions of the same data, (CHUNK,).

    Each sees features of its own, drawn from one law, so that on average over data neither is better. Every training
    leaves out a tenth of its examples, as if for val.
    """
    label = rng.choice([-1.0, 1.0], (CHUNK, size))
    inputs = rng.standard_normal((CHUNK, 2, size, features)) + 0.5 / features**0.5 * label[:, None, :, None]
    products = inputs[..., :, None] * inputs[..., None, :]
    tests: list[Array] = []
    for _ in range(partitions + OTHERS):
        order = rng.random((CHUNK, size)).argsort(1).argsort(1)
        for fold in range(folds):
            tested = order % folds == fold
            weight = (~tested & (rng.random((CHUNK, size)) < 0.9)).astype(np.float64)
            spread = np.einsum("bn,banpq->bapq", weight, products, optimize=True) + np.eye(features)
            along = np.einsum("bn,banp->bap", weight * label, inputs, optimize=True)
            direction = np.linalg.solve(spread, along[..., None])
            right = ((inputs @ direction)[..., 0] * label[:, None] > 0) & tested[:, None]
            accuracy = right.sum(2) / tested.sum(1)[:, None]
            tests.append(accuracy[:, 0] - accuracy[:, 1])
    own = partitions * folds
    return np.stack(tests[:own], 1), np.stack(tests[own:], 1).mean(1)


def folded(size: int, folds: int, partitions: int, count: int, seed: int = 0) -> Folded:
    """Cross-validations of two ridge classifiers that are equally good."""
    rng = np.random.default_rng([seed, size, folds, partitions])
    tested = list(np.ndindex(partitions, folds))
    shares = []
    for _ in range(0, count, CHUNK):
        for row, own in zip(*ridge_differences(rng, size, folds, partitions), strict=True):
            pairs = statistics.Paired(range(len(row)), row, folds=statistics.Folds(folds, tested))
            (found,) = statistics.compare_arms([pairs], 0.0)
            covered = [inside(found.retraining, 0.0), inside(found.new_data, 0.0), inside(found.retraining, own)]
            shares.append([*covered, found.code in ("helps", "hurts")])
    return Folded(*np.mean(shares, 0).tolist())


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
    print("\n4. Groups of test examples, no effect, 8 seeds, 500 examples: helps or hurts, and coverage for new data")
    _row("", "groups", "share", "", "examples", "coverage", "groups", "coverage")
    for groups, share in ((10, 0.0), (10, 0.05), (10, 0.2), (10, 0.5), (50, 0.0), (50, 0.2), (50, 0.5)):
        _row("units: examples, then groups", groups, f"{share:g}", "", *grouped(groups, share, count))
    print("\n5. Looking again, no effect: studies in which any look finds something (at most 5 % allowed)")
    _row("8 seeds, then up to 16", "arms", "", "", "8 alone", "as advised", "each, naive", "each seed")
    for arms in (1, 4):
        _row("", arms, "", "", *looking(arms, 0.0, count // 2))
    print("   until=decided max_seeds=24; the effect is in standard deviations of d_s")
    _row("", "arms", "effect", "", "a verdict", "arms help", "runs saved")
    for arms, effect in ((1, 0.0), (4, 0.0), (1, 1.0), (4, 1.0)):
        _row("", arms, f"{effect:g}", "", *until_decided(arms, effect, count // 4 if effect else count // 2))
    print("\n6. The arm with the best val: bias in standard errors of one arm (in %), coverage over seeds")
    _row("90 % of the variance is luck of runs", "arms", "n", "spread", "bias", "coverage", "honest", "coverage")
    for arms, n, spread in ((2, 8, 0.0), (4, 8, 0.0), (10, 8, 0.0), (4, 16, 0.0), (4, 8, 1.0), (10, 8, 2.0)):
        _row("", arms, n, f"{spread:g}", *chosen(arms, n, count, spread=spread))
    print("\n7. An arm of which one run in 20 collapses, mean as its baseline: a verdict, coverage over seeds")
    for n in (8, 12, 24):
        _row("", "", n, "", *collapses(n, count))
    print("\n8. True difference exactly the least of interest: some arm with 'no difference' (at most 5 % allowed)")
    for arms, m in ((1, 100), (4, 100), (1, 400), (4, 400), (4, 1000)):
        _row("", arms, 8, m, equivalence(arms, m, count))
    print("\n9. Cross-validations of two ridge classifiers, no effect: coverage, helps or hurts (at most 5 % allowed)")
    _row("", "examples", "folds", "divided", "naive", "new data", "these data", "helps/hurts")
    for size, folds, partitions in FOLDED:
        _row("", size, folds, partitions, *folded(size, folds, partitions, count // 200 * 100))
    print(f"\n{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
