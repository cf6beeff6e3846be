"""From columns of labels to targets: classes, tags or numbers."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mixup_lab.files.columns import FAR, NUMBER, Column, note_thousands
from mixup_lab.files.keys import few
from mixup_lab.files.labelled import TextRows, one_spelling
from mixup_lab.files.values import PLAIN, TRUTH, Ambiguous, is_code, like_numbers, not_a_number, notation_of
from mixup_lab.notices import say
from mixup_lab.targets.classes import Classes
from mixup_lab.targets.numbers import Numbers
from mixup_lab.targets.tags import Tags
from mixup_lab.targets.target import Target
from mixup_lab.types import UserError
from mixup_lab.visible import brief

TASKS = ("auto", "classification", "regression", "multilabel")
LIST, QUOTED = re.compile(r"\[.*\]|\{.*\}|\(.*\)", re.DOTALL), re.compile(r"^(['\"])(.*)\1$", re.DOTALL)
FEW = 20  # whole numbers with at most this many different values are classes


class LabelColumn(NamedTuple):
    """One column: its name, and the texts of its codes, or None if it holds numbers."""

    name: str
    texts: Sequence[str] | None


def read_targets(
    columns: Sequence[LabelColumn],
    values: Mapping[str, np.ndarray],
    task: str,
    where: Callable[[str, int], str],
) -> tuple[Target, dict[str, np.ndarray]]:
    """The kind of the targets, and the targets of each split in its form.

    Args:
        columns: T of them.
        values: for each split, train among them, (N, T) float64 without NaN.
        task: one of TASKS; `auto` chooses by the values of train, which is reported.
        where: from split and index of a row to its place, for messages.

    Raises:
        UserError: for a task that the columns do not fit, and for a class that train lacks.
    """
    chosen = _chosen(columns, values["train"], where) if task == "auto" else task
    names = tuple(column.name for column in columns)
    if chosen == "classification":
        return _one_hot(columns, values, where) if len(columns) > 1 else _classes(columns[0], values, where)
    for name, texts in columns:
        if texts is not None:
            raise UserError(
                f"dataset.task={chosen} needs numbers, but column {name} holds texts such as {brief(texts[0])!r}"
            )
    targets = {split: array.astype(np.float32) for split, array in values.items()}
    if chosen == "regression":
        for name, exact, rounded in zip(names, values["train"].T, targets["train"].T, strict=True):
            if np.abs(exact - rounded).max(initial=0.0) > FAR * exact.std() > 0:
                raise UserError(
                    f"the numbers of target {name} lie near {exact[0]:.6g} and differ by less than float32 can hold;"
                    " subtract a constant from them"
                )
        return Numbers(names), targets
    for split, array in values.items():
        for row, k in np.argwhere((array != 0) & (array != 1)).tolist():
            raise UserError(f"{where(split, row)}: the tag {names[k]} must be 0 or 1, found {array[row, k]:g}")
    return Tags(names), targets


def text_targets(
    rows: TextRows,
    names: Sequence[str],
    splits: Mapping[str, np.ndarray],
    task: str,
    separator: str | None,
    decimal: str = "auto",
) -> tuple[Target, np.ndarray]:
    """The kind of the targets, and the target of every row of a table of texts.

    Args:
        rows: of the table.
        names: of its columns of labels.
        splits: indices of the rows of each split.
        task: one of TASKS.
        separator: between the tags in one column; None: one value for each column.
        decimal: decimal mark of numbers, `.` or `,`; `auto`: the one that the values show.

    Raises:
        UserError: for texts that do not fit the task, and for a class or tag that train lacks.
    """
    if separator is not None:
        if task not in ("auto", "multilabel"):
            raise UserError(f"dataset.separator={separator} is for tags; dataset.task is {task}")
        return _joined_tags(rows, names[0], splits["train"], separator)
    if task == "multilabel" and len(names) == 1:
        raise UserError("dataset.task=multilabel needs several columns of 0 and 1, or one and dataset.separator")
    columns, values = [], np.empty((len(rows), len(names)))
    for k, name in enumerate(names):
        texts = rows.columns[name]
        try:
            found = notation_of(texts, decimal, None, (PLAIN, TRUTH) if len(names) > 1 else (PLAIN,))
        except Ambiguous as error:
            text = str(error)
            raise UserError(
                f"{rows.where(texts.index(text))}: {name} is {text}, whose comma may be a decimal mark or separate"
                " thousands; dataset.decimal says which"
            ) from None
        numbers = [found and found[0].read(text) for text in texts]
        finite = [number is not None and bool(np.isfinite(number)) for number in numbers]
        labels = len(names) == 1 and task in ("auto", "classification")
        if all(finite) and not (labels and any(map(is_code, texts))):
            columns.append(LabelColumn(name, None))
            values[:, k] = numbers
            read = Column(name, (), NUMBER, decimal=decimal)
            read.notation = found and found[0]
            note_thousands([(read, texts)])
            for note in read.notes:
                say(note)
        elif task in ("regression", "multilabel"):
            i = finite.index(False)
            raise UserError(f"{rows.where(i)}: {name} must be a number, found {texts[i]}")
        else:
            distinct = sorted(set(texts))
            columns.append(LabelColumn(name, distinct))
            values[:, k] = np.searchsorted(distinct, texts)
    parts = {split: values[places] for split, places in splits.items()}
    kind, targets = read_targets(columns, parts, task, lambda split, row: rows.where(int(splits[split][row])))
    target = np.empty((len(rows), *targets["train"].shape[1:]), targets["train"].dtype)
    for split, places in splits.items():
        target[places] = targets[split]
    return kind, target


def ordered(names: Iterable[str]) -> list[str]:
    """Distinct names in numerical order if all are numbers, else in alphabetical order."""
    names = set(names)
    numeric = all(map(is_number, names))
    return sorted(names, key=lambda name: (float(name) if numeric else 0.0, name))


def is_number(text: str) -> bool:
    """Whether a text is a finite number; 1_000, which Python accepts, is not."""
    try:
        return "_" not in text and bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _chosen(columns: Sequence[LabelColumn], values: np.ndarray, where: Callable[[str, int], str]) -> str:
    """The task that `auto` chooses, which is reported."""
    names = ",".join(column.name for column in columns)
    if len(columns) > 1:
        for k, (name, texts) in enumerate(columns):
            if texts is not None:
                raise UserError(
                    f"{where('train', 0)}: {name} is {brief(texts[int(values[0, k])])!r}; dataset.target=[{names}] must"
                    " be columns of 0 and 1, of True and False, or of numbers; or choose one"
                )
        tags = bool(np.isin(values, (0, 1)).all())
        chosen = "multilabel" if tags else "regression"
        if tags and (values.sum(1) == 1).all():
            say(
                f"targets {names}: tags (0 and 1), so dataset.task=multilabel; each row has exactly one of them"
                f" (one-hot), and dataset.task=classification takes them as {len(columns)} classes"
            )
            return chosen
        say(f"targets {names}: {'tags (0 and 1)' if tags else 'numbers'}, so dataset.task={chosen}")
        return chosen
    if (texts := columns[0].texts) is not None:
        odd, code = not_a_number(texts, "auto"), next(filter(is_code, texts), None)
        what, hint = "texts", ""
        if odd is None and code is not None:
            what = f"codes such as {code}, which lose zeros or digits as numbers"
        elif like_numbers(texts):
            place = texts.index(odd or texts[0])
            row = int((values[:, 0] == place).argmax())
            what = f"texts, though most begin like numbers or dates ({where('train', row)}: {brief(texts[place])!r})"
            hint = " (set it if they are classes; regression needs a number or a date in every row)"
        elif several := next((text for text in texts if "|" in text), None):
            hint = f" (set dataset.separator='|' if texts such as {several!r} are several tags)"
        say(f"dataset.target={names}: {what}, so dataset.task=classification{hint}")
        return "classification"
    whole, count = bool((values == np.round(values)).all()), len(np.unique(values))
    both = ("classification", "regression")
    chosen, other = both if whole and count <= FEW else both[::-1]
    numbers = f"{'whole numbers' if whole else 'numbers'}, {count:,} different"
    say(f"dataset.target={names}: {numbers}, so dataset.task={chosen} (set dataset.task={other} if not)")
    return chosen


def _classes(
    column: LabelColumn, values: Mapping[str, np.ndarray], where: Callable[[str, int], str]
) -> tuple[Target, dict[str, np.ndarray]]:
    """Classes in numerical order if all names are numbers, else in alphabetical order."""
    different, rows = len(np.unique(values["train"])), len(values["train"])
    if column.texts is not None and different > max(FEW, rows // 2):
        raise UserError(
            f"target {column.name} has {different:,} different texts in {rows:,} rows, such as"
            f" {few([repr(brief(text)) for text in column.texts], 3)}: they are hardly classes, and not read as numbers"
        )
    unique = {split: np.unique(array[:, 0], return_inverse=True) for split, array in values.items()}
    texts = column.texts
    spelt = {} if texts is None else one_spelling(texts)

    def named(value: float) -> str:
        return repr(value + 0.0).removesuffix(".0") if texts is None else spelt[texts[int(value)]]

    names = {split: [named(value) for value in different.tolist()] for split, (different, _) in unique.items()}
    class_names = ordered(names["train"])
    if told := _joined(class_names):
        text, mark = told
        say(
            f"classes of {column.name} such as {brief(text)!r} seem to be several, joined by {mark!r}, and count as one"
            " each; as tags they need columns of 0 and 1, or dataset.separator in a table of pictures"
        )
    place = {name: k for k, name in enumerate(class_names)}
    targets = {}
    for split, (_, inverse) in unique.items():
        for k, name in enumerate(names[split]):
            if name not in place:
                row = int((inverse == k).argmax())
                raise UserError(f"{where(split, row)}: train has no example whose {column.name} is {name}")
        targets[split] = np.array([place[name] for name in names[split]], dtype=np.int64)[inverse]
    return Classes(tuple(class_names)), targets


def _joined(names: Sequence[str]) -> tuple[str, str] | None:
    """The first name that joins others and the mark between them, if the parts are fewer than the names."""
    for mark in "|;,":
        parts = {part.strip() for name in names for part in name.split(mark)}
        joined = [name for name in names if mark in name]
        if joined and len(parts) < len(names):
            return joined[0], mark
    return None


def _one_hot(
    columns: Sequence[LabelColumn], values: Mapping[str, np.ndarray], where: Callable[[str, int], str]
) -> tuple[Target, dict[str, np.ndarray]]:
    """Classes from columns of 0 and 1, a single 1 in each row; the names of the columns are those of the classes."""
    names = tuple(column.name for column in columns)
    wanted = f"dataset.task=classification takes one target column, got {', '.join(names)}"
    if any(column.texts is not None for column in columns):
        raise UserError(f"{wanted}; several must be columns of 0 and 1")
    for split, array in values.items():
        for row in np.flatnonzero(~np.isin(array, (0, 1)).all(1) | (array.sum(1) != 1)).tolist():
            raise UserError(
                f"{wanted}; several must be 0 and 1 with a single 1 in each row, {where(split, row)}:"
                f" {', '.join(f'{value:g}' for value in array[row])}"
            )
    targets = {split: array.argmax(1) for split, array in values.items()}
    for k, name in enumerate(names):
        if k not in targets["train"]:
            raise UserError(f"train has no example of class {name}; leave the column out of dataset.target")
    return Classes(names), targets


def _joined_tags(rows: TextRows, name: str, train: np.ndarray, separator: str) -> tuple[Tags, np.ndarray]:
    texts = rows.columns[name]
    if all(LIST.fullmatch(text) for text in texts if text):  # as pandas writes a column of lists
        say(f"dataset.target={name}: lists such as {texts[0]}, whose brackets and quotation marks do not count")
        texts = [text[1:-1] for text in texts]
        tags = [[QUOTED.sub(r"\2", tag.strip()) for tag in text.split(separator)] for text in texts]
    else:
        tags = [[tag.strip() for tag in text.split(separator)] for text in texts]
    tags = [[tag for tag in own if tag] for own in tags]
    names = ordered(tag for i in train.tolist() for tag in tags[i])
    number = {tag: k for k, tag in enumerate(names)}
    target = np.zeros((len(tags), len(names)), dtype=np.float32)
    for i, own in enumerate(tags):
        for tag in own:
            if tag not in number:
                raise UserError(f"{rows.where(i)}: train has no example with the tag {tag}")
            target[i, number[tag]] = 1
    return Tags(tuple(names)), target
