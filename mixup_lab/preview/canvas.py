"""A picture that is laid out in pixels, so that small pictures in it are enlarged by whole factors and stay sharp."""

import io
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from mixup_lab.look import GRID, INK, VARIABLES, our_style
from mixup_lab.runs.fonts import families_for

DPI = 100
TEXT, LINE, ASCENT = 9.5, 16, 12  # size of text in points; height of a line and of its letters in pixels
CHARACTER = 7.2  # pixels across, on average


def plain(colour: str) -> str:
    """The value of a colour of the look, such as `#1c1f23` for ink."""
    return VARIABLES.get(colour, colour).rstrip(")").rpartition(",")[2]


class Canvas:
    """Grows downwards; places are in pixels from the left and the top."""

    def __init__(self, width: int) -> None:
        self.width, self.height = width, 0
        self._parts: list[Callable[[Figure], object]] = []  # called when the height is known

    def down(self, pixels: int) -> int:
        """Reserve this much height below, and return its top."""
        self.height += pixels
        return self.height - pixels

    def text(self, x: float, y: float, text: str, **look: Any) -> None:
        """A text whose first line begins at `y`; lines are evenly spaced, whatever their letters."""
        look = {"color": plain(INK), "size": TEXT, **look}
        for number, line in enumerate(text.split("\n")):
            self._parts.append(partial(self._line, x, y + ASCENT + LINE * number, line, look))

    def picture(self, x: int, y: int, tile: np.ndarray) -> None:
        """A picture pixel by pixel, uint8 (height, width, 3), in a thin frame."""
        frame = np.empty((tile.shape[0] + 2, tile.shape[1] + 2, 3), dtype=np.uint8)
        frame[:] = list(bytes.fromhex(plain(GRID)[1:]))
        frame[1:-1, 1:-1] = tile
        self._parts.append(lambda figure: figure.figimage(frame, x - 1, self.height - y - len(tile) - 1))

    def axes(self, x: float, y: float, width: float, height: float, draw: Callable[[Axes], None]) -> None:
        """A diagram in this frame; the labels of its axes are outside."""

        def part(figure: Figure) -> None:
            bottom = 1 - (y + height) / self.height
            draw(figure.add_axes((x / self.width, bottom, width / self.width, height / self.height)))

        self._parts.append(part)

    def _line(self, x: float, baseline: float, line: str, look: dict[str, Any], figure: Figure) -> None:
        figure.text(x / self.width, 1 - baseline / self.height, line, va="baseline", **look)

    def png(self) -> bytes:
        """The picture as a file; the same content gives the same bytes."""
        out = io.BytesIO()
        with our_style():
            named = {key: plain(v) for key, v in matplotlib.rcParams.items() if isinstance(v, str) and v in VARIABLES}
            ours: dict[Any, Any] = {
                "font.size": TEXT,
                "axes.labelsize": TEXT,
                "xtick.labelsize": 9,
                "ytick.labelsize": 9,
                "legend.fontsize": TEXT,
            }
            with matplotlib.rc_context({**named, **ours}):
                figure = Figure(figsize=(self.width / DPI, self.height / DPI), dpi=DPI, facecolor="white")
                FigureCanvasAgg(figure)
                for part in self._parts:
                    part(figure)
                texts = [artist for artist in figure.findobj(Text) if isinstance(artist, Text)]
                families = families_for(artist.get_text() for artist in texts)
                for artist in texts:
                    artist.set_fontfamily(families)
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box marks its place
                    figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
        return out.getvalue()
