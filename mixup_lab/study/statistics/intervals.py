"""Intervals of a mean difference: over seeds alone, and over seeds and test examples together."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.special import stdtr, stdtrit

from mixup_lab.study.results import Interval, Moments
from mixup_lab.study.statistics.arguments import Examples, Floats, are_whole, check_fraction, sorted_examples, vector

CONFIDENCE = 0.95  # of every interval
RARE = 10  # a variance needs at least this many examples that ever differ
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


def seed_interval(
    differences: ArrayLike, confidence: float = CONFIDENCE, *, resolution: float = 0.0
) -> Interval | None:
    """Paired t interval over seeds: where another training would lie on average, on the same test set.

    differences (n,), any unit; None for n < 2. `resolution` is the step between possible values of a difference (1/m
    for an accuracy on m examples): the variance of a difference is taken as at least that of its rounding, see
    `crossed_interval`. ValueError: not one-dimensional, not finite, confidence not in (0, 1).
    Student (1908), "The probable error of a mean".
    """
    check_fraction(confidence, "confidence")
    values = vector(differences)
    n = len(values)
    if n < 2:
        return None
    variance = max(float(np.var(values, ddof=1)), resolution**2 / 12)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * sqrt(variance / n)
    mean = float(np.mean(values))
    return mean - half, mean + half


def mean_interval(moments: Moments) -> Interval | None:
    """95 % t interval of a mean over seeds, from its moments; None for n < 2."""
    if moments.mean is None or moments.sd is None or moments.n < 2:
        return None
    half = float(stdtrit(moments.n - 1, (1 + CONFIDENCE) / 2)) * moments.sd / sqrt(moments.n)
    return moments.mean - half, moments.mean + half


def crossed_interval(seeds: Examples, confidence: float = CONFIDENCE, *, counted: bool = True) -> Crossed | None:
    """Interval over seeds and examples: where another training *and* other data would lie on average.

    seeds: for each seed `(ids int (m_s,), differences float (m_s,))`, the differences of the per-example score on that
    seed's test examples, such as correct_arm - correct_baseline in {-1, 0, 1}. Test sets may be the same for all seeds,
    overlap, or be disjoint. None for n < 2: one seed does not show the noise of training.

    Model: D_se = mu + a_s + b_e + r_se (two-way random effects; as a decomposition of variance it holds for binary
    scores too). With V_s the sample variance of the per-seed means over n, and C the average covariance of two seeds'
    means, the mean of the means has variance E[V_s] + C. C is estimated over the examples that two seeds share and cut
    at 0; for full crossing V_s + C is (MS_s + MS_e - MS_r) / (n m). It is the analysis of many readers and many cases
    with seeds as readers: Obuchowski and Rockette (1995), Communications in Statistics B 24, 285-308. Degrees of
    freedom: Satterthwaite (1946), Biometrics Bulletin 2, 110-114, with n - 1 for V_s and the number of different
    examples - 1 for C; with the first alone it would be Hillis (2007), Statistics in Medicine 26, 596-619.

    More degrees of freedom can outweigh the added variance; the interval is never narrower, and p never smaller, than
    those of the seeds alone, since new data are never a smaller risk than the same data.

    Two cautions, for whole-number scores alone. An accuracy on m examples is rounded to 1/m: equal means hide
    differences up to that, so the variance of a mean is at least (1/m)^2 / 12, that of the rounding. And where fewer
    than 10 different examples ever differ, (3 / 1.645 m)^2 is added to C, so that with none at all the one-sided 95 %
    bound is 3/m (rule of three; Hanley and Lippman-Hand, 1983, JAMA 249, 1743-1745): examples that differ may merely
    be absent, and two identical arms on few examples do not prove that there is no difference. `counted=False` is for
    scores in a unit, such as errors in metres, which are not counts even if all of them are whole.

    ValueError: ids that are not whole numbers or not unique within a seed, shapes that differ, NaN, an empty test set.
    Time and memory O(total), plus n^2; 40 seeds of 10,000 examples take well under 0.3 s.
    """
    check_fraction(confidence, "confidence")
    if len(seeds) < 2:
        sorted_examples(seeds)
        return None
    means, covariance, m, differing, whole, sizes = summarise(seeds)
    result = estimate(means, covariance, m, differing, float(np.mean(sizes**-2.0)) if whole and counted else 0.0)
    mean, se, df, v, c, p = (float(value) for value in result)
    half = float(half_width(result, len(means), (1 + confidence) / 2))
    return Crossed(mean - half, mean + half, mean, se, df, v, c, len(means), m, p)


def example_variance(seeds: Examples) -> float:
    """The part of the variance of the mean difference that more seeds do not shrink: average covariance of two seeds.

    seeds as in `crossed_interval`, at least two of them. Unbiased, so it may be negative where the truth is near zero;
    `crossed_interval` clips it. For full crossing it is (MS_e - MS_r) / (n m) of the two-way analysis of variance.
    """
    return summarise(seeds)[1]


def summarise(seeds: Examples) -> tuple[Floats, float, int, int, bool, Floats]:
    """Means (n,), C unclipped, different examples, how many ever differ, whether scores are whole, sizes (n,)."""
    if len(seeds) < 2:
        raise ValueError(f"example_variance needs at least two seeds, got {len(seeds)}")
    ids, values = sorted_examples(seeds)
    sizes = np.array([len(one) for one in ids], np.float64)
    whole = all(are_whole(one) for one in values)
    if all(np.array_equal(one, ids[0]) for one in ids[1:]):
        means, c, differing = full_crossing(np.stack(values))
        return means, float(c), len(ids[0]), int(differing), whole, sizes
    raw, m = _partial_crossing(ids, values)
    ever = np.unique(np.concatenate([one[value != 0] for one, value in zip(ids, values, strict=True)]))
    return np.array([one.mean() for one in values]), raw, m, len(ever), whole, sizes


def full_crossing(table: NDArray[Any]) -> tuple[Floats, Floats, NDArray[np.intp]]:
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
    """C unclipped, and the number of different examples, for test sets that overlap in any way.

    With A (n, M) the centred differences and B (n, M) their pattern, A A', A B' and B B' give the covariance
    of each pair over its shared examples.
    """
    n, sizes = len(ids), np.array([len(one) for one in ids])
    unique, column = np.unique(np.concatenate(ids), return_inverse=True)
    row = np.repeat(np.arange(n), sizes)
    # A shift does not change a covariance, but its rounding.
    entries = np.concatenate([one - one.mean() for one in values])
    a: Any = csr_array((entries, (row, column)), shape=(n, len(unique)))
    b: Any = csr_array((np.ones(len(entries)), (row, column)), shape=(n, len(unique)))
    if n * len(unique) <= 8 * len(entries):  # mostly full: dense is faster and still O(total)
        a, b = a.toarray(), b.toarray()
        both, squares, sums = b @ b.T, a @ a.T, a @ b.T
    else:
        both, squares, sums = ((x @ y.T).toarray() for x, y in ((b, b), (a, a), (a, b)))
    enough = (both >= 2) & ~np.eye(n, dtype=bool)
    count = np.where(enough, both, 2.0)
    covariance = np.where(enough, (squares - sums * sums.T / count) / (count - 1), 0.0)
    return float((covariance * both / np.outer(sizes, sizes)).sum() / (n * (n - 1))), len(unique)


class Estimate(NamedTuple):
    """Arrays of equal shape, one entry for each study."""

    mean: Floats
    se: Floats
    df: Floats
    seed_variance: Floats
    example_variance: Floats
    p: Floats


def estimate(means: Floats, covariance: ArrayLike, m: int, differing: ArrayLike, step_variance: ArrayLike) -> Estimate:
    """The crossed estimate from means (..., n) of the seeds, with both cautions. `step_variance` is the mean over seeds
    of 1/m_s^2 where scores are whole numbers, else 0."""
    n = means.shape[-1]
    v = np.maximum(np.var(means, axis=-1, ddof=1), np.asarray(step_variance) / 12) / n
    rare = (np.asarray(step_variance) > 0) & (np.asarray(differing) < RARE)
    c = np.maximum(np.asarray(covariance, np.float64), 0.0) + np.where(rare, RULE_OF_THREE / m**2, 0.0)
    mean, se, df = means.mean(-1), np.sqrt(v + c), satterthwaite(v, c, n, m)
    with np.errstate(divide="ignore", invalid="ignore"):
        t, t_seeds = (np.where(mean == 0, 0.0, np.abs(mean) / spread) for spread in (se, np.sqrt(v)))
    return Estimate(mean, se, df, v, c, 2 * np.maximum(stdtr(df, -t), stdtr(n - 1, -t_seeds)))


def half_width(result: Estimate, n: int, level: float) -> Floats:
    """From the mean to the end of the interval: never less than for the seeds alone."""
    wide: Floats = np.maximum(
        stdtrit(result.df, level) * result.se, stdtrit(n - 1, level) * np.sqrt(result.seed_variance)
    )
    return wide


def satterthwaite(v: ArrayLike, c: ArrayLike, n: ArrayLike, m: int) -> Floats:
    """Degrees of freedom of v + c: v has n - 1 of them, c has m - 1."""
    v, c, n = np.asarray(v, np.float64), np.asarray(c, np.float64), np.asarray(n, np.float64)
    share = v / np.where(v + c > 0, v + c, 1.0)
    share = np.where(v + c > 0, share, 1.0)
    df: Floats = 1 / (share**2 / (n - 1) + (1 - share) ** 2 / max(m - 1, 1))
    return df
