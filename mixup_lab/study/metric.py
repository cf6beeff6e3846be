"""The number that decides: its name, its direction, its unit, and the least difference of interest."""

import statistics as stats
from collections.abc import Sequence

from mixup_lab.study.formats import finite, magnitude
from mixup_lab.study.reading import Run
from mixup_lab.study.results import Metric
from mixup_lab.types import UserError

# Fractions between 0 and 1: shown in percent, differences in points.
PERCENT = (
    "accuracy", "balanced_accuracy", "subset_accuracy", "pixel_accuracy", "macro_recall", "recall", "precision",
    "specificity", "auroc", "auc", "f1", "micro_f1", "macro_f1", "map", "map50", "map75", "iou", "miou", "dice", "ece",
)  # fmt: skip
# Words in the names of metrics where less is better, as in "log_loss".
SMALLER_IS_BETTER = (
    "loss", "error", "err", "rmse", "mae", "mse", "mape", "nll", "ece", "brier", "perplexity", "wer", "cer",
)  # fmt: skip
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
    splits = sorted({key for run in finished for key in run.scalars})
    names = list(dict.fromkeys(key.rpartition("/")[2] if key.startswith(("val/", "test/")) else key for key in splits))
    directions = {
        str(run.start["primary"]): bool(run.start.get("maximize", True)) for run in runs if "primary" in run.start
    }
    if name is None and len(directions) > 1:
        raise UserError(f"runs are judged by different metrics ({', '.join(directions)}); choose one with metric=NAME")
    name = name.removeprefix("test/").removeprefix("val/") if name else next(iter(directions), None)
    if name is None:
        if len(names) > 1 and "accuracy" not in names:
            raise UserError(f"which metric decides? Choose one with metric=NAME: {', '.join(names)}")
        name = "accuracy" if "accuracy" in names or not names else names[0]
    if finished and not any(of(run, name, "test") is not None for run in finished):
        raise UserError(f"metric={name} is not in any finished run; these are: {', '.join(names)}")
    if maximize is None:
        maximize = directions.get(name, more_is_better(name))
    scores = [score for run in finished if (score := of(run, name, "test")) is not None]
    return Metric(name, maximize, name.lower() in PERCENT and all(0 <= score <= 1 for score in scores))


def more_is_better(name: str) -> bool:
    """The direction of a metric by its name."""
    return not any(part in SMALLER_IS_BETTER for part in name.lower().replace("-", "_").split("_"))


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
