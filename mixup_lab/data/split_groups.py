"""Splits in which no group of examples (a patient, a speaker, a session) is in two splits.

Sizes and strata follow the fractions as well as whole groups allow. The search is greedy. In random order, each group
moves to the new split if that brings the split nearer to its size and to its share of each stratum; this repeats until
no single move helps. With up to a few hundred groups pairs are then swapped too, the best first; with more there is no
need. Folds are such splits too, one after the other, each from the groups that are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mixup_lab.data.splits import FOLDS, TEST, TRAIN, VAL, Fold, Rows, Sizes, stratified_order
from mixup_lab.seeding import stream
from mixup_lab.types import UserError

PASSES = 10  # maximum number of passes over all groups; usually two or three are enough
MANY = 10_000  # with this many groups the first pass is near enough
SWAPS = 200  # maximum number of swaps
CELLS = 2**22  # maximum number of values of all pairs together


def carve_groups(strata: np.ndarray, groups: np.ndarray, sizes: Sizes, seed: int, classes: bool) -> Rows:
    """Divide the examples by whole groups; the test split depends on the seed and on its size alone.

    Args:
        strata: (N,) int64 >= 0, the stratum of each example of the training pool.
        groups: (N,) the group of each example; any numbers.
        sizes: of the splits; `train` takes a stratified part of the examples left.
        seed: of the `split` stream.
        classes: whether the strata are classes: then each of them must stay in train.

    Raises:
        UserError: for fewer groups than splits or folds, for a train_size above what is left, and for folds of which
            one holds all examples of a class.
    """
    count = len(np.unique(groups))
    if isinstance(sizes.test, Fold) and count < sizes.test.of:
        raise UserError(f"dataset.folds={sizes.test.of} is more than the {count} groups; use at most {count}")
    if count < 1 + sizes.carved:
        raise UserError(
            f"dataset.group_column has {count} group{'s'[: count != 1]}, but at least {1 + sizes.carved} are"
            " needed to have one in each split"
        )
    rows = np.arange(len(strata), dtype=np.int64)
    carved = {TEST: rows[:0], VAL: rows[:0]}
    for stage, fraction, keep in ((TEST, sizes.test, sizes.carved), (VAL, sizes.val, 1)):
        if isinstance(fraction, Fold):
            fold = _dealt_groups(strata, groups, fraction.of, stream(seed, "split", FOLDS), classes)
            carved[stage], rows = rows[fold == fraction.number], rows[fold != fraction.number]
        elif fraction is not None:
            group_of = np.unique(groups[rows], return_inverse=True)[1]
            table = _Table.of(strata[rows], group_of)
            taken = table.choose(fraction, stream(seed, "split", stage), keep, classes)[group_of]
            carved[stage], rows = rows[taken], rows[~taken]
    part = stratified_order(strata[rows], stream(seed, "split", TRAIN))[: sizes.train_count(len(rows))]
    return Rows(rows[np.sort(part)], carved[VAL], carved[TEST])


def _dealt_groups(
    strata: np.ndarray, groups: np.ndarray, folds: int, rng: np.random.Generator, classes: bool
) -> np.ndarray:
    """The fold (N,), 0..folds - 1, of each example; a group is in one fold."""
    fold, left = np.full(len(strata), folds - 1), np.arange(len(strata))
    for number in range(folds - 1):
        group_of = np.unique(groups[left], return_inverse=True)[1]
        later = folds - number - 1
        taken = _Table.of(strata[left], group_of).choose(1 / (later + 1), rng, later, classes)[group_of]
        fold[left[taken]] = number
        left = left[~taken]
    pairs = np.unique(np.stack([strata, fold]), axis=1)[0]
    if classes and (np.unique(pairs, return_counts=True)[1] < 2).any():
        raise UserError(
            f"dataset.folds={folds}: all groups of one class are in one fold, so it could not be learnt when this fold"
            " is tested; each class needs several groups"
        )
    return fold


class _Table(NamedTuple):
    """How many examples of each stratum each group has, as lists, since many groups have few strata each."""

    strata: list[list[int]]  # for each group
    counts: list[list[int]]
    totals: list[int]  # of each stratum

    @classmethod
    def of(cls, strata: np.ndarray, group_of: np.ndarray) -> _Table:
        """From the stratum and the group, 0..G - 1, of each example."""
        span = int(strata.max()) + 1
        pairs, counts = np.unique(group_of * span + strata, return_counts=True)
        starts = np.unique(pairs // span, return_index=True)[1][1:]
        present, sizes = ([part.tolist() for part in np.split(values, starts)] for values in (pairs % span, counts))
        return cls(present, sizes, np.bincount(strata, minlength=span).tolist())

    def choose(self, fraction: float, rng: np.random.Generator, keep: int, classes: bool) -> np.ndarray:
        """Which groups go into the new split, bool (G,): at least one; at least `keep` stay."""
        want = [fraction * total for total in self.totals]
        size, goal = 0, fraction * sum(self.totals)
        weight = sum(total > 0 for total in self.totals)  # the size counts as much as all strata together
        have, left = [0] * len(want), list(self.totals)
        inside = [False] * len(self.strata)
        staying = len(inside)

        def gain(g: int, sign: int) -> float:
            """By how much the squared distances to the goals grow if a group moves in (sign 1) or out (-1)."""
            own = sum(self.counts[g])
            apart = weight * own * (own + 2 * sign * (size - goal))
            for k, count in zip(self.strata[g], self.counts[g], strict=True):
                apart += count * (count + 2 * sign * (have[k] - want[k]))
            return apart

        def free(g: int) -> bool:
            lasts = classes and any(left[k] == n for k, n in zip(self.strata[g], self.counts[g], strict=True))
            return staying > keep and not lasts

        def flip(g: int, sign: int) -> None:
            nonlocal size, staying
            inside[g] = sign > 0
            staying -= sign
            size += sign * sum(self.counts[g])
            for k, count in zip(self.strata[g], self.counts[g], strict=True):
                have[k] += sign * count
                left[k] -= sign * count

        order: Sequence[int] = rng.permutation(len(inside)).tolist()
        for _ in range(PASSES if len(order) < MANY else 1):
            moved = False
            for g in order:
                sign = -1 if inside[g] else 1
                if gain(g, sign) < 0 and (sign < 0 or free(g)):
                    flip(g, sign)
                    moved = True
            if not moved:
                break
        if not any(inside):  # every group is larger than twice the split
            flip(min((g for g in order if free(g)), key=lambda g: gain(g, 1), default=order[0]), 1)
        return self._swapped(np.array(inside), np.array(want), weight, classes)

    def _swapped(self, inside: np.ndarray, want: np.ndarray, weight: float, classes: bool) -> np.ndarray:
        """`inside` after swaps of one group inside with one outside, the best swap first."""
        if inside.sum() * (~inside).sum() * (len(want) + 1) > CELLS:
            return inside
        table = np.zeros((len(inside), len(want) + 1))  # the last column is the size, as heavy as all strata together
        for g, (strata, counts) in enumerate(zip(self.strata, self.counts, strict=True)):
            table[g, strata] = counts
        table[:, -1] = weight**0.5 * table.sum(1)
        goal = np.append(want, weight**0.5 * want.sum())
        for _ in range(SWAPS):
            within, without = np.flatnonzero(inside), np.flatnonzero(~inside)
            change = table[without][None] - table[within][:, None]  # (inside, outside, strata + 1)
            gain = ((2 * (table[inside].sum(0) - goal) + change) * change).sum(-1)
            if classes:
                stays = table[without, :-1].sum(0) - change[..., :-1]
                gain[(stays[..., np.array(self.totals) > 0] < 1).any(-1)] = np.inf
            one, other = np.unravel_index(gain.argmin(), gain.shape)
            if not gain[one, other] < -1e-6:
                break
            inside[[within[one], without[other]]] = False, True
        return inside
