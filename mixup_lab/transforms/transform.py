"""The contract of a transform: augmentation of single examples, as a function of a whole batch.

Drawing is separate from applying: `draw` makes the random numbers of many steps ahead, `apply` is a pure function of
the batch and the numbers of one step. S: steps; B: pictures of C, H, W in a batch.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from torch import Tensor

from mixup_lab.inputs.encoder import Encoder


class Transform(ABC):
    """One option of the group `transform`."""

    changes: ClassVar[bool] = True  # whether examples change
    moves_targets: ClassVar[bool] = False  # whether masks and boxes can follow, with `move_masks` and `move_boxes`

    def bind(self, encode: Encoder) -> None:
        """Called once, before the first step, with the encoder of the pictures.

        Raises:
            ValueError: for inputs that the transform cannot change; by default for everything but pictures.
        """
        if self.changes and not encode.pictures:
            name = type(self).__name__
            raise ValueError(f"{name} changes pictures, and the examples are {encode.noun}; use transform=none")

    @abstractmethod
    def draw(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """The random numbers of S steps; each array has the shape (S, B, ...)."""

    @abstractmethod
    def apply(self, inputs: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """uint8 (B, C, H, W) to the same; `draw` holds the numbers of one step, (B, ...), on the same device."""

    def move_masks(self, masks: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """Masks uint8 (B, H, W) after the transform, void in areas from outside. Default: unchanged."""
        return masks

    def move_boxes(self, boxes: Tensor, draw: dict[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        """Boxes (B, M, 5) of pictures of shape (C, H, W) after the transform. Default: unchanged."""
        return boxes
