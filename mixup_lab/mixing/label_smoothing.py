"""Label smoothing as strong as Mixup's labels: the control that tells what the inputs add."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from mixup_lab.mixing.functional import soft
from mixup_lab.mixing.law import mean_minor_share
from mixup_lab.mixing.mixer import Bound, Draw, Mixer
from mixup_lab.types import Batch, Mixed


@dataclass
class LabelSmoothing(Mixer):
    """Inputs as they are; the label keeps 1 - eps, and eps is spread evenly over all classes.

    eps = E[min(lam, 1 - lam)] for lam ~ Beta(alpha, alpha): the label mass that Mixup of this alpha moves on average.

    Args:
        alpha: >= 0 and finite; 0 is the baseline.
        num_classes: for use outside of runs, which know it.
    """

    on_tokens = True
    alpha: float = 1.0
    num_classes: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"alpha must be a finite number >= 0, got {self.alpha}")

    def bind(self, bound: Bound) -> None:
        """Refuse targets that are no classes."""
        if bound.num_classes is None:
            raise ValueError("label_smoothing needs targets that are classes")
        self.num_classes = bound.num_classes

    def draw(
        self,
        rng: np.random.Generator,
        steps: int,
        batch_size: int,
        *,
        targets: np.ndarray | None = None,
        scale_alpha: np.ndarray | None = None,
        scale_prob: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """`eps` (S,): nothing is left to chance."""
        alpha = np.full(steps, self.alpha) * (1 if scale_alpha is None else scale_alpha)
        eps = np.array([mean_minor_share(a) if a > 0 else 0.0 for a in alpha])
        return {"eps": eps * (1 if scale_prob is None else scale_prob)}

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        """Soft labels."""
        label = soft(batch.target, self.num_classes)
        # A label sums to 1; that of a void pixel to 0.
        target = label * (1 - draw["eps"]) + label.sum(1, keepdim=True) * (draw["eps"] / label.shape[1])
        return Mixed(batch.inputs, target, target, torch.ones(len(target), device=target.device))
