"""New texts for a trained model: rows of tables, or a file for each text."""

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mixup_lab.data.source import ArrayPool, New
from mixup_lab.files.encodings import encoding_of, marked, undecodable
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
        paths: tables with a column of texts, .txt files with one text each, or folders of both. A .txt file whose
            first line names the column and others is a table.
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
        if file.suffix.lower() == WHOLE and not (header and _is_table(file, column)):
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
    content = _content(file)
    try:
        text = content.decode(marked(content)).strip()
    except UnicodeDecodeError:
        raise UserError(undecodable(file, marked(content))) from None
    if not text:
        raise UserError(f"{file} is empty")
    if "\0" in text:
        raise UserError(f"{file} is not a text: it has a byte of value 0")
    return text


def _is_table(file: Path, column: str) -> bool:
    content = _content(file)
    first = content.decode(marked(content), "replace").lstrip().splitlines()[:1]
    names = [name.strip('"') for name in re.split(r"[,;\t|]", "".join(first))]  # prose has a space after a comma
    return len(names) > 1 and column in names


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read as a text: {error.strerror}") from error


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
