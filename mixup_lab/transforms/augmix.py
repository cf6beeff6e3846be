"""AugMix: each picture is mixed with copies of itself after chains of operations."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mixup_lab.transforms.operations import NAMES, NUMBER, Space
from mixup_lab.transforms.policy import IDENTITY, Policy, check_count, drawn

# AugMix leaves out the operations that are in tests of robustness (ImageNet-C and its like).
ENHANCEMENTS = ("Brightness", "Color", "Contrast", "Sharpness")
MIXED = np.array([NUMBER[name] for name in NAMES if name not in (*ENHANCEMENTS, "Invert", "Identity")])
ALL_MIXED = np.array([NUMBER[name] for name in NAMES if name not in ("Invert", "Identity")])


@dataclass(kw_only=True)
class AugMix(Policy):
    """A mixture of the picture with copies of it after chains of operations (Hendrycks et al., 2020).

    The result is m of the picture itself and 1 - m of the weighted mean of `width` chains; m is from Beta(alpha,
    alpha), the weights of the chains are from Dirichlet(alpha, ..., alpha), an operation is uniform among nine. The
    paper's loss for consistent predictions on the picture and two such mixtures is left out.

    Args:
        severity: in 1..10: strengths are uniform among this many of the ten levels, the weakest first.
        width: number of chains, >= 1.
        depth: operations in each, >= 1; -1: 1, 2 or 3 at random.
        alpha: > 0.
        all_ops: whether to use brightness, colour, contrast and sharpness too; the paper leaves them out, as tests of
            robustness contain them.
    """

    severity: int = 3
    width: int = 3
    depth: int = -1
    alpha: float = 1.0
    all_ops: bool = False
    space: ClassVar[Space] = Space(10, 0.3, 1 / 3, 0, 30, 0.9, (4, 4))
    smooth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.severity not in range(1, self.space.levels + 1):
            raise ValueError(f"severity must be in 1..{self.space.levels}, got {self.severity}")
        check_count("width", self.width, 1)
        if self.depth != -1:
            check_count("depth", self.depth, 1, " (or -1: 1 to 3 at random)")
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha must be a finite number > 0, got {self.alpha}")

    def draw_policy(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """`operation`, `level` uint8, `negative` bool, all (S, B, width, depth), `weight` float32 (S, B, width + 1).

        Shorter chains end with operations that do nothing. The weights sum to 1, the first is the picture's.
        """
        chains = (steps, batch_size, self.width)
        own = rng.beta(self.alpha, self.alpha, (steps, batch_size, 1))
        weight = np.concatenate([own, (1 - own) * rng.dirichlet(np.full(self.width, self.alpha), chains[:2])], -1)
        depth = np.full(chains, self.depth) if self.depth > 0 else rng.integers(1, 4, chains)
        longest = self.depth if self.depth > 0 else 3
        operation = rng.choice(ALL_MIXED if self.all_ops else MIXED, (*chains, longest))
        operation[np.arange(longest) >= depth[..., None]] = IDENTITY
        level = rng.integers(self.severity, size=operation.shape)
        return {**drawn(rng, operation, level), "weight": weight.astype(np.float32)}

    def apply_policy(self, inputs: Tensor, draw: dict[str, Tensor]) -> Tensor:
        batch = len(inputs)
        # The chains are independent, so they make one large batch.
        copies = inputs.repeat_interleave(self.width, 0)
        chains = (draw[name].flatten(0, 1) for name in ("operation", "level", "negative"))
        done = self.operated(copies, *chains).view(batch, self.width, *inputs.shape[1:])
        weight = draw["weight"][..., None, None, None]
        mixed = inputs * weight[:, 0]
        for i in range(self.width):
            mixed += done[:, i] * weight[:, 1 + i]
        return torch.empty_like(inputs).copy_(mixed.round_().clamp_(0, 255))
