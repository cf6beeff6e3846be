"""Pure functions of mixing. B: examples in the batch; `...`: the shape of one example."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def interpolate(inputs: Tensor, perm: Tensor, lam: Tensor) -> Tensor:
    """`lam * inputs + (1 - lam) * inputs[perm]` (Zhang et al., 2018, eq. 2), into a new tensor.

    Args:
        inputs: (B, ...) floating point.
        perm: (B,) int64; sample i is mixed with sample perm[i].
        lam: (B,), the share of the sample's own input. Where it is 1 the result equals `inputs` bit for bit.
    """
    weight = lam.to(inputs.dtype).reshape(-1, *[1] * (inputs.dim() - 1))
    return _rows(inputs, perm).lerp_(inputs, weight)


def _rows(inputs: Tensor, perm: Tensor) -> Tensor:
    """`inputs[perm]` in the same memory layout. index_select copies whole rows: three times faster than indexing."""
    if inputs.is_contiguous():
        return inputs.index_select(0, perm)
    last = inputs.movedim(1, -1)
    if last.is_contiguous():  # channels_last
        return last.index_select(0, perm).movedim(-1, 1)
    return inputs[perm]


def draw_perm(rng: np.random.Generator, steps: int, batch_size: int) -> np.ndarray:
    """One uniform random permutation of the batch for each step: (steps, batch_size) int64."""
    return rng.permuted(np.tile(np.arange(batch_size), (steps, 1)), axis=1)


def draw_lam(rng: np.random.Generator, alpha: float, shape: tuple[int, ...]) -> np.ndarray:
    """Draw lam ~ Beta(alpha, alpha) as float32 of the given shape; alpha = 0 gives ones (no mixing).

    The law is symmetric and its mean is 1/2: alpha < 1 favours the ends (nearly unmixed), alpha = 1 is uniform,
    large alpha concentrates at one half.
    """
    if alpha == 0:
        return np.ones(shape, np.float32)
    return rng.beta(alpha, alpha, shape).astype(np.float32)
