"""Paired comparison of arms with their baseline: intervals, tests, and verdicts in words fixed in advance.

The datum is `d_s`, the difference to the baseline of the same seed, in the metric's own unit. Two kinds of noise are
kept apart: chance of training (seeds) and chance of the test set (examples). All functions take plain arrays, so that
they serve results of any origin:

>>> differences = [0.012, 0.004, 0.009, 0.011, 0.007, 0.010, 0.003, 0.008]
>>> sign_flip_p(differences)
0.0078125
>>> [round(float(end), 4) for end in seed_interval(differences)]
[0.0053, 0.0107]

`compare_arms` does everything for one study. scripts/simulate_statistics.py measures how often it is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.special import ndtr, stdtr, stdtrit

from mixup_lab import seeding
from mixup_lab.study.results import Comparison, Interval

Floats = NDArray[np.float64]
Examples = Sequence[tuple[ArrayLike, ArrayLike]]  # for each seed: ids int (m_s,), differences float (m_s,)

LEVEL = 0.05  # of every test
CONFIDENCE = 0.95  # of every interval
POWER = 0.8  # "probably", where seeds are counted
MOST_SEEDS = 1000  # nobody trains more
ENUMERATED = 20  # seeds up to which all signs are tried
DRAWS = 100_000  # of signs beyond that
TIE = 1e-12  # relative; float rounding must not make an equal sum smaller, and so p too small
RARE = 10  # fewer examples that ever differ do not show a variance
RULE_OF_THREE = (3 / 1.6448536269514722) ** 2  # examples; its 95 % bound by a normal law is 3 / m


@dataclass(frozen=True)
class Crossed:
    """Mean difference with the chance of another training and of other data; squares are in the metric's unit squared.

    `seed_variance` and `example_variance` are the two parts of the variance of the mean: the first shrinks with more
    seeds, the second only with more test examples.
    """

    low: float
    high: float
    mean: float
    se: float  # sqrt(seed_variance + example_variance)
    df: float  # Satterthwaite
    seed_variance: float  # V_s
    example_variance: float  # C
    seeds: int
    examples: int  # different ones
    p_new_data: float  # two-sided, of mean = 0, from the same t


class Verdict(NamedTuple):
    """What is said of an arm."""

    code: str  # "helps", "hurts", "helps_here", "hurts_here", "no_difference", "cannot_tell"
    words: str
    more_seeds: int | None  # about how many more would probably settle it; None: not needed, or seeds alone cannot


@dataclass(frozen=True)
class Optimism:
    """What choosing the best of several arms on val does to its score."""

    chosen: int  # row of the arm
    apparent: float  # mean val of the chosen arm over seeds
    honest: float | None  # mean over seeds of val of the arm that the other seeds choose; None for less than two
    bias: float | None  # apparent - honest
    test: float | None  # mean test of the chosen arm, if test is given


def _vector(differences: ArrayLike, what: str = "differences") -> Floats:
    values = np.asarray(differences, np.float64)
    if values.ndim != 1:
        raise ValueError(f"{what} must be one-dimensional, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{what} must be finite numbers; leave out missing pairs, do not fill them with NaN")
    return values


def _fraction(value: float, name: str) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 1, got {value}")


# ---------------------------------------------------------------------------------------------------------- intervals


def seed_interval(
    differences: ArrayLike, confidence: float = CONFIDENCE, *, resolution: float = 0.0
) -> Interval | None:
    """Paired t interval over seeds: where another training would lie on average, on the same test set.

    differences (n,), any unit; None for n < 2. `resolution` is the step between possible values of a difference (1/m
    for an accuracy on m examples): the variance of a difference is taken as at least that of its rounding, see
    `crossed_interval`. ValueError: not one-dimensional, not finite, confidence not in (0, 1).
    Student (1908), "The probable error of a mean".
    """
    _fraction(confidence, "confidence")
    values = _vector(differences)
    n = len(values)
    if n < 2:
        return None
    variance = max(float(np.var(values, ddof=1)), resolution**2 / 12)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * sqrt(variance / n)
    mean = float(np.mean(values))
    return mean - half, mean + half


def _whole(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "iub" or bool(np.all(values == np.rint(values)))


def _full_crossing(table: NDArray[Any]) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Of tables (..., n, m) of seeds by examples: means (..., n), covariance part C unclipped (...,), and how many
    examples ever differ (...,). The sum over pairs of covariances is the variance of the sums less the variances."""
    n, m = table.shape[-2:]
    means = table.mean(-1, dtype=np.float64)
    if m < 2:
        covariance = np.zeros(table.shape[:-2])
    else:
        of_sums = np.var(table.sum(-2), axis=-1, ddof=1)
        covariance = (of_sums - np.var(table, axis=-1, ddof=1, dtype=np.float64).sum(-1)) / (n * (n - 1) * m)
    return means, covariance, np.count_nonzero(table.any(-2), axis=-1)


def _partial_crossing(ids: list[NDArray[Any]], values: list[Floats]) -> tuple[float, int]:
    """C unclipped, and the number of different examples, for test sets that overlap as they like.

    With A (n, M) the centred differences and B (n, M) their pattern, A A', A B' and B B' hold what the covariance of
    each pair over its shared examples needs.
    """
    n, sizes = len(ids), np.array([len(one) for one in ids])
    unique, column = np.unique(np.concatenate(ids), return_inverse=True)
    row = np.repeat(np.arange(n), sizes)
    # A covariance does not change with a shift, but its rounding does.
    entries = np.concatenate([one - one.mean() for one in values])
    a: Any = csr_array((entries, (row, column)), shape=(n, len(unique)))
    b: Any = csr_array((np.ones(len(entries)), (row, column)), shape=(n, len(unique)))
    if n * len(unique) <= 8 * len(entries):  # mostly full: dense is faster and still O(total)
        products = [a.toarray(), b.toarray()]
        a, b = products
        both, squares, sums = b @ b.T, a @ a.T, a @ b.T
    else:
        both, squares, sums = ((x @ y.T).toarray() for x, y in ((b, b), (a, a), (a, b)))
    enough = (both >= 2) & ~np.eye(n, dtype=bool)
    count = np.where(enough, both, 2.0)
    covariance = np.where(enough, (squares - sums * sums.T / count) / (count - 1), 0.0)
    return float((covariance * both / np.outer(sizes, sizes)).sum() / (n * (n - 1))), len(unique)


def _checked(seeds: Examples) -> tuple[list[NDArray[Any]], list[Floats]]:
    """Ids and differences of each seed, sorted by id."""
    all_ids, all_values = [], []
    for ids, values in seeds:
        one, value = np.asarray(ids), _vector(values, "differences of examples")
        if one.shape != value.shape or one.dtype.kind not in "iu" or not len(one):
            raise ValueError(
                f"each seed needs as many whole-number ids as differences, at least one; "
                f"got ids {one.dtype} {one.shape} and differences {value.shape}"
            )
        order = np.argsort(one, kind="stable")
        one, value = one[order], value[order]
        if (one[1:] == one[:-1]).any():
            raise ValueError("the ids of one seed's test examples must differ")
        all_ids.append(one)
        all_values.append(value)
    return all_ids, all_values


def example_variance(seeds: Examples) -> float:
    """The part of the variance of the mean difference that more seeds do not shrink: average covariance of two seeds.

    seeds as in `crossed_interval`, at least two of them. Unbiased, so it may be negative where the truth is near zero;
    `crossed_interval` clips it. For full crossing it is (MS_e - MS_r) / (n m) of the two-way analysis of variance.
    """
    return _summarise(seeds)[1]


def _summarise(seeds: Examples) -> tuple[Floats, float, int, int, bool, Floats]:
    """Means (n,), C unclipped, different examples, how many ever differ, whether scores are whole, sizes (n,)."""
    if len(seeds) < 2:
        raise ValueError(f"example_variance needs at least two seeds, got {len(seeds)}")
    ids, values = _checked(seeds)
    sizes = np.array([len(one) for one in ids], np.float64)
    whole = all(_whole(one) for one in values)
    if all(np.array_equal(one, ids[0]) for one in ids[1:]):
        means, c, differing = _full_crossing(np.stack(values))
        return means, float(c), len(ids[0]), int(differing), whole, sizes
    raw, m = _partial_crossing(ids, values)
    ever = np.unique(np.concatenate([one[value != 0] for one, value in zip(ids, values, strict=True)]))
    return np.array([one.mean() for one in values]), raw, m, len(ever), whole, sizes


class _Estimate(NamedTuple):
    """Arrays of equal shape, one entry for each study."""

    mean: Floats
    se: Floats
    df: Floats
    seed_variance: Floats
    example_variance: Floats
    p: Floats


def _estimate(
    means: Floats, covariance: ArrayLike, m: int, differing: ArrayLike, step_variance: ArrayLike
) -> _Estimate:
    """The crossed estimate from means (..., n) of the seeds, with both cautions. `step_variance` is the mean over seeds
    of 1/m_s^2 where scores are whole numbers, else 0."""
    n = means.shape[-1]
    v = np.maximum(np.var(means, axis=-1, ddof=1), np.asarray(step_variance) / 12) / n
    rare = (np.asarray(step_variance) > 0) & (np.asarray(differing) < RARE)
    c = np.maximum(np.asarray(covariance, np.float64), 0.0) + np.where(rare, RULE_OF_THREE / m**2, 0.0)
    mean, se, df = means.mean(-1), np.sqrt(v + c), _satterthwaite(v, c, n, m)
    with np.errstate(divide="ignore", invalid="ignore"):
        t, t_seeds = (np.where(mean == 0, 0.0, np.abs(mean) / spread) for spread in (se, np.sqrt(v)))
    return _Estimate(mean, se, df, v, c, 2 * np.maximum(stdtr(df, -t), stdtr(n - 1, -t_seeds)))


def _half_width(found: _Estimate, n: int, level: float) -> Floats:
    """From the mean to the end of the interval: never less than of the seeds alone."""
    wide: Floats = np.maximum(stdtrit(found.df, level) * found.se, stdtrit(n - 1, level) * np.sqrt(found.seed_variance))
    return wide


def _satterthwaite(v: ArrayLike, c: ArrayLike, n: ArrayLike, m: int) -> Floats:
    v, c, n = np.asarray(v, np.float64), np.asarray(c, np.float64), np.asarray(n, np.float64)
    share = v / np.where(v + c > 0, v + c, 1.0)
    share = np.where(v + c > 0, share, 1.0)
    df: Floats = 1 / (share**2 / (n - 1) + (1 - share) ** 2 / max(m - 1, 1))
    return df


def crossed_interval(seeds: Examples, confidence: float = CONFIDENCE) -> Crossed | None:
    """Interval over seeds and examples: where another training *and* other data would lie on average.

    seeds: for each seed `(ids int (m_s,), differences float (m_s,))`, the differences of the per-example score on that
    seed's test examples, such as correct_arm - correct_baseline in {-1, 0, 1}. Test sets may be the same for all seeds,
    overlap, or be disjoint. None for n < 2: one seed does not show the chance of training.

    Model: D_se = mu + a_s + b_e + r_se (two-way random effects; as a decomposition of variance it holds for binary
    scores too). With V_s the sample variance of the per-seed means over n, and C the average covariance of two seeds'
    means, the mean of the means has variance E[V_s] + C. C is estimated over the examples that two seeds share and cut
    at 0; for full crossing V_s + C is (MS_s + MS_e - MS_r) / (n m). It is the analysis of many readers and many cases
    with seeds as readers: Obuchowski and Rockette (1995), Communications in Statistics B 24, 285-308. Degrees of
    freedom: Satterthwaite (1946), Biometrics Bulletin 2, 110-114, with n - 1 for V_s and the number of different
    examples - 1 for C; with the first alone it would be Hillis (2007), Statistics in Medicine 26, 596-619.

    More degrees of freedom can outweigh the added variance; the interval is never narrower, and p never smaller, than
    those of the seeds alone, since new data cannot be less of a risk than the same.

    Two cautions, for whole-number scores alone. An accuracy on m examples is rounded to 1/m: tied means hide
    differences up to that, so the variance of a mean is at least (1/m)^2 / 12, that of the rounding. And where fewer
    than 10 different examples ever differ, (3 / 1.645 m)^2 is added to C, so that with none at all the one-sided 95 %
    bound is 3/m (rule of three; Hanley and Lippman-Hand, 1983, JAMA 249, 1743-1745): examples that differ may merely
    be absent, and two identical arms on few examples are no proof that there is no difference.

    ValueError: ids that are not whole numbers or not unique within a seed, shapes that differ, NaN, an empty test set.
    Time and memory O(total), plus n^2; 40 seeds of 10,000 examples take well under 0.3 s.
    """
    _fraction(confidence, "confidence")
    if len(seeds) < 2:
        _checked(seeds)
        return None
    means, covariance, m, differing, whole, sizes = _summarise(seeds)
    found = _estimate(means, covariance, m, differing, float(np.mean(sizes**-2.0)) if whole else 0.0)
    mean, se, df, v, c, p = (float(value) for value in found)
    half = float(_half_width(found, len(means), (1 + confidence) / 2))
    return Crossed(mean - half, mean + half, mean, se, df, v, c, len(means), m, p)


# -------------------------------------------------------------------------------------------------------------- tests


def _flip_all(values: Floats) -> Floats:
    """p of rows (..., n) by all signs. The first sign is fixed: turning every sign around changes no absolute sum."""
    sums = values[..., :1]
    for i in range(1, values.shape[-1]):
        one = values[..., i : i + 1]
        sums = np.concatenate([sums + one, sums - one], axis=-1)
    slack = TIE * np.abs(values).sum(-1, keepdims=True)
    extreme = np.abs(sums) >= np.abs(values.sum(-1, keepdims=True)) - slack
    p: Floats = extreme.mean(-1)
    return p


def sign_flip_p(differences: ArrayLike) -> float:
    """Two-sided sign-flip test of the mean: p in (0, 1].

    differences (n,), n >= 1. Under the null a difference is as likely as its negative; the test is exact then, whatever
    its law. All signs are tried up to n = 20; beyond, 100,000 draws of a fixed generator, the observed signs counted as
    one of them. Sums that agree within 1e-12 of the sum of absolute differences are ties. ValueError: no differences,
    not finite. Fisher (1935), The Design of Experiments, section 21; Phipson and Smyth (2010) for the draws.
    """
    values = _vector(differences)
    n = len(values)
    if not n:
        raise ValueError("a test needs at least one difference")
    if n <= ENUMERATED:
        return float(_flip_all(values))
    generator = seeding.stream(0, "sign_flip")
    limit, extreme = abs(values.sum()) - TIE * np.abs(values).sum(), 0
    for done in range(0, DRAWS, 10_000):
        signs = 1.0 - 2.0 * generator.integers(0, 2, (min(10_000, DRAWS - done), n), np.int8)
        extreme += int(np.count_nonzero(np.abs(signs @ values) >= limit))
    return (1 + extreme) / (1 + DRAWS)


def smallest_p(n: int, comparisons: int = 1) -> float:
    """The least p that the sign-flip test reaches with n seeds, after Holm over so many comparisons: in (0, 1].

    It is that of the arm with the least p of all; ValueError: n < 0, comparisons < 1.
    """
    if n < 0 or comparisons < 1:
        raise ValueError(f"needs n >= 0 and comparisons >= 1, got {n} and {comparisons}")
    return min(1.0, comparisons * 2.0 ** (1 - n))


def holm(p_values: Sequence[float | None] | ArrayLike) -> Floats:
    """Holm's adjusted p values, float (K,), in [0, 1]. None and NaN give NaN and do not count as comparisons.

    Adjusted p of rank i (from 1, of k): the largest of (k - j + 1) p_(j) for j <= i, at most 1. ValueError: outside of
    [0, 1]. Holm (1979), Scandinavian Journal of Statistics 6, 65-70.
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1:
        raise ValueError(f"p values must be one-dimensional, got shape {p.shape}")
    if ((p < 0) | (p > 1)).any():
        raise ValueError("p values must lie between 0 and 1")
    return _holm(p)


def _holm(p: Floats) -> Floats:
    """Along the last axis of (..., K)."""
    order = np.argsort(p, axis=-1)  # NaN last
    ranked = np.take_along_axis(p, order, -1)
    factor = (~np.isnan(p)).sum(-1, keepdims=True) - np.arange(p.shape[-1])
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(ranked * factor, -1), 1.0), -1)
    return adjusted


def equivalence_bound(mean: float, se: float, df: float, level: float = LEVEL) -> float:
    """The smallest X such that two one-sided t tests at `level` conclude that |mu| < X; unit of the mean.

    |mean| + t(1 - level, df) se. Schuirmann (1987), Journal of Pharmacokinetics and Biopharmaceutics 15, 657-680.
    ValueError: se < 0, df <= 0, level not in (0, 1).
    """
    _fraction(level, "level")
    if not (se >= 0 and df > 0):
        raise ValueError(f"needs se >= 0 and df > 0, got {se} and {df}")
    return abs(mean) + float(stdtrit(df, 1 - level)) * se


# ----------------------------------------------------------------------------------------------------------- verdicts


def _settled(
    n: Floats, v: Floats, c: float, m: int, mean: float, comparisons: int, min_effect: float, equivalence: bool
) -> NDArray[np.bool_]:
    """Whether n seeds (k,), with seed variance v (k,) of the mean, would probably settle it."""
    # The level that signs of n seeds really reach at most: a multiple of 2 / 2^n.
    half = 2.0 ** np.minimum(n - 1, 1000)
    level = np.floor(LEVEL / comparisons * half) / half
    reach = level > 0
    df, se = _satterthwaite(v, c, n, m), np.maximum(np.sqrt(v + c), 1e-300)
    found = ndtr(abs(mean) / se - stdtrit(df, 1 - np.where(reach, level, 0.5) / 2)) >= POWER
    if not equivalence or not min_effect > 0:
        return np.asarray(reach & found)
    t = stdtrit(df, 1 - LEVEL)
    equal = ndtr((min_effect - mean) / se - t) + ndtr((min_effect + mean) / se - t) - 1 >= POWER
    return np.asarray(reach & (found | equal))


def seeds_to_settle(
    n: int,
    mean: float,
    seed_variance: float,
    example_variance: float | None,
    *,
    examples: int = 2,
    comparisons: int = 1,
    min_effect: float = 0.0,
) -> int | None:
    """About how many more seeds would probably (80 %) give a verdict, or None if none up to 1,000 in all do.

    n >= 2 seeds gave the mean, V_s and C (see `Crossed`; C is None where it is not known: then it counts as 0 and
    equivalence is not considered) on so many different `examples`. The smallest n' > n such that n' seeds can reach
    p <= 0.05 by signs after Holm, and with variance V_s n / n' + C either a t test at the worst level of Holm finds the
    observed mean, or two one-sided t tests show |mu| < min_effect, with power 80 %, taking what was observed as the
    truth and the law of t as normal around it. A plan, not a promise: with few seeds the observed mean and variance are
    themselves rough. ValueError: n < 2, a negative variance, comparisons < 1.
    """
    if n < 2 or seed_variance < 0 or (example_variance or 0) < 0 or comparisons < 1:
        raise ValueError(
            f"needs n >= 2, variances >= 0 and comparisons >= 1, "
            f"got {n}, {seed_variance}, {example_variance} and {comparisons}"
        )
    known, c = example_variance is not None, example_variance or 0.0
    candidates = np.arange(n + 1, MOST_SEEDS + 1, dtype=np.float64)
    v = seed_variance * n / candidates
    settled = np.flatnonzero(_settled(candidates, v, c, examples, mean, comparisons, min_effect, known))
    return int(settled[0]) + 1 if len(settled) else None


def _codes(
    mean: ArrayLike,
    p_holm: ArrayLike,
    p_new_holm: ArrayLike,
    bound: ArrayLike,
    reachable: ArrayLike,
    min_effect: float,
    maximize: bool,
) -> NDArray[np.str_]:
    """Codes of any shape. `bound` is the equivalence bound, `reachable` whether p <= 0.05 is; NaN is unknown."""
    better = np.asarray(mean) > 0 if maximize else np.asarray(mean) < 0
    here = np.asarray(p_holm) <= LEVEL
    beyond = here & (np.asarray(p_new_holm) <= LEVEL)
    equal = np.asarray(bound) < min_effect
    conditions = [~np.asarray(reachable), equal, beyond & better, beyond, here & better, here]
    names = ["cannot_tell", "no_difference", "helps", "hurts", "helps_here", "hurts_here"]
    return np.select(conditions, names, "cannot_tell")


def plain(percent: bool) -> Callable[[float], str]:
    """How a difference is written: 0.001 as "0.1 points" if the metric is a fraction shown in percent, else "0.001"."""
    return lambda value: f"{100 * value:.6g} points" if percent else f"{value:.6g}"


def verdict(
    differences: ArrayLike,
    crossed: Crossed | None,
    p_holm: float | None,
    p_new_holm: float | None,
    *,
    comparisons: int = 1,
    min_effect: float = 0.0,
    maximize: bool = True,
    show: Callable[[float], str] = str,
) -> Verdict:
    """What may be said of an arm, by rules and in words fixed in advance.

    differences (n,); crossed as `crossed_interval` returns it, or None where predictions are missing; the sign-flip p
    and `p_new_data` after Holm over the arms (None: unknown); the number of `comparisons` in that Holm; `min_effect` >=
    0, the smallest difference of interest in the metric's unit (0: never conclude that there is none); whether the
    metric is to be maximized; how a difference is written. In this order:

    1. fewer than two seeds, or seeds too few to reach p <= 0.05 after Holm: cannot_tell
    2. equivalence: two one-sided t tests at 5 % show |mu| < min_effect for new data: no_difference
    3. both p after Holm <= 0.05: helps or hurts; the 95 % interval for new data then excludes 0
    4. the sign-flip p alone: helps_here or hurts_here
    5. cannot_tell, with the number of further seeds that would probably settle it

    ValueError: not finite, min_effect < 0.
    """
    values = _vector(differences)
    n = len(values)
    if not (np.isfinite(min_effect) and min_effect >= 0):
        raise ValueError(f"min_effect must be a number >= 0, got {min_effect}")
    if n < 2:
        return Verdict("cannot_tell", "cannot tell: one seed" if n else "cannot tell: no complete pair", None)
    p, p_new = (np.nan if value is None else value for value in (p_holm, p_new_holm))
    # An arm that is not the best of all may get below `smallest_p`: its own p decides.
    reachable = smallest_p(n, comparisons) <= LEVEL or p <= LEVEL
    bound = np.nan
    if crossed is not None:
        alone = equivalence_bound(crossed.mean, sqrt(crossed.seed_variance), crossed.seeds - 1)
        bound = max(equivalence_bound(crossed.mean, crossed.se, crossed.df), alone)
    code = str(_codes(values.mean(), p, p_new, bound, reachable, min_effect, maximize))
    if code != "cannot_tell":
        unknown = (
            "predictions are missing to tell for new data" if crossed is None else "too small to tell for new data"
        )
        words = {
            "helps": "helps",
            "hurts": "hurts",
            "helps_here": f"helps on this test set, {unknown}",
            "hurts_here": f"hurts on this test set, {unknown}",
            "no_difference": f"no difference larger than {show(min_effect)}",
        }
        return Verdict(code, words[code], None)
    return _cannot_tell(values, crossed, reachable, comparisons, min_effect)


def _cannot_tell(
    values: Floats, crossed: Crossed | None, reachable: bool, comparisons: int, min_effect: float
) -> Verdict:
    n, mean = len(values), float(values.mean())
    v = float(np.var(values, ddof=1)) / n if crossed is None else crossed.seed_variance
    c, m = (None, 2) if crossed is None else (crossed.example_variance, crossed.examples)
    more = seeds_to_settle(n, mean, v, c, examples=m, comparisons=comparisons, min_effect=min_effect)
    if more is not None:
        what = f"about {more} more seed{'s' if more > 1 else ''}"
    elif c is None:
        what = "more seeds would not settle it, predictions are missing"
    elif _settled(np.array([1e9]), np.zeros(1), c, m, mean, comparisons, min_effect, True)[0]:
        what = f"it would take more than {MOST_SEEDS} seeds"
    else:
        what = "more seeds would not settle it, the test set is too small"
    few = "" if reachable else f"{n} seeds cannot reach p <= {LEVEL:g}; "
    return Verdict("cannot_tell", f"cannot tell: {few}{what}", more)


def compare_arms(
    arms: Sequence[tuple[Sequence[int], ArrayLike, Examples | None]],
    min_effect: float,
    maximize: bool = True,
    percent: bool = False,
) -> list[Comparison]:
    """All arms of a study against their baselines, with Holm over the arms; one `Comparison` for each, in their order.

    arms: for each `(seeds (n,), differences (n,), examples)` of the complete pairs alone, where examples is a sequence
    as in `crossed_interval` along the seeds, or None where predictions are missing. Seeds may differ between arms and
    come in any order. A difference must be the mean of its seed's per-example differences. `min_effect` as in
    `verdict`; `percent`: differences are written in points.

    Arms without a pair do not count in Holm. ValueError: lengths that differ, a seed that comes twice, NaN, means that
    do not agree, and what `crossed_interval` and `verdict` raise.
    """
    found = [_measure(*arm) for arm in arms]
    p_holm = holm([one.p for one in found])
    p_new_holm = holm([None if one.crossed is None else one.crossed.p_new_data for one in found])
    family = max(1, sum(one.p is not None for one in found))
    show = plain(percent)
    comparisons = []
    for one, p, p_new in zip(found, p_holm.tolist(), p_new_holm.tolist(), strict=True):
        n, crossed = len(one.values), one.crossed
        said = verdict(
            one.values, crossed, p, p_new, comparisons=family, min_effect=min_effect, maximize=maximize, show=show
        )
        comparisons.append(
            Comparison(
                seeds=one.seeds,
                differences=tuple(one.values.tolist()),
                mean=float(one.values.mean()) if n else None,
                sd=float(np.std(one.values, ddof=1)) if n > 1 else None,
                retraining=one.retraining,
                new_data=None if crossed is None else (crossed.low, crossed.high),
                test_examples=None if crossed is None else crossed.examples,
                p=one.p,
                p_holm=p if n else None,
                smallest_p=min(smallest_p(n, family), p) if n else 1.0,
                code=said.code,
                words=said.words,
                more_seeds=said.more_seeds,
            )
        )
    return comparisons


class _Measured(NamedTuple):
    seeds: tuple[int, ...]
    values: Floats
    p: float | None
    retraining: Interval | None
    crossed: Crossed | None


def _measure(seeds: Sequence[int], differences: ArrayLike, examples: Examples | None) -> _Measured:
    values = _vector(differences)
    n = len(values)
    if len(seeds) != n or len(set(seeds)) != n or (examples is not None and len(examples) != n):
        count = "no" if examples is None else len(examples)
        raise ValueError(
            f"an arm needs one difference and one set of examples for each seed, each seed once; "
            f"got seeds {list(seeds)}, {n} differences and {count} sets of examples"
        )
    order = sorted(range(n), key=lambda i: seeds[i])
    values = values[order]
    crossed, resolution = None, 0.0
    if examples is not None:
        ordered = [examples[i] for i in order]
        ids, scores = _checked(ordered)
        means = np.array([one.mean() for one in scores])
        scale = max([1.0, *(float(np.abs(one).max()) for one in scores)])
        if (np.abs(means - values) > 1e-4 * scale).any():
            raise ValueError(
                f"each difference must be the mean of its per-example differences; "
                f"got {values.tolist()} and means {means.tolist()}"
            )
        crossed = crossed_interval(ordered)
        if ids and all(_whole(one) for one in scores):
            resolution = float(np.mean([1 / len(one) for one in ids]))
    return _Measured(
        seeds=tuple(int(seeds[i]) for i in order),
        values=values,
        p=sign_flip_p(values) if n else None,
        retraining=seed_interval(values, resolution=resolution),
        crossed=crossed,
    )


# ------------------------------------------------------------------------------------------------------------- choice


def optimism_of_choosing(val: ArrayLike, test: ArrayLike | None = None) -> Optimism:
    """How much the best of several arms looks better on val than it is.

    val, test: (arms, seeds), any unit, larger is better, NaN for a missing run. The chosen arm has the best mean val.
    Leaving out each seed in turn, the arm with the best mean val on the other seeds is chosen, among those that ran on
    the seed left out, and its val there is taken: a score that had no part in the choice. ValueError: not
    two-dimensional, shapes that differ, infinite, or no run at all. Cross-validating the choice itself: Stone (1974),
    Journal of the Royal Statistical Society B 36, 111-147; its optimism: Cawley and Talbot (2010), JMLR 11, 2079-2107.
    """
    scores = np.asarray(val, np.float64)
    tests = None if test is None else np.asarray(test, np.float64)
    if scores.ndim != 2 or (tests is not None and tests.shape != scores.shape):
        raise ValueError(
            f"val and test must have the same shape (arms, seeds), got {scores.shape}"
            + ("" if tests is None else f" and {tests.shape}")
        )
    if np.isinf(scores).any() or np.isnan(scores).all():
        raise ValueError("val must hold at least one run, and no infinite value")
    chosen, apparent = _best(scores)
    taken = []
    for s in range(scores.shape[1]):
        others = np.delete(scores, s, axis=1)
        others[np.isnan(scores[:, s])] = np.nan
        if not np.isnan(others).all():
            taken.append(float(scores[_best(others)[0], s]))
    honest = float(np.mean(taken)) if taken else None
    on_test = None
    if tests is not None and not np.isnan(tests[chosen]).all():
        on_test = float(np.nanmean(tests[chosen]))
    return Optimism(chosen, apparent, honest, None if honest is None else apparent - honest, on_test)


def _best(scores: Floats) -> tuple[int, float]:
    """Row with the largest mean over what is not NaN, and that mean; the first of equals."""
    runs = (~np.isnan(scores)).sum(1)
    means = np.where(runs > 0, np.nansum(scores, 1) / np.maximum(runs, 1), -np.inf)
    return int(np.argmax(means)), float(means.max())
