"""From texts in columns of labels to targets: classes, tags or numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mixup_lab.files.listed import Rows
from mixup_lab.notices import say
from mixup_lab.sources.table_targets import FEW
from mixup_lab.targets.classes import Classes
from mixup_lab.targets.numbers import Numbers
from mixup_lab.targets.tags import Tags
from mixup_lab.targets.target import Target
from mixup_lab.types import UserError


def targets_of(rows: Rows, names: Sequence[str], task: str, separator: str | None) -> tuple[Target, np.ndarray]:
    """The kind of the targets, and the target of every row.

    Args:
        rows: of the table.
        names: of its columns of labels.
        task: one of TASKS of `tables.target`.
        separator: between the tags of one column.

    Raises:
        UserError: for texts that are not what the task needs, and for a class or tag that train lacks.
    """
    if task == "auto":
        task = _guess(rows, names, separator)
    if separator is not None and task != "multilabel":
        raise UserError(f"dataset.separator={separator} is for tags; dataset.task is {task}")
    if task == "classification":
        if len(names) > 1:
            raise UserError(f"dataset.target must be one column for classes, got {', '.join(names)}")
        return _classes(rows, names[0])
    if task == "regression":
        return Numbers(tuple(names)), _numbers(rows, names).astype(np.float32)
    if separator is not None:
        return _joined_tags(rows, separator)
    if len(names) == 1:
        raise UserError("dataset.task=multilabel needs several columns of 0 and 1, or one and dataset.separator")
    values = _numbers(rows, names)
    wrong = np.argwhere(~np.isin(values, (0, 1)))
    if len(wrong):
        row, column = wrong[0].tolist()
        raise UserError(f"{rows.where(row)}: the tag {names[column]} must be 0 or 1, found {values[row, column]:g}")
    return Tags(tuple(names)), values.astype(np.float32)


def _guess(rows: Rows, names: Sequence[str], separator: str | None) -> str:
    if separator is not None:
        return "multilabel"
    numbers = [_number(text) for column in rows.targets for text in column]
    if None in numbers:
        return "classification"
    different = set(numbers)
    if len(names) > 1:
        return "multilabel" if different <= {0, 1} else "regression"
    whole = len(different) <= FEW and all(number == int(number) for number in different if number is not None)
    if whole:
        say(
            f"dataset.target={names[0]} holds {len(different)} different whole numbers, taken for classes;"
            " dataset.task=regression predicts them as numbers"
        )
    return "classification" if whole else "regression"


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None


def _numbers(rows: Rows, names: Sequence[str]) -> np.ndarray:
    """(N, T) float64."""
    columns = []
    for name, texts in zip(names, rows.targets, strict=True):
        values = [_number(text) for text in texts]
        if None in values:
            row = values.index(None)
            raise UserError(f"{rows.where(row)}: {name} must be a number, found {texts[row]}")
        columns.append(values)
    return np.array(columns, dtype=np.float64).T


def _classes(rows: Rows, name: str) -> tuple[Classes, np.ndarray]:
    labels = rows.targets[0]
    known = _ordered({labels[i] for i in rows.splits["train"].tolist()})
    number = {label: k for k, label in enumerate(known)}
    for i, label in enumerate(labels):
        if label not in number:
            raise UserError(f"{rows.where(i)}: train has no picture of the {name} {label}")
    return Classes(tuple(known)), np.array([number[label] for label in labels], dtype=np.int64)


def _joined_tags(rows: Rows, separator: str) -> tuple[Tags, np.ndarray]:
    said = [[tag.strip() for tag in text.split(separator) if tag.strip()] for text in rows.targets[0]]
    known = _ordered({tag for i in rows.splits["train"].tolist() for tag in said[i]})
    number = {tag: k for k, tag in enumerate(known)}
    target = np.zeros((len(said), len(known)), dtype=np.float32)
    for i, tags in enumerate(said):
        for tag in tags:
            if tag not in number:
                raise UserError(f"{rows.where(i)}: train has no picture with the tag {tag}")
            target[i, number[tag]] = 1
    return Tags(tuple(known)), target


def _ordered(labels: set[str]) -> list[str]:
    """In the order of numbers if all are, else of the alphabet."""
    numbers = {label: _number(label) for label in labels}
    return sorted(labels, key=lambda label: (numbers[label] or 0.0, label) if None not in numbers.values() else label)
