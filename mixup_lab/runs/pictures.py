"""A sheet of captioned pictures, for TensorBoard."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MARGIN = 4
LINE = 17  # height of a line of a caption


def captioned_grid(pictures: np.ndarray, captions: Sequence[str], columns: int = 3) -> np.ndarray:
    """Tile pictures with a caption below each.

    Args:
        pictures: uint8 (N, height, width, 3).
        captions: N texts, lines separated by a newline.
        columns: pictures in a row.

    Returns:
        uint8 (height, width, 3).
    """
    n, height, width, _ = pictures.shape
    font = ImageFont.load_default(LINE - 3)
    lines = max(caption.count("\n") + 1 for caption in captions)
    tile_w, tile_h = width + 2 * MARGIN, height + lines * LINE + 2 * MARGIN
    columns = min(columns, n)
    sheet = Image.new("RGB", (columns * tile_w, -(-n // columns) * tile_h), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left, top = i % columns * tile_w + MARGIN, i // columns * tile_h + MARGIN
        sheet.paste(Image.fromarray(picture), (left, top))
        for row, line in enumerate(caption.split("\n")):
            text = _fitted(line, font, tile_w - MARGIN)
            draw.text((left, top + height + 2 + LINE * row), text, fill="black", font=font)
    return np.asarray(sheet)


def _fitted(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
