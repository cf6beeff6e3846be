"""The maps of a lens: for each arm the classes that its model predicts over a plane, side by side."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from mixup_lab.look import (
    COLOURS,
    INK,
    LETTER,
    MARKERS,
    PAPER,
    WIDE,
    legend,
    new_figure,
    our_style,
    short,
)
from mixup_lab.runs.findings import Surface
from mixup_lab.study.plots.epochs import curve_arms
from mixup_lab.study.plots.svg import inline_svg
from mixup_lab.study.results import Answer, LensMap

_MOST_POINTS = 100  # test examples in a map
_MOST_CLASSES = len(COLOURS)  # with a name in the key
_STRENGTH = 0.6  # of the colour where the probability is 1
_GAP = 14  # between maps, in units of the drawing


def lens_maps(answer: Answer, maps: Sequence[LensMap], prefix: str = "maps", width: float = WIDE) -> str:
    """A map for each arm: the most probable class, in a stronger colour the more probable; boundaries; test examples.

    Args:
        answer: of the study, in whose order the arms are.
        maps: at most one of an arm; those that the study has no room for are left out.
    """
    by_arm = {one.arm: one.surface for one in maps}
    drawn = [(arm.name, by_arm[arm.id]) for arm in curve_arms(answer)[0] if arm.id in by_arm]
    if not drawn:
        return ""
    columns = 2 if width < WIDE else 3 if len(drawn) < 4 else 4
    rows = -(-len(drawn) // columns)
    side = width / columns - _GAP
    # Arms with other data have other classes.
    names = [
        " / ".join(dict.fromkeys(surface.names[k] for _, surface in drawn if k < len(surface.names)))
        for k in range(min(max(len(surface.names) for _, surface in drawn), _MOST_CLASSES))
    ]
    with our_style():
        figure = new_figure(30 + rows * (side + 26), width)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, (name, surface) in zip(axes, drawn, strict=False):
            _draw(ax, surface)
            ax.set_title(short(name, int(side / LETTER)))
        for ax in axes[len(drawn) :]:
            ax.set_visible(False)
        keys = [
            Line2D([], [], color=COLOURS[k], marker=MARKERS[k], linestyle="", markersize=6, label=short(name, 30))
            for k, name in enumerate(names)
        ]
        legend(figure, keys)
        return inline_svg(figure, prefix, f"Predictions of each arm over the plane, study {answer.study}")


def _draw(ax: Axes, surface: Surface) -> None:
    p = surface.probabilities.astype(float)
    best, k = p.max(0), len(p)
    (x0, x1), (y0, y1) = surface.x.tolist(), surface.y.tolist()
    half = (x1 - x0) / (p.shape[2] - 1) / 2, (y1 - y0) / (p.shape[1] - 1) / 2  # a cell lies around its point
    extent = (x0 - half[0], x1 + half[0], y0 - half[1], y1 + half[1])
    colours = np.array([to_rgb(COLOURS[c % len(COLOURS)]) for c in range(k)])
    strength = _STRENGTH * np.clip((best - 1 / k) / (1 - 1 / k), 0, 1)
    image = np.round(255 * np.dstack([colours[p.argmax(0)], strength])).astype(np.uint8)
    ax.imshow(image, extent=extent, origin="lower", interpolation="none", aspect="auto")
    for c in range(k - 1):  # the boundary of the last class is that of others too
        lead = p[c] - np.delete(p, c, 0).max(0)
        if lead.min() < 0 < lead.max():
            ax.contour(lead, [0], extent=extent, origin="lower", colors=INK, linewidths=1)
    n = len(surface.points)
    shown = np.linspace(0, n - 1, min(n, _MOST_POINTS)).round().astype(int)
    for c in range(k):
        own = surface.points[shown[surface.classes[shown] == c]]
        ax.plot(
            *own.T, linestyle="", marker=MARKERS[c % len(MARKERS)], color=COLOURS[c % len(COLOURS)], markersize=4.5,
            markeredgecolor=PAPER, markeredgewidth=0.7,
        )  # fmt: skip
    ax.set(xlim=(x0, x1), ylim=(y0, y1), xticks=[], yticks=[])
