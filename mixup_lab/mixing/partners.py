"""Who is mixed with whom: the partner of every example of a batch.

S: steps, B: examples in a batch. Partners are drawn for many steps at once; only those by the distance of inputs or
features are computed batch by batch on the device.
"""

import numpy as np
import torch
from torch import Tensor

DRAWN = ("random", "no_self", "pairs", "roll")
BY_LABEL = ("same_class", "different_class", "near_label")
BY_DISTANCE = ("nearest_input", "nearest_feature")
PARTNERS = DRAWN + BY_LABEL + BY_DISTANCE


def draw_partners(
    kind: str,
    rng: np.random.Generator,
    steps: int,
    batch_size: int,
    targets: np.ndarray | None = None,
    bandwidth: float = 1.0,
) -> tuple[np.ndarray, float]:
    """Partners for many steps.

    Args:
        kind: `random`: a uniform random permutation (as in the paper); `no_self`: a random cycle through the batch;
            `pairs`: random couples (in a batch of odd size one example is its own partner); `roll`: the previous
            example; `same_class` and `different_class`: if the batch has such partners; `near_label`: drawn with weight
            exp(-d^2 / 2) for labels at distance d, in bandwidths (Yao et al., 2022).
        rng: the mixing stream.
        steps: S.
        batch_size: B.
        targets: (S, B) class indices, or (S, B, ...) numbers for `near_label`; needed for kinds in BY_LABEL.
        bandwidth: of `near_label`, in standard deviations of the labels, > 0.

    Returns:
        (S, B) int64, and the share of the examples for which the batch had no such partner: with `same_class` they are
        their own partner, with `different_class` they get one of their own class.

    Raises:
        ValueError: if labels are needed but missing, or are not class indices.
    """
    identity = np.arange(batch_size)[None].repeat(steps, axis=0)
    if kind == "random":
        return rng.permuted(identity, axis=1), 0.0
    if kind == "roll":
        return np.roll(identity, 1, axis=1), 0.0 if batch_size > 1 else 1.0
    if kind == "no_self":
        order = rng.permuted(identity, axis=1)
        return _linked(order, np.roll(order, -1, axis=1)), 0.0 if batch_size > 1 else 1.0
    if kind == "pairs":
        order = rng.permuted(identity, axis=1)
        other = order.copy()
        even = batch_size - batch_size % 2
        other[:, 0:even:2], other[:, 1:even:2] = order[:, 1:even:2], order[:, 0:even:2]
        return _linked(order, other), (batch_size % 2) / batch_size
    if targets is None:
        raise ValueError(f"partner={kind} needs labels before the batch is read, and there are none")
    if kind == "near_label":
        return _near_label(rng, targets.reshape(steps, batch_size, -1).astype(float), bandwidth)
    if targets.ndim != 2 or not np.issubdtype(targets.dtype, np.integer):
        raise ValueError(f"partner={kind} needs one class for each example, and these targets are not classes")
    return _same_class(rng, targets) if kind == "same_class" else _different_class(rng, targets)


def nearest(features: Tensor) -> Tensor:
    """The nearest other example of the batch, by Euclidean distance: (B, ...) floating point to (B,) int64.

    A batch of one is its own partner. Memory: B x B.
    """
    rows = features.detach().flatten(1).float()
    rows = rows - rows.mean(0)  # cdist squares values: a large common offset would cost precision
    distance = torch.cdist(rows, rows)
    if len(rows) > 1:
        distance.fill_diagonal_(torch.inf)
    return distance.argmin(1)


def _linked(order: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """perm with perm[order[k]] = partner[k], for each row."""
    perm = np.empty_like(order)
    np.put_along_axis(perm, order, partner, axis=1)
    return perm


def _same_class(rng: np.random.Generator, targets: np.ndarray) -> tuple[np.ndarray, float]:
    """A random cycle through the examples of each class."""
    steps, batch_size = targets.shape
    order = np.argsort(targets + rng.random(targets.shape), axis=1)
    classes = np.take_along_axis(targets, order, axis=1)
    places = np.tile(np.arange(batch_size), (steps, 1))
    first = np.ones_like(classes, dtype=bool)
    first[:, 1:] = classes[:, 1:] != classes[:, :-1]
    last = np.roll(first, -1, axis=1)
    start = np.maximum.accumulate(np.where(first, places, 0), axis=1)
    following = np.where(last, start, np.minimum(places + 1, batch_size - 1))
    return _linked(order, np.take_along_axis(order, following, axis=1)), float((first & last).mean())


def _different_class(rng: np.random.Generator, targets: np.ndarray) -> tuple[np.ndarray, float]:
    """Sort by class and shift by at least the size of the largest class, at most B minus it: no class meets itself."""
    perm = np.empty(targets.shape, dtype=np.int64)
    batch_size = targets.shape[1]
    for step, row in enumerate(targets):
        _, classes, counts = np.unique(row, return_inverse=True, return_counts=True)
        rank = rng.permutation(len(counts))[classes]  # the order of the classes is random too
        order = np.argsort(rank + rng.random(batch_size))
        largest = int(counts.max())
        low, high = sorted((largest, batch_size - largest))
        shift = rng.integers(low, high + 1) if largest <= batch_size - largest else largest
        perm[step, order] = np.roll(order, -int(shift))
    same = np.take_along_axis(targets, perm, axis=1) == targets
    return perm, float(same.mean())


def _near_label(rng: np.random.Generator, targets: np.ndarray, bandwidth: float) -> tuple[np.ndarray, float]:
    """One batch at a time: B x B weights, never all examples with all."""
    steps, batch_size, _ = targets.shape
    perm = np.tile(np.arange(batch_size), (steps, 1))
    if batch_size == 1:
        return perm, 1.0
    spread = targets.std(axis=(0, 1))
    scaled = targets / (bandwidth * np.where(spread > 0, spread, 1.0))
    for step, row in enumerate(scaled):
        energy = ((row[:, None] - row[None]) ** 2).sum(-1) / 2
        np.fill_diagonal(energy, np.inf)
        weights = np.cumsum(np.exp(energy.min(axis=1, keepdims=True) - energy), axis=1)  # the nearest one weighs 1
        point = rng.random((batch_size, 1)) * weights[:, -1:]
        perm[step] = (weights <= point).sum(axis=1)
    return perm, 0.0
