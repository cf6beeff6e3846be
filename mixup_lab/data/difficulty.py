"""Difficulty made on purpose, in the training split alone: wrong labels, and classes of unequal sizes.

Both are nested: more noise corrupts the same examples and further ones, and a longer tail keeps a part of what a
shorter one keeps. They are the same in all arms of a seed, and with `dataset.split_seed` in all runs of a study.
"""

from collections.abc import Sequence

import numpy as np

from mixup_lab.data.splits import stratified_order
from mixup_lab.seeding import stream
from mixup_lab.types import UserError

NOISE, TAIL = 3, 4  # index of each random stream among those of the splits


def corrupted(
    target: np.ndarray, share: float, names: Sequence[str], pairs: Sequence[Sequence[str | int]] | None, seed: int
) -> np.ndarray:
    """Labels of which a share is wrong, each class alike.

    Args:
        target: (n,) int64 class indices.
        share: of the examples, in [0, 1); with `pairs`, of the examples of the classes that are confused.
        names: of the classes.
        pairs: [from, to] classes by name or index: an example of `from` gets the label `to`. None: any other class,
            all equally likely (symmetric noise).
        seed: of the splits.

    Returns:
        (n,) int64, a new array.

    Raises:
        UserError: for a pair whose classes do not exist or are the same, and for two pairs from one class.
    """
    rng = stream(seed, "split", NOISE)
    order = stratified_order(target, rng)
    shift = rng.integers(1, max(2, len(names)), size=len(target))  # to another class, drawn for every example
    others = (target + shift) % len(names)
    if pairs is not None:
        becomes = _becomes(pairs, names)
        others = becomes[target]
        order = order[others[order] != target[order]]
    noisy = target.copy()
    wrong = order[: round(share * len(order))]
    noisy[wrong] = others[wrong]
    return noisy


def _becomes(pairs: Sequence[Sequence[str | int]], names: Sequence[str]) -> np.ndarray:
    becomes, seen = np.arange(len(names)), set()
    for pair in pairs:
        indices = [_index(entry, names) for entry in pair]
        if len(indices) != 2 or indices[0] == indices[1]:
            raise UserError(f"dataset.label_noise_pairs must be [from, to] pairs of two classes, got {list(pair)}")
        if indices[0] in seen:
            raise UserError(f"dataset.label_noise_pairs has two pairs from class {names[indices[0]]}")
        seen.add(indices[0])
        becomes[indices[0]] = indices[1]
    return becomes


def _index(entry: str | int, names: Sequence[str]) -> int:
    if str(entry) in names:
        return list(names).index(str(entry))
    if isinstance(entry, int) and 0 <= entry < len(names):
        return entry
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    raise UserError(f"dataset.label_noise_pairs: there is no class {entry}; the classes are {shown}")


def long_tail(target: np.ndarray, imbalance: float, seed: int) -> np.ndarray:
    """The positions, ascending, that are left of a training split with a long tail.

    Of the k-th of C classes, in their order, `largest * imbalance ** (-k / (C - 1))` examples are kept, at least one,
    if it has so many: the exponential profile of Cui et al. (2019), with `imbalance` the ratio of the first class to
    the last. Classes without examples do not count.

    Args:
        target: (n,) class indices.
        imbalance: >= 1.
        seed: of the splits.
    """
    counts = np.bincount(target)
    classes = np.flatnonzero(counts)
    exponents = np.arange(len(classes)) / max(1, len(classes) - 1)
    wanted = np.maximum(1, np.rint(counts.max() * imbalance**-exponents)).astype(np.int64)
    shuffled = stream(seed, "split", TAIL).permutation(len(target))
    kept = [
        shuffled[target[shuffled] == number][:count]
        for number, count in zip(classes.tolist(), wanted.tolist(), strict=True)
    ]
    return np.sort(np.concatenate(kept))
