"""Augmentation of single pictures, as functions of a whole batch, and standardisation.

Randomness is drawn in one place and applied in another: `draw` makes the numbers of many steps ahead, `apply` is a pure
function of the batch and of one step's numbers. Shapes: `B` pictures of `C, H, W`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mixup_lab.inputs.pictures import as_pictures, in_memory_order
from mixup_lab.transforms.boxes import crop_flip_boxes
from mixup_lab.types import VOID, UserError

MODES = ("zeros", "reflect")


class Transform(Protocol):
    """One option of the group `transform`.

    It may also have `bind(input_shape, mean)`, which is told once, before the first step, the shape (C, H, W) of a
    picture and the mean of each channel on the scale [0, 1], and raises ValueError for what it cannot serve.
    Where targets are masks it must have `apply_mask(masks, draw)`, uint8 (B, H, W) to the same, which moves the pixels
    of a mask as `apply` moves those of its picture; what comes in from outside is void. Where they are boxes it must
    have `apply_boxes(boxes, draw, shape)`, (B, M, 5) of pictures (C, H, W) to the same.
    """

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

    def apply_mask(self, masks: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """The masks themselves."""
        return masks

    def apply_boxes(self, boxes: Tensor, draw: dict[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        """The boxes themselves."""
        return boxes


class CropFlip:
    """A random crop of the original size after padding on all sides, then a horizontal flip of every second picture.

    Masks move alike: padded with void, or mirrored where the picture is.

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
        """Crops and flips are two gathers for the whole batch, of pieces of memory that are copied as they are.

        The memory format stays; in channels_last a piece is a row of all channels, else a row of one.
        """
        return self._moved(inputs, draw, 0)

    def apply_mask(self, masks: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """The masks (B, H, W) of the same pictures."""
        return self._moved(masks.unsqueeze(1), draw, VOID).squeeze(1)

    def apply_boxes(self, boxes: Tensor, draw: dict[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        """The boxes (B, M, 5) of the same pictures (C, H, W); what `reflect` mirrors into the padding has none."""
        return crop_flip_boxes(boxes, draw, self.padding, *shape[1:])

    def _moved(self, inputs: Tensor, draw: dict[str, Tensor], fill: int) -> Tensor:
        batch, _, height, width = inputs.shape
        if self.padding >= min(height, width):
            raise UserError(
                f"transform.padding must be smaller than the pictures ({height}x{width}), got {self.padding}"
            )
        if self.mode == "reflect":
            padded = _reflected(inputs, self.padding)
        else:
            padded = F.pad(inputs, (self.padding,) * 4, value=fill)
        planes = in_memory_order(padded)  # (B, planes, rows, columns, values of a pixel)
        _, count, high, wide, values = planes.shape
        # Row r of plane p of crop i begins at pixel ((i * count + p) * high + top + r) * wide + left of all planes.
        first = torch.arange(batch * count, device=inputs.device).view(batch, count, 1) * high
        rows = first + torch.arange(height, device=inputs.device)
        start = (rows * wide + (draw["top"] * wide + draw["left"])[:, None, None]) * values
        length = width * values
        windows = planes.view(-1).as_strided((planes.numel() - length + 1, length), (1, 1))
        crops = windows.index_select(0, start.view(-1)).view(batch, count, height, width, values)
        if self.flip:
            both = torch.cat([crops, crops.flip(3)])
            crops = both.index_select(0, torch.arange(batch, device=inputs.device) + batch * draw["flip"])
        return as_pictures(crops)


def _reflected(inputs: Tensor, padding: int) -> Tensor:
    """The pictures mirrored at their edge pixels, which are not repeated: (B, C, H + 2 * padding, W + 2 * padding)."""
    for dim in (2, 3):
        size = inputs.shape[dim]
        before = inputs.narrow(dim, 1, padding).flip(dim)
        after = inputs.narrow(dim, size - 1 - padding, padding).flip(dim)
        inputs = torch.cat([before, inputs, after], dim)
    return inputs
