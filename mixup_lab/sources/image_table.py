"""Pictures with a table of labels: one row for each picture, with its path and its class, tags or numbers."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mixup_lab.data.source import Loaded
from mixup_lab.files.folders import SUFFIXES, check_folder, digest_of, find_files, say_unlisted
from mixup_lab.files.group_columns import unused_groups, unused_split
from mixup_lab.files.keys import DECIMALS, SKIP_HINT, check, check_choice, matching, path_given
from mixup_lab.files.labelled import MISSING, read_rows
from mixup_lab.files.picture import Header
from mixup_lab.files.table import open_table
from mixup_lab.sources.file_source import PictureSource
from mixup_lab.sources.label_columns import TASKS, text_targets
from mixup_lab.types import UserError


@dataclass(kw_only=True)
class ImageTable(PictureSource):
    """Any pictures that a CSV, TSV or parquet table lists; for other keys see `PictureSource`.

    Args:
        root: folder that the paths in the table are relative to, unless they are absolute.
        csv: the table, relative to root or absolute. Its first line names the columns.
        path_column: column of the paths.
        delimiter: between the values of the table; `auto`: detected in its first lines.
        decimal: decimal mark of numbers, `.` or `,`; `auto`: the one that the values show.
        encoding: of the table, as Python names it; `auto`: UTF-8, or UTF-16 with a byte order mark.
        missing: texts that mean a missing label, in capitals or not.
        target: column of the labels, or several columns of tags or numbers; * stands for any characters.
        task: `classification`, `multilabel`, `regression`; or `auto`: several columns of 0 and 1 and a column with a
            `separator` are tags; texts, and whole numbers with at most 20 different values, are classes; other numbers
            are predicted as numbers. `classification` takes several columns with a single 1 in each row as one class.
        separator: between the tags in one column, such as `|`; an empty cell has no tags.
        split_column: column of train, val or test; None: val and test are carved from all rows.
        group_column: column of groups, such as patients, each of which stays in one split.

    Raises:
        UserError: for values outside their range, and for a table that does not fit them.
    """

    ROOT = "DIR to the folder of the pictures"

    root: str = field(default="", kw_only=False)
    csv: str = field(default="", kw_only=False)
    delimiter: str | None = "auto"
    decimal: str = "auto"
    encoding: str = "auto"
    missing: Sequence[str] = MISSING
    path_column: str = "path"
    target: str | Sequence[str] = "label"
    task: str = "auto"
    separator: str | None = None
    split_column: str | None = None
    group_column: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._csv = Path(self.root, path_given("csv", self.csv, "FILE to the table of paths and labels"))
        self._targets = [self.target] if isinstance(self.target, str) else [str(name) for name in self.target]
        check(bool(self._targets) and "" not in self._targets, "target", self.target, "a column, or several as [a,b]")
        check_choice("task", self.task, TASKS)
        check_choice("decimal", self.decimal, DECIMALS)
        right = self.separator is None or (self.separator != "" and len(self._targets) == 1)
        check(
            right, "separator", self.separator, f"at least one character, for one target ({len(self._targets)} given)"
        )
        if self.group_column is not None and self.group_pattern is not None:
            raise UserError("dataset.group_column and dataset.group_pattern both set the groups; leave one of them out")

    def load(self) -> Loaded:
        """Read the table, find the files and read their sizes; the pixels follow later."""
        check_folder(self.root)
        if not self._csv.is_file():
            raise UserError(f"dataset.csv={self._csv} does not exist")
        named = [(key, getattr(self, key)) for key in ("path_column", "split_column", "group_column")]
        table = open_table(self._csv, self.delimiter, header=True, encoding=self.encoding)
        targets = matching("target", self._targets, table.names, [name for _, name in named if name is not None])
        named += [("target", name) for name in targets]
        missing = list(map(str, self.missing))
        rows = read_rows(table, named, self.skip, targets, empty=self.separator is not None, missing=missing)
        splits = rows.splits(self.split_column)
        kind, target = text_targets(rows, targets, splits, self.task, self.separator, self.decimal)
        files = find_files(self.root, rows.columns[self.path_column], [str(self._csv.parent)], SUFFIXES)
        paths = [path for path, _, _ in files]
        rows.check_unique(self.path_column, list(map(os.path.normpath, paths)))
        say_unlisted(self.root, [path for path, size, _ in files if size >= 0], SUFFIXES, "pictures")

        def header(i: int) -> Header:
            path = os.path.join(self.root, paths[i])
            if not os.path.exists(path):
                where = "" if self.skip else f"{rows.where(i)}: "  # finding the line takes a while
                raise UserError(
                    f"{where}{path} does not exist, nor with an ending; paths are relative to dataset.root{SKIP_HINT}"
                )
            return self.header(paths[i])

        entries = [[files[i] for i in places.tolist()] for places in splits.values()]
        items = {split: places.tolist() for split, places in splits.items()}
        problems = self.problems()
        opened = self.open(items, digest_of(*splits, *entries), problems, header, paths.__getitem__, str(self._csv))
        dropped = rows.dropped + problems.report(f"of {len(rows)} pictures in {self._csv}")
        groups = None if self.group_column is None else rows.numbered(self.group_column)
        pools = {
            split: opened.pool(
                split, [paths[i] for i in kept], target[kept], groups=None if groups is None else groups[kept]
            )
            for split, kept in opened.splits.items()
        }
        grouped = self.group_column is not None or self.group_pattern is not None
        notes = () if grouped else unused_groups(table, list(rows.columns))
        notes += unused_split(table, list(rows.columns)) if self.split_column is None else ()
        keep = pools["train"].keep
        return Loaded.of(pools, kind, dropped=dropped, group_pattern=True, notes=notes, keep=keep, new=opened.new)
