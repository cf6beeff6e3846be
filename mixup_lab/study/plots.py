"""The pictures of a report, as SVG text to be put into a page. No state is shared with pyplot.

Colours of ink, grid and paper are CSS variables of the page, so that a picture follows its light or dark mode; the
colours of the data are those of Okabe and Ito, and markers and line styles tell apart what they tell apart.
A picture of nothing is the empty string.
"""

from __future__ import annotations

import io
import math
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from scipy.special import stdtrit

from mixup_lab.study import tables
from mixup_lab.study.results import Answer, Arm, Curve, Interval, Metric, Moments

WIDTH = 680  # units of the drawing; text is 12 of them high
MAX_CURVES = 7  # arms in one picture of curves
_POINTS = 120  # of a curve: more than that many do not show
_CATEGORIES = 12  # so many alphas stand evenly spaced; more are placed by their logarithm

# Colours that stand for a variable of the page. Nothing else has these values.
INK, MUTED, GRID, PAPER = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04"
BLUE, VERMILLION = "#0072b2", "#d55e00"
_VARIABLES = {
    INK: "var(--ink,#1c1f23)",
    MUTED: "var(--muted,#646b73)",
    GRID: "var(--grid,#e4e6e9)",
    PAPER: "var(--paper,#fff)",
    BLUE: "var(--blue,#0072b2)",  # too dim on a dark page
}
COLOURS = (BLUE, VERMILLION, "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mixup-lab",
    "text.parse_math": False,  # a name with a $ is no formula
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


# The pictures ------------------------------------------------------------------------------------------------------


def dose_response(answer: Answer, prefix: str = "dose") -> str:
    """Test score over alpha: every seed, mean and 95 % interval of each arm, the baseline as a band.

    Arms of one series (all settings alike but alpha) are joined. Without alphas, arms stand side by side by name.

    Args:
        prefix: of all ids in the picture; pictures of one page need different ones.
    """
    arms = [arm for arm in answer.arms if _tests(arm, answer.metric)]
    if not arms:
        return ""
    if any(arm.alpha is None for arm in arms):
        return _by_name(answer, arms, prefix)
    series = _series(arms)
    place, ticks, scale = _alpha_axis(sorted({arm.alpha for arm in arms if arm.alpha is not None}))
    many = len(series) > 1
    with _style():
        figure = _figure(370 + 9 * len(series) * many)
        ax = figure.add_subplot()
        drawn: set[str] = set()  # the baseline of several series is drawn once
        for k, line in enumerate(series):
            shift = (k - (len(series) - 1) / 2) * min(0.13, 0.5 / len(series))
            ax.plot(
                [place[arm.alpha or 0.0] + shift for arm in line.arms],
                [_scaled(arm.test.mean, answer.metric) for arm in line.arms],
                color=line.colour,
                linestyle=line.style,
                linewidth=1.4,
            )
            for arm in line.arms:
                if arm.id in drawn:
                    continue
                drawn.add(arm.id)
                if arm.baseline is None:
                    _band(ax, arm, answer.metric, line.colour if many else MUTED, line.style if many else "--")
                centre = place[arm.alpha or 0.0] + shift
                colour = MUTED if arm.baseline is None and not many else line.colour
                _dots(ax, arm, answer.metric, centre, 0.05 if many else 0.08, colour, line.marker)
        ax.set_xticks([place[alpha] for alpha in ticks], [f"{alpha:.3g}" for alpha in ticks])
        ax.set_xlim(min(place.values()) - 0.5, max(place.values()) + 0.5)
        zero = "baseline" if all(arm.alpha == 0 for arm in arms if arm.baseline is None) else "no mixing"
        ax.set_xlabel(f"alpha (0 = {zero}), {scale}")
        ax.set_ylabel(_score_label(answer.metric))
        ax.grid(axis="y")
        keys = [_key(line.name, line.colour, line.marker, line.style) for line in series] if many else []
        _legend(figure, [*_marks(BLUE if not many else MUTED), *keys])
        return _inline(figure, prefix, f"Test {_short(answer.metric.name)} over alpha, study {answer.study}")


def differences(answer: Answer, prefix: str = "differences") -> str:
    """Forest plot: the paired difference of every seed, their mean, the interval for retraining and that for new data.

    The band around zero holds what is smaller than the smallest difference of interest.
    """
    series = {arm.id: line for line in reversed(_series(list(answer.arms))) for arm in line.arms}
    compared = [
        arm for block in tables.blocks(answer) for arm in block if arm.comparison and arm.comparison.differences
    ]
    if not compared:
        return ""
    metric = answer.metric
    with _style():
        figure = _figure(118 + 42 * len(compared))
        ax = figure.add_subplot()
        if answer.min_effect:
            edge = _scaled(answer.min_effect, metric)
            ax.axvspan(-edge, edge, facecolor=MUTED, alpha=0.13, linewidth=0)
        ax.axvline(0, color=INK, linewidth=1)
        for y, arm in enumerate(compared):
            assert arm.comparison is not None
            line, values = series[arm.id], [_scaled(x, metric) for x in arm.comparison.differences]
            _bar(ax, y, arm.comparison.new_data, metric, line.colour, 1.2, caps=True)
            _bar(ax, y, arm.comparison.retraining, metric, line.colour, 5)
            heights = y + 0.25 + _spread_out(len(values), 0.07)
            ax.plot(values, heights, marker="o", color=INK, alpha=0.5, markersize=3.6, linestyle="", markeredgewidth=0)
            ax.plot(
                [np.mean(values)], [y], marker=line.marker, color=line.colour, markersize=8, markeredgecolor=PAPER
            )  # fmt: skip
        _names(ax, [arm.name for arm in compared])
        right = ax.secondary_yaxis("right")
        right.set_yticks(
            range(len(compared)),
            [tables.difference(arm.comparison.mean if arm.comparison else None, metric, False) for arm in compared],
        )
        right.tick_params(length=0)
        right.spines["right"].set_visible(False)
        ax.annotate("mean", (1, 1), xytext=(5, 2), xycoords="axes fraction", textcoords="offset points", color=MUTED)
        side = "right" if metric.maximize else "left"
        ax.set_xlabel(
            f"difference to the baseline in test {_short(metric.name)}{_points(metric)}; {side} of zero is better"
        )
        ax.grid(axis="x")
        keys: list[Any] = [
            Line2D([], [], marker="o", color=INK, alpha=0.5, markersize=3.6, linestyle="", label="one seed"),
            Line2D([], [], marker="o", color=BLUE, markersize=8, linestyle="", markeredgecolor=PAPER, label="mean"),
            Line2D([], [], color=BLUE, alpha=0.5, linewidth=5, label="95 % interval: retraining"),
            Line2D([], [], color=BLUE, linewidth=1.2, marker="|", markersize=8, label="95 % interval: new data"),
        ]
        if answer.min_effect:
            label = f"smaller than {tables.magnitude(answer.min_effect, metric)}"
            keys.append(Patch(facecolor=MUTED, alpha=0.2, label=label))
        _legend(figure, keys)
        return _inline(
            figure, prefix, f"Differences to the baseline in test {_short(metric.name)}, study {answer.study}"
        )


def curves(answer: Answer, prefix: str = "curves") -> str:
    """Loss and score over the epochs, on clean training examples and on val: mean and 95 % interval of each arm."""
    shown = curve_arms(answer)[0]
    names = list(dict.fromkeys(("loss", answer.metric.name)))
    found = {(curve.arm, curve.tag): curve for curve in answer.curves if curve.epochs}
    titles = {"train_clean": "training examples, unmixed", "val": "validation"}
    tags = {(name, split): f"{split}/{name}" for name in names for split in titles}
    here = {key for key, tag in tags.items() if any((arm.id, tag) in found for arm in shown)}
    # A row or column of which nothing was recorded is left out.
    names = [name for name in names if any((name, split) in here for split in titles)]
    splits = [split for split in titles if any((name, split) in here for name in names)]
    if not here:
        return ""
    with _style():
        figure = _figure(60 + 225 * len(names) + 11 * len(shown))
        axes = figure.subplots(len(names), len(splits), squeeze=False, sharex=True, sharey="row")
        for i, name in enumerate(names):
            panels = [[found.get((arm.id, tags[name, split])) for arm in shown] for split in splits]
            scale = 100 if name == answer.metric.name and answer.metric.percent else 1
            for j, panel in enumerate(panels):
                for k, (arm, curve) in enumerate(zip(shown, panel, strict=True)):
                    if curve is not None:
                        _curve(axes[i, j], curve, arm, k, len(shown), scale)
            limits = _limits([curve for panel in panels for curve in panel if curve is not None], scale)
            if limits:
                axes[i, 0].set_ylim(*limits)
            axes[i, 0].set_ylabel(f"{_short(name)} (%)" if scale == 100 else _short(name))
        for j, split in enumerate(splits):
            axes[0, j].set_title(titles[split])
            axes[-1, j].set_xlabel("epoch")
            axes[-1, j].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        for ax in axes.flat:
            ax.grid(axis="y")
        _legend(figure, [_key(arm.name, *_curve_look(arm, k)) for k, arm in enumerate(shown)])
        return _inline(figure, prefix, f"Loss and {_short(answer.metric.name)} over the epochs, study {answer.study}")


def curve_arms(answer: Answer) -> tuple[list[Arm], int]:
    """The arms whose curves are drawn, and how many are left out: baselines, the chosen one, then in order."""
    having = {curve.arm for curve in answer.curves if curve.epochs}
    arms = [arm for arm in answer.arms if arm.id in having]
    chosen = tables.chosen_arm(answer)
    first = sorted(arms, key=lambda arm: 0 if arm.baseline is None else 1 if arm is chosen else 2)[:MAX_CURVES]
    return [arm for arm in arms if arm in first], len(arms) - len(first)


def class_differences(answer: Answer, prefix: str = "classes") -> str:
    """Recall of each class, chosen arm minus baseline, with intervals; the classes that change most, sorted."""
    shown, _ = tables.shown_classes(answer)
    if not shown:
        return ""
    with _style():
        figure = _figure(90 + 22 * len(shown))
        ax = figure.add_subplot()
        ax.axvline(0, color=INK, linewidth=1)
        for y, entry in enumerate(shown):
            up = entry.mean >= 0
            colour = BLUE if up else VERMILLION
            clear = entry.interval is not None and entry.interval[0] * entry.interval[1] > 0
            if entry.interval is not None:
                ax.plot([100 * end for end in entry.interval], [y, y], color=colour, linewidth=1.6)
            ax.plot(
                [100 * entry.mean], [y], marker=">" if up else "<", markersize=7.5, color=colour, markeredgewidth=1.3,
                markerfacecolor=colour if clear else PAPER,
            )  # fmt: skip
        _names(ax, [f"{_short(entry.name, 26)} ({entry.support:.0f})" for entry in shown])
        ax.set_xlabel("difference to the baseline in recall on test (points); right of zero is better")
        ax.grid(axis="x")
        full: dict[str, Any] = {"linestyle": "", "markersize": 7.5, "markeredgewidth": 1.3}
        keys = [
            Line2D([], [], marker=">", color=BLUE, label="better, 95 % interval clear of zero", **full),
            Line2D([], [], marker="<", color=VERMILLION, label="worse, likewise", **full),
            Line2D([], [], marker=">", color=MUTED, markerfacecolor=PAPER, label="may be nothing", **full),
        ]
        _legend(figure, keys)
        return _inline(figure, prefix, f"Differences in recall by class, study {answer.study}")


# Parts of them -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Series:
    """Arms that differ in alpha alone, with the baseline of their block in front."""

    name: str
    arms: tuple[Arm, ...]
    colour: str
    marker: str
    style: Any


def _series(arms: list[Arm]) -> list[_Series]:
    groups: dict[str, list[Arm]] = {}
    baselines = {arm.id: arm for arm in arms if arm.baseline is None}
    for arm in arms:
        if arm.baseline is not None:
            rest = {axis: value for axis, value in arm.settings.items() if axis != "aug.alpha"}
            groups.setdefault(repr((arm.baseline, sorted(rest.items(), key=str))), []).append(arm)
    lines = []
    for line in groups.values():
        base = baselines.get(line[0].baseline or "")
        # Two arms of one alpha are no steps of one line.
        lines.append([base, *line] if base and all(arm.alpha != base.alpha for arm in line) else line)
    begun = {arm.id for line in lines for arm in line}
    lines += [[arm] for arm in baselines.values() if arm.id not in begun]
    others = [{axis: value for axis, value in line[-1].settings.items() if axis != "aug.alpha"} for line in lines]
    # Only what differs between the series names them.
    telling = [axis for axis in dict.fromkeys(axis for other in others for axis in other)
               if len({repr(other.get(axis)) for other in others}) > 1]  # fmt: skip
    return [
        _Series(
            ", ".join(f"{axis}={tables.setting(other[axis])}" for axis in telling if axis in other) or line[-1].name,
            tuple(sorted(line, key=lambda arm: arm.alpha or 0.0)),
            COLOURS[k % len(COLOURS)],
            MARKERS[k % len(MARKERS)],
            LINES[k % len(LINES)],
        )
        for k, (line, other) in enumerate(zip(lines, others, strict=True))
    ]


def _by_name(answer: Answer, arms: list[Arm], prefix: str) -> str:
    """Arms as rows, since names are long; the baselines as upright bands."""
    with _style():
        figure = _figure(105 + 38 * len(arms))
        ax = figure.add_subplot()
        for y, arm in enumerate(arms):
            colour = MUTED if arm.baseline is None else BLUE
            if arm.baseline is None:
                _band(ax, arm, answer.metric, MUTED, "--", upright=True)
            _dots(ax, arm, answer.metric, y, 0.12, colour, "o", upright=True)
        _names(ax, [arm.name for arm in arms])
        ax.set_xlabel(_score_label(answer.metric))
        ax.grid(axis="x")
        _legend(figure, _marks(BLUE))
        return _inline(figure, prefix, f"Test {_short(answer.metric.name)} by arm, study {answer.study}")


def _alpha_axis(alphas: list[float]) -> tuple[dict[float, float], list[float], str]:
    """Where each alpha stands, which ones are labelled, and what kind of scale that is."""
    if len(alphas) <= _CATEGORIES:
        return {alpha: float(k) for k, alpha in enumerate(alphas)}, alphas, "evenly spaced"
    least = min(alpha for alpha in alphas if alpha > 0)
    # As symlog: a straight step from 0 to the least alpha, logarithmic above it.
    raw = {alpha: 1 + math.log10(alpha / least) if alpha > 0 else 0.0 for alpha in alphas}
    stretch = _CATEGORIES / max(raw.values())
    place = {alpha: stretch * x for alpha, x in raw.items()}
    ticks: list[float] = []
    for alpha in alphas:
        if not ticks or place[alpha] - place[ticks[-1]] > 0.9:
            ticks.append(alpha)
    return place, ticks, f"logarithmic from {least:g} on"


def _tests(arm: Arm, metric: Metric) -> list[float]:
    return [_scaled(cell.test, metric) for cell in arm.cells if tables.known(cell.test) is not None]


def _scaled(x: float | None, metric: Metric) -> float:
    return math.nan if x is None else 100 * x if metric.percent else x


def _mean_interval(moments: Moments, metric: Metric) -> Interval | None:
    """95 % interval of the mean over seeds, by Student's t."""
    if moments.mean is None or moments.sd is None or moments.n < 2:
        return None
    half = float(stdtrit(moments.n - 1, 0.975)) * moments.sd / math.sqrt(moments.n)
    return _scaled(moments.mean - half, metric), _scaled(moments.mean + half, metric)


def _spread_out(n: int, half: float) -> np.ndarray:
    """Offsets that keep the dots of n seeds apart: seed k has the same place in every arm."""
    return half * (((np.arange(n) * 0.618034 + 0.5) % 1.0) * 2 - 1) if n > 1 else np.zeros(n)


def _dots(
    ax: Axes, arm: Arm, metric: Metric, centre: float, half: float, colour: str, marker: str, upright: bool = False
) -> None:
    """Seeds as small dots beside the mean with its interval."""
    values = _tests(arm, metric)
    side = 0.28 if upright else -2 * half
    across = centre + side + _spread_out(len(values), half)
    mean, interval = _scaled(arm.test.mean, metric), _mean_interval(arm.test, metric)
    ends = ([centre, centre], interval) if interval else None
    for xs, ys, look in (
        (across, values, {"marker": "o", "markersize": 3.8, "markeredgewidth": 0, "linestyle": "", "alpha": 0.55}),
        *(((*ends, {"linewidth": 2}),) if ends else ()),
        ([centre], [mean], {"marker": marker, "markersize": 8.5, "markeredgecolor": PAPER, "markeredgewidth": 1.2}),
    ):
        ax.plot(*((ys, xs) if upright else (xs, ys)), color=colour, **look)


def _band(ax: Axes, arm: Arm, metric: Metric, colour: str, style: Any, upright: bool = False) -> None:
    """The baseline: its mean as a line, the interval of the mean as a band."""
    span, line = (ax.axvspan, ax.axvline) if upright else (ax.axhspan, ax.axhline)
    interval = _mean_interval(arm.test, metric)
    if interval:
        span(*interval, facecolor=colour, alpha=0.13, linewidth=0)
    line(_scaled(arm.test.mean, metric), color=colour, linewidth=1.1, linestyle=style, alpha=0.8)


def _bar(
    ax: Axes, y: float, interval: Interval | None, metric: Metric, colour: str, width: float, caps: bool = False
) -> None:
    if interval is not None:
        ends = [_scaled(end, metric) for end in interval]
        look: dict[str, Any] = {"marker": "|", "markersize": 9} if caps else {"alpha": 0.5}
        ax.plot(ends, [y, y], color=colour, linewidth=width, solid_capstyle="butt", **look)


def _curve_look(arm: Arm, k: int) -> tuple[str, str, Any]:
    if arm.baseline is None and k == 0:
        return INK, "", LINES[1]
    return COLOURS[(k - 1) % len(COLOURS)], MARKERS[(k - 1) % len(MARKERS)], LINES[0 if k < 4 else 3]


def _curve(ax: Axes, curve: Curve, arm: Arm, k: int, arms: int, scale: float) -> None:
    colour, marker, style = _curve_look(arm, k)
    keep = _thin(len(curve.epochs))
    epochs, mean, low, high = (
        np.array(x, dtype=float)[keep] for x in (curve.epochs, curve.mean, curve.low, curve.high)
    )
    if np.any(high > low):
        ax.fill_between(epochs, scale * low, scale * high, facecolor=colour, alpha=0.13, linewidth=0)
    step = max(1, len(epochs) // 6)
    ax.plot(
        epochs, scale * mean, color=colour, linestyle=style, linewidth=1.5, marker=marker, markersize=5,
        markevery=(k * step // arms, step), markeredgecolor=PAPER, markeredgewidth=0.6,
    )  # fmt: skip


def _thin(n: int) -> np.ndarray:
    """Which of n points to draw: evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, _POINTS)).round().astype(int))


def _limits(found: Iterable[Curve], scale: float) -> Interval | None:
    """A vertical range that fits the second half of the training, where arms can be told apart.

    Intervals from two or three seeds are wide; they may leave the picture, the means do not.
    """
    means, ends = [], []
    for curve in found:
        late = slice(len(curve.epochs) // 2, None)
        means += [scale * x for x in curve.mean[late] if math.isfinite(x)]
        ends += [scale * x for x in (*curve.low[late], *curve.high[late]) if math.isfinite(x)]
    if not means:
        return None
    low, high = min(means), max(means)
    room = 0.5 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = max(low - room, min(*ends, low)), min(high + room, max(*ends, high))
    return low - 0.06 * (high - low or room), high + 0.06 * (high - low or room)


def _score_label(metric: Metric) -> str:
    unit = " (%)" if metric.percent else ""
    return f"test {_short(metric.name)}{unit}" + ("" if metric.maximize else "; lower is better")


def _points(metric: Metric) -> str:
    return " (points)" if metric.percent else ""


def _short(name: str, length: int = 34) -> str:
    """A name on one line; a long one loses its middle, since arms differ at their ends."""
    name = " ".join(tables.visible(name).split())
    half = length // 2
    return name if len(name) <= length else f"{name[: half - 1]}…{name[-half:]}"


def _names(ax: Axes, names: list[str]) -> None:
    ax.set_yticks(range(len(names)), [_short(name) for name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _marks(colour: str) -> list[Any]:
    return [
        Line2D([], [], marker="o", color=colour, alpha=0.55, markersize=3.8, linestyle="", label="one seed"),
        Line2D([], [], marker="o", color=colour, markersize=7, linewidth=2, label="mean, 95 % interval of the mean"),
        Patch(facecolor=MUTED, alpha=0.25, label="the same of the baseline"),
    ]


def _key(name: str, colour: str, marker: str, style: Any) -> Line2D:
    return Line2D(
        [], [], color=colour, marker=marker, linestyle=style, markersize=6, linewidth=1.5, label=_short(name, 60)
    )


def _legend(figure: Figure, keys: list[Any]) -> None:
    """Keys above the picture, in as many columns as there is room for."""
    lengths = [len(str(key.get_label())) for key in keys]
    columns = 1
    for n in range(2, min(len(keys), 5) + 1):
        deep = math.ceil(len(keys) / n)
        across = sum(46 + 6.6 * max(lengths[k : k + deep]) for k in range(0, len(keys), deep))
        columns = math.ceil(len(keys) / deep) if across < WIDTH else columns
    figure.legend(
        handles=keys, loc="outside upper left", ncols=columns, handlelength=2.2, columnspacing=1.6, borderaxespad=0.2
    )


# SVG ---------------------------------------------------------------------------------------------------------------


@contextmanager
def _style() -> Iterator[None]:
    """Our style and nothing of the user's matplotlibrc: the same answer gives the same bytes everywhere."""
    backend = {key for key in matplotlib.rcParams if key.startswith(("backend", "interactive", "toolbar", "webagg"))}
    ours: dict[Any, Any] = {
        key: value for key, value in matplotlib.rcParamsDefault.items() if key not in backend
    } | _STYLE
    with matplotlib.rc_context(ours):
        yield


def _figure(height: float) -> Figure:
    figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
    figure.patch.set_alpha(0)
    FigureCanvasSVG(figure)
    return figure


def _inline(figure: Figure, prefix: str, title: str) -> str:
    """The figure as SVG that can stand in a page beside others: no metadata, no style of the whole page, own ids."""
    for ax in figure.axes:
        ax.patch.set_alpha(0)
        for axis in (ax.xaxis, ax.yaxis):
            if isinstance(formatter := axis.get_major_formatter(), ScalarFormatter):
                formatter.set_useOffset(False)
    out = io.BytesIO()
    with warnings.catch_warnings():
        # The reader's fonts draw the text, so it does not matter what those of matplotlib lack.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    root = ET.fromstring(out.getvalue())
    _strip(root)
    used = set(re.findall(r"#([\w-]+)", " ".join(value for node in root.iter() for value in _references(node))))
    for node in root.iter():
        _tidy(node, prefix, used)
    _unwrap(root)
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib |= {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": box,
        "width": box.split()[2],
        "height": box.split()[3],
        "role": "img",
        "aria-label": _short(title, 200),
        "style": "stroke-linejoin:round;stroke-linecap:butt;font-family:system-ui,sans-serif",
    }
    name = ET.Element("title")
    name.text = _short(title, 200)
    root.insert(0, name)
    return ET.tostring(root, encoding="unicode")


def _references(node: ET.Element) -> Iterator[str]:
    for key, value in node.attrib.items():
        if key.endswith("href") or value.startswith("url("):
            yield value


def _strip(root: ET.Element) -> None:
    """Namespaces off the names; metadata and the style sheet, which would hold for the whole page, out."""
    for node in list(root.iter()):
        node.tag = node.tag.rpartition("}")[2]
        node.attrib = {key.rpartition("}")[2]: value for key, value in node.attrib.items()}
    for parent in list(root.iter()):
        for child in list(parent):
            unseen = "opacity: 0" in child.get("style", "").split("; ")  # the empty background
            if unseen or child.tag == "metadata" or (child.tag == "defs" and child.find("style") is not None):
                parent.remove(child)


def _tidy(node: ET.Element, prefix: str, used: set[str]) -> None:
    """Short numbers, colours as variables, ids with a prefix; ids that nothing refers to go."""
    if (name := node.attrib.pop("id", None)) in used:
        node.set("id", f"{prefix}-{name}")
    if node.get("transform", "").startswith("rotate(-0 "):
        del node.attrib["transform"]
    for key, value in list(node.attrib.items()):
        if key == "href":
            value = f"#{prefix}-{value[1:]}"
        elif key == "clip-path":
            value = value.replace("#", f"#{prefix}-")
        elif key in ("d", "transform", "x", "y", "width", "height"):
            value = re.sub(r"-?\d+\.\d+", _rounded, value)
            value = re.sub(r"\s*([A-Za-z])\s*", r"\1", value.strip()) if key == "d" else value
        elif key == "style":
            value = re.sub(r"font-family:[^;]*;?", "", value)  # the page's own, see the root
            value = re.sub(r"\s*([:;])\s*", r"\1", value)
            for colour, variable in _VARIABLES.items():
                value = value.replace(colour, variable)
        node.set(key, value)


def _rounded(found: re.Match[str]) -> str:
    return f"{float(found[0]):.1f}".removesuffix(".0")


def _unwrap(root: ET.Element) -> None:
    """Groups that say nothing give way to what they hold; whitespace between elements goes."""
    for node in root.iter():
        if node.tag != "text":
            node.text = None
        node.tail = None
    for parent in list(root.iter()):
        children = list(parent)
        while any(child.tag == "g" and not child.attrib for child in children):
            children = [
                inner for child in children for inner in (child if child.tag == "g" and not child.attrib else [child])
            ]
        parent[:] = children
