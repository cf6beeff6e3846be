"""Whether the models of a study have learnt enough for a verdict on their differences."""

import statistics as stats
from collections.abc import Sequence
from math import ceil, sqrt

import numpy as np
from scipy.special import stdtrit

from mixup_lab.study.formats import finite, value
from mixup_lab.study.metric import of
from mixup_lab.study.reading import Run
from mixup_lab.study.results import Metric, Moments, Reference

# Kind of target -> the answer that ignores the input, as a run records its score on test.
TRIVIAL = {
    "classes": "always the largest class",
    "tags": "always the same tags",
    "numbers": "always the mean",
    "masks": "the same class everywhere",
}
LINEAR = "linear model"
END = 0.25  # share of the evaluations that are the end of a training; at least 3 of them
STEEP = 0.05  # share of everything that was learnt, gained during that end: then more epochs would gain more
ROUNDING = 1e-9  # relative; a flat curve must not seem to rise by its rounding
CONFIDENCE = 0.95  # of the bound for "better than the trivial answer", one-sided


def references(runs: Sequence[Run], base: str, metric: Metric) -> tuple[Reference, ...]:
    """Scores on test of answers that need no network, from the runs of a baseline; those that were recorded."""
    kind = next((run.kind for run in runs if run.kind), "")
    names = {"trivial": TRIVIAL.get(kind, "an answer that ignores the input"), "linear": LINEAR}
    found = []
    for key, name in names.items():
        scores = [score for run in runs if (score := finite(run.scalars.get(f"{key}/{metric.name}"))) is not None]
        if scores:
            sd = stats.stdev(scores) if len(scores) > 1 else None
            found.append(Reference(base, key, name, Moments(len(scores), stats.fmean(scores), sd)))
    return tuple(found)


def obstacle(baseline: Sequence[Run], others: Sequence[Run], metric: Metric) -> str | None:
    """Why the runs of a block cannot carry a verdict, and what to set, in one sentence; None if they can."""
    behind = _gaps(baseline, "trivial", metric)
    if behind and not _above_zero(behind):
        kind = next((run.kind for run in baseline if run.kind), "")
        name = TRIVIAL.get(kind, "an answer that ignores the input")
        scores = [score for run in baseline if (score := of(run, metric.name, "test")) is not None]
        trivial = [run.scalars[f"trivial/{metric.name}"] for run in baseline if f"trivial/{metric.name}" in run.scalars]
        clearly = "clearly " if stats.fmean(behind) > 0 else ""  # its seeds differ too much, or there are too few
        return (
            f"the baseline ({metric.name} {value(stats.fmean(scores), metric)}) is not {clearly}better than"
            f" {'answering ' if kind in TRIVIAL else ''}{name} ({value(stats.fmean(trivial), metric)});"
            f" train longer ({_epochs(baseline)}), or try another optimizer.lr or model"
        )
    curves = [curve for run in (*baseline, *others) if (curve := _curve(run, metric)) is not None]
    rising = sum(still_improving(*curve) for curve in curves)
    if 2 * rising > len(curves):
        direction = "rising" if metric.maximize else "falling"
        return (
            f"val {metric.name} was still {direction} when training ended, in {rising} of {len(curves)} runs;"
            f" train longer ({_epochs(baseline)})"
        )
    return None


def weaker_than_linear(baseline: Sequence[Run], metric: Metric, min_effect: float) -> str | None:
    """A sentence if a linear model is better than the baseline."""
    ahead = [-gap for gap in _gaps(baseline, "linear", metric)]
    if len(ahead) < 2 or stats.fmean(ahead) <= min_effect or not _above_zero(ahead):
        return None
    linear = stats.fmean(
        run.scalars[f"linear/{metric.name}"] for run in baseline if f"linear/{metric.name}" in run.scalars
    )
    return (
        f"A linear model is better than the baseline (test {metric.name} {value(linear, metric)}): its training or its"
        " model can probably be improved, and that may matter more than mixing."
    )


def still_improving(values: Sequence[float], start: float) -> bool:
    """Whether a curve, larger is better, rises at its end by more than 5 % of its whole rise.

    The end is the last quarter of the evaluations, three of them at least if there are so many; a line through them
    (least squares) gives the rise. With a learning rate that falls to zero the curve is flat there, however steep it
    was before.

    Args:
        values: one for each evaluation, in order; a single one tells nothing.
        start: the value before training: that of the trivial answer, if known.
    """
    count = min(len(values), max(3, ceil(END * len(values))))
    if count < 2:
        return False
    end = np.asarray(values[-count:], np.float64)
    rise = float(np.polyfit(np.arange(count), end, 1)[0]) * (count - 1)
    whole = float(end.mean()) + rise / 2 - start
    return whole > ROUNDING * float(np.abs(end).max()) and rise > STEEP * whole


def _curve(run: Run, metric: Metric) -> tuple[list[float], float] | None:
    """The metric on val after each evaluation, larger is better, and its value before training; None if unknown."""
    sign = 1 if metric.maximize else -1
    tag = f"val/{metric.name}"
    values = [sign * float(event["scalars"][tag]) for event in run.epochs if tag in event.get("scalars", {})]
    if run.status != "ok" or len(values) < 2 or not np.isfinite(values).all():
        return None
    trivial = finite(run.scalars.get(f"trivial/{metric.name}"))
    return values, values[0] if trivial is None else min(sign * trivial, values[-1])


def _gaps(runs: Sequence[Run], reference: str, metric: Metric) -> list[float]:
    """How much better each run is than a reference, on test."""
    sign = 1 if metric.maximize else -1
    pairs = [(of(run, metric.name, "test"), finite(run.scalars.get(f"{reference}/{metric.name}"))) for run in runs]
    return [sign * (own - other) for own, other in pairs if own is not None and other is not None]


def _above_zero(values: Sequence[float]) -> bool:
    """Whether the mean is positive: its one-sided 95 % bound over seeds, or itself for one seed."""
    mean = stats.fmean(values)
    n = len(values)
    return mean > (stdtrit(n - 1, CONFIDENCE) * stats.stdev(values) / sqrt(n) if n > 1 else 0.0)


def _epochs(runs: Sequence[Run]) -> str:
    """The setting that trains twice as long."""
    done = max((int(run.epochs[-1]["epoch"]) for run in runs if run.epochs), default=0)
    return f"trainer.epochs={2 * done} instead of {done}" if done else "more trainer.epochs"
