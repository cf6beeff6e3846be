"""The number that decides: its name, its direction, its unit, and the least difference of interest."""

import statistics as stats
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mixup_lab.study.formats import finite, magnitude
from mixup_lab.study.metric_names import is_percent, more_is_better, tag
from mixup_lab.study.reading import Run
from mixup_lab.study.results import Metric
from mixup_lab.types import UserError

MIN_POINTS = 0.001  # default least difference of interest, for metrics in percent: 0.1 point
MIN_SHARE = 0.01  # for others: this share of the baseline's mean


def choose(runs: Sequence[Run], name: str | None, maximize: bool | None) -> Metric:
    """The metric of a study.

    Args:
        runs: their records hold the metric of their task (`primary`, `maximize`) and all scores.
        name: the user's choice, with or without a split; None: the metric of the task.
        maximize: the user's choice; None: as in the records for the metric of the task, by its name for another.

    Raises:
        UserError: if no finished run has the metric, or it is open which one decides.
    """
    finished = [run for run in runs if run.scalars]
    names = list(dict.fromkeys(name for run in finished for name in _with_test(run.scalars)))
    directions = {
        str(run.start["primary"]): bool(run.start.get("maximize", True)) for run in runs if "primary" in run.start
    }
    if name is None and len(directions) > 1:
        raise UserError(f"runs are judged by different metrics ({', '.join(directions)}); choose one with metric=NAME")
    name = tag(name).rpartition("/")[2] if name else next(iter(directions), None)
    if name is None:
        if len(names) > 1 and "accuracy" not in names:
            raise UserError(f"which metric decides? Choose one with metric=NAME: {', '.join(names)}")
        name = "accuracy" if "accuracy" in names or not names else names[0]
    scores = [score for run in finished if (score := of(run, name, "test")) is not None]
    if finished and not names:
        others = dict.fromkeys(key for run in finished for key in run.scalars)
        raise UserError(f"no run has a score on test, which decides; there are: {', '.join(others)}")
    if finished and not scores:
        raise UserError(f"metric={name} is not in any finished run; these are: {', '.join(names)}")
    if maximize is None:
        maximize = directions.get(name, more_is_better(name))
    if maximize is None:
        raise UserError(
            f"is a higher {name} better, or a lower one? Its name does not tell: add maximize=true or maximize=false"
        )
    return Metric(name, maximize, is_percent(name) and all(0 <= score <= 1 for score in scores))


def _with_test(scalars: Mapping[str, float]) -> list[str]:
    """The metrics of the test split; in a table of another trainer without such names those without a split."""
    marked = [key.removeprefix("test/") for key in scalars if key.startswith("test/")]
    return marked or [key for key in scalars if "/" not in key]


def settled(run: Run, metric: Metric) -> Run:
    """The run itself; a finished run without a test score of the metric counts as failed."""
    if run.status != "ok" or of(run, metric.name, "test") is not None:
        return run
    return replace(run, status="failed", error=f"test {metric.name} is missing or not a finite number")


def of(run: Run, metric: str, split: str) -> float | None:
    """The metric on a split, None if it is not finite. In a table of another trainer the bare name counts as test."""
    return finite(run.scalars.get(f"{split}/{metric}", run.scalars.get(metric) if split == "test" else None))


def least_effect(metric: Metric, given: float | None, base: Sequence[float]) -> tuple[float, str]:
    """The least difference of interest in the metric's own unit, and a sentence where it needs one.

    Args:
        metric: the default is 0.1 points for a metric in percent, one hundredth of the baseline's mean for another.
        given: the user's, in points for a metric in percent; None: the default.
        base: test scores of the first baseline.
    """
    if given is not None:
        return given / 100 if metric.percent else given, ""
    if metric.percent:
        return MIN_POINTS, ""
    # Two digits: more would look like somebody's choice.
    effect = float(f"{MIN_SHARE * (abs(stats.fmean(base)) if base else 1.0):.2g}") or MIN_SHARE
    share = f"about {100 * MIN_SHARE:g} % of the baseline's test {metric.name}"
    return effect, (
        f"The least difference of interest is {magnitude(effect, metric)}, {share}; min_effect=X sets another."
    )
