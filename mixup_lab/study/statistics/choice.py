"""How much choosing the best of several arms on val flatters its score."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mixup_lab.study.statistics.arguments import Floats


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
    unseen = []
    for s in range(scores.shape[1]):
        others = np.delete(scores, s, axis=1)
        others[np.isnan(scores[:, s])] = np.nan
        if not np.isnan(others).all():
            unseen.append(float(scores[_best(others)[0], s]))
    honest = float(np.mean(unseen)) if unseen else None
    return Optimism(chosen, apparent, honest, None if honest is None else apparent - honest)


def _best(scores: Floats) -> tuple[int, float]:
    """The row with the largest mean, NaN left out, and this mean; the first of equals."""
    runs = (~np.isnan(scores)).sum(1)
    means = np.where(runs > 0, np.nansum(scores, 1) / np.maximum(runs, 1), -np.inf)
    return int(np.argmax(means)), float(means.max())
