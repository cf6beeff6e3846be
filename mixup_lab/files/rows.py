"""The rows of a table as numbers, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from mixup_lab.files.columns import NUMBER, TIME, Column
from mixup_lab.files.piece import Piece, TableFile
from mixup_lab.files.store import Stored
from mixup_lab.notices import track
from mixup_lab.types import UserError

LARGE = 8 << 20  # bytes of a file from which on reading it takes a while


def coded_rows(
    file: TableFile, inputs: Sequence[Column], others: Sequence[Column], targets: int, skip: bool, dropped: list[int]
) -> Iterator[Stored]:
    """Read a file.

    Args:
        file: that has all columns.
        inputs: NaN where a value is missing.
        others: in which no value may be missing; `targets` of them first.
        targets: how many of them are targets.
        skip: whether rows that cannot be read are left out, and counted in `dropped`, or end it all.
        dropped: gets one number for each piece.

    Raises:
        UserError: that names the line, for the first row that cannot be read.
    """
    size, places = file.path.stat().st_size, {name: k for k, name in enumerate(file.names)}
    title = f"reading {file.path} ({size / 2**20:,.0f} MiB)"
    with track(title, size >> 20) if size >= LARGE else nullcontext(lambda done: None) as advance:
        told = 0
        yield Stored(np.empty((0, len(inputs)), np.float32), np.empty((0, len(others))))  # so that there is a piece
        for piece in file.pieces(skip, all(column.kind in (None, NUMBER) for column in (*inputs, *others))):
            good = np.ones(len(piece.records), bool)
            parts = []
            for columns, dtype in ((inputs, np.float32), (others, np.float64)):
                part = np.empty((len(piece.records), len(columns)), dtype)
                for k, column in enumerate(columns):
                    values = piece.columns[places[column.name]]
                    part[:, k], bad = column.convert(values)
                    if bad and not skip:
                        where = file.where(piece.records[bad[0]])
                        raise UserError(_unreadable(where, column, values[bad[0]], column in others))
                    good[bad] = False
                parts.append(part)
            _check_there(file, piece, parts[1], good, [column.name for column in others], targets, skip)
            dropped.append(piece.dropped + int((~good).sum()))
            yield Stored(*parts) if good.all() else Stored(*(part[good] for part in parts))
            advance((piece.done >> 20) - told)
            told = piece.done >> 20


def _check_there(
    file: TableFile, piece: Piece, others: np.ndarray, good: np.ndarray, names: Sequence[str], targets: int, skip: bool
) -> None:
    """Rows without a target, split, group or time are not good."""
    missing = np.isnan(others)
    rows = np.flatnonzero(missing.any(1) & good)
    if len(rows) and not skip:
        k = int(missing[rows[0]].argmax())
        what = "the target" if k < targets else "the value of column"
        raise UserError(
            f"{file.where(piece.records[rows[0]])}: {what} {names[k]} is missing; dataset.on_error=skip leaves such"
            " rows out"
        )
    good[rows] = False


def _unreadable(where: str, column: Column, value: Any, needed: bool) -> str:
    what = "neither a number nor a date such as 2024-03-31" if column.kind == TIME else "no finite number"
    said = f"{where}: column {column.name} holds {str(value)!r}, which is {what}"
    if needed:
        return f"{said}; dataset.on_error=skip leaves such rows out"
    return (
        f"{said}; name it in dataset.missing if it stands for a missing value, take the column as texts with"
        f" dataset.categorical=[{column.name}], or leave such rows out with dataset.on_error=skip"
    )
