"""Scores of single test examples whose mean is a metric, from the stored predictions of a run.

With them the interval for new data exists for every metric, not for accuracy alone: the differences of such scores go
into `statistics.crossed_interval`. Where a metric is a mean over examples (accuracy, loss), the scores are its terms.
For others they are jackknife pseudo-values, `n * theta - (n - 1) * theta_without_i`: their variance over the examples,
divided by n, estimates that of the metric (Tukey, 1958; Efron and Stein, 1981), and the covariance of those of two runs
that of two metrics. Seeds as readers, pseudo-values as their scores of the cases, is the analysis of Dorfman, Berbaum
and Metz (1992), Investigative Radiology 27, 723-731.

Bias: the mean of raw pseudo-values is the metric less the jackknife's estimate of its bias, which is of the order 1/n.
A study compares the metric as recorded, so this constant is put back; variances do not change. The variance of a metric
with a kink, as `ece` has where a bin is perfectly calibrated, is too large there, never too small.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from mixup_lab.study import left_out
from mixup_lab.study.left_out import LeftOut
from mixup_lab.study.statistics.arguments import Floats

Arrays = Mapping[str, NDArray[Any]]
# Arrays that scores are computed from, by their names in the file.
KEYS = ("logits", "prediction", "confusion", "loss_sum", "each_loss", "target")


def scores(kind: str, metric: str, arrays: Arrays) -> Floats | None:
    """One score for each test example, (n,) float64; their mean is the metric. None if the metric has no such scores.

    Args:
        kind: of the targets, as the `start` event has it: "classes". One that is not in the table has no scores.
        metric: its name in the records, without the split: "auroc".
        arrays: of the test split. Classes: `logits` (n, C), `target` (n,). Tags: `logits` (n, T), `target` (n, T) of 0
            and 1. Numbers: `prediction` (n, T), `target` (n, T). Masks: `confusion` (n, C, C) pixels by true class and
            predicted class, `loss_sum` (n,) over them. Boxes: `each_loss` (n,), but nothing for average precision,
            which ranks the boxes of all pictures together.
    """
    measure = _MEASURES.get(kind, {}).get(metric)
    if measure is None:
        return None
    try:
        result = measure(arrays)
    except KeyError:  # the run did not keep what the measure reads
        return None
    values = _pseudo_values(result) if isinstance(result, LeftOut) else result.astype(np.float64)
    return values if len(values) and np.isfinite(values).all() else None


def _pseudo_values(parts: LeftOut) -> Floats:
    """Of the mean over the defined parts; NaN where leaving out an example leaves none."""
    n = len(parts.without)
    theta, thetas = _mean_of_defined(parts.whole), _mean_of_defined(parts.without)
    values: Floats = n * theta - (n - 1) * thetas
    values += theta - values.mean()
    return values


def _mean_of_defined(parts: Floats) -> Floats:
    defined = ~np.isnan(parts)
    count = defined.sum(-1)
    return np.where(count > 0, np.where(defined, parts, 0).sum(-1) / np.maximum(count, 1), np.nan)


# ---- classes --------------------------------------------------------------------------------------------------------


def _hit(arrays: Arrays) -> NDArray[np.bool_]:
    hit: NDArray[np.bool_] = arrays["logits"].argmax(1) == arrays["target"]
    return hit


def _log_loss(arrays: Arrays) -> Floats:
    logits = arrays["logits"].astype(np.float64)
    top = logits.max(1)
    own = np.take_along_axis(logits, arrays["target"][:, None], 1)[:, 0]
    loss: Floats = np.log(np.exp(logits - top[:, None]).sum(1)) + top - own
    return loss


def _class_auroc(arrays: Arrays) -> LeftOut:
    values = softmax(arrays["logits"].astype(np.float64), 1)
    classes = np.arange(values.shape[1])
    if len(classes) == 2:  # the area of each class is that of the other
        values, classes = values[:, 1:], classes[1:]
    return left_out.auroc(values, arrays["target"][:, None] == classes)


def _class_f1(arrays: Arrays) -> LeftOut:
    classes = np.arange(arrays["logits"].shape[1])
    predicted, true = (values[:, None] == classes for values in (arrays["logits"].argmax(1), arrays["target"]))
    return _f1(predicted, true)


def _f1(predicted: NDArray[np.bool_], true: NDArray[np.bool_]) -> LeftOut:
    """Of each class or tag with examples: twice the hits over the number of predictions and of true labels."""
    return left_out.ratio(2 * (predicted & true).astype(np.float64), predicted.astype(np.float64) + true, true)


# ---- tags -----------------------------------------------------------------------------------------------------------


def _tag_loss(arrays: Arrays) -> Floats:
    logits = arrays["logits"].astype(np.float64)
    loss: Floats = np.maximum(logits, 0) - logits * arrays["target"] + np.log1p(np.exp(-np.abs(logits)))
    mean: Floats = loss.mean(1)
    return mean


def _map(arrays: Arrays) -> LeftOut:
    with np.errstate(over="ignore"):
        values = 1 / (1 + np.exp(-arrays["logits"].astype(np.float64)))
    return left_out.average_precision(values, arrays["target"] > 0)


def _micro_f1(arrays: Arrays) -> LeftOut:
    predicted, true = arrays["logits"] > 0, arrays["target"] > 0
    hits = (predicted & true).sum(1, keepdims=True, dtype=np.float64)
    return left_out.ratio(2 * hits, (predicted.sum(1, keepdims=True) + true.sum(1, keepdims=True)).astype(np.float64))


def _subset(arrays: Arrays) -> Floats:
    right: NDArray[np.bool_] = ((arrays["logits"] > 0) == (arrays["target"] > 0)).all(1)
    return right.astype(np.float64)


# ---- numbers --------------------------------------------------------------------------------------------------------


def _error(arrays: Arrays) -> Floats:
    return arrays["prediction"].astype(np.float64) - arrays["target"]


# ---- masks ----------------------------------------------------------------------------------------------------------


def _overlap(arrays: Arrays, twice: bool) -> LeftOut:
    """Of each class in a mask or a prediction: intersection over union, or twice it over the sum (Dice)."""
    confusion = arrays["confusion"].astype(np.float64)
    both = np.diagonal(confusion, axis1=1, axis2=2)
    either = confusion.sum(1) + confusion.sum(2)
    return left_out.ratio(both * (1 + twice), either if twice else either - both, either > 0)


def _pixel_loss(arrays: Arrays) -> LeftOut:
    losses = arrays["loss_sum"].astype(np.float64)[:, None]
    return left_out.ratio(losses, arrays["confusion"].sum((1, 2))[:, None].astype(np.float64))


def _pixel_accuracy(arrays: Arrays) -> LeftOut:
    confusion = arrays["confusion"].astype(np.float64)
    return left_out.ratio(np.trace(confusion, axis1=1, axis2=2)[:, None], confusion.sum((1, 2))[:, None])


Measure = Callable[[Arrays], LeftOut | NDArray[Any]]
_MEASURES: dict[str, dict[str, Measure]] = {
    "classes": {
        "accuracy": _hit,
        "loss": _log_loss,
        "macro_recall": lambda a: left_out.recall(_hit(a), a["target"], a["logits"].shape[1]),
        "macro_f1": _class_f1,
        "auroc": _class_auroc,
        "ece": lambda a: left_out.calibration_error(a["logits"], a["target"]),
    },
    "tags": {
        "loss": _tag_loss,
        "map": _map,
        "micro_f1": _micro_f1,
        "macro_f1": lambda a: _f1(a["logits"] > 0, a["target"] > 0),
        "subset_accuracy": _subset,
    },
    "numbers": {
        "rmse": lambda a: left_out.root_mean_square(_error(a)),
        "mae": lambda a: np.abs(_error(a)).mean(1),
        "r2": lambda a: left_out.determination(_error(a), a["target"].astype(np.float64)),
    },
    "masks": {
        "loss": _pixel_loss,
        "miou": lambda a: _overlap(a, twice=False),
        "dice": lambda a: _overlap(a, twice=True),
        "pixel_accuracy": _pixel_accuracy,
    },
    "boxes": {"loss": lambda a: a["each_loss"]},
}
