"""Boxes go where a crop and a flip take the picture."""

from __future__ import annotations

import torch
from torch import Tensor


def crop_flip_boxes(boxes: Tensor, draw: dict[str, Tensor], padding: int, height: int, width: int) -> Tensor:
    """Boxes (B, M, 5) after crop and flip, cut off at the borders; those whose centre is outside have class -1.

    Args:
        boxes: class, left, top, right, bottom in pixels; class -1 for none.
        draw: `top`, `left` and `flip` (B,), as `CropFlip` draws them.
        padding: pixels.
        height: of the pictures.
        width: likewise.
    """
    shift = padding - torch.stack([draw["left"], draw["top"]] * 2, 1).unsqueeze(1)  # (B, 1, 4)
    left, top, right, bottom = (boxes[..., 1:] + shift).unbind(2)
    flip = draw["flip"].unsqueeze(1)
    left, right = torch.where(flip, width - right, left), torch.where(flip, width - left, right)
    across, down = (left + right) / 2, (top + bottom) / 2
    inside = (across > 0) & (across < width) & (down > 0) & (down < height)
    kept = torch.where(inside, boxes[..., 0], -1.0)
    edges = [left.clamp(0, width), top.clamp(0, height), right.clamp(0, width), bottom.clamp(0, height)]
    return torch.stack([kept, *edges], 2)
