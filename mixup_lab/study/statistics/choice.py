"""How much choosing the best of several arms on val flatters it, on val and on test."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from mixup_lab.study.results import Honest, Interval
from mixup_lab.study.statistics.arguments import Floats
from mixup_lab.study.statistics.comparison import Paired, joined, measure
from mixup_lab.study.statistics.intervals import CONFIDENCE


@dataclass(frozen=True)
class Optimism:
    """How much choosing the best of several arms on val flatters its score."""

    chosen: int  # row of the arm
    apparent: float  # mean val of the chosen arm over seeds
    honest: float | None  # val of the arm that the other seeds choose, mean over seeds; None for less than two
    bias: float | None  # apparent - honest


def optimism_of_choosing(val: ArrayLike) -> Optimism:
    """How much better the best of several arms looks on val than it is.

    val: (arms, seeds), any unit, larger is better, NaN for a missing run. The chosen arm has the best mean val. Each
    seed is left out in turn: among the arms that ran on it, the one with the best mean val on the other seeds is
    chosen, and its val on the seed left out had no part in the choice. ValueError: not two-dimensional, infinite, or
    no run at all. Cross-validating the choice itself: Stone (1974), Journal of the Royal Statistical Society B 36,
    111-147; its optimism: Cawley and Talbot (2010), JMLR 11, 2079-2107.
    """
    scores = np.asarray(val, np.float64)
    if scores.ndim != 2:
        raise ValueError(f"val must have the shape (arms, seeds), got {scores.shape}")
    if np.isinf(scores).any() or np.isnan(scores).all():
        raise ValueError("val must have at least one run and no infinite value")
    chosen, apparent = _best(scores)
    unseen = [scores[row, s] for s, row in enumerate(chosen_by_others(scores)) if row is not None]
    honest = float(np.mean(unseen)) if unseen else None
    return Optimism(chosen, apparent, honest, None if honest is None else apparent - honest)


def chosen_by_others(val: Floats) -> list[int | None]:
    """For each seed the arm with the best mean val on the *other* seeds, of those that ran on it; None if none did.

    val: (arms, seeds), larger is better, NaN for a missing run.
    """
    rows: list[int | None] = []
    for s in range(val.shape[1]):
        others = np.delete(val, s, axis=1)
        others[np.isnan(val[:, s])] = np.nan
        rows.append(None if np.isnan(others).all() else _best(others)[0])
    return rows


def honest_estimate(
    val: ArrayLike, seeds: Sequence[int], arms: Sequence[Paired], *, counted: bool = True
) -> Honest | None:
    """The test difference of the chosen arm without the luck of choosing it.

    Val and test come from the same lucky run, so that the arm with the best val also looks too good on test. Here each
    seed contributes the test difference of the arm that the other seeds choose; their mean is unbiased. The standard
    error of that mean, from t over seeds, is too small, since the choices of two seeds share the other seeds; the
    distance d to the chosen arm's own mean shows by how much: the variance is increased by d^2. Simulated coverage: see
    docs/statistics.md. None for fewer than two arms, or fewer than two seeds that have a pair.

    Args:
        val: (arms, seeds), larger is better, NaN for a missing run.
        seeds: (seeds,) along val.
        arms: test differences of each arm.
        counted: as in `crossed_interval`.
    """
    scores = np.asarray(val, np.float64)
    if len(arms) < 2 or np.isnan(scores).all():
        return None
    kept: list[Paired] = []
    for seed, row in zip(seeds, chosen_by_others(scores), strict=True):
        if row is None or seed not in arms[row].seeds:
            continue
        kept.append(arms[row].at([list(arms[row].seeds).index(seed)]))
    if len(kept) < 2:
        return None
    found = measure(joined(kept), counted)
    mean = float(found.differences.mean())
    own_mean = float(np.mean(np.asarray(arms[_best(scores)[0]].differences)))
    shift = abs(own_mean - mean)
    assert found.retraining is not None
    new = None
    if found.crossed is not None:
        new = _widened((found.crossed.low, found.crossed.high), shift, found.crossed.df)
    return Honest(mean, _widened(found.retraining, shift, len(kept) - 1), new)


def _widened(interval: Interval, shift: float, df: float) -> Interval:
    """With the square of the shift added to the variance."""
    middle, half = (interval[0] + interval[1]) / 2, (interval[1] - interval[0]) / 2
    half = sqrt(half**2 + (float(stdtrit(df, (1 + CONFIDENCE) / 2)) * shift) ** 2)
    return middle - half, middle + half


def _best(scores: Floats) -> tuple[int, float]:
    """The row with the largest mean, NaN left out, and this mean; the first of equals."""
    runs = (~np.isnan(scores)).sum(1)
    means = np.where(runs > 0, np.nansum(scores, 1) / np.maximum(runs, 1), -np.inf)
    return int(np.argmax(means)), float(means.max())
