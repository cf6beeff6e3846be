"""Tables of texts and labels in files of separated values: where they are, and what stands in their rows."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from mixup_lab.types import UserError

USUAL = {  # names that are looked for, without their ending
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
ENDINGS = (".csv", ".tsv", ".txt")
LONGEST = 2**31 - 1  # characters of a field; csv's own limit is 131,072, less than a book has


@dataclass(frozen=True)
class Layout:
    """How the tables are written. Columns are names, or numbers from 0 where there is no header."""

    text_column: str | int
    label_column: str | int
    delimiter: str | None  # None: a tab in .tsv and .txt, a comma in .csv
    header: bool


@dataclass(frozen=True)
class Table:
    """The rows of one file: texts, labels and the numbers of their lines, from 1."""

    path: Path
    texts: list[str]
    labels: list[str]
    lines: list[int]
    dropped: int


def find_files(root: str, given: dict[str, str | None]) -> dict[str, Path]:
    """The file of each split that there is.

    Args:
        root: a file, which is train; or a folder.
        given: for train, val and test a name within the folder, or None: one of the USUAL names.

    Raises:
        UserError: for a root that is not there, a name that is not in it, a folder without a file for train.
    """
    path = Path(os.path.expanduser(root))
    if path.is_file():
        return {"train": path}
    if not path.is_dir():
        raise UserError(f"dataset.root={root} is neither a file nor a folder; set dataset.root to a CSV or TSV file")
    found: dict[str, Path] = {}
    for split, name in given.items():
        if name is not None:
            if not (path / name).is_file():
                raise UserError(f"dataset.{split}_file={name} is not in dataset.root={root}")
            found[split] = path / name
            continue
        usual = [file for stem in USUAL[split] for file in sorted(path.glob(f"{stem}.*")) if file.suffix in ENDINGS]
        if len(usual) > 1:
            names = " and ".join(file.name for file in usual)
            raise UserError(f"dataset.root={root} has {names}: say with dataset.{split}_file=NAME which is to be used")
        if usual:
            found[split] = usual[0]
    if "train" not in found:
        raise UserError(
            f"dataset.root={root} has no train{', train'.join(ENDINGS)}; name the file with dataset.train_file=NAME"
        )
    return found


def read_table(path: Path, layout: Layout, skip: bool) -> Table:
    """All rows of a file.

    Fields may be quoted in files with commas. In those with tabs a quotation mark is one: a sentence often begins so.

    Args:
        path: of the file, UTF-8.
        layout: how it is written.
        skip: leave out rows without a text or a label, or with another number of fields, and count them.

    Raises:
        UserError: with the file and the line.
    """
    content = _decoded(path)
    delimiter = layout.delimiter or ("," if path.suffix == ".csv" else "\t")
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, quoting=quoting)
    table = Table(path, [], [], [], 0)
    dropped, before = 0, csv.field_size_limit(LONGEST)
    try:
        first = next(reader, None)
        if first is None:
            raise UserError(f"{path} is empty")
        text, label = _columns(path, layout, first)
        rows = reader if layout.header else chain([first], reader)
        for row in rows:
            if not row or row == [""]:  # an empty line
                continue
            wrong = _wrong(row, len(first), text, label)
            if wrong and not skip:
                raise UserError(f"{path}, line {reader.line_num}: {wrong}; dataset.on_error=skip leaves such rows out")
            if wrong:
                dropped += 1
                continue
            table.texts.append(row[text])
            table.labels.append(row[label].strip())
            table.lines.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from error
    finally:
        csv.field_size_limit(before)
    if not table.texts:
        raise UserError(f"{path} has no row with a text and a label")
    return Table(path, table.texts, table.labels, table.lines, dropped)


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: byte {content[error.start]:#x} is not UTF-8; convert the file"
        ) from error


def _columns(path: Path, layout: Layout, first: Sequence[str]) -> tuple[int, int]:
    """Places of text and label."""
    places = []
    for key in ("text_column", "label_column"):
        wanted = getattr(layout, key)
        if not layout.header:
            if isinstance(wanted, str) or not 0 <= wanted < len(first):
                raise UserError(
                    f"dataset.{key}={wanted} must be a number from 0 to {len(first) - 1}, since {path} is read without"
                    " a header"
                )
            places.append(wanted)
            continue
        names = [name.strip() for name in first]
        count = names.count(str(wanted))
        if count != 1:
            what = f"has {count} columns" if count else "has no column"
            raise UserError(
                f"{path} {what} {wanted}: set dataset.{key} to one of {', '.join(names)}"
                " (dataset.header=false if these are data)"
            )
        places.append(names.index(str(wanted)))
    if places[0] == places[1]:
        raise UserError(f"dataset.text_column and dataset.label_column are both {layout.text_column}")
    return places[0], places[1]


def _wrong(row: Sequence[str], fields: int, text: int, label: int) -> str:
    """What is wrong with a row; empty if nothing is."""
    if len(row) != fields:
        return f"{len(row)} fields in place of {fields}"
    if not row[text].strip():
        return "the text is empty"
    return "" if row[label].strip() else "the label is empty"
