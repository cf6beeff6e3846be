"""The contract of a mixing method, and the method that does nothing.

A mixer first draws all chance for many steps from its own generator, then applies it with pure functions. So the same
draws give the same batches on every device, eagerly or compiled, and the maths is tested with chosen values.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mixup_lab.types import Batch, Mixed


class Mixer(Protocol):
    """A method of mixing the examples of a batch; one class and one yaml in `conf/aug` make a new one."""

    alpha: float  # parameter of the law of lam; 0 means that nothing is mixed

    def draw(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """All that is random, for `steps` batches: arrays whose first dimension is `steps`."""
        ...

    def apply(self, batch: Batch, draw: dict[str, Tensor]) -> Mixed:
        """Mix one batch with one step's draw, on the batch's device. The batch is not changed in place."""
        ...


class NoMixing:
    """The baseline (ERM): every example is itself, lam = 1."""

    alpha = 0.0

    def draw(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """Nothing is drawn."""
        return {}

    def apply(self, batch: Batch, draw: dict[str, Tensor]) -> Mixed:
        """The batch as it is, with itself as partner."""
        lam = torch.ones(len(batch.target), device=batch.target.device)
        return Mixed(batch.inputs, batch.target, batch.target, lam)
