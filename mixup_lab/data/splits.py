"""Which examples belong to train, val and test: stratified, nested, reproducible.

Every stage draws from a stream of its own, so the test split does not depend on the sizes of val and train. Within a
stage a larger share contains the smaller one of the same seed: learning curves are nested.
"""

from typing import NamedTuple

import numpy as np

from mixup_lab.seeding import stream
from mixup_lab.types import UserError

TEST, VAL, TRAIN = 0, 1, 2  # index of each stage's random stream; changing one changes everybody's splits
FOLDS = 5  # likewise; 3 and 4 belong to `difficulty`


class Rows(NamedTuple):
    """Rows of the training pool for each split, ascending int64; empty for a split that the source has itself."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


class Fold(NamedTuple):
    """One of the parts of the training pool that take turns as the test split."""

    number: int  # 0..of - 1
    of: int  # how many parts, >= 2
    partition: int  # seed that divides the pool; folds of one partition are disjoint


class Sizes(NamedTuple):
    """How much of the training pool goes into each split."""

    val: float | None  # share in (0, 1) of the pool without test; None: the source has val
    test: float | Fold | None  # share in (0, 1) of the pool, or a fold of it; None: the source has test
    train: int | float | None  # of the rest: None: all; int: examples, >= 1; float: share in (0, 1]

    @property
    def carved(self) -> int:
        """How many splits are carved, besides train."""
        return (self.val is not None) + (self.test is not None)

    def train_count(self, available: int) -> int:
        """How many of the available examples train gets. Raises UserError if it needs more."""
        if self.train is None:
            return available
        if isinstance(self.train, float):
            return max(1, round(self.train * available))
        if self.train > available:
            raise UserError(f"dataset.train_size={self.train} is more than the {available} examples that are available")
        return self.train


def carve(target: np.ndarray, sizes: Sizes, seed: int) -> Rows:
    """Divide the examples, stratified by `target` (N,): class indices or other strata.

    A stratum with fewer examples than splits stays in train, and in val too if it has two examples.

    Raises:
        UserError: for a train_size above what is left, and if no stratum is large enough to be in every split.
    """
    rows = np.arange(len(target), dtype=np.int64)
    carved = {TEST: rows[:0], VAL: rows[:0]}
    # Each stratum keeps an example for every split that is still to come.
    for stage, name, fraction, keep in ((TEST, "test", sizes.test, sizes.carved), (VAL, "val", sizes.val, 1)):
        if fraction is None:
            continue
        if isinstance(fraction, Fold):
            taken = dealt(target, fraction.of, stream(seed, "split", FOLDS)) == fraction.number
            carved[stage], rows = rows[taken], rows[~taken]
        else:
            carved[stage], rows = _take(target, rows, fraction, seed, stage, keep)
        if not len(carved[stage]):
            raise UserError(
                f"no label has enough of the {len(target)} examples to put one into {name}; are the labels classes?"
            )
    chosen = stratified_order(target[rows], stream(seed, "split", TRAIN))[: sizes.train_count(len(rows))]
    return Rows(rows[np.sort(chosen)], carved[VAL], carved[TEST])


def dealt(strata: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """The fold (n,), 0..folds - 1, of each example, dealt like cards, stratum after stratum.

    The folds differ by at most one example, and so do their shares of each stratum (n,).
    """
    shuffled = rng.permutation(len(strata))
    fold = np.empty(len(strata), dtype=np.int64)
    fold[shuffled[np.argsort(strata[shuffled], kind="stable")]] = np.arange(len(strata)) % folds
    return fold


def stratified_order(target: np.ndarray, rng: np.random.Generator, keep: int = 0) -> np.ndarray:
    """A random order of the positions of `target` (n,) in which every beginning is stratified.

    The k-th example (from 0) of a class of n has the place (k + 1/2) / n, as in the Sainte-Lague method for seats, so
    that each class has its share in every beginning, to within about one example. The first example of each class
    comes before all second ones: a beginning as long as the number of classes holds them all. The last `keep` of each
    class are left out.
    """
    # For ten million examples an int64 array takes 80 MB, so integers are as short as possible and deleted after use.
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
    order = np.argsort(place, kind="stable").astype(whole)  # stable: ties stay shuffled
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
