"""Gap: how much worse a model is on new data than on train, and which classes and groups pay for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixup_lab.evaluation.finished import Finished, baseline
from mixup_lab.evaluation.forecasts import kept
from mixup_lab.evaluation.lens import Found, Lens, Unsuited
from mixup_lab.runs.findings import Line, Score
from mixup_lab.types import UserError

Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]
LISTED = 12  # classes that the axis of a picture names


@dataclass
class Gap(Lens):
    """See `about`.

    Args:
        least: test examples that a class or a group needs, to be the worst one.
        shown: classes, and pairs of classes, in a note.
        column: of the table, whose values are the groups; None: those of the split, if it has any.
    """

    title = "Gap"
    about = (
        "How much worse a model is on val and test than on its own training examples, which are evaluated without"
        " mixing and augmentation. A small gap alone is worth little: a model that has learnt nothing has none. Below"
        " the mean over all examples some classes or groups may lose: the recall of a class is the share of its"
        " examples (of masks: of its pixels) that the model finds."
    )
    least: int = 5
    shown: int = 3
    column: str | None = None

    def __post_init__(self) -> None:
        for key, value in (("least", self.least), ("shown", self.shown)):
            if not isinstance(value, int) or value < 1:
                raise UserError(f"lens.gap.{key} must be a whole number, at least 1, got {value}")

    def companions(self, run: Finished, others: Sequence[Finished]) -> Sequence[Finished]:
        base = baseline(run, others)
        return [] if base is None else [base]

    def measure(self, run: Finished, others: Sequence[Finished]) -> Found:
        found = Found(_gaps(run))
        arrays = run.predictions
        if arrays is None:
            found.notes.append("Without a readable predictions.npz there is nothing by class or by group.")
            return found
        if (tally := _tally(run)) is not None:
            self._classes(tally, run.class_names, found)
            base = baseline(run, others)
            if base is not None and (other := _tally(base)) is not None and _same_test(arrays, base):
                self._changes(tally, other, run.class_names, found)
        if run.kind in _TERMS and self.column is not None:
            groups, names = _binned(run.column(self.column))
            self._groups(groups, _TERMS[run.kind](arrays), run.kind != "numbers", found)
            base = baseline(run, others)
            compared = [arrays] if base is None or not _same_test(arrays, base) else [arrays, kept(base)]
            self._by_column(groups, names, list(map(_TERMS[run.kind], compared)), run, found)
        elif run.kind in _TERMS and "test_group" in arrays:
            self._groups(arrays["test_group"], _TERMS[run.kind](arrays), run.kind != "numbers", found)
        return found

    def _classes(self, tally: Tally, names: Sequence[str], found: Found) -> None:
        recall, occurs = tally.recall, tally.count > 0
        large = np.flatnonzero(tally.examples >= self.least)
        if len(large):
            found.scores["worst_recall"] = Score(
                float(recall[large].min()), maximize=True, percent=True,
                about=f"recall of the worst class with at least {self.least} test examples",
            )  # fmt: skip
        if occurs.any():
            found.scores["mean_recall"] = Score(
                float(recall[occurs].mean()), maximize=True, percent=True, about="recall, the mean over classes"
            )
        found.lines.append(_line("Recall of each class", "recall", recall, names))

    def _changes(self, tally: Tally, base: Tally, names: Sequence[str], found: Found) -> None:
        change = tally.recall - base.recall  # NaN for a class without examples
        order = np.argsort(-np.nan_to_num(change), kind="stable")
        gains = [f"{names[k]} {100 * change[k]:+.1f}" for k in order[: self.shown] if change[k] > 0]
        losses = [f"{names[k]} {100 * change[k]:+.1f}" for k in order[::-1][: self.shown] if change[k] < 0]
        found.lines.append(_line("Recall of each class minus that of the baseline", "difference", change, names))
        found.notes.append(
            "Recall against the baseline of this seed, in points: "
            + (f"gains for {', '.join(gains)}; " if gains else "no class gains; ")
            + (f"losses for {', '.join(losses)}." if losses else "no class loses.")
        )
        if tally.confusion is None or base.confusion is None:
            return
        shift = tally.confusion - base.confusion
        np.fill_diagonal(shift, 0)
        pairs = np.argsort(-np.abs(shift), axis=None, kind="stable")[: self.shown].tolist()
        changes = [
            f"{names[true]} taken for {names[answer]}: {int(tally.confusion[true, answer])}"
            f" ({int(shift[true, answer]):+d})"
            for true, answer in (divmod(pair, len(shift)) for pair in pairs) if shift[true, answer] != 0
        ]  # fmt: skip
        if changes:
            found.notes.append(f"How often, and the change against the baseline of this seed: {'; '.join(changes)}.")

    def _groups(self, groups: np.ndarray, terms: Floats, maximize: bool, found: Found) -> None:
        place, count = np.unique(groups, return_inverse=True, return_counts=True)[1:]
        means = (np.bincount(place, terms) / count)[count >= self.least]
        if not len(means):
            found.notes.append(f"No group has {self.least} test examples (lens.gap.least).")
            return
        what = "share of right answers" if maximize else "mean absolute error"
        found.scores["worst_group"] = Score(
            float(means.min() if maximize else means.max()), maximize=maximize, percent=maximize,
            about=f"{what} in the worst of {len(means)} groups with at least {self.least} test examples",
        )  # fmt: skip

    def _by_column(
        self, groups: np.ndarray, names: Sequence[str], terms: Sequence[Floats], run: Finished, found: Found
    ) -> None:
        """A picture and a note on the groups; `terms` (n,) are those of the run, and of its baseline if it has one."""
        counts = np.bincount(groups)
        means = [np.bincount(groups, one) / counts for one in terms]
        percent = run.kind != "numbers"
        said = []
        large = [k for k, count in enumerate(counts) if count >= self.least]
        for k in sorted(large, key=lambda k: float(means[0][k]), reverse=not percent)[:LISTED]:  # the worst first
            value, *before = (mean[k] for mean in means)
            changes = [f"{100 * (value - b):+.1f} points" if percent else f"{value - b:+.4g}" for b in before]
            score = f"{100 * value:.1f} %" if percent else f"{value:.4g}"
            about = ", ".join([f"{counts[k]} examples", *(f"{change} against the baseline" for change in changes)])
            said.append(f"{names[k]} {score} ({about})")
        what = "Share of right answers" if percent else "Mean absolute error"
        found.lines.append(_line(f"{what} by {self.column}", what.lower(), means[0], names, str(self.column)))
        if said:
            found.notes.append(f"{what} by {self.column}: {'; '.join(said)}.")


def _binned(texts: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """The group (n,) of each text, 0..G-1, and their names: one for each text; of many numbers, the quarters."""
    different = sorted(set(texts))
    try:
        numbers = np.array([float(text or "nan") for text in texts])
    except ValueError:
        numbers = None
    if numbers is None or len(different) <= LISTED:
        place = {text: k for k, text in enumerate(different)}
        return np.array([place[text] for text in texts]), [text or "missing" for text in different]
    edges = np.unique(np.nanquantile(numbers, [0, 0.25, 0.5, 0.75, 1]))
    groups, absent = np.searchsorted(edges[1:-1], numbers, side="right"), np.isnan(numbers)
    names = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    groups[absent] = len(names)
    return groups, [*names, *["missing"] * bool(absent.any())]


def _gaps(run: Finished) -> dict[str, Score]:
    """Train and new data, the difference with the sign that makes it positive where new data are worse."""
    primary, maximize = str(run.start["primary"]), bool(run.start["maximize"])
    splits = {"": "test", "_val": "val"}
    scores = {}
    for name, metric, sign in (("gap", primary, 1 if maximize else -1), ("loss_gap", "loss", -1)):
        for suffix, split in splits.items():
            train, new = (run.scalars.get(f"{where}/{metric}") for where in ("train_clean", split))
            if train is None or new is None:
                raise Unsuited(f"its record has no {metric} of train and {split}")
            fraction = metric == primary and maximize and min(train, new) >= 0 and max(train, new) <= 1
            about = f"{metric} of train against that of {split}: how much worse {split} is"
            scores[f"{name}{suffix}"] = Score(sign * (train - new), maximize=False, percent=fraction, about=about)
    return scores


# ---- by class -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tally:
    """Test answers by class, C of them."""

    hits: Floats  # (C,) of the class: found
    count: Floats  # (C,) of the class: all
    examples: Floats  # (C,) with the class
    confusion: NDArray[np.int64] | None  # (C, C) by true class and answer, where each has one

    @property
    def recall(self) -> Floats:
        """(C,), NaN for a class without examples."""
        result: Floats = np.full(len(self.count), np.nan)
        np.divide(self.hits, self.count, out=result, where=self.count > 0)
        return result


def _tally(run: Finished) -> Tally | None:
    """None for targets without classes, and without predictions."""
    if run.predictions is None or run.kind not in _TALLIES:
        return None
    return _TALLIES[run.kind](run.predictions)


def _confused(confusion: NDArray[np.int64], examples: NDArray[Any]) -> Tally:
    hits, count = confusion.diagonal().astype(np.float64), confusion.sum(1).astype(np.float64)
    return Tally(hits, count, examples.astype(np.float64), confusion)


def _of_classes(arrays: Arrays) -> Tally:
    target, classes = arrays["test_target"], arrays["test_logits"].shape[1]
    cells = target * classes + arrays["test_logits"].argmax(1)
    confusion = np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.int64)
    return _confused(confusion, confusion.sum(1))


def _of_masks(arrays: Arrays) -> Tally:
    each = arrays["test_confusion"]
    return _confused(each.sum(0).astype(np.int64), (each.sum(2) > 0).sum(0))


def _of_tags(arrays: Arrays) -> Tally:
    true = arrays["test_target"] > 0
    count = true.sum(0).astype(np.float64)
    return Tally(((arrays["test_logits"] > 0) & true).sum(0).astype(np.float64), count, count, None)


def _same_test(arrays: Arrays, base: Finished) -> bool:
    return base.predictions is not None and np.array_equal(arrays["test_id"], base.predictions["test_id"])


def _line(name: str, y_label: str, values: Floats, names: Sequence[str], noun: str = "class") -> Line:
    listed = ", ".join(f"{k} {label}" for k, label in enumerate(names) if label != str(k))
    x_label = f"{noun} ({listed})" if listed else noun
    x_label = x_label if len(names) <= LISTED else f"{noun}, in order"
    return Line(name, x_label, y_label, tuple(map(float, range(len(values)))), tuple(values.tolist()))


_TALLIES: dict[str, Callable[[Arrays], Tally]] = {"classes": _of_classes, "masks": _of_masks, "tags": _of_tags}


# ---- by group -------------------------------------------------------------------------------------------------------


def _hit(arrays: Arrays) -> Floats:
    hit: Floats = (arrays["test_logits"].argmax(1) == arrays["test_target"]).astype(np.float64)
    return hit


def _right_tags(arrays: Arrays) -> Floats:
    share: Floats = ((arrays["test_logits"] > 0) == (arrays["test_target"] > 0)).mean(1)
    return share


def _absolute_error(arrays: Arrays) -> Floats:
    error: Floats = np.abs(arrays["test_prediction"].astype(np.float64) - arrays["test_target"]).mean(1)
    return error


def _right_pixels(arrays: Arrays) -> Floats:
    confusion = arrays["test_confusion"].astype(np.float64)
    share: Floats = np.trace(confusion, axis1=1, axis2=2) / np.maximum(confusion.sum((1, 2)), 1)
    return share


# Kind of target -> for each test example (n,) the share of right answers, or the error.
_TERMS: dict[str, Callable[[Arrays], Floats]] = {
    "classes": _hit, "tags": _right_tags, "numbers": _absolute_error, "masks": _right_pixels,
}  # fmt: skip
