"""What tables in files have in common, whatever their format: pieces of rows, and names of columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from mixup_lab.types import UserError

CELLS = 2**19  # read at a time


class Piece(NamedTuple):
    """Some rows: for each column texts (None: missing) or float64 (NaN: missing), and the number of each record."""

    columns: Sequence[Sequence[Any] | np.ndarray]
    records: Sequence[int]
    dropped: int  # rows among these that were left out
    done: int  # bytes of the file, up to here


class TableFile(Protocol):
    """A file that holds a table."""

    path: Path
    names: list[str]
    unnamed: list[str]  # names that we gave to columns without one: an index, mostly

    def pieces(self, skip: bool, numbers: bool) -> Iterator[Piece]:
        """All rows.

        Args:
            skip: rows of another length are counted and left out instead of refused.
            numbers: no column has to be given as texts.
        """

    def where(self, record: int) -> str:
        """File and line of a record, for messages."""


def checked_names(path: Path, names: list[str]) -> list[str]:
    """The names of the columns; those without one are c0, c1, ... by their place.

    Raises:
        UserError: for two columns of one name.
    """
    named = [name or f"c{k}" for k, name in enumerate(names)]
    for name, count in Counter(named).items():
        if count > 1:
            first, second = [k + 1 for k, other in enumerate(named) if other == name][:2]
            raise UserError(f"{path} has two columns named {name} (number {first} and {second}); rename one of them")
    return named
