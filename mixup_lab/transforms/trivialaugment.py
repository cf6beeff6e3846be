"""TrivialAugment: one operation of random strength."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixup_lab.transforms.operations import Space
from mixup_lab.transforms.policy import WITHOUT_INVERT, Policy, drawn


@dataclass(kw_only=True)
class TrivialAugment(Policy):
    """One operation, uniform among 14, of uniform strength (Müller & Hutter, 2021: the wide space). Nothing is tuned.

    Translations go up to 32 pixels whatever the size of the picture, as in the paper: of a small one nothing may stay.
    """

    space: ClassVar[Space] = Space(31, 0.99, 0, 32, 135, 0.99, (8, 6))

    def draw_policy(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """`operation` and `level` uint8, `negative` bool, each (S, B, 1)."""
        operation = rng.choice(WITHOUT_INVERT, (steps, batch_size, 1))
        return drawn(rng, operation, rng.integers(self.space.levels, size=operation.shape))
