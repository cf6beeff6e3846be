"""Boxes drawn onto tiles, a colour for each class."""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image, ImageDraw

GOLDEN = 0.618034  # of the circle of hues, from one class to the next: neighbours differ, whatever their number


def box_colour(number: int) -> tuple[int, int, int]:
    """Of class `number`, bright."""
    red, green, blue = colorsys.hsv_to_rgb(number * GOLDEN % 1, 1.0, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_boxes(tiles: np.ndarray, boxes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The tiles with the outlines of boxes on them.

    Args:
        tiles: uint8 (n, height, width, 3).
        boxes: (n, M, 5 or more) of class, left, top, right, bottom in pixels of the pictures; class -1 for none.
        shape: (C, H, W) of the pictures.

    Returns:
        New tiles; the given ones stay as they are.
    """
    high, wide = tiles.shape[1:3]
    scale = np.array([wide / shape[2], high / shape[1]] * 2)
    drawn = []
    for tile, rows in zip(tiles, boxes, strict=True):
        image = Image.fromarray(np.ascontiguousarray(tile))
        pen = ImageDraw.Draw(image)
        for kind, *edges in rows[rows[:, 0] >= 0, :5].tolist():
            left, top, right, bottom = np.clip(np.round(edges * scale), 0, [wide, high, wide, high]).tolist()
            pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=box_colour(int(kind)))
        drawn.append(np.asarray(image))
    return np.stack(drawn) if drawn else tiles
