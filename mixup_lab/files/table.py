"""Tables in files, read piece by piece: CSV, TSV and the like, or parquet.

Text files are UTF-8, with or without a byte order mark; values may be quoted. Whatever is wrong is told with the line
that an editor shows.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from mixup_lab.files.parquet import ParquetFile
from mixup_lab.files.piece import CELLS, Piece, TableFile, checked_names
from mixup_lab.types import UserError

SNIFFED = 50  # lines that tell the separator
SEPARATORS = (",", ";", "\t", "|", " ")
SPELT = {"\\t": "\t", "tab": "\t", "space": " "}
TEXTS, PARQUET = (".csv", ".tsv", ".txt", ".data", ".dat"), (".parquet",)


def open_table(path: Path, delimiter: str | None, header: bool) -> TableFile:
    """Look at the beginning of a file.

    Raises:
        UserError: for a file that is empty or no such table.
    """
    if path.suffix.lower() in PARQUET:
        return ParquetFile(path)
    return TextFile(path, delimiter, header)


class TextFile:
    """Values between separators, one row a line.

    Args:
        path: of the file.
        delimiter: one character, `tab`, or a space for any number of spaces; None: as the first lines have it.
        header: whether the first line names the columns; else they are c0, c1, ...

    Raises:
        UserError: for an empty file, names that are missing or there twice, and what is no such table.
    """

    def __init__(self, path: Path, delimiter: str | None, header: bool) -> None:
        self.path, self._header = path, header
        with self._open() as file, self._telling():
            start = list(itertools.islice(file, SNIFFED))
        if not any(line.strip() for line in start):
            raise UserError(f"{path} is empty")
        self._delimiter = _delimiter(path, delimiter, start)
        with self._telling():
            first = _first(self._records(io.StringIO("".join(start))))
        if len(first) < 2:
            raise UserError(f"{path} seems to have one column alone; dataset.delimiter=... names what separates values")
        given = [name.strip() if header else "" for name in first]
        self.names = checked_names(path, given)
        self.unnamed = [name for name, own in zip(self.names, given, strict=True) if header and not own]

    def pieces(self, skip: bool, numbers: bool) -> Iterator[Piece]:
        """All rows but empty lines. As long as there are numbers alone, numpy reads them: four times faster."""
        width, count, number = len(self.names), max(1, CELLS // len(self.names)), 0
        with self._open() as file:
            lines: Iterator[str] = file
            if self._header:
                _first(self._records(lines))
            while numbers and self._delimiter != " ":
                with self._telling():
                    some = list(itertools.islice(file, count))
                table = self._numbers(some, width) if some else None
                if table is None:
                    lines = itertools.chain(some, file)  # from here on as texts
                    break
                yield Piece(list(table.T), range(number, number + len(some)), 0, file.buffer.tell())
                number += len(some)
            records = self._records(lines)
            while True:
                with self._telling():
                    rows = list(itertools.islice(records, count))
                if not rows:
                    return
                places: Sequence[int] = range(number, number + len(rows))
                number, dropped = number + len(rows), 0
                if set(map(len, rows)) != {width}:
                    rows, places, dropped = self._fitting(rows, places, skip)
                yield Piece(list(zip(*rows, strict=True)) or [()] * width, places, dropped, file.buffer.tell())

    def _numbers(self, lines: list[str], width: int) -> np.ndarray | None:
        """The rows as float64 (lines, width); None if that is not what they are."""
        if not lines[0].strip():
            return None
        try:
            table = np.loadtxt(lines, delimiter=self._delimiter, quotechar='"', comments=None, ndmin=2)
        except ValueError:
            return None
        return table if table.shape == (len(lines), width) else None

    def where(self, record: int) -> str:
        """Found by reading again: nothing is kept of the many lines that are in order."""
        with self._open() as file:
            records = self._records(file)
            if self._header:
                _first(records)
            next(itertools.islice(records, record, None))
            return f"{self.path} line {records.line_num}"

    def _fitting(self, rows: list[list[str]], numbers: Sequence[int], skip: bool) -> tuple[Any, list[int], int]:
        width, dropped = len(self.names), 0
        kept, kept_numbers = [], []
        for number, row in zip(numbers, rows, strict=True):
            if len(row) == width:
                kept.append(row)
                kept_numbers.append(number)
            elif row and not skip:
                raise UserError(
                    f"{self.where(number)} has {len(row)} value{'s'[: len(row) != 1]}, but the table has {width}"
                    " columns; dataset.on_error=skip leaves such rows out"
                )
            else:
                dropped += bool(row)
        return kept, kept_numbers, dropped

    def _open(self) -> TextIO:
        return open(self.path, newline="", encoding="utf-8-sig")

    def _records(self, lines: Iterable[str]) -> Any:
        if self._delimiter == " ":
            return csv.reader((line.strip(" \r\n") + "\n" for line in lines), delimiter=" ", skipinitialspace=True)
        return csv.reader(lines, delimiter=self._delimiter, skipinitialspace=True)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
        except csv.Error as error:
            raise UserError(f"{self.path} cannot be read as a table: {error}") from error


def _first(records: Any) -> list[str]:
    """The next one that is no empty line."""
    return next((row for row in records if row), [])


def _delimiter(path: Path, given: str | None, start: Sequence[str]) -> str:
    if given is not None:
        found = SPELT.get(given, given)
        if len(found) != 1 or found in '"\r\n':
            raise UserError(f"dataset.delimiter must be null, one character, tab or space, got {given}")
        return found
    best, most = ",", 0.0
    for separator in SEPARATORS:
        lines = (line.strip(" \r\n") + "\n" for line in start) if separator == " " else start
        try:
            widths = Counter(len(r) for r in csv.reader(lines, delimiter=separator, skipinitialspace=True) if r)
        except csv.Error:
            continue
        width, rows = widths.most_common(1)[0]
        if width > 1 and rows / widths.total() > most:  # that most lines agree on; of several the most usual
            best, most = separator, rows / widths.total()
    return best
