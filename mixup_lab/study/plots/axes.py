"""What the axes of a report's pictures say: names, units and scales of a metric."""

from __future__ import annotations

import math

from mixup_lab.look import short
from mixup_lab.study.results import Metric


def score_label(metric: Metric) -> str:
    """What an axis of test scores says."""
    unit = " (%)" if metric.percent else ""
    return f"test {short(metric.name)}{unit}" + ("" if metric.maximize else "; lower is better")


def difference_unit(metric: Metric) -> str:
    """The unit of differences, as the end of an axis label."""
    return " (points)" if metric.percent else ""


def scaled(x: float | None, metric: Metric) -> float:
    """A value as it is drawn: in percent if the metric is; NaN where there is none."""
    return math.nan if x is None else 100 * x if metric.percent else x
