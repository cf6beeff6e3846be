"""Mixup (Zhang, Cisse, Dauphin, Lopez-Paz: mixup: Beyond Empirical Risk Minimization, ICLR 2018)."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from mixup_lab.mixing.functional import draw_lam, draw_perm, interpolate
from mixup_lab.types import Batch, Mixed


class Mixup:
    """Mix every example with a random partner of its batch, lam ~ Beta(alpha, alpha).

    Args:
        alpha: >= 0 and finite; 0 trains bit for bit like the baseline.
        per_sample: one lam for each example instead of one for the batch (the paper's code draws one for the batch).
        prob: in [0, 1]; the share of the batches (with `per_sample`, of the examples) that are mixed at all.

    Raises:
        ValueError: if an argument is outside its range.
    """

    def __init__(self, alpha: float = 1.0, per_sample: bool = False, prob: float = 1.0) -> None:
        if not (math.isfinite(alpha) and alpha >= 0):
            raise ValueError(f"alpha must be a finite number >= 0, got {alpha}")
        if not 0 <= prob <= 1:
            raise ValueError(f"prob must be in [0, 1], got {prob}")
        self.alpha = float(alpha)
        self.per_sample = per_sample
        self.prob = prob

    def draw(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """`perm` (steps, B) int64 and `lam` (steps, B) float32. Partners are drawn first: all alphas share them."""
        perm = draw_perm(rng, steps, batch_size)
        shape = (steps, batch_size if self.per_sample else 1)
        unmixed = rng.random(shape) >= self.prob
        lam = draw_lam(rng, self.alpha, shape)
        lam[unmixed] = 1.0
        return {"perm": perm, "lam": np.broadcast_to(lam, (steps, batch_size)).copy()}

    def apply(self, batch: Batch, draw: dict[str, Tensor]) -> Mixed:
        """Inputs are mixed, labels are handed on as the pair (own, partner) with lam between them."""
        perm, lam = draw["perm"], draw["lam"]
        return Mixed(interpolate(batch.inputs, perm, lam), batch.target, batch.target[perm], lam)
