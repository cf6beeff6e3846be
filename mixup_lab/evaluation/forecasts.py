"""Probabilities that a run gave to the examples of a split, and how good they are.

P: problems, n: rows, C: outcomes. Classes are one problem with an outcome for each class; each tag is a problem of its
own with two outcomes. Scores are means over the problems. A row is an example, or of masks a pixel: those that a run
keeps of each picture, without void.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from mixup_lab.evaluation.finished import Finished
from mixup_lab.evaluation.lens import Unsuited
from mixup_lab.types import VOID

Floats = NDArray[np.float64]
Bins = NDArray[np.int64]


@dataclass(frozen=True)
class Forecasts:
    """Probabilities of the outcomes, and what came.

    Args:
        log_p: (P, n, C) logarithms of probabilities; for each row they sum to 1.
        target: (P, n) int, the outcome that came, in 0..C-1.
        pixels: (N,) how many rows each of N examples has, one example after the other; None: one each.
    """

    log_p: Floats
    target: NDArray[np.int64]
    pixels: NDArray[np.int64] | None = None

    def tempered(self, temperature: float) -> Forecasts:
        """With logits divided by a temperature > 0."""
        return replace(self, log_p=log_softmax(self.log_p / temperature, 2))

    @property
    def noun(self) -> str:
        """Of the rows, plural."""
        return "examples" if self.pixels is None else "pixels"

    def by_example(self, values: Floats) -> Floats:
        """One number for each example, (N,), with the mean of values (n,) of the rows.

        That mean is a ratio of two sums over the examples, whose numbers of rows differ. So these are its linear terms:
        their variance is that of the mean over new examples, whose rows depend on each other.
        """
        if self.pixels is None:
            return values
        mean = values.mean()
        example = np.repeat(np.arange(len(self.pixels)), self.pixels)
        sums = np.bincount(example, values - mean, len(self.pixels))
        terms: Floats = mean + sums / self.pixels.mean()
        return terms

    @cached_property
    def probabilities(self) -> Floats:
        """(P, n, C)."""
        probabilities: Floats = np.exp(self.log_p)
        return probabilities

    @cached_property
    def came(self) -> NDArray[np.bool_]:
        """(P, n, C), whether each outcome came."""
        came: NDArray[np.bool_] = self.target[..., None] == np.arange(self.log_p.shape[2])
        return came

    @cached_property
    def confidence(self) -> Floats:
        """(P, n), the largest probability."""
        confidence: Floats = self.probabilities.max(2)
        return confidence

    @cached_property
    def hit(self) -> Floats:
        """(P, n), 1 where the most probable outcome came, else 0."""
        hit: Floats = (self.log_p.argmax(2) == self.target).astype(np.float64)
        return hit

    @property
    def log_loss(self) -> Floats:
        """(P, n), the negative log-likelihood of each outcome that came."""
        loss: Floats = -np.take_along_axis(self.log_p, self.target[..., None], 2)[..., 0]
        return loss

    @property
    def brier(self) -> Floats:
        """(P, n), squared distances of probabilities to 0 and 1, summed over outcomes; of two outcomes that of one."""
        distance: Floats = ((self.probabilities - self.came) ** 2).sum(2) / (2 if self.log_p.shape[2] == 2 else 1)
        return distance


def forecasts(run: Finished, split: str) -> Forecasts:
    """The predictions of a run on val or test.

    Raises:
        Unsuited: if the run keeps no probabilities of its examples.
        UserError: if an array of theirs is missing.
    """
    if run.kind not in _FORMS:
        raise Unsuited(f"the predictions of {run.kind} that a run keeps are not probabilities of examples")
    arrays, (prefix, form) = kept(run), _FORMS[run.kind]
    logits, target = (arrays[f"{split}_{prefix}{key}"] for key in ("logits", "target"))
    return form(logits.astype(np.float64), target.astype(np.int64))


def kept(run: Finished) -> dict[str, np.ndarray]:
    """The arrays of `predictions.npz`.

    Raises:
        Unsuited: without the file.
    """
    if run.predictions is None:
        raise Unsuited(f"{run.run_dir} has no readable predictions.npz; train with trainer.save_predictions=true")
    return run.predictions


def _classes(logits: Floats, target: NDArray[np.int64]) -> Forecasts:
    """From (n, C) and (n,)."""
    return Forecasts(log_softmax(logits, 1)[None], target[None])


def _tags(logits: Floats, target: NDArray[np.int64]) -> Forecasts:
    """From (n, T) and (n, T)."""
    return Forecasts(log_softmax(np.stack([np.zeros_like(logits.T), logits.T], 2), 2), target.T)


def _pixels(logits: Floats, target: NDArray[np.int64]) -> Forecasts:
    """From (N, K, C) and (N, K)."""
    real = target != VOID
    if not real.any():
        raise Unsuited("the pixels of which predictions.npz keeps logits are void in all pictures")
    return Forecasts(log_softmax(logits[real], 1)[None], target[real][None], real.sum(1))


# Kind of target -> what the names of its arrays begin with, and the form of its logits and targets.
_FORMS: dict[str, tuple[str, Callable[[Floats, NDArray[np.int64]], Forecasts]]] = {
    "classes": ("", _classes), "tags": ("", _tags), "masks": ("pixel_", _pixels),
}  # fmt: skip


def mean_iou(pixels: Forecasts) -> float:
    """The mean IoU of the most probable classes of all pixels, over the classes that occur, as `miou` of a run."""
    classes = pixels.log_p.shape[2]
    cells = pixels.target[0] * classes + pixels.log_p[0].argmax(1)
    confusion = np.bincount(cells, minlength=classes**2).reshape(classes, classes)
    both, either = confusion.diagonal(), confusion.sum(0) + confusion.sum(1)
    occurs = either > 0
    return float((both[occurs] / (either - both)[occurs]).mean())


# ---- calibration errors ---------------------------------------------------------------------------------------------


def equal_widths(values: Floats, bins: int) -> Bins:
    """The bin of each value in [0, 1], of the same shape: [0, 1/bins), [1/bins, 2/bins), ... The last one has 1 too."""
    where: Bins = np.minimum((values * bins).astype(np.int64), bins - 1)
    return where


def equal_masses(values: Floats, bins: int) -> Bins:
    """The bin of each value (P, n) by its rank in its row: bins of about n / bins values. Equal values share a bin."""
    ranks = np.stack([np.searchsorted(np.sort(row), row) for row in values]).astype(np.int64)
    where: Bins = ranks * bins // values.shape[1]
    return where


def bin_sums(where: Bins, values: Floats, bins: int) -> Floats:
    """Sums (P, bins) of values (P, n) in the bins (P, n) of their rows."""
    rows = np.arange(len(where))[:, None] * bins
    sums = np.bincount((rows + where).ravel(), values.ravel(), minlength=len(where) * bins)
    return sums.reshape(len(where), bins).astype(np.float64)


def calibration_error(probability: Floats, came: Floats, where: Bins, bins: int) -> float:
    """The expected calibration error (Guo et al., 2017, eq. 3), in [0, 1], mean over the P rows.

    It is the distance of the mean probability in a bin from the share that came, weighted by the bin's count.

    Args:
        probability: (P, n).
        came: (P, n) of 0 and 1.
        where: (P, n), the bin of each.
        bins: their number.
    """
    return float(np.abs(bin_sums(where, probability - came, bins)).sum(1).mean() / probability.shape[1])


def calibration_terms(probability: Floats, came: Floats, where: Bins, bins: int) -> Floats:
    """One number for each row, (n,), whose mean is the calibration error: jackknife pseudo-values.

    The error is not a mean over rows. The pseudo-values, moved so that their mean is the error, have the variance
    that it has over rows; see `mixup_lab.study.scores`. Arguments as in `calibration_error`.
    """
    gap = probability - came
    own = np.take_along_axis(bin_sums(where, gap, bins), where, 1)
    terms: Floats = (np.abs(own) - np.abs(own - gap)).mean(0)
    terms += calibration_error(probability, came, where, bins) - terms.mean()
    return terms
