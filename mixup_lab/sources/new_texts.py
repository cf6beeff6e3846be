"""New texts for a trained model: rows of tables, or a file for each text."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mixup_lab.data.source import ArrayPool, New
from mixup_lab.files.encodings import encoding_of
from mixup_lab.files.labelled import read_rows
from mixup_lab.files.table import PARQUET, open_table
from mixup_lab.sources.new_files import files_of, unskipped
from mixup_lab.types import UserError

WHOLE = ".txt"  # a file that is one text
TABLES = (".csv", ".tsv", *PARQUET)


def new_texts(
    paths: Sequence[Path],
    column: str,
    delimiter: str | None,
    header: bool,
    encoding: str,
    encode: Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]],
) -> New:
    """The texts of some files, in the form of training.

    Args:
        paths: tables with a column of texts, .txt files with one text each, or folders of both.
        column: of the texts, as the table names it.
        delimiter: as in `TextFile`; `auto` or None: detected in each file.
        header: whether the first line of a table names the columns.
        encoding: of tables, as in `TextFile`.
        encode: from N texts to token ids (N, L) and lengths (N,).

    Raises:
        UserError: for a file that cannot be read or lacks the column, and for an empty text.
    """
    names: list[str] = []
    ids: list[str] = []
    texts: list[str] = []
    for file in map(Path, files_of(paths, (WHOLE, *TABLES), "texts or tables")):
        if file.suffix.lower() == WHOLE:
            found = [_whole(file)]
            names.append(str(file))
            ids.append(file.stem)
        else:
            found = _column(file, column, delimiter, header, encoding)
            numbers = range(1, len(found) + 1)
            names += [f"{file}:{number}" for number in numbers]
            ids += map(str, numbers)
        texts += found
    tokens, lengths = encode(texts)
    return New(names, ids, ArrayPool(tokens, np.zeros(len(tokens)), lengths))


def _whole(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as a text: {error}") from error
    if not text:
        raise UserError(f"{file} is empty")
    return text


def _column(file: Path, column: str, delimiter: str | None, header: bool, encoding: str) -> list[str]:
    alone = _alone(file, column, encoding_of(file, encoding)) if header else None
    if alone is not None:
        return alone
    table = open_table(file, delimiter, header, plain_tabs=True, encoding=encoding)
    with unskipped():
        return read_rows(table, [("text_column", column)], skip=False).columns[column]


def _alone(file: Path, column: str, encoding: str) -> list[str] | None:
    """The texts of a CSV file that has no other column, so that it has no delimiter; None if it has others."""
    try:
        with open(file, newline="", encoding=encoding) as lines:
            if file.suffix.lower() in PARQUET or lines.readline().strip().strip('"') != column:
                return None
            rows = list(csv.reader(lines, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} cannot be read as a table: {error}") from error
    for number, row in enumerate(rows, 1):
        if len(row) != 1 or not row[0].strip():
            what = "is empty" if not "".join(row).strip() else f"has {len(row)} values; quote texts with commas"
            raise UserError(f"{file}, row {number}: {column} {what}")
    if not rows:
        raise UserError(f"{file} has no rows")
    return [row[0].strip() for row in rows]
