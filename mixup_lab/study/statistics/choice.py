"""What choosing the best of several arms on val does to its score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mixup_lab.study.statistics.arguments import Floats


@dataclass(frozen=True)
class Optimism:
    """What choosing the best of several arms on val does to its score."""

    chosen: int  # row of the arm
    apparent: float  # mean val of the chosen arm over seeds
    honest: float | None  # mean over seeds of val of the arm that the other seeds choose; None for less than two
    bias: float | None  # apparent - honest
    test: float | None  # mean test of the chosen arm, if test is given


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
