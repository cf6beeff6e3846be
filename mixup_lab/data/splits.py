"""Which examples belong to train, val and test: stratified, nested, reproducible.

Every stage draws from a stream of its own, so that the test split depends on the seed alone, not on the size of val or
train. Within a stage a larger share contains the smaller one of the same seed: learning curves are nested.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mixup_lab.seeding import stream
from mixup_lab.types import UserError

TEST, VAL, TRAIN = 0, 1, 2  # index of each stage's random stream; changing one changes everybody's splits


class Rows(NamedTuple):
    """Rows of the training pool for each split, ascending int64; empty for a split that the source gives itself."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def carve(
    target: np.ndarray,
    *,
    seed: int,
    val_fraction: float | None,
    test_fraction: float | None,
    train_size: int | float | None,
) -> Rows:
    """Divide the examples with class indices `target` (N,).

    Args:
        target: class index, or another stratum, of each example of the training pool.
        seed: of the `split` stream.
        val_fraction: in (0, 1), of what test leaves over; None: the source gives val.
        test_fraction: in (0, 1), of all; None: the source gives test.
        train_size: examples to keep for training: None = all, an int >= 1 = so many, a float in (0, 1] = that share.

    A stratum of fewer examples than there are splits stays in train, and in val if there are two: see `too_few`.

    Raises:
        UserError: for a train_size above what is left, and if no stratum is large enough to be in every split.
    """
    rows = np.arange(len(target), dtype=np.int64)
    none = rows[:0]
    # Each stratum keeps an example for every split that is still to come.
    test, rows = (
        (none, rows)
        if test_fraction is None
        else _take(target, rows, test_fraction, seed, TEST, keep=1 + (val_fraction is not None))
    )
    val, rows = (none, rows) if val_fraction is None else _take(target, rows, val_fraction, seed, VAL, keep=1)
    for name, part, fraction in (("test", test, test_fraction), ("val", val, val_fraction)):
        if fraction is not None and not len(part):
            raise UserError(
                f"no label has enough of the {len(target)} examples to give {name} one of them; are the labels classes?"
            )
    count = train_count(train_size, len(rows))
    chosen = stratified_order(target[rows], stream(seed, "split", TRAIN))[:count]
    return Rows(rows[np.sort(chosen)], val, test)


def stratified_order(target: np.ndarray, rng: np.random.Generator, keep: int = 0) -> np.ndarray:
    """An order of the positions of `target` (n,) in which every beginning is stratified.

    The k-th example (from 0) of a class of n stands at (k + 1/2) / n, as seats are given by the Sainte-Lague method, so
    that each class has its share in every beginning, to within about one example. The first example of each class
    stands before all second ones: a beginning as long as the number of classes holds them all. The last `keep` of each
    class are left out.
    """
    # Of ten million examples every int64 array takes 80 MB, so numbers are as short as they may be and go when used.
    whole = np.int32 if len(target) < 2**31 else np.int64
    shuffled = rng.permutation(len(target)).astype(whole)
    classes = target[shuffled].astype(whole)
    sizes = np.bincount(classes)
    starts = np.cumsum(sizes) - sizes
    by_class = np.argsort(classes, kind="stable").astype(whole)
    rank = np.empty_like(shuffled)
    rank[by_class] = np.arange(len(target), dtype=whole)
    del by_class
    rank -= starts.astype(whole)[classes]
    place = rank + np.float64(0.5)
    place /= sizes[classes]
    place += rank > 0
    order = np.argsort(place, kind="stable").astype(whole)  # stable: ties stand as shuffled
    del place
    chosen: np.ndarray = shuffled[order[(rank < (sizes - keep).astype(whole)[classes])[order]]]
    return chosen


def _take(
    target: np.ndarray, rows: np.ndarray, fraction: float, seed: int, stage: int, keep: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that go into a new split, and those that stay."""
    order = stratified_order(target[rows], stream(seed, "split", stage), keep)
    count = max(round(fraction * len(rows)), np.count_nonzero(np.bincount(target[rows]) > keep))
    taken = np.zeros(len(rows), dtype=bool)
    taken[order[:count]] = True
    return rows[taken], rows[~taken]


def train_count(train_size: int | float | None, available: int) -> int:
    """The number of examples that `dataset.train_size` stands for; raises UserError if it is more than there are."""
    if train_size is None:
        return available
    if isinstance(train_size, float):
        return max(1, round(train_size * available))
    if train_size > available:
        raise UserError(f"dataset.train_size={train_size} is more than the {available} examples that are available")
    return train_size


def too_few(target: np.ndarray, class_names: Sequence[str], splits: int) -> list[str]:
    """Names of the classes with fewer examples than there are splits to carve, train included."""
    counts = np.bincount(target, minlength=len(class_names))
    return [name for name, count in zip(class_names, counts.tolist(), strict=True) if 0 < count < splits]
