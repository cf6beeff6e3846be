"""Columns of a table as texts: paths, labels, splits and groups. Rows that lack one are incomplete."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np

from mixup_lab.files.keys import SKIP_HINT, SPLIT_NAMES, SPLITS
from mixup_lab.files.table import TableFile
from mixup_lab.files.values import TRUTHS, as_number
from mixup_lab.notices import say
from mixup_lab.pasting import word
from mixup_lab.types import UserError

MISSING = ("", "nan", "none", "null", "na")  # in lower case: texts that mean a missing label


@dataclass(frozen=True)
class TextRows:
    """N complete rows of a table: the N texts of each column, and how many incomplete rows were `dropped`."""

    table: TableFile
    columns: dict[str, list[str]]
    records: list[int]
    dropped: int

    def __len__(self) -> int:
        return len(self.records)

    def where(self, i: int) -> str:
        """File and line of a row, for messages."""
        return self.table.where(self.records[i])

    def check_unique(self, column: str, meant: Sequence[str] | None = None) -> None:
        """Raise UserError for a text that occurs twice in the column, or for two that mean one thing.

        `meant` (N,) is what the texts mean, such as the files of paths that can be written in several ways.
        """
        first: dict[str, int] = {}
        for i, thing in enumerate(self.columns[column] if meant is None else meant):
            if first.setdefault(thing, i) != i:
                line, text = self.where(first[thing]).rpartition(" ")[2], self.columns[column][i]
                raise UserError(f"{self.where(i)}: {text} is already in line {line}; each {column} must have one row")

    def splits(self, column: str | None) -> dict[str, np.ndarray]:
        """The indices of the rows of each split, ascending; without a column all are in train.

        Raises:
            UserError: for an unknown split, and if train has no row.
        """
        if column is None:
            return {"train": np.arange(len(self))}
        texts = np.array([SPLIT_NAMES.get(text.lower(), "") for text in self.columns[column]])
        for i in np.flatnonzero(texts == "").tolist():
            found = self.columns[column][i]
            raise UserError(f"{self.where(i)}: {column} must be one of {', '.join(SPLIT_NAMES)}, found {found}")
        if "train" not in texts:
            raise UserError(f"{self.table.path} has no row whose {column} is train")
        return {split: np.flatnonzero(texts == split) for split in SPLITS if split in texts}

    def numbered(self, column: str) -> np.ndarray:
        """int64 (N,): the texts numbered from 0 by first appearance; texts of `one_spelling` have equal numbers."""
        texts = self.columns[column]
        return np.array(list(map(numbers_of(texts).__getitem__, texts)), dtype=np.int64)


def read_rows(
    table: TableFile,
    named: Sequence[tuple[str, str | None]],
    skip: bool,
    labels: Collection[str] = (),
    empty: bool = False,
    missing: Sequence[str] = MISSING,
) -> TextRows:
    """Read some columns of a table.

    Args:
        table: the file.
        named: keys of `conf/dataset`, each with the name of its column or None.
        skip: leave out incomplete rows and count them, instead of refusing them.
        labels: columns of labels, in which the texts of `missing` mean a missing label.
        empty: whether labels may be missing.
        missing: such texts, in capitals or not.

    Raises:
        UserError: for a column that is missing or named twice, and for a row that lacks a text.
    """
    keys: dict[str, str] = {}
    for key, name in named:
        if name is None:
            continue
        if name not in table.names:
            raise UserError(f"dataset.{key}={name} is not a column of {table.path}; it has {', '.join(table.names)}")
        if name in keys:
            raise UserError(f"dataset.{keys[name]} and dataset.{key} both name the column {name}")
        keys[name] = key
    columns: dict[str, list[str]] = {name: [] for name in keys}
    records: list[int] = []
    dropped = 0
    for piece in table.pieces(skip, names=keys):
        records += piece.records
        dropped += piece.dropped
        for name, values in columns.items():
            values += _texts(piece.columns[table.names.index(name)])
    complete = np.ones(len(records), bool)
    for name, texts in columns.items():
        if not (empty and name in labels):
            absent = {text.lower() for text in missing} | {""} if name in labels else {""}
            complete &= np.array([text.lower() not in absent for text in texts], bool)
            if not skip and not complete.all():
                row = int(complete.argmin())
                why = "empty"
                if text := texts[row]:
                    kept = word("dataset.missing", [other for other in missing if other.lower() != text.lower()])
                    why = f"{text!r}, which means a missing label; if it is a class, set {kept}"
                raise UserError(f"{table.where(records[row])}: {name} is {why}{SKIP_HINT}")
    columns = {name: list(compress(texts, complete)) for name, texts in columns.items()}
    dropped += int((~complete).sum())
    rows = TextRows(table, columns, list(compress(records, complete)), dropped)
    if not len(rows):
        raise UserError(f"{table.path} has no rows with {' and '.join(keys)}")
    for note in table.notes:
        say(f"{table.path}: {note}")
    if dropped:
        say(f"{dropped} of {len(rows) + dropped} rows of {table.path} are incomplete and left out")
    return rows


def one_spelling(labels: Iterable[str]) -> dict[str, str]:
    """For each label the text that stands for it: if all are numbers, 1 and 1.0 are one label; True and TRUE are one.

    Codes stay as they are written: 01 and 1 differ, and so do the versions 1.1 and 1.10.
    """
    texts = dict.fromkeys(labels)
    if all(text.lower() in TRUTHS for text in texts):
        first: dict[str, str] = {}
        return {text: first.setdefault(text.lower(), text) for text in texts}
    if any(as_number(text) is None for text in texts):
        return {text: text for text in texts}
    plain = {text: re.sub(r"(?<=\d)\.0*$", "", text) for text in texts}
    return plain if len(set(plain.values())) < len(texts) else {text: text for text in texts}


def numbers_of(texts: Iterable[str]) -> dict[str, int]:
    """A number for each text, from 0 by first appearance; texts of `one_spelling` have the same."""
    spelt = one_spelling(texts)
    number = {text: k for k, text in enumerate(dict.fromkeys(spelt.values()))}
    return {text: number[own] for text, own in spelt.items()}


def _texts(values: Sequence[object] | np.ndarray) -> list[str]:
    if isinstance(values, np.ndarray):
        return ["" if np.isnan(value) else f"{value:.17g}" for value in values.tolist()]
    return ["" if value is None else str(value).strip() for value in values]
