"""The test score over a numeric setting that is not about mixing, with a line for the baseline and each way to mix."""

from mixup_lab.look import LETTER, WIDE, folded, legend, line_key, new_figure, our_style, short
from mixup_lab.study.formats import scaled, setting
from mixup_lab.study.plots.dose import log_places, score_label
from mixup_lab.study.plots.epochs import MAX_CURVES, curve_look, draw_curve
from mixup_lab.study.plots.svg import inline_svg
from mixup_lab.study.results import Answer, Arm, TrendLine
from mixup_lab.study.statistics.intervals import mean_interval

_AXES = 0.8  # of the width of a picture


def trend(answer: Answer, prefix: str = "trend", width: float = WIDE) -> str:
    """Test score over the setting: mean and 95 % interval of each arm, arms of one line joined.

    The axis is logarithmic where the setting spans more than a factor of 10.
    """
    if answer.trend is None:
        return ""
    arms = {arm.id: arm for arm in answer.arms}
    lines = [(line, points) for line in trend_lines(answer)[0] if (points := _points(answer, line, arms))]
    if not lines:
        return ""
    values = [x for x in answer.trend.values if any(x in points for _, points in lines)]
    place, logarithmic = _places(values)
    with our_style():
        figure = new_figure(320 + (11 if width == WIDE else 20) * len(lines), width)
        ax = figure.add_subplot()
        for k, (_, points) in enumerate(lines):
            means = [scaled(arm.test.mean, answer.metric) for arm in points.values()]
            bands = [mean_interval(arm.test) or (arm.test.mean, arm.test.mean) for arm in points.values()]
            lows, highs = ([scaled(band[end], answer.metric) for band in bands] for end in (0, 1))
            arm = next(iter(points.values()))
            draw_curve(
                ax, [place[x] for x in points], means, lows, highs, arm=arm, k=k, arms=len(lines), width=width
            )  # fmt: skip
        ticks = _with_room(values, place, _AXES * width)
        ax.set_xticks([place[x] for x in ticks], [setting(x) for x in ticks])
        ax.set_xlabel(folded(f"{short(answer.trend.axis)}{', logarithmic' if logarithmic else ''}", _AXES * width))
        ax.set_ylabel(score_label(answer.metric))
        ax.grid()
        legend(
            figure,
            [line_key(line.name, *curve_look(next(iter(points.values())), k)) for k, (line, points) in enumerate(lines)]
        )  # fmt: skip
        return inline_svg(figure, prefix, f"Test {short(answer.metric.name)} over {answer.trend.axis}")


def trend_lines(answer: Answer) -> tuple[list[TrendLine], int]:
    """The lines that are drawn, and how many are left out: the baselines, those that val chose from, then in order."""
    if answer.trend is None:
        return [], 0
    chosen = {choice.arm for choice in answer.choices}
    baselines, *others = answer.trend.lines
    first = sorted(others, key=lambda line: chosen.isdisjoint(line.arms))[: MAX_CURVES - 1]
    return [baselines, *(line for line in others if line in first)], len(others) - len(first)


def _points(answer: Answer, line: TrendLine, arms: dict[str, Arm]) -> dict[float, Arm]:
    """The arms of a line that have a result, by ascending values."""
    assert answer.trend is not None
    pairs = zip(answer.trend.values, line.arms, strict=True)
    return {x: arms[arm] for x, arm in pairs if arm is not None and arms[arm].test.mean is not None}


def _places(values: list[float]) -> tuple[dict[float, float], bool]:
    """The place of each value on the axis, from 0 to 1, and whether it is logarithmic."""
    positive = [x for x in values if x > 0]
    logarithmic = min(values) >= 0 and len(positive) > 1 and max(positive) > 10 * min(positive)
    raw = log_places(values) if logarithmic else {x: float(x) for x in values}
    low, high = min(raw.values()), max(raw.values())
    return {x: (y - low) / ((high - low) or 1) for x, y in raw.items()}, logarithmic


def _with_room(values: list[float], place: dict[float, float], width: float) -> list[float]:
    """The values whose labels do not touch, the first one among them."""
    ticks: list[float] = []
    for x in values:
        label = len(setting(x)) + len(setting(ticks[-1])) if ticks else 0
        if not ticks or (place[x] - place[ticks[-1]]) * width > LETTER * (label / 2 + 1):
            ticks.append(x)
    return ticks
