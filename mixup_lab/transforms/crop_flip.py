"""Random crop and horizontal flip, of pictures, masks and boxes."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mixup_lab.inputs.encoder import Encoder
from mixup_lab.inputs.pictures import as_pictures, in_memory_order
from mixup_lab.transforms.transform import Transform
from mixup_lab.types import VOID

MODES = ("zeros", "reflect")


class CropFlip(Transform):
    """A random crop of the original size after padding on all sides, then a horizontal flip of half of the pictures.

    Masks move with the picture: padded with void, or mirrored like it.

    Args:
        padding: pixels, >= 0 and smaller than the pictures.
        mode: of the padding: `zeros` (black), or `reflect` (the picture mirrored at its edge pixels).
        flip: whether to flip with probability 1/2. Not for digits and letters.

    Raises:
        ValueError: for values outside their range.
    """

    moves_targets = True

    def __init__(self, padding: int = 4, mode: str = "zeros", flip: bool = True) -> None:
        if padding < 0:
            raise ValueError(f"padding must be 0 or more, got {padding}")
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode}")
        self.padding, self.mode, self.flip = padding, mode, flip

    def bind(self, encode: Encoder) -> None:
        """Also refuse pictures that are not larger than the padding."""
        super().bind(encode)
        height, width = encode.shape[1:]
        if self.padding >= min(height, width):
            raise ValueError(f"padding must be smaller than the pictures ({height}x{width}), got {self.padding}")

    def draw(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """`top` and `left` int64 in 0..2*padding, `flip` bool: corners of the crops in the padded pictures."""
        shape = (steps, batch_size)
        top = rng.integers(0, 2 * self.padding + 1, shape)
        left = rng.integers(0, 2 * self.padding + 1, shape)
        flip = rng.random(shape) < 0.5  # drawn last and always, so that switching it off leaves the crops alone
        return {"top": top, "left": left, "flip": flip if self.flip else np.zeros(shape, dtype=bool)}

    def apply(self, inputs: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """Crop and flip uint8 (B, C, H, W), in the same memory format.

        Each is one gather for the whole batch, of contiguous pieces: rows of all channels in channels_last, else rows
        of one channel.
        """
        return self._moved(inputs, draw, 0)

    def move_masks(self, masks: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """Masks uint8 (B, H, W), with void in zero padding."""
        return self._moved(masks.unsqueeze(1), draw, VOID).squeeze(1)

    def move_boxes(self, boxes: Tensor, draw: dict[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        """Boxes (B, M, 5), cut off at the borders; class -1 for those whose centre is outside.

        The mirrored padding of `reflect` has no boxes.
        """
        height, width = shape[1:]
        shift = self.padding - torch.stack([draw["left"], draw["top"]] * 2, 1).unsqueeze(1)  # (B, 1, 4)
        left, top, right, bottom = (boxes[..., 1:] + shift).unbind(2)
        flip = draw["flip"].unsqueeze(1)
        left, right = torch.where(flip, width - right, left), torch.where(flip, width - left, right)
        across, down = (left + right) / 2, (top + bottom) / 2
        inside = (across > 0) & (across < width) & (down > 0) & (down < height)
        kept = torch.where(inside, boxes[..., 0], -1.0)
        edges = [left.clamp(0, width), top.clamp(0, height), right.clamp(0, width), bottom.clamp(0, height)]
        return torch.stack([kept, *edges], 2)

    def _moved(self, inputs: Tensor, draw: dict[str, Tensor], fill: int) -> Tensor:
        batch, _, height, width = inputs.shape
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
