"""The rows of a table of files, such as pictures: paths, texts of the targets, splits and groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from mixup_lab.files.table import open_table
from mixup_lab.notices import say
from mixup_lab.types import UserError

SPLITS = ("train", "val", "test")
MISSING = ("", "nan", "none", "null", "na")  # in lower case: a target that is not there


@dataclass(frozen=True)
class Rows:
    """N rows with a label. `splits` gives the numbers of the rows of each split, ascending; all are of train if none
    is said. `where` gives file and line of a row, for messages."""

    paths: list[str]
    targets: list[list[str]]  # of each target column (N,)
    splits: dict[str, np.ndarray]
    groups: np.ndarray | None  # (N,) int64
    dropped: int
    where: Callable[[int], str]


def read_rows(
    path: Path,
    path_column: str,
    targets: Sequence[str],
    split_column: str | None,
    group_column: str | None,
    labelled: bool,
    skip: bool,
    thing: str = "picture",
    target_key: str = "target",
    delimiter: str | None = None,
) -> Rows:
    """Read a table.

    Args:
        path: of the table.
        path_column: its column of paths.
        targets: its columns of labels.
        split_column: its column of splits, if it has one.
        group_column: its column of groups, if it has one.
        labelled: whether every row needs a label: tags of one column may be none.
        skip: leave out rows without a label and count them, instead of refusing them.
        thing: what the paths lead to, for messages.
        target_key: the key that names the columns of labels, for messages.
        delimiter: what separates the values of the table; None: as its first lines have it.

    Raises:
        UserError: for a missing column, a row without a path, label, split or group, and a path that is there twice.
    """
    table = open_table(path, delimiter, header=True)
    wanted = {"dataset.path_column": path_column, "dataset.split_column": split_column}
    wanted |= {"dataset.group_column": group_column}
    keys = [(key, name) for key, name in wanted.items() if name is not None]
    keys += [(f"dataset.{target_key}", name) for name in targets]
    for key, name in keys:
        if name not in table.names:
            raise UserError(f"{path} has no column {name}: set {key} to one of {', '.join(table.names)}")
    for name in targets:
        uses = [key for key, other in keys if other == name]
        if len(uses) > 1:
            raise UserError(f"{uses[0]} and {uses[1]} both name the column {name}")
    columns: dict[str, list[str]] = {name: [] for _, name in keys}
    records: list[int] = []
    dropped = 0
    for piece in table.pieces(skip, numbers=False):
        records += piece.records
        dropped += piece.dropped
        for name, values in columns.items():
            values += _texts(piece.columns[table.names.index(name)])
    if not records:
        raise UserError(f"{path} has no rows")
    there = [True] * len(records)
    if labelled:
        for name in targets:
            for i, value in enumerate(columns[name]):
                if value.lower() in MISSING:
                    if not skip:
                        raise UserError(
                            f"{table.where(records[i])}: {name} is empty; dataset.on_error=skip leaves such rows out"
                        )
                    there[i] = False
        if not all(there):
            say(f"{there.count(False)} of {len(there)} rows of {path} have no label, left out")
            dropped += there.count(False)
            records = [record for record, keep in zip(records, there, strict=True) if keep]
            columns = {n: [v for v, keep in zip(vs, there, strict=True) if keep] for n, vs in columns.items()}

    def where(i: int) -> str:
        return table.where(records[i])

    paths = columns[path_column]
    _check_paths(paths, path_column, thing, where)
    return Rows(
        paths,
        [columns[name] for name in targets],
        _splits(path, columns.get(split_column or "", ["train"] * len(paths)), split_column, where),
        None if group_column is None else _groups(columns[group_column], group_column, where),
        dropped,
        where,
    )


def _texts(values: Sequence[Any] | np.ndarray) -> list[str]:
    if isinstance(values, np.ndarray):
        return ["" if np.isnan(value) else f"{value:.17g}" for value in values.tolist()]
    return ["" if value is None else str(value).strip() for value in values]


def _check_paths(paths: Sequence[str], column: str, thing: str, where: Callable[[int], str]) -> None:
    first: dict[str, int] = {}
    for i, name in enumerate(paths):
        if not name:
            raise UserError(f"{where(i)}: {column} is empty; every row needs the path of its {thing}")
        if first.setdefault(name, i) != i:
            line = where(first[name]).rpartition(" ")[2]
            raise UserError(f"{where(i)}: {name} stands in line {line} already; each {thing} has one row")


def _splits(
    path: Path, values: Sequence[str], column: str | None, where: Callable[[int], str]
) -> dict[str, np.ndarray]:
    for i, value in enumerate(values):
        if value not in SPLITS:
            raise UserError(f"{where(i)}: {column} must be one of {', '.join(SPLITS)}, found {value or 'nothing'}")
    array = np.array(values)
    found = {split: np.flatnonzero(array == split) for split in SPLITS}
    if not len(found["train"]):
        raise UserError(f"{path} has no row whose {column} is train")
    return {split: places for split, places in found.items() if len(places)}


def _groups(values: Sequence[str], column: str, where: Callable[[int], str]) -> np.ndarray:
    if "" in values:
        raise UserError(f"{where(list(values).index(''))}: {column} is empty; every row needs a group")
    number = {name: k for k, name in enumerate(dict.fromkeys(chain(values)))}
    return np.array([number[value] for value in values], dtype=np.int64)
