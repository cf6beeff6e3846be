"""Differences to the baseline with their intervals, in rows: of every arm, and of every class."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mixup_lab import look
from mixup_lab.look import BLUE, INK, MUTED, PAPER, VERMILLION, WIDE, short
from mixup_lab.study import formats, shown
from mixup_lab.study.formats import scaled
from mixup_lab.study.plots.series import series_of
from mixup_lab.study.plots.svg import inline_svg
from mixup_lab.study.results import Answer, Interval, Metric


def differences(answer: Answer, prefix: str = "differences", width: float = WIDE) -> str:
    """Forest plot: the paired difference of every seed, their mean, the interval for retraining and that for new data.

    The band around zero marks differences smaller than the smallest one of interest.
    """
    series = {arm.id: line for line in reversed(series_of(list(answer.arms))) for arm in line.arms}
    compared = [arm for block in shown.blocks(answer) for arm in block if arm.comparison and arm.comparison.differences]
    if not compared:
        return ""
    metric = answer.metric
    with look.our_style():
        figure = look.new_figure(118 + 42 * len(compared) if width == WIDE else 170 + 56 * len(compared), width)
        ax = figure.add_subplot()
        if answer.min_effect:
            edge = scaled(answer.min_effect, metric)
            ax.axvspan(-edge, edge, facecolor=MUTED, alpha=0.13, linewidth=0)
        ax.axvline(0, color=INK, linewidth=1)
        for y, arm in enumerate(compared):
            assert arm.comparison is not None
            line, values = series[arm.id], [scaled(x, metric) for x in arm.comparison.differences]
            _bar(ax, y, arm.comparison.new_data, metric, line.colour, 1.2, caps=True)
            _bar(ax, y, arm.comparison.retraining, metric, line.colour, 5)
            heights = y + 0.25 + look.spread_out(len(values), 0.07)
            ax.plot(values, heights, marker="o", color=INK, alpha=0.5, markersize=3.6, linestyle="", markeredgewidth=0)
            ax.plot(
                [np.mean(values)], [y], marker=line.marker, color=line.colour, markersize=8, markeredgecolor=PAPER
            )  # fmt: skip
        look.name_rows(ax, [arm.name for arm in compared], width)
        right = ax.secondary_yaxis("right")
        right.set_yticks(
            range(len(compared)),
            [formats.difference(arm.comparison.mean if arm.comparison else None, metric, False) for arm in compared],
        )
        right.tick_params(length=0)
        right.spines["right"].set_visible(False)
        ax.annotate("mean", (1, 1), xytext=(5, 2), xycoords="axes fraction", textcoords="offset points", color=MUTED)
        side = "" if metric.maximize is None else f"; {'right' if metric.maximize else 'left'} of zero is better"
        unit = " (points)" if metric.percent else ""
        label = f"difference to the baseline in {short(metric.label, 30)}{unit}{side}"
        ax.set_xlabel(look.folded(label, 0.85 * width))  # it is centred below axes that are narrower
        ax.grid(axis="x")
        keys: list[Any] = [
            Line2D([], [], marker="o", color=INK, alpha=0.5, markersize=3.6, linestyle="", label="one seed"),
            Line2D([], [], marker="o", color=BLUE, markersize=8, linestyle="", markeredgecolor=PAPER, label="mean"),
            Line2D([], [], color=BLUE, alpha=0.5, linewidth=5, label="95 % interval: retraining"),
        ]
        if shown.knows_new_data(answer):
            label = "95 % interval: new data"
            keys.append(Line2D([], [], color=BLUE, linewidth=1.2, marker="|", markersize=8, label=label))
        if answer.min_effect:
            label = f"smaller than {formats.magnitude(answer.min_effect, metric)}"
            keys.append(Patch(facecolor=MUTED, alpha=0.2, label=label))
        look.legend(figure, keys)
        return inline_svg(figure, prefix, f"Differences to the baseline in {short(metric.label)}, study {answer.study}")


def _bar(
    ax: Axes, y: float, interval: Interval | None, metric: Metric, colour: str, width: float, caps: bool = False
) -> None:
    if interval is not None:
        ends = [scaled(end, metric) for end in interval]
        style: dict[str, Any] = {"marker": "|", "markersize": 9} if caps else {"alpha": 0.5}
        ax.plot(ends, [y, y], color=colour, linewidth=width, solid_capstyle="butt", **style)


def class_differences(answer: Answer, prefix: str = "classes", width: float = WIDE) -> str:
    """Recall of each class, chosen arm minus baseline, with intervals; the classes that change most, sorted."""
    classes, _ = shown.shown_classes(answer)
    if not classes:
        return ""
    with look.our_style():
        figure = look.new_figure(90 + 22 * len(classes) if width == WIDE else 140 + 38 * len(classes), width)
        ax = figure.add_subplot()
        ax.axvline(0, color=INK, linewidth=1)
        for y, entry in enumerate(classes):
            up = entry.mean >= 0
            colour = BLUE if up else VERMILLION
            clear = entry.interval is not None and entry.interval[0] * entry.interval[1] > 0
            if entry.interval is not None:
                ax.plot([100 * end for end in entry.interval], [y, y], color=colour, linewidth=1.6)
            ax.plot(
                [100 * entry.mean], [y], marker=">" if up else "<", markersize=7.5, color=colour, markeredgewidth=1.3,
                markerfacecolor=colour if clear else PAPER,
            )  # fmt: skip
        look.name_rows(ax, [f"{short(entry.name, 26)} ({entry.support:.0f})" for entry in classes], width)
        label = "difference to the baseline in recall on test (points); right of zero is better"
        ax.set_xlabel(look.folded(label, width))
        ax.grid(axis="x")
        full: dict[str, Any] = {"linestyle": "", "markersize": 7.5, "markeredgewidth": 1.3}
        keys = [
            Line2D([], [], marker=">", color=BLUE, label="better, 95 % interval clear of zero", **full),
            Line2D([], [], marker="<", color=VERMILLION, label="worse, likewise", **full),
            Line2D([], [], marker=">", color=MUTED, markerfacecolor=PAPER, label="may be nothing", **full),
        ]
        look.legend(figure, keys)
        return inline_svg(figure, prefix, f"Differences in recall by class, study {answer.study}")
