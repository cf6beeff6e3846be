"""Loss and score over the epochs."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mixup_lab.look import COLOURS, INK, LINES, MARKERS, PAPER, WIDE, legend, line_key, new_figure, our_style, short
from mixup_lab.study.plots.svg import inline_svg
from mixup_lab.study.results import Answer, Arm, Curve, Interval

MAX_CURVES = 7  # arms in one picture of curves
_POINTS = 120  # of a curve in a wide picture; more are not visible


def curves(answer: Answer, prefix: str = "curves", width: float = WIDE) -> str:
    """Loss and score over the epochs, on clean training examples and on val: mean and 95 % interval of each arm."""
    shown = curve_arms(answer)[0]
    names = list(dict.fromkeys(("loss", answer.metric.name)))
    by_tag = {(curve.arm, curve.tag): curve for curve in answer.curves if curve.epochs}
    titles = {"train_clean": "training examples, unmixed", "val": "validation"}
    tags = {(name, split): f"{split}/{name}" for name in names for split in titles}
    recorded = {key for key, tag in tags.items() if any((arm.id, tag) in by_tag for arm in shown)}
    # A row or column without any record is left out.
    names = [name for name in names if any((name, split) in recorded for split in titles)]
    splits = [split for split in titles if any((name, split) in recorded for name in names)]
    if not recorded:
        return ""
    with our_style():
        # Panels of one name stand next to each other, or one above the other where there is no room for that.
        columns, panel_height, key_height = (len(splits), 225, 11) if width == WIDE else (1, 195, 20)
        count = len(names) * len(splits)
        figure = new_figure(60 + panel_height * count // columns + key_height * len(shown), width)
        axes = figure.subplots(count // columns, columns, squeeze=False, sharex=True, sharey="row")
        axes = axes.reshape(len(names), len(splits))
        for i, name in enumerate(names):
            panels = [[by_tag.get((arm.id, tags[name, split])) for arm in shown] for split in splits]
            scale = 100 if name == answer.metric.name and answer.metric.percent else 1
            for j, panel in enumerate(panels):
                for k, (arm, curve) in enumerate(zip(shown, panel, strict=True)):
                    if curve is not None:
                        lines = (curve.epochs, *(_times(scale, y) for y in (curve.mean, curve.low, curve.high)))
                        draw_curve(axes[i, j], *lines, arm=arm, k=k, arms=len(shown), width=width)
            limits = _limits([curve for panel in panels for curve in panel if curve is not None], scale)
            for ax, split in zip(axes[i], splits, strict=True):
                place = ax.get_subplotspec()
                ax.set_ylim(limits)
                ax.grid(axis="y")
                ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
                if i == 0 or columns == 1:
                    ax.set_title(titles[split])
                if place.is_first_col():
                    ax.set_ylabel(f"{short(name)} (%)" if scale == 100 else short(name))
                if place.is_last_row():
                    ax.set_xlabel("epoch")
        legend(figure, [line_key(arm.name, *curve_look(arm, k)) for k, arm in enumerate(shown)])
        return inline_svg(figure, prefix, f"Loss and {short(answer.metric.name)} over the epochs, study {answer.study}")


def curve_arms(answer: Answer) -> tuple[list[Arm], int]:
    """The arms whose curves are drawn, and how many are left out: baselines, the chosen ones, then in order.

    Without curves over the epochs, of all arms with a result, which lenses may have curves of.
    """
    having = {curve.arm for curve in answer.curves if curve.epochs} or {arm.id for arm in answer.arms if arm.test.n}
    arms = [arm for arm in answer.arms if arm.id in having]
    chosen = {choice.arm for choice in answer.choices}
    first = sorted(arms, key=lambda arm: 0 if arm.baseline is None else 1 if arm.id in chosen else 2)[:MAX_CURVES]
    return [arm for arm in arms if arm in first], len(arms) - len(first)


def curve_look(arm: Arm, k: int) -> tuple[str, str, Any]:
    """Colour, marker and style of the k-th of the arms whose curves are drawn."""
    if arm.baseline is None and k == 0:
        return INK, "", LINES[1]
    return COLOURS[(k - 1) % len(COLOURS)], MARKERS[(k - 1) % len(MARKERS)], LINES[0 if k < 4 else 3]


def draw_curve(
    ax: Axes,
    x: Sequence[float],
    mean: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    arm: Arm,
    k: int,
    arms: int,
    width: float,
) -> None:
    """The curve of the k-th of so many arms, with its band."""
    colour, marker, style = curve_look(arm, k)
    # Evenly spaced points, the first and the last among them.
    n, points = len(x), _POINTS if width == WIDE else _POINTS // 2
    keep = np.unique(np.linspace(0, n - 1, min(n, points)).round().astype(int))
    xs, means, lows, highs = (np.array(values, dtype=float)[keep] for values in (x, mean, low, high))
    if np.any(highs > lows):
        ax.fill_between(xs, lows, highs, facecolor=colour, alpha=0.13, linewidth=0)
    step = max(1, len(xs) // 6)
    ax.plot(
        xs, means, color=colour, linestyle=style, linewidth=1.5, marker=marker, markersize=5,
        markevery=(k * step // arms, step), markeredgecolor=PAPER, markeredgewidth=0.6,
    )  # fmt: skip


def _times(scale: float, values: Sequence[float]) -> list[float]:
    return [scale * value for value in values]


def _limits(curves: Iterable[Curve], scale: float) -> Interval | None:
    """A vertical range that fits the second half of training, where arms can be compared.

    The wide intervals of two or three seeds may leave the picture, the means do not.
    """
    means, ends = [], []
    for curve in curves:
        late = slice(len(curve.epochs) // 2, None)
        means += [scale * x for x in curve.mean[late] if math.isfinite(x)]
        ends += [scale * x for x in (*curve.low[late], *curve.high[late]) if math.isfinite(x)]
    if not means:
        return None
    low, high = min(means), max(means)
    room = 0.5 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = max(low - room, min(*ends, low)), min(high + room, max(*ends, high))
    return low - 0.06 * (high - low or room), high + 0.06 * (high - low or room)
