"""The test score of every arm, over alpha or, without alphas, by name."""

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mixup_lab.look import (
    BLUE,
    MUTED,
    PAPER,
    WIDE,
    folded,
    legend,
    line_key,
    name_rows,
    new_figure,
    our_style,
    short,
    spread_out,
)
from mixup_lab.study.formats import finite, scaled
from mixup_lab.study.plots.series import series_of
from mixup_lab.study.plots.svg import inline_svg
from mixup_lab.study.results import Answer, Arm, Metric
from mixup_lab.study.statistics.intervals import mean_interval

_LABEL = 56  # units of the drawing for an alpha; where they are too many, they are placed by their logarithm


def dose_response(answer: Answer, prefix: str = "dose", width: float = WIDE) -> str:
    """Test score over alpha: every seed, mean and 95 % interval of each arm, the baseline as a band.

    Arms of one series (equal in all settings but alpha) are joined. Without alphas, each arm has a row.

    Args:
        prefix: of all ids in the picture, unique in a page.
        width: of the picture, in units of which text is 12 high.
    """
    arms = [arm for arm in answer.arms if _tests(arm, answer.metric)]
    if not arms:
        return ""
    if any(arm.alpha is None for arm in arms):
        return _by_name(answer, arms, prefix, width)
    series = series_of(arms)
    place, ticks, scale = _alpha_axis(sorted({arm.alpha for arm in arms if arm.alpha is not None}), int(width / _LABEL))
    many = len(series) > 1
    with our_style():
        figure = new_figure(370 + (9 if width == WIDE else 20) * len(series) * many, width)
        ax = figure.add_subplot()
        drawn: set[str] = set()  # the baseline of several series is drawn once
        for k, line in enumerate(series):
            shift = (k - (len(series) - 1) / 2) * min(0.13, 0.5 / len(series))
            ax.plot(
                [place[arm.alpha or 0.0] + shift for arm in line.arms],
                [scaled(arm.test.mean, answer.metric) for arm in line.arms],
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
        ax.set_xlabel(folded(f"alpha (0 = {zero}), {scale}", width))
        ax.set_ylabel(score_label(answer.metric))
        ax.grid(axis="y")
        keys = [line_key(line.name, line.colour, line.marker, line.style) for line in series] if many else []
        legend(figure, [*_marks(BLUE if not many else MUTED), *keys])
        return inline_svg(figure, prefix, f"Test {short(answer.metric.name)} over alpha, study {answer.study}")


def _by_name(answer: Answer, arms: list[Arm], prefix: str, width: float) -> str:
    """Arms as rows, since names are long; baselines as vertical bands."""
    with our_style():
        figure = new_figure(105 + 38 * len(arms) if width == WIDE else 140 + 54 * len(arms), width)
        ax = figure.add_subplot()
        for y, arm in enumerate(arms):
            colour = MUTED if arm.baseline is None else BLUE
            if arm.baseline is None:
                _band(ax, arm, answer.metric, MUTED, "--", upright=True)
            _dots(ax, arm, answer.metric, y, 0.12, colour, "o", upright=True)
        name_rows(ax, [arm.name for arm in arms], width)
        ax.set_xlabel(folded(score_label(answer.metric), width))
        ax.grid(axis="x")
        legend(figure, _marks(BLUE))
        return inline_svg(figure, prefix, f"Test {short(answer.metric.name)} by arm, study {answer.study}")


def _alpha_axis(alphas: list[float], labels: int) -> tuple[dict[float, float], list[float], str]:
    """The place of each alpha, the labelled alphas, and the name of the scale; there is room for so many labels."""
    if len(alphas) <= labels:
        return {alpha: float(k) for k, alpha in enumerate(alphas)}, alphas, "evenly spaced"
    raw = log_places(alphas)
    stretch = labels / max(raw.values())
    place = {alpha: stretch * x for alpha, x in raw.items()}
    ticks: list[float] = []
    for alpha in alphas:
        if not ticks or place[alpha] - place[ticks[-1]] > 0.9:
            ticks.append(alpha)
    return place, ticks, f"logarithmic from {min(alpha for alpha in alphas if alpha > 0):g} on"


def log_places(values: list[float]) -> dict[float, float]:
    """The place of each value >= 0 as on a symlog axis: a straight step from 0 to the least other value, 1 a decade."""
    least = min(x for x in values if x > 0)
    return {x: 1 + math.log10(x / least) if x > 0 else 0.0 for x in values}


def score_label(metric: Metric) -> str:
    """The label of an axis of test scores."""
    unit = " (%)" if metric.percent else ""
    return f"test {short(metric.name)}{unit}" + ("" if metric.maximize else "; lower is better")


def _tests(arm: Arm, metric: Metric) -> list[float]:
    return [scaled(cell.test, metric) for cell in arm.cells if finite(cell.test) is not None]


def _interval(arm: Arm, metric: Metric) -> list[float]:
    """The ends of the 95 % interval of the mean over seeds; [] without one."""
    return [scaled(end, metric) for end in mean_interval(arm.test) or ()]


def _dots(
    ax: Axes, arm: Arm, metric: Metric, centre: float, half: float, colour: str, marker: str, upright: bool = False
) -> None:
    """Seeds as small dots next to the mean with its interval."""
    values = _tests(arm, metric)
    side = 0.28 if upright else -2 * half
    across = centre + side + spread_out(len(values), half)
    mean, interval = scaled(arm.test.mean, metric), _interval(arm, metric)
    for xs, ys, look in (
        (across, values, {"marker": "o", "markersize": 3.8, "markeredgewidth": 0, "linestyle": "", "alpha": 0.55}),
        *((([centre, centre], interval, {"linewidth": 2}),) if interval else ()),
        ([centre], [mean], {"marker": marker, "markersize": 8.5, "markeredgecolor": PAPER, "markeredgewidth": 1.2}),
    ):
        ax.plot(*((ys, xs) if upright else (xs, ys)), color=colour, **look)


def _band(ax: Axes, arm: Arm, metric: Metric, colour: str, style: Any, upright: bool = False) -> None:
    """The baseline: its mean as a line, the interval of the mean as a band."""
    span, line = (ax.axvspan, ax.axvline) if upright else (ax.axhspan, ax.axhline)
    interval = _interval(arm, metric)
    if interval:
        span(*interval, facecolor=colour, alpha=0.13, linewidth=0)
    line(scaled(arm.test.mean, metric), color=colour, linewidth=1.1, linestyle=style, alpha=0.8)


def _marks(colour: str) -> list[Any]:
    return [
        Line2D([], [], marker="o", color=colour, alpha=0.55, markersize=3.8, linestyle="", label="one seed"),
        Line2D([], [], marker="o", color=colour, markersize=7, linewidth=2, label="mean, 95 % interval of the mean"),
        Patch(facecolor=MUTED, alpha=0.25, label="the same of the baseline"),
    ]
