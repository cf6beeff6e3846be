"""The look of all pictures: colours, markers, style, keys and names."""

import math
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mixup_lab.visible import visible

WIDE = 680  # units of a drawing; text is 12 of them high
NARROW = 340  # of one for a telephone, where text keeps its height
LETTER = 6.6  # units, the width of most letters

# Placeholders for CSS variables of the page; no other colour has these values.
INK, MUTED, GRID, PAPER = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04"
BLUE, VERMILLION = "#0072b2", "#d55e00"
VARIABLES = {
    INK: "var(--ink,#1c1f23)",
    MUTED: "var(--muted,#646b73)",
    GRID: "var(--grid,#e4e6e9)",
    PAPER: "var(--paper,#fff)",
    BLUE: "var(--blue,#0072b2)",  # a dark page needs a lighter one
}
COLOURS = (BLUE, VERMILLION, "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mixup-lab",
    "text.parse_math": False,  # a $ in a name does not begin a formula
    "font.family": "sans-serif",
    "font.size": 12,
    "axes.labelsize": 12,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "legend.fontsize": 11.5,
    "legend.frameon": False,
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
}


@contextmanager
def our_style() -> Iterator[None]:
    """Apply our style without the user's matplotlibrc: the same answer gives the same bytes everywhere."""
    backend = {key for key in matplotlib.rcParams if key.startswith(("backend", "interactive", "toolbar", "webagg"))}
    ours: dict[Any, Any] = {
        key: value for key, value in matplotlib.rcParamsDefault.items() if key not in backend
    } | _STYLE
    with matplotlib.rc_context(ours):
        yield


def new_figure(height: float, width: float = WIDE) -> Figure:
    """An empty figure of this size in units of the drawing, without a background."""
    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    figure.patch.set_alpha(0)
    FigureCanvasSVG(figure)
    return figure


def legend(figure: Figure, keys: list[Any]) -> None:
    """Keys above the picture, in as many columns as fit."""
    width = 72 * figure.get_figwidth()
    for key in keys:
        key.set_label(short(str(key.get_label()), int((width - 46) / LETTER)))
    lengths = [len(str(key.get_label())) for key in keys]
    columns = 1
    for n in range(2, min(len(keys), 5) + 1):
        deep = math.ceil(len(keys) / n)
        across = sum(46 + LETTER * max(lengths[k : k + deep]) for k in range(0, len(keys), deep))
        columns = math.ceil(len(keys) / deep) if across < width else columns
    figure.legend(
        handles=keys, loc="outside upper left", ncols=columns, handlelength=2.2, columnspacing=1.6, borderaxespad=0.2
    )


def line_key(name: str, colour: str, marker: str, style: Any) -> Line2D:
    """The entry of a line in the legend."""
    return Line2D(
        [], [], color=colour, marker=marker, linestyle=style, markersize=6, linewidth=1.5, label=short(name, 60)
    )


def name_rows(ax: Axes, names: list[str], width: float = WIDE) -> None:
    """Rows from top to bottom, with their names at the left; above each row in a drawing that is not wide."""
    if width < WIDE:
        ax.set_yticks([])
        for y, name in enumerate(names):
            words = short(name, int(width / LETTER))
            place = ax.annotate(words, (0, y - 0.26), xycoords=("axes fraction", "data"), va="bottom", fontsize=11.5)
            place.set_bbox({"facecolor": PAPER, "linewidth": 0, "alpha": 0.7, "pad": 0})
            place.set_in_layout(False)
    else:
        ax.set_yticks(range(len(names)), [short(name) for name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def folded(label: str, width: float) -> str:
    """The label of an axis, on as many lines as it needs."""
    return textwrap.fill(label, int(width / LETTER))


def short(name: str, length: int = 34) -> str:
    """A name on one line; a long one is cut in the middle, since arms differ at their ends."""
    name = " ".join(visible(name).split())
    half = length // 2
    return name if len(name) <= length else f"{name[: half - 1]}…{name[-half:]}"


def spread_out(n: int, half: float) -> np.ndarray:
    """Offsets (n,) within `half` of 0 for the dots of n seeds; seed k has the same one in every arm."""
    return half * (((np.arange(n) * 0.618034 + 0.5) % 1.0) * 2 - 1) if n > 1 else np.zeros(n)
