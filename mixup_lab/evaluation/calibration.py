"""Calibration: whether the probabilities that a model gives are the shares in which it is right."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from mixup_lab.evaluation.finished import Finished
from mixup_lab.evaluation.forecasts import (
    Floats,
    Forecasts,
    bin_sums,
    calibration_error,
    calibration_terms,
    equal_masses,
    equal_widths,
    forecasts,
    kept,
)
from mixup_lab.evaluation.lens import Found, Lens, Unsuited
from mixup_lab.runs.findings import Line, Score
from mixup_lab.types import UserError

MANY_BINS = 100  # as in Thulasidasan et al. (2019)
QUANTILES = 10  # bins of the residuals
COLDEST, HOTTEST = 0.05, 20.0  # the temperatures that are tried
SCALED = "after temperature scaling"


@dataclass
class Calibration(Lens):
    """See `about`.

    Args:
        bins: of `ece`, of equal width and of equal mass, and of the pictures.
    """

    title = "Calibration"
    about = (
        "Whether the probabilities that a model gives are the shares in which it is right. The expected calibration"
        " error (ece) is the distance between the two, averaged over bins of the largest probability. Errors of this"
        " kind are never 0 for a finite test set: compare arms, not with 0. Scores that end in _scaled are after"
        " temperature scaling: all logits are divided by one number that is fitted on val, which costs nothing and"
        " changes no decision; if an arm is better before it and not after it, one number does the same. Each tag is a"
        " problem of its own. Of masks the lens sees a sample of the pixels of each picture. Pixels of one picture"
        " depend on each other, so intervals are over pictures and seeds, not over pixels. For numbers the lens looks"
        " at residuals, target minus prediction."
    )
    bins: int = 15

    def __post_init__(self) -> None:
        if not isinstance(self.bins, int) or self.bins < 1:
            raise UserError(f"lens.calibration.bins must be a number of bins, at least 1, got {self.bins}")

    def measure(self, run: Finished, others: Sequence[Finished]) -> Found:
        if run.kind == "numbers":
            return _residuals(kept(run))
        val, test = forecasts(run, "val"), forecasts(run, "test")
        temperature = fitted_temperature(val)
        found = _found(test, self.bins, "", "")
        scaled = _found(test.tempered(temperature), self.bins, "_scaled", SCALED)
        about = f"the temperature that fits val best, in {COLDEST:g}..{HOTTEST:g}: above 1 the model is over-confident"
        return Found(
            found.scores | scaled.scores | {"temperature": Score(temperature, maximize=None, about=about)},
            [*found.lines, *scaled.lines],
            [_at_the_end(temperature)] if not COLDEST * 1.01 < temperature < HOTTEST / 1.01 else [],
            found.examples | scaled.examples,
        )


def fitted_temperature(val: Forecasts) -> float:
    """The temperature with the smallest negative log-likelihood, in COLDEST..HOTTEST."""

    def loss(log_temperature: float) -> float:
        return float(val.tempered(math.exp(log_temperature)).log_loss.mean())

    bounds = math.log(COLDEST), math.log(HOTTEST)
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)


def _at_the_end(temperature: float) -> str:
    why = "val is predicted without a mistake" if temperature < 1 else "predictions on val are worth nothing"
    return f"The fitted temperature {temperature:.2g} is at the end of its range: {why}."


def _found(test: Forecasts, bins: int, suffix: str, after: str) -> Found:
    confidence, hit = test.confidence, test.hit
    widths = equal_widths(confidence, bins)
    gaps = bin_sums(widths, confidence - hit, bins) / confidence.shape[1]
    over, under = (float(np.maximum(sign * gaps, 0).sum(1).mean()) for sign in (1, -1))
    each_class = np.moveaxis(test.probabilities, 2, 1).reshape(-1, confidence.shape[1])
    each_came = np.moveaxis(test.came, 2, 1).reshape(each_class.shape).astype(np.float64)
    log_loss, brier, noun = test.log_loss.mean(0), test.brier.mean(0), test.noun

    def error(about: str, probability: Floats, came: Floats, where: np.ndarray, count: int) -> Score:
        value = calibration_error(probability, came, where, count)
        return Score(value, maximize=False, percent=True, about=f"expected calibration error, {about}")

    scores = {
        "ece": error(f"{bins} bins of equal width", confidence, hit, widths, bins),
        "nll": Score(float(log_loss.mean()), maximize=False, about=f"negative log-likelihood, the mean over {noun}"),
        "brier": Score(float(brier.mean()), maximize=False, about="squared distance of the probabilities to 0 and 1"),
        "ece_equal_mass": error(
            f"{bins} bins of equal mass", confidence, hit, equal_masses(confidence, bins), bins
        ),
        "ece_100": error(
            f"{MANY_BINS} bins of equal width, as in Thulasidasan et al. (2019)",
            confidence, hit, equal_widths(confidence, MANY_BINS), MANY_BINS,
        ),
        "ece_classwise": error(
            f"of the probability of each class, the mean over classes, {bins} bins of equal width",
            each_class, each_came, equal_widths(each_class, bins), bins,
        ),
        "confidence_gap": Score(
            float((confidence - hit).mean()), maximize=None, percent=True,
            about="mean confidence minus accuracy: over-confident above 0, under-confident below 0",
        ),
        "over_confidence": Score(over, False, True, "the part of ece from bins with more confidence than accuracy"),
        "under_confidence": Score(under, False, True, "the part of ece from bins with less confidence than accuracy"),
    }  # fmt: skip
    examples = {
        "ece": calibration_terms(confidence, hit, widths, bins), "nll": log_loss, "brier": brier,
        "confidence_gap": (confidence - hit).mean(0),
    }  # fmt: skip
    return Found(
        {f"{name}{suffix}": score for name, score in scores.items()},
        _diagrams(test, widths, bins, f", {after}" if after else ""),
        examples={f"{name}{suffix}": test.by_example(terms) for name, terms in examples.items()},
    )


def _diagrams(test: Forecasts, widths: np.ndarray, bins: int, after: str) -> list[Line]:
    """Reliability diagram and histogram; all problems together."""
    count = bin_sums(widths, np.ones_like(test.hit), bins).sum(0)
    right = bin_sums(widths, test.hit, bins).sum(0)
    accuracy = np.divide(right, count, out=np.full(bins, np.nan), where=count > 0)
    share = count / count.sum()
    middle = tuple(((np.arange(bins) + 0.5) / bins).tolist())
    return [
        Line(f"Reliability diagram{after}", "confidence", "accuracy", middle, tuple(accuracy.tolist())),
        Line(f"Confidence{after}", "confidence", f"share of {test.noun}", middle, tuple(share.tolist())),
    ]


# ---- numbers --------------------------------------------------------------------------------------------------------


def _residuals(arrays: dict[str, np.ndarray]) -> Found:
    """In standard deviations of the targets, the mean over the targets T of an example."""
    target, prediction = arrays["test_target"].astype(np.float64), arrays["test_prediction"].astype(np.float64)
    spread = target.std(0)
    if not (spread > 0).all():
        raise Unsuited("a target is the same in all test examples, so that its residuals have no scale")
    target, prediction = (((values - target.mean(0)) / spread).T for values in (target, prediction))  # (T, n)
    residual = target - prediction
    bins = min(QUANTILES, residual.shape[1])
    where = equal_masses(prediction, bins)
    count = bin_sums(where, np.ones_like(residual), bins)
    mean = _divided(bin_sums(where, residual, bins), count)
    variance = _divided(bin_sums(where, residual**2, bins), count) - mean**2
    centred = prediction - prediction.mean(1, keepdims=True)
    power = (centred**2).mean(1)
    slopes = _divided((centred * target).mean(1), power)
    middle = tuple((100 * (np.arange(bins) + 0.5) / bins).tolist())
    x_label, y_label = "quantile of the prediction in %", "residual in standard deviations of the target"
    scores = {
        "bin_bias": Score(
            calibration_error(target, prediction, where, bins), maximize=False,
            about=f"distance of the mean residual from 0 in {bins} bins of the prediction, in standard deviations",
        ),
        "bias": Score(
            float(residual.mean()), maximize=None,
            about="the mean residual in standard deviations: above 0 predictions are too small",
        ),
    }  # fmt: skip
    if np.isfinite(slopes).all():
        scores["slope"] = Score(
            float(slopes.mean()), maximize=None,
            about="of targets over predictions: above 1 predictions are too close to their mean",
        )  # fmt: skip
    return Found(
        scores,
        [
            Line("Mean residual", x_label, y_label, middle, _mean_of_defined(mean)),
            Line("Spread of residuals", x_label, y_label, middle, _mean_of_defined(np.sqrt(np.maximum(variance, 0)))),
        ],
        examples={"bin_bias": calibration_terms(target, prediction, where, bins), "bias": residual.mean(0)},
    )


def _divided(above: Floats, below: Floats) -> Floats:
    result: Floats = np.full(above.shape, np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result


def _mean_of_defined(rows: Floats) -> tuple[float, ...]:
    """The mean (bins,) of rows (T, bins) without NaN; NaN where there is nothing else."""
    defined = ~np.isnan(rows)
    return tuple(_divided(np.where(defined, rows, 0).sum(0), defined.sum(0).astype(np.float64)).tolist())
