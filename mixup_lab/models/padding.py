"""Zeros around pictures that are smaller than a network's layers need."""

from __future__ import annotations

from torch import nn


def zeros_around(height: int, width: int, smallest: int) -> tuple[nn.ZeroPad2d, int, int]:
    """A layer that puts a picture into the middle of zeros, at least `smallest` high and wide, and its new sizes."""
    rows, columns = max(0, smallest - height), max(0, smallest - width)
    top, left = rows // 2, columns // 2
    return nn.ZeroPad2d((left, columns - left, top, rows - top)), height + rows, width + columns
