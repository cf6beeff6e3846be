"""Splits by time: train is the past, val comes after it, test is the latest. Nothing is random."""

import numpy as np

from mixup_lab.data.splits import Fold, Rows, Sizes
from mixup_lab.types import UserError


def carve_times(times: np.ndarray, sizes: Sizes) -> Rows:
    """Divide the examples by time; those of one time stay together, so sizes are as near as this allows.

    Every seed has the same splits. They are not stratified, as the future is not either.

    Args:
        times: (N,) of the training pool, any numbers but NaN.
        sizes: of the splits; if train is limited, it keeps its latest examples.

    Raises:
        UserError: for fewer different times than splits, for a train_size above what is left, and for folds.
    """
    if isinstance(sizes.test, Fold):
        raise UserError(
            "dataset.folds and dataset.time_column cannot be combined: a fold would be tested after training on its"
            " future"
        )
    order = np.argsort(times, kind="stable")
    ascending = times[order]
    edges = np.flatnonzero(ascending[1:] != ascending[:-1]) + 1  # where a later time begins
    if len(edges) < sizes.carved:
        raise UserError(
            f"dataset.time_column has {len(edges) + 1} different time{'s'[: len(edges) > 0]}, but at least"
            f" {sizes.carved + 1} are needed to have one in each split"
        )
    end = len(order)
    test = val = order[:0]
    if sizes.test is not None:
        start = _nearest(edges[int(sizes.val is not None) :], (1 - sizes.test) * end)
        test, end = order[start:], start
    if sizes.val is not None:
        start = _nearest(edges[edges < end], (1 - sizes.val) * end)
        val, end = order[start:end], start
    train = order[end - sizes.train_count(end) : end]
    return Rows(*(np.sort(part).astype(np.int64, copy=False) for part in (train, val, test)))


def _nearest(edges: np.ndarray, wanted: float) -> int:
    return int(edges[np.abs(edges - wanted).argmin()])
