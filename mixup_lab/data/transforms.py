"""Augmentation of single pictures, as functions of a whole batch, and standardisation.

Randomness is drawn in one place and applied in another: `draw` makes the numbers of many steps ahead, `apply` is a pure
function of the batch and of one step's numbers. Shapes: `B` pictures of `C, H, W`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mixup_lab.types import UserError

MODES = ("zeros", "reflect")


class Transform(Protocol):
    """One option of the group `transform`."""

    def draw(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """The random numbers of `steps` batches; each array has the shape (steps, B, ...)."""

    def apply(self, inputs: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """uint8 (B, C, H, W) to the same; `draw` holds one step's values (B, ...) on the inputs' device."""


class NoTransform:
    """Pictures as they are."""

    def draw(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """Nothing is drawn."""
        return {}

    def apply(self, inputs: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """The inputs themselves."""
        return inputs


class CropFlip:
    """A random crop of the original size after padding on all sides, then a horizontal flip of every second picture.

    Args:
        padding: pixels, >= 0 and smaller than the pictures.
        mode: what the padding shows: `zeros` (black), or `reflect` (the picture mirrored at its edge pixels).
        flip: whether to flip with probability 1/2. Not for digits and letters.

    Raises:
        UserError: for values outside their range.
    """

    def __init__(self, padding: int = 4, mode: str = "zeros", flip: bool = True) -> None:
        if padding < 0:
            raise UserError(f"transform.padding must be 0 or more, got {padding}")
        if mode not in MODES:
            raise UserError(f"transform.mode must be one of {', '.join(MODES)}, got {mode}")
        self.padding = padding
        self.mode = mode
        self.flip = flip

    def draw(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """`top` and `left` int64 in 0..2*padding, `flip` bool: corners of the crops in the padded pictures."""
        shape = (steps, batch_size)
        top = rng.integers(0, 2 * self.padding + 1, shape)
        left = rng.integers(0, 2 * self.padding + 1, shape)
        flip = rng.random(shape) < 0.5  # drawn last and always, so that switching it off leaves the crops alone
        return {"top": top, "left": left, "flip": flip if self.flip else np.zeros(shape, dtype=bool)}

    def apply(self, inputs: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """One gather for the batch: padding, crop and flip are all arithmetic on row and column numbers."""
        batch, channels, height, width = inputs.shape
        if self.padding >= min(height, width):
            raise UserError(
                f"transform.padding must be smaller than the pictures ({height}x{width}), got {self.padding}"
            )
        rows = torch.arange(height, device=inputs.device)
        columns = torch.arange(width, device=inputs.device)
        rows = rows + draw["top"][:, None]  # (B, H), in the padded picture
        columns = torch.where(draw["flip"][:, None], width - 1 - columns, columns) + draw["left"][:, None]  # (B, W)
        if self.mode == "zeros":
            inputs = F.pad(inputs, (self.padding,) * 4)
            stride = width + 2 * self.padding
        else:
            rows, columns = (_reflect(i - self.padding, n) for i, n in ((rows, height), (columns, width)))
            stride = width
        index = (rows[:, :, None] * stride + columns[:, None, :]).view(batch, 1, height * width)
        return inputs.flatten(2).gather(2, index.expand(batch, channels, -1)).view(batch, channels, height, width)


def _reflect(index: Tensor, size: int) -> Tensor:
    """Positions beyond 0..size-1 mirrored at the edge pixels, which are not repeated."""
    return (size - 1) - ((size - 1) - index.abs()).abs()


class Standardize:
    """uint8 pictures to float32 with mean 0 and standard deviation 1 per channel: `(x / 255 - mean) / std`.

    Args:
        mean: one value for each channel, for pixels on the scale [0, 1].
        std: likewise, > 0.
        device: where the pictures will be.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device | str = "cpu") -> None:
        centre, width = (np.asarray(v, dtype=np.float64).reshape(-1, 1, 1) for v in (mean, std))
        self.scale = torch.from_numpy((1 / (255 * width)).astype(np.float32)).to(device)
        self.shift = torch.from_numpy((-centre / width).astype(np.float32)).to(device)

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W), uint8 to float32; the memory format stays as it is."""
        return inputs.float().mul_(self.scale).add_(self.shift)

    def inverse(self, inputs: Tensor) -> Tensor:
        """Back to [0, 1], to be looked at."""
        return inputs.sub(self.shift).div_(self.scale).div_(255).clamp_(0, 1)
