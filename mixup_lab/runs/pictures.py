"""A sheet of captioned pictures, for TensorBoard."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mixup_lab.runs.fonts import font_for

SCALE = 2  # pixels of the sheet for one of a picture: TensorBoard shows sheets in cards, of any size
MARGIN, LINE, TEXT = 8, 30, 25  # height of a line of a caption, and of its letters
MOST_LINES = 3  # that one line of a caption may need


def captioned_grid(pictures: np.ndarray, captions: Sequence[str], columns: int = 3) -> np.ndarray:
    """Tile pictures with a caption below each.

    Args:
        pictures: uint8 (N, height, width, 3), drawn SCALE times as large.
        captions: N texts, lines separated by a newline; long ones are folded.
        columns: pictures in a row.

    Returns:
        uint8 (height, width, 3).
    """
    pictures = pictures.repeat(SCALE, 1).repeat(SCALE, 2)
    n, height, width, _ = pictures.shape
    folded = [[part for line in caption.split("\n") for part in _folded(line, width)] for caption in captions]
    tile_w, tile_h = width + 2 * MARGIN, height + max(map(len, folded)) * LINE + 2 * MARGIN
    columns = min(columns, n)
    sheet = Image.new("RGB", (columns * tile_w, -(-n // columns) * tile_h), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (picture, lines) in enumerate(zip(pictures, folded, strict=True)):
        left, top = i % columns * tile_w + MARGIN, i // columns * tile_h + MARGIN
        sheet.paste(Image.fromarray(picture), (left, top))
        for row, line in enumerate(lines):
            draw.text((left, top + height + 2 + LINE * row), line, fill="black", font=_font(line))
    return np.asarray(sheet)


def _folded(text: str, width: int) -> list[str]:
    """The text on as many lines as it needs, broken between words where it can be; the rest of a long one is cut."""
    font, lines = _font(text), list[str]()
    while font.getlength(text) > width:
        last = len(lines) == MOST_LINES - 1
        tail = "…" if last else ""
        fits = next((k for k in range(len(text) - 1, 1, -1) if font.getlength(text[:k] + tail) <= width), 1)
        if last:
            return [*lines, text[:fits] + tail]
        place = text.rfind(" ", 1, fits + 1)
        place = fits if place < 0 else place
        lines.append(text[:place].rstrip())
        text = text[place:].lstrip()
    return [*lines, text]


@cache
def _typeface(path: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, TEXT)


def _font(text: str) -> ImageFont.FreeTypeFont:
    return _typeface(str(font_for(text)))
