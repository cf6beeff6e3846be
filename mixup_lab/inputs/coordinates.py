"""Rows of a table drawn as small pictures, in parallel coordinates.

The values of a row go from left to right. Numbers are the heights of a line, from -3 to 3 standard deviations, with a
rule at 0. Flags and one-hot vectors are bars from the bottom, full height for 1: in a mixed row one block may have two
bars, as high as their shares.
"""

from collections.abc import Sequence

import numpy as np

REACH = 3.0  # standard deviations from the middle to the edge
ROOM = 0.06  # margin above and below, as a share of the height
PAPER, SHADE, RULE, EDGE = (255, 255, 255), (246, 243, 238), (205, 208, 212), (221, 214, 204)
LINE, FILL, BAR = (0, 114, 178), (204, 225, 239), (213, 94, 0)


def draw_rows(rows: np.ndarray, numbers: int, bars: Sequence[int], box: int) -> np.ndarray:
    """Draw encoded rows (n, F) as tiles, uint8 (n, box, box, 3).

    Args:
        rows: float32; standardised numbers first, then values in [0, 1].
        numbers: how many of the values are numbers.
        bars: lengths of the blocks that follow: 1 for a flag, more for a one-hot vector.
        box: side of a tile in pixels. With more values than pixels, a pixel shows the range of its values.
    """
    n, count = rows.shape
    tiles = np.empty((n, box, box, 3), dtype=np.uint8)
    tiles[:] = PAPER
    ends = np.cumsum([0, *[2] * numbers, *[1] * (count - numbers)])  # a number is as wide as two bars
    spans = ends * box // ends[-1]  # value k is drawn at the pixels spans[k]:spans[k + 1], maybe none
    split = int(spans[numbers])
    if split < box:
        firsts = spans[numbers + np.cumsum([0, *bars[:-1]])]  # pixel of each block
        _draw_bars(tiles[:, :, split:], rows[:, numbers:], spans[numbers:] - split, firsts - split)
    if split > 0:
        _draw_line(tiles[:, :, :split], rows[:, :numbers], spans[: numbers + 1])
    return tiles


def legend(numbers: int, bars: Sequence[int]) -> list[tuple[str, np.ndarray]]:
    """The meaning of the colours of `draw_rows`, whose arguments these are."""
    rows = (
        (numbers > 0, "numbers, from -3 to 3 standard deviations", LINE),
        (any(bar > 1 for bar in bars), "categories: a bar for each value, as high as its share", BAR),
        (any(bar == 1 for bar in bars), "missing values: a bar for each column that has any", BAR),
    )
    return [(words, np.array(colour, dtype=np.uint8)) for there, words, colour in rows if there]


def _draw_bars(tiles: np.ndarray, shares: np.ndarray, spans: np.ndarray, firsts: np.ndarray) -> None:
    box, width = tiles.shape[1:3]
    tiles[:] = SHADE
    tiles[:, :, np.minimum(firsts, width - 1)] = EDGE
    room = 2 * round(ROOM * box)
    heights = np.clip(_per_pixel(shares, spans, width, np.maximum), 0, 1) * (box - 1 - room)
    top = np.rint(box - 1 - heights)
    gap = np.zeros(width, dtype=bool)  # the first pixel of each bar that is wide enough to spare one
    gap[spans[:-1][np.diff(spans) >= 4]] = True
    filled = (np.arange(box)[:, None] >= top[:, None, :]) & (heights[:, None, :] > 0) & ~gap
    tiles[filled] = BAR


def _draw_line(tiles: np.ndarray, values: np.ndarray, spans: np.ndarray) -> None:
    box, width = tiles.shape[1:3]
    height, middle = np.arange(box)[:, None], (box - 1) / 2
    unit = middle * (1 - 2 * ROOM) / REACH
    kept = np.clip(values, -REACH, REACH)
    # Row 0 is at the top, so large values have small row numbers.
    low, high = (np.rint(middle - unit * _per_pixel(kept, spans, width, pick)) for pick in (np.minimum, np.maximum))
    zero = round(middle)
    area = (height >= np.minimum(high, zero)[:, None, :]) & (height <= np.maximum(low, zero)[:, None, :])
    tiles[area] = FILL
    tiles[:, zero] = RULE
    before_low, before_high = (np.concatenate([edge[:, :1], edge[:, :-1]], 1) for edge in (low, high))
    top = np.minimum(high, before_low) - (max(1, box // 64) - 1)  # thicker on larger tiles
    bottom = np.maximum(low, before_high)
    tiles[(height >= top[:, None, :]) & (height <= bottom[:, None, :])] = LINE


def _per_pixel(values: np.ndarray, spans: np.ndarray, width: int, pick: np.ufunc) -> np.ndarray:
    """(n, values) to (n, width): the value at each pixel; `pick` reduces several at one pixel to one."""
    if values.shape[1] <= width:
        return values[:, np.repeat(np.arange(values.shape[1]), np.diff(spans))]
    pixel = np.searchsorted(spans, np.arange(width), side="left")
    return np.asarray(pick.reduceat(values, np.minimum(pixel, values.shape[1] - 1), axis=1))
