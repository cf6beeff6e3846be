"""What the target columns of a table ask for: classes, numbers or tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mixup_lab.notices import say
from mixup_lab.targets.classes import Classes
from mixup_lab.targets.numbers import Numbers
from mixup_lab.targets.tags import Tags
from mixup_lab.targets.target import Target
from mixup_lab.types import UserError

TASKS = ("auto", "classification", "regression", "multilabel")
FEW = 20  # whole numbers with at most so many different values are classes


class TargetColumn(NamedTuple):
    """One column: its name, and the texts of its codes; no texts: they are numbers."""

    name: str
    texts: Sequence[str] | None


def read_targets(
    columns: Sequence[TargetColumn], values: dict[str, np.ndarray], task: str
) -> tuple[Target, dict[str, np.ndarray]]:
    """The kind of the targets, and the targets of each file as this kind has them.

    Args:
        columns: T of them.
        values: for each file (N, T) float64 without NaN; train among them, which decides.
        task: one of TASKS; `auto` looks at the values and says what it found.

    Raises:
        UserError: for a task that the columns do not fit.
    """
    chosen = _found(columns, values["train"]) if task == "auto" else task
    names = ", ".join(column.name for column in columns)
    if chosen == "classification":
        if len(columns) > 1:
            raise UserError(f"dataset.task=classification takes one target column, got {names}")
        return _classes(columns[0], values)
    for column in columns:
        if column.texts is not None:
            raise UserError(
                f"dataset.task={chosen} needs numbers, but column {column.name} holds texts such as {column.texts[0]!r}"
            )
    if chosen == "regression":
        return Numbers(tuple(c.name for c in columns)), {k: v.astype(np.float32) for k, v in values.items()}
    for split, array in values.items():
        wrong = np.argwhere((array != 0) & (array != 1))
        if len(wrong):
            row, column_number = wrong[0].tolist()
            raise UserError(
                f"tags must be 0 or 1, but column {columns[column_number].name} of {split} holds"
                f" {array[row, column_number]:g}"
            )
    return Tags(tuple(c.name for c in columns)), {k: v.astype(np.float32) for k, v in values.items()}


def _found(columns: Sequence[TargetColumn], values: np.ndarray) -> str:
    names = ",".join(column.name for column in columns)
    if len(columns) > 1:
        tags = all(c.texts is None for c in columns) and np.isin(values, (0, 1)).all()
        if not tags and any(c.texts is not None for c in columns):
            raise UserError(f"dataset.target=[{names}] must be columns of 0 and 1, or of numbers; or name one of them")
        chosen = "multilabel" if tags else "regression"
        say(f"targets {names}: " + ("tags (0 and 1)" if tags else "numbers") + f", so dataset.task={chosen}")
        return chosen
    if columns[0].texts is not None:
        found = "texts"
        chosen = "classification"
    else:
        whole = bool((values == np.round(values)).all())
        count = len(np.unique(values))
        chosen = "classification" if whole and count <= FEW else "regression"
        found = f"{'whole numbers' if whole else 'numbers'}, {count:,} different"
    other = "regression" if chosen == "classification" and columns[0].texts is None else "classification"
    unless = f" (dataset.task={other} if they are not)" if columns[0].texts is None else ""
    say(f"target {names}: {found}, so dataset.task={chosen}{unless}")
    return chosen


def _classes(column: TargetColumn, values: dict[str, np.ndarray]) -> tuple[Target, dict[str, np.ndarray]]:
    """Class names in the order of the numbers if all are numbers, else of the alphabet."""
    names = dict.fromkeys(_name(column, value) for array in values.values() for value in np.unique(array))
    numeric = all(_is_number(name) for name in names)
    ordered = sorted(names, key=float) if numeric else sorted(names)
    place = {name: k for k, name in enumerate(ordered)}
    targets = {}
    for split, array in values.items():
        known, inverse = np.unique(array[:, 0], return_inverse=True)
        targets[split] = np.array([place[_name(column, value)] for value in known], dtype=np.int64)[inverse]
    in_train = set(np.unique(targets["train"]).tolist())
    for split, array in targets.items():
        for k in sorted(set(np.unique(array).tolist()) - in_train):
            raise UserError(f"class {ordered[k]} of column {column.name} is in {split}, but not in train")
    return Classes(tuple(ordered)), targets


def _name(column: TargetColumn, value: float) -> str:
    """As it is written; numbers in one way, so that 1 and 1.0 are one class."""
    text = f"{value:.15g}" if column.texts is None else column.texts[int(value)]
    return f"{float(text):.15g}" if _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        return "_" not in text and bool(np.isfinite(float(text)))
    except ValueError:
        return False
