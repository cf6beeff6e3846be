"""The curves of a lens: one picture for each name, with the arms as in the curves over the epochs."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

from mixup_lab.look import WIDE, folded, legend, line_key, new_figure, our_style, short
from mixup_lab.study.plots.epochs import curve_arms, curve_look, draw_curve
from mixup_lab.study.plots.svg import inline_svg
from mixup_lab.study.results import Answer, LensCurve


def lens_curves(answer: Answer, curves: Sequence[LensCurve], prefix: str = "lens", width: float = WIDE) -> str:
    """Curves of one name: mean over seeds and 95 % interval of each arm; single seeds where their x differ.

    Args:
        answer: of the study, whose arms have the same colours in all its curves.
        curves: of any arms; those that the study has no room for are left out.
    """
    shown = curve_arms(answer)[0]
    drawn = [(k, arm) for k, arm in enumerate(shown) if any(curve.arm == arm.id for curve in curves)]
    if not drawn:
        return ""
    name, x_label, y_label = curves[0].name, curves[0].x_label, curves[0].y_label
    with our_style():
        key_height = 11 if width == WIDE else 20
        figure = new_figure(300 + key_height * len(drawn), width)
        ax = figure.add_subplot()
        for k, arm in drawn:
            for curve in (curve for curve in curves if curve.arm == arm.id):
                lines = (curve.x, curve.mean, curve.low, curve.high)
                draw_curve(ax, *lines, arm=arm, k=k, arms=len(shown), width=width)
        _cut(ax, [mean for curve in curves for mean in curve.mean if isfinite(mean)])
        ax.set_xlabel(folded(short(x_label, 80), 0.8 * width))  # it is centred below axes that are narrower
        ax.set_ylabel(folded(short(y_label, 64), 200))  # of the height of the axes
        ax.grid()
        legend(figure, [line_key(arm.name, *curve_look(arm, k)) for k, arm in drawn])
        return inline_svg(figure, prefix, f"{short(name, 80)}, study {answer.study}")


def _cut(ax: Any, means: Sequence[float]) -> None:
    """Leave the means half of the height at least: bands of few seeds may be many times as wide as the curves."""
    if not means or (spread := (max(means) - min(means)) / 2) == 0:
        return
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, min(means) - spread), min(high, max(means) + spread))
