"""A sheet of captioned pictures, for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TILE = 104  # pixels across, at least: three tiles fill a card of TensorBoard, unscaled
MARGIN = 4
LINE = 17  # height of a line of a caption


def captioned_grid(pictures: np.ndarray, captions: Sequence[str], columns: int = 3) -> np.ndarray:
    """Tile pictures with a caption below each.

    Args:
        pictures: (N, H, W, C) floats in [0, 1], C 1 or 3; small ones are enlarged without smoothing.
        captions: N texts, lines separated by a newline.
        columns: pictures in a row.

    Returns:
        uint8 (height, width, 3).
    """
    n, height, width, _ = pictures.shape
    scale = max(1, -(-TILE // width))
    font = ImageFont.load_default(LINE - 3)
    lines = max(caption.count("\n") + 1 for caption in captions)
    tile_w, tile_h = width * scale + 2 * MARGIN, height * scale + lines * LINE + 2 * MARGIN
    columns = min(columns, n)
    sheet = Image.new("RGB", (columns * tile_w, -(-n // columns) * tile_h), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left, top = i % columns * tile_w + MARGIN, i // columns * tile_h + MARGIN
        pixels = np.repeat((np.clip(picture, 0, 1) * 255).round().astype(np.uint8), 4 - picture.shape[-1], axis=-1)
        tile = Image.fromarray(pixels[..., :3]).resize((width * scale, height * scale), Image.Resampling.NEAREST)
        sheet.paste(tile, (left, top))
        for row, line in enumerate(caption.split("\n")):
            text = _fitted(line, font, tile_w - MARGIN)
            draw.text((left, top + height * scale + 2 + LINE * row), text, fill="black", font=font)
    return np.asarray(sheet)


def _fitted(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
