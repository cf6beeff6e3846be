"""The contract of encoders, which turn stored examples into the inputs of a model.

n: some examples, B: examples in a batch, `...`: the shape of a stored example.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Encoder(ABC):
    """A kind of input. Nothing in it is learnt from examples outside the training split.

    An encoder of your own sets `shape`, and those attributes below that apply to its inputs.
    """

    shape: tuple[int, ...]  # of one encoded example
    noun: str = "examples"  # plural, for messages: pictures, rows, texts, sounds
    pictures: bool = False  # uint8 (C, H, W) before encoding: transforms change them
    tokens: bool = False  # token ids, which are mixed inside the model
    planar: bool = False  # (C, H, W) after encoding: the memory format matters
    together: bool = False  # for short steps: several batches are encoded and mixed at once, all rows ahead if they fit
    mean: tuple[float, ...] = ()  # of pictures, per channel on the scale [0, 1]

    def to(self, device: torch.device) -> Encoder:
        """This encoder on a device. Default: itself, as there is nothing to move."""
        return self

    @abstractmethod
    def __call__(self, inputs: Tensor) -> Tensor:
        """Stored (B, ...) to encoded (B, *shape): float32, or int64 for tokens."""

    @abstractmethod
    def draw(self, inputs: Tensor, box: int) -> np.ndarray:
        """Draw encoded examples (n, *shape), mixed ones too, as tiles: uint8 (n, height, width, 3).

        `box` is the maximum side of a tile in pixels.
        """

    def legend(self) -> list[tuple[str, np.ndarray]]:
        """Words and colour, uint8 (3,), of what `draw` shows in colours of its own. Default: nothing."""
        return []

    def offers(self) -> dict[str, Any]:
        """Arguments for models whose constructors have parameters of these names. Default: none."""
        return {}

    def whole(self, example: Tensor) -> Tensor:
        """A copy of an encoded example from a batch, in the full `shape` if the batch was trimmed."""
        return example.clone()

    def about(self) -> dict[str, Any]:
        """What a program needs to make stored examples for an exported model, in plain values. Default: nothing."""
        return {}

    def describe(self) -> str:
        """The size of an example: `3 x 32 x 32`, `40 tokens`."""
        return " x ".join(map(str, self.shape))
