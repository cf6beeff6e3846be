"""Your own table: rows of numbers and categories, to be sorted into classes, given numbers or tagged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path

import numpy as np

from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.files.cache import default_folder
from mixup_lab.files.columns import TEXT, Column
from mixup_lab.files.piece import TableFile
from mixup_lab.files.rows import LARGE, coded_rows
from mixup_lab.files.store import Shelf, Stored, in_memory
from mixup_lab.files.table import PARQUET, TEXTS, open_table
from mixup_lab.notices import say
from mixup_lab.sources.rows import fitted
from mixup_lab.sources.table_targets import TASKS, TargetColumn, read_targets
from mixup_lab.sources.uses import Uses
from mixup_lab.types import UserError

ON_ERROR = ("raise", "skip")
SPLITS = ("train", "val", "test")
MISSING = ("", "?", "NA", "N/A", "na", "n/a", "nan", "NaN", "NAN", "null", "NULL", "None")
VERSION = 1  # of what is kept


class Table:
    """A CSV or parquet file, or a folder with `train.csv` and with or without `val.csv` and `test.csv`.

    A row is kept as one float32 vector, numbers first; a number of more than seven digits is rounded. Standardisation,
    imputation and the categories that are known come from the training rows alone: see `encode`.

    Args:
        root: the file or folder.
        target: name of the column that is to be answered, or of several.
        task: `classification`, `regression`, `multilabel`, or `auto`: texts, and whole numbers with at most 20
            different values, are classes, other numbers are to be predicted, several columns of 0 and 1 are tags.
        categorical: columns of categories, besides those that hold texts.
        drop: columns that are left out.
        delimiter: what separates the values; None: as the first lines have it.
        header: whether the first line names the columns; else they are c0, c1, ...
        missing: texts that stand for a missing value.
        split_column: its values train, val and test say where a row belongs.
        group_column: rows of one group stay in one split.
        time_column: numbers or dates; val is later than train, and test later than val.
        on_error: `raise` stops at a row that cannot be read or has no target; `skip` leaves it out and says how many.
        cache: whether to keep the content of a large table on disk for the next start.
        cache_dir: where; None: `$XDG_CACHE_HOME/mixup-lab` or `~/.cache/mixup-lab`.

    Raises:
        UserError: for values outside their range and for what is no such table.
    """

    def __init__(
        self,
        root: str | None = None,
        target: str | Sequence[str] | None = None,
        task: str = "auto",
        categorical: Sequence[str] | None = None,
        drop: Sequence[str] = (),
        delimiter: str | None = None,
        header: bool = True,
        missing: Sequence[str] = MISSING,
        split_column: str | None = None,
        group_column: str | None = None,
        time_column: str | None = None,
        on_error: str = "raise",
        cache: bool = True,
        cache_dir: str | None = None,
    ) -> None:
        if root in (None, "", "???"):
            raise UserError("dataset.root has no value; set dataset.root=FILE.csv, or a folder with train.csv in it")
        for key, value, allowed in (("task", task, TASKS), ("on_error", on_error, ON_ERROR)):
            if value not in allowed:
                raise UserError(f"dataset.{key} must be one of {', '.join(allowed)}, got {value}")
        given = {"split": split_column, "group": group_column, "time": time_column}
        special = {key: name for key, name in given.items() if name is not None}
        self.uses = Uses(_names(target), _names(categorical), _names(drop), special)
        self.root = Path(str(root)).expanduser()
        self.task, self.delimiter, self.header = task, delimiter, header
        self.missing = [str(text) for text in missing]
        self.skip = on_error == "skip"
        self.cache_dir = (Path(cache_dir).expanduser() if cache_dir else default_folder()) if cache else None

    def load(self) -> Loaded:
        """Read the files, or map what an earlier start has read."""
        files = {split: open_table(path, self.delimiter, self.header) for split, path in self._paths().items()}
        self.uses.check(files)
        inputs, others = self.uses.columns(files["train"].names, self.missing, self.task)
        tables, dropped = self._tables(files, inputs, others)
        for split, table in tables.items():
            if not len(table.values):
                raise UserError(f"{files[split].path} has no rows{' that can be read' if dropped else ''}")
        if dropped:
            total = dropped + sum(len(table.values) for table in tables.values())
            say(f"{dropped:,} of {total:,} rows in {self.root} cannot be read or have no target, left out")
        if "split" in self.uses.special:
            tables = self._by_column(tables["train"], others)
        return self._loaded(tables, inputs, others, dropped)

    def _paths(self) -> dict[str, Path]:
        """The file of each split that there is."""
        if self.root.is_file():
            return {"train": self.root}
        if not self.root.is_dir():
            raise UserError(f"dataset.root={self.root} does not exist")
        found: dict[str, Path] = {}
        for split in SPLITS:
            paths = [path for end in (*TEXTS, *PARQUET) if (path := self.root / f"{split}{end}").is_file()]
            if len(paths) > 1:
                raise UserError(f"dataset.root={self.root} has both {paths[0].name} and {paths[1].name}")
            if paths:
                found[split] = paths[0]
        if "train" not in found:
            raise UserError(f"dataset.root={self.root} has no train.csv (or {' '.join((*TEXTS[1:], *PARQUET))})")
        if "split" in self.uses.special and len(found) > 1:
            raise UserError(f"dataset.split_column is for one file; dataset.root={self.root} has a file for each split")
        return found

    def _tables(
        self, files: dict[str, TableFile], inputs: Sequence[Column], others: Sequence[Column]
    ) -> tuple[dict[str, Stored], int]:
        """The rows of each file, and how many were left out."""
        size = sum(file.path.stat().st_size for file in files.values())
        counts: list[int] = []
        rows = {
            split: coded_rows(file, inputs, others, len(self.uses.targets), self.skip, counts)
            for split, file in files.items()
        }
        writer = None
        if self.cache_dir is not None and size >= LARGE:
            shelf = Shelf.of(str(self.root), *self._digests(files), self.cache_dir)
            kept = shelf.read()
            if kept is not None:
                for column, (kind, texts) in zip((*inputs, *others), kept[0]["columns"], strict=True):
                    column.kind = kind
                    column.texts.extend(texts)
                return kept[1], int(kept[0]["dropped"])
            writer = shelf.writer(2 * size)
        if writer is None:
            return {split: in_memory(pieces) for split, pieces in rows.items()}, sum(counts)
        with writer:
            for split, pieces in rows.items():
                writer.take(split, pieces)
            columns = [(column.kind, column.texts) for column in (*inputs, *others)]
            return writer.finish({"columns": columns, "dropped": sum(counts)}), sum(counts)

    def _digests(self, files: dict[str, TableFile]) -> tuple[str, str]:
        """One changes with the files, one with whatever decides how they are read."""
        state = [(s, f.path.name, f.path.stat().st_size, f.path.stat().st_mtime_ns) for s, f in files.items()]
        uses = self.uses
        settings = [uses.targets, uses.categorical, uses.drop, uses.special, self.task, self.delimiter, self.header]
        said = (json.dumps(part) for part in ([VERSION, state], [settings, self.missing, self.skip]))
        first, second = (blake2b(text.encode(), digest_size=12).hexdigest() for text in said)
        return first, second

    def _by_column(self, table: Stored, others: Sequence[Column]) -> dict[str, Stored]:
        """The rows that a column gives to each split."""
        name = self.uses.special["split"]
        k = [column.name for column in others].index(name)
        texts = others[k].texts
        for text in texts:
            if text not in SPLITS:
                raise UserError(f"column {name} of {self.root} holds {text!r}; allowed are {', '.join(SPLITS)}")
        if "train" not in texts:
            raise UserError(f"column {name} of {self.root} gives no row to train")
        chosen = {text: table.extras[:, k] == texts.index(text) for text in SPLITS if text in texts}
        return {split: Stored(*(part[rows] for part in table)) for split, rows in chosen.items()}

    def _loaded(
        self, tables: dict[str, Stored], inputs: Sequence[Column], others: Sequence[Column], dropped: int
    ) -> Loaded:
        columns = [TargetColumn(c.name, c.texts if c.kind == TEXT else None) for c in others[: len(self.uses.targets)]]
        answers = {split: table.extras[:, : len(columns)] for split, table in tables.items()}
        kind, targets = read_targets(columns, answers, self.task)
        pools = {split: ArrayPool(table.values, targets[split]) for split, table in tables.items()}
        own = {key: tables["train"].extras[:, [c.name for c in others].index(name)] for key, name in
               self.uses.special.items()}  # fmt: skip
        loaded = Loaded(
            pools["train"],
            pools.get("val"),
            pools.get("test"),
            kind,
            groups=own["group"].astype(np.int64) if "group" in own else None,
            times=own.get("time"),
            dropped=dropped,
        )
        texts = [column.texts if column.kind == TEXT else None for column in inputs]
        return replace(loaded, fit=partial(fitted, loaded, [column.name for column in inputs], texts))


def _names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if given is None else (given,) if isinstance(given, str) else tuple(map(str, given))
