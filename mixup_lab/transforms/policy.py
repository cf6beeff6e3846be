"""Policies that choose operations for each picture at random: AutoAugment and its successors share this.

Operations, levels of strength and directions are drawn here; `mixup_lab.transforms.operations` carries them out.
Strengths are those of torchvision. All take uint8 pictures of 1 or 3 channels; warps fill areas from outside with
black.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from mixup_lab.inputs.encoder import Encoder
from mixup_lab.transforms.augment import Augment
from mixup_lab.transforms.operations import NAMES, NUMBER, Space, operate, settings

IDENTITY = NUMBER["Identity"]
WITHOUT_INVERT = np.array([NUMBER[name] for name in NAMES if name != "Invert"])  # RandAugment and TrivialAugment


@dataclass(kw_only=True)
class Policy(Augment):
    """Some operations on each picture, one after another; a subclass draws them.

    Some rotate, shear or shift the picture, which masks and boxes cannot follow.
    """

    moves_targets = False
    space: ClassVar[Space]
    smooth: ClassVar[bool] = False

    def bind(self, encode: Encoder) -> None:
        super().bind(encode)
        self._check_channels(encode.shape[0])

    def apply_policy(self, inputs: Tensor, draw: dict[str, Tensor]) -> Tensor:
        return self.operated(inputs, draw["operation"], draw["level"], draw["negative"])

    def operated(self, inputs: Tensor, operation: Tensor, level: Tensor, negative: Tensor) -> Tensor:
        """The pictures after operations, levels and directions of shape (B, rounds).

        Raises:
            ValueError: for pictures that are neither grey nor RGB.
        """
        self._check_channels(inputs.shape[1])
        table = settings(self.space, *inputs.shape[2:], inputs.device)
        operation = operation.long()
        return operate(inputs, operation, table[operation, level.long(), negative.long()], self.smooth)

    def _check_channels(self, channels: int) -> None:
        if channels not in (1, 3):
            raise ValueError(f"{type(self).__name__} takes pictures of 1 or 3 channels, got {channels}")


def check_count(name: str, value: int, smallest: int, besides: str = "") -> None:
    """Raise ValueError unless a value is a whole number >= `smallest`; `besides` mentions another allowed value."""
    if not isinstance(value, int) or value < smallest:
        raise ValueError(f"{name} must be a whole number >= {smallest}{besides}, got {value}")


def drawn(rng: np.random.Generator, operation: np.ndarray, level: np.ndarray) -> dict[str, np.ndarray]:
    """The draw with these operations and levels, as uint8, and random directions: half are `negative`."""
    negative = rng.random(operation.shape) < 0.5
    return {"operation": operation.astype(np.uint8), "level": level.astype(np.uint8), "negative": negative}
