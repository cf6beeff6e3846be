"""RandAugment: a few random operations of one strength."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixup_lab.transforms.operations import Space
from mixup_lab.transforms.policy import WITHOUT_INVERT, Policy, check_count, drawn


@dataclass(kw_only=True)
class RandAugment(Policy):
    """`num_ops` operations, each uniform among 14 (one of them does nothing), all of one strength (Cubuk et al., 2020).

    Args:
        num_ops: >= 0; 1 to 3 in the paper.
        magnitude: in 0..30; the best value depends on model and data, and grows with the size of both.
    """

    num_ops: int = 2
    magnitude: int = 9
    space: ClassVar[Space] = Space(31, 0.3, 150 / 331, 0, 30, 0.9, (8, 4))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("num_ops", self.num_ops, 0)
        if self.magnitude not in range(self.space.levels):
            raise ValueError(f"magnitude must be in 0..{self.space.levels - 1}, got {self.magnitude}")

    def draw_policy(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """`operation` and `level` uint8, `negative` bool, each (S, B, num_ops)."""
        operation = rng.choice(WITHOUT_INVERT, (steps, batch_size, self.num_ops))
        return drawn(rng, operation, np.full_like(operation, self.magnitude))
