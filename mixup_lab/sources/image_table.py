"""Pictures with a table of labels: a row for each picture, with its path and one label, several tags or numbers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mixup_lab.data.source import Loaded
from mixup_lab.files.folders import Entry, check_folder, digested
from mixup_lab.files.listed import SPLITS, Rows, read_rows
from mixup_lab.files.pictures import FolderPool, ImageFiles
from mixup_lab.notices import say
from mixup_lab.sources.row_targets import targets_of
from mixup_lab.sources.table_targets import TASKS
from mixup_lab.types import UserError


class ImageTable:
    """Any pictures that a CSV, TSV or parquet table lists.

    Args:
        root: folder that the paths in the table are below; paths may be whole ones as well.
        csv: the table, relative to root or absolute. Its first line names the columns.
        path_column: column of the paths.
        delimiter: what separates the values of the table; None: as its first lines have it.
        target: column of the labels; several columns of 0 and 1 are tags, several of numbers are numbers to predict.
        task: `classification`, `multilabel`, `regression`; or `auto`: several columns of 0 and 1 and a column that
            `separator` takes apart are tags; texts and at most 20 different whole numbers are classes; other numbers
            are to be predicted.
        separator: what stands between the tags of one column, such as `|`; an empty cell has no tag.
        split_column: column that says train, val or test; None: val and test are carved from all rows.
        group_column: column of what must not be divided between splits, such as a patient.
        image_size: see `ImageFiles`, as the next four.
        channels: 1 or 3.
        on_error: `raise` or `skip`, of pictures that cannot be read and of rows without a label.
        cache: whether to keep decoded pictures on disk.
        cache_dir: where.

    Raises:
        UserError: for values outside their range, and for a table that is not so.
    """

    def __init__(
        self,
        root: str | None = None,
        csv: str | None = None,
        delimiter: str | None = None,
        path_column: str = "path",
        target: str | Sequence[str] = "label",
        task: str = "auto",
        separator: str | None = None,
        split_column: str | None = None,
        group_column: str | None = None,
        image_size: int | None = None,
        channels: int | None = None,
        on_error: str = "raise",
        cache: bool = True,
        cache_dir: str | None = None,
    ) -> None:
        if root in (None, "", "???"):
            raise UserError("dataset.root has no value; set dataset.root=DIR to the folder of the pictures")
        if csv in (None, "", "???"):
            raise UserError("dataset.csv has no value; set dataset.csv=FILE to the table of paths and labels")
        self.targets = [target] if isinstance(target, str) else [str(name) for name in target]
        if not self.targets or "" in self.targets:
            raise UserError("dataset.target must name a column, or several as [a,b]")
        if task not in TASKS:
            raise UserError(f"dataset.task must be one of {', '.join(TASKS)}, got {task}")
        if separator is not None and (not separator or len(self.targets) > 1):
            raise UserError(
                f"dataset.separator={separator!r} takes one column of tags apart; dataset.target names"
                f" {len(self.targets)}, and it must have a character at least"
            )
        self.root = os.path.expanduser(str(root))
        self.csv = Path(self.root, os.path.expanduser(str(csv)))
        self.delimiter = delimiter
        self.path_column, self.split_column, self.group_column = path_column, split_column, group_column
        self.task, self.separator = task, separator
        self.files = ImageFiles(image_size, channels, on_error, cache, cache_dir)

    def load(self) -> Loaded:
        """Read the table, find the files and learn their sizes; the pixels follow when they are asked for."""
        check_folder(self.root)
        if not self.csv.is_file():
            raise UserError(f"dataset.csv={self.csv} does not exist")
        rows = read_rows(
            self.csv, self.path_column, self.targets, self.split_column, self.group_column,
            labelled=self.separator is None, skip=self.files.skip, delimiter=self.delimiter,
        )  # fmt: skip
        kind, target = targets_of(rows, self.targets, self.task, self.separator)
        names = {split: [rows.paths[i] for i in places] for split, places in rows.splits.items()}
        digest = hashlib.blake2b(digest_size=16)
        for split, paths in names.items():
            digest.update(split.encode() + digested(_entries(self.root, rows, split, paths, self.files.skip)))
        opened = self.files.open(self.root, names, str(self.csv), digest.hexdigest())
        kept = {split: places[opened.readable[split]] for split, places in rows.splits.items()}
        pools = {
            split: FolderPool(
                self.root, split, [rows.paths[i] for i in places], target[places], opened.shape, opened.cache
            )
            for split, places in kept.items()
        }
        train = pools["train"]
        return Loaded(
            train,
            pools.get("val"),
            pools.get("test"),
            kind,
            groups=self._groups(rows, kept),
            dropped=rows.dropped + opened.dropped,
            keep=train.keep,
        )

    def _groups(self, rows: Rows, kept: dict[str, np.ndarray]) -> np.ndarray | None:
        """Of the rows of train; where the table says the splits, one line tells of groups that lie in several."""
        if rows.groups is None:
            return None
        groups: dict[str, np.ndarray] = {split: rows.groups[places] for split, places in kept.items()}
        for split in SPLITS[1:]:
            both = np.intersect1d(groups["train"], groups[split]) if split in groups else ()
            if len(both):
                say(
                    f"{self.csv}: {len(both)} groups of dataset.group_column={self.group_column} have rows in train and"
                    f" in {split}; scores on {split} flatter"
                )
        return groups["train"]


def _entries(root: str, rows: Rows, split: str, paths: Sequence[str], skip: bool) -> list[Entry]:
    """Path, size and time of each file, as in a listing of a folder."""
    entries: list[Entry] = []
    for place, name in zip(rows.splits[split].tolist(), paths, strict=True):
        try:
            status = os.stat(os.path.join(root, name))
            entries.append((name, status.st_size, status.st_mtime_ns))
        except OSError as error:
            if not skip:
                raise UserError(
                    f"{rows.where(place)}: there is no picture {os.path.join(root, name)}; paths are below"
                    " dataset.root, and dataset.on_error=skip leaves such rows out"
                ) from error
            entries.append((name, -1, 0))
    return entries
