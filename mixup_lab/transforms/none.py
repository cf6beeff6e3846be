"""No transform."""

import numpy as np
from torch import Tensor

from mixup_lab.transforms.transform import Transform


class NoTransform(Transform):
    """Leaves examples of any kind unchanged."""

    changes = False
    moves_targets = True

    def draw(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        return {}

    def apply(self, inputs: Tensor, draw: dict[str, Tensor]) -> Tensor:
        return inputs
