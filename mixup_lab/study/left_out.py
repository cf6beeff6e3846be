"""Metrics with each example left out in turn, in closed form: the jackknife without n evaluations.

N: test examples, K: parts that a metric is the mean of (classes, tags, targets). A part that is not defined, such as
the recall of a class without examples, is NaN and counts in no mean.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from mixup_lab.study.statistics.arguments import Floats

ECE_BINS = 15  # as in the records


class LeftOut(NamedTuple):
    """The parts of a metric over all examples, and without each of them."""

    whole: Floats  # (K,)
    without: Floats  # (N, K)


def ratio(above: Floats, below: Floats, defined: NDArray[np.bool_] | None = None) -> LeftOut:
    """Sums over examples divided by sums over examples, of each part: (N, K), (N, K). 0 / 0 is 0.

    `defined` (N, K): a part is defined as long as one of its examples is left.
    """
    whole, without = above.sum(0), above.sum(0) - above
    divisor, divisors = below.sum(0), below.sum(0) - below
    quotient, quotients = _divided(whole, divisor), _divided(without, divisors)
    if defined is None:
        return LeftOut(quotient, quotients)
    count = defined.sum(0)
    return LeftOut(np.where(count > 0, quotient, np.nan), np.where(count - defined > 0, quotients, np.nan))


def recall(hit: NDArray[np.bool_], target: NDArray[np.int64], classes: int) -> LeftOut:
    """Recall of each class: whether each example was hit (N,), its class (N,)."""
    own = target[:, None] == np.arange(classes)
    return ratio((hit[:, None] & own).astype(np.float64), own.astype(np.float64), own)


def auroc(values: Floats, own: NDArray[np.bool_]) -> LeftOut:
    """Area under the ROC curve of each part: values (N, K), whether an example is a positive (N, K). Ties count half.

    The placement of a positive is the share of the negatives that it beats, that of a negative the share of the
    positives that beat it; the area is the mean of either (DeLong, DeLong and Clarke-Pearson, 1988, Biometrics 44,
    837-845), so that leaving out an example leaves out its placement.
    """
    whole, without = np.full(values.shape[1], np.nan), np.full(values.shape, np.nan)
    for k in range(values.shape[1]):
        positive = own[:, k]
        above, below = np.sort(values[positive, k]), np.sort(values[~positive, k])
        if not len(above) or not len(below):
            continue
        up, down = _beaten(below, values[positive, k]), 1 - _beaten(above, values[~positive, k])
        whole[k] = up.mean()
        without[positive, k] = _mean_without(up)
        without[~positive, k] = _mean_without(down)
    return LeftOut(whole, without)


def _beaten(ordered: Floats, values: Floats) -> Floats:
    """The share of `ordered` that is below each value; equals count half."""
    below: Floats = (np.searchsorted(ordered, values) + np.searchsorted(ordered, values, side="right")) / 2
    return below / len(ordered)


def _mean_without(values: Floats) -> Floats:
    if len(values) == 1:
        return np.full(1, np.nan)
    others: Floats = (values.sum() - values) / (len(values) - 1)
    return others


def average_precision(values: Floats, own: NDArray[np.bool_]) -> LeftOut:
    """Average precision of each part: values (N, K), whether an example is a positive (N, K). Ties are one step.

    It is the mean, over the positives, of the precision among the examples at or above them. Without an
    example, the count of all that are at or below it is one less.
    """
    scores = np.ascontiguousarray(values.T)  # sorting and summing are fast along contiguous values
    order = np.argsort(scores)[:, ::-1]  # equal values in any order: they are one step
    positive = np.take_along_axis(own.T, order, 1).astype(np.float64)
    first, last = _groups(np.take_along_axis(scores, order, 1))
    hits = np.take_along_axis(positive.cumsum(1), last, 1)  # positives at or above each rank
    count, total = last + 1.0, positive.sum(1, keepdims=True)
    above = _padded(positive * hits / count)
    # Terms of those at or below, once a negative or a positive above them is gone.
    one_less = np.maximum(count - 1, 1)
    without_negative, without_positive = hits / one_less, (hits - 1) / one_less
    rests = (_padded(positive * terms) for terms in (without_negative, without_positive))
    rest_negative, rest_positive = (sums[:, -1:] - np.take_along_axis(sums, first, 1) for sums in rests)
    left = np.take_along_axis(above, first, 1) + np.where(positive > 0, rest_positive - without_positive, rest_negative)
    without = np.empty_like(left)
    np.put_along_axis(without, order, _divided(left, total - positive, np.nan), 1)
    return LeftOut(_divided(above[:, -1], total[:, 0], np.nan), without.T)


def _groups(ordered: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last rank of the group of equal values around each rank of the rows (K, N)."""
    places = np.arange(ordered.shape[1])
    change = ordered[:, 1:] != ordered[:, :-1]
    edge = np.ones((len(ordered), 1), dtype=bool)
    first = np.maximum.accumulate(np.where(np.concatenate([edge, change], 1), places, 0), axis=1)
    ends = np.where(np.concatenate([change, edge], 1), places, len(places))
    return first, np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]


def _padded(terms: Floats) -> Floats:
    """Sums of the first 0, 1, ..., N terms of each row."""
    sums = np.zeros((len(terms), terms.shape[1] + 1))
    np.cumsum(terms, axis=1, out=sums[:, 1:])
    return sums


def calibration_error(logits: NDArray[Any], target: NDArray[np.int64]) -> LeftOut:
    """Expected calibration error of the largest probability, in bins of equal width."""
    confidence = softmax(logits.astype(np.float64), 1).max(1)
    place = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gap = (logits.argmax(1) == target) - confidence
    gaps = np.bincount(place, gap, minlength=ECE_BINS)
    total, n = np.abs(gaps).sum(), len(gap)
    own = gaps[place]
    without = (total - np.abs(own) + np.abs(own - gap)) / max(n - 1, 1)
    return LeftOut(np.array([total / n]), without[:, None])


def root_mean_square(error: Floats) -> LeftOut:
    """Root of the mean square of each column (N, K)."""
    squares = ratio(error**2, np.ones_like(error))
    return LeftOut(np.sqrt(squares.whole), np.sqrt(np.maximum(squares.without, 0)))


def determination(error: Floats, target: Floats) -> LeftOut:
    """R2 of each column, (N, K) and (N, K): 1 - squared error / squared distance to the mean; NaN for one value."""
    n = len(target)
    centred = target - target.mean(0)
    spread = (centred**2).sum(0)
    # Without an example the mean changes too.
    spreads = np.maximum(spread - centred**2 * n / max(n - 1, 1), 0)
    squares = (error**2).sum(0)
    return LeftOut(1 - _divided(squares, spread, np.nan), 1 - _divided(squares - error**2, spreads, np.nan))


def _divided(above: Floats, below: Floats, otherwise: float = 0.0) -> Floats:
    above, below = np.broadcast_arrays(above, below)
    result: Floats = np.full(above.shape, otherwise)
    np.divide(above, below, out=result, where=below > 0)
    return result
