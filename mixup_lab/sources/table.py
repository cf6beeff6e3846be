"""Your own table: rows of numbers and categories, from which to predict classes, numbers or tags."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b

import numpy as np

from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.files.columns import LARGE, TEXT, Column, coded_rows
from mixup_lab.files.group_columns import unused_groups
from mixup_lab.files.keys import SPLITS, check_choice
from mixup_lab.files.store import Shelf, Stored, in_memory
from mixup_lab.files.table import PARQUET, TEXTS, TableFile, open_table, split_files
from mixup_lab.inputs.rows import TableEncoder, learn
from mixup_lab.notices import say
from mixup_lab.sources.file_source import CachedSource
from mixup_lab.sources.label_columns import TASKS, LabelColumn, read_targets
from mixup_lab.sources.new_rows import MISSING, NewRows
from mixup_lab.sources.uses import Uses
from mixup_lab.types import UserError

VERSION = 1  # of the cached tables


@dataclass(kw_only=True)
class Table(CachedSource):
    """A CSV or parquet file, or a folder with `train.csv` and, optionally, `val.csv` and `test.csv`.

    A row is kept as one float32 vector, numbers first; a number of more than seven digits is rounded. Standardisation,
    imputation and the categories come from the training rows alone: see `with_encoder`.
    Only large tables are cached; for other keys see `CachedSource`.

    Args:
        root: the file or folder.
        target: name of the column to be predicted, or of several.
        task: `classification`, `regression`, `multilabel`, or `auto`: texts, and whole numbers with at most 20
            different values, are classes; other numbers are predicted as numbers; several columns of 0 and 1 are tags.
        categorical: columns of categories, besides those that hold texts.
        drop: columns that are left out.
        delimiter: between the values; None: detected in the first lines.
        header: whether the first line names the columns; else they are c0, c1, ...
        missing: texts that mean a missing value.
        split_column: its values are train, val and test.
        group_column: rows of one group stay in one split.
        time_column: numbers or dates; val is later than train, and test later than val.

    Raises:
        UserError: for values outside their range, and for a file that is not a table.
    """

    ROOT = "FILE.csv, or a folder with train.csv in it"

    root: str = field(default="", kw_only=False)
    target: str | Sequence[str] | None = field(default=None, kw_only=False)
    task: str = "auto"
    categorical: Sequence[str] | None = None
    drop: Sequence[str] = ()
    delimiter: str | None = None
    header: bool = True
    missing: Sequence[str] = MISSING
    split_column: str | None = None
    group_column: str | None = None
    time_column: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("task", self.task, TASKS)
        columns = {"split": self.split_column, "group": self.group_column, "time": self.time_column}
        special = {key: name for key, name in columns.items() if name is not None}
        self.uses = Uses(_names(self.target), _names(self.categorical), _names(self.drop), special)
        self.missing = [str(text) for text in self.missing]

    def load(self) -> Loaded:
        """Read the files, or map the tables that an earlier start has cached."""
        paths = split_files(self.root, {split: (split,) for split in SPLITS}, (*TEXTS, *PARQUET))
        if "split" in self.uses.special and len(paths) > 1:
            raise UserError(f"dataset.split_column is for one file; dataset.root={self.root} has a file for each split")
        files = {split: open_table(path, self.delimiter, self.header) for split, path in paths.items()}
        self.uses.check(files)
        inputs, others = self.uses.columns(files["train"].names, self.missing, self.task)
        tables, dropped = self._tables(files, inputs, others)
        for split, table in tables.items():
            if not len(table.values):
                raise UserError(f"{files[split].path} has no rows{' that can be read' if dropped else ''}")
        if dropped:
            total = dropped + sum(len(table.values) for table in tables.values())
            say(f"{dropped:,} of {total:,} rows in {self.root} cannot be read or have no target and are left out")
        if "split" in self.uses.special:
            tables = self._by_column(tables["train"], others)
        notes = () if "group" in self.uses.special else unused_groups(files["train"], self.uses.extras)
        return self._loaded(tables, inputs, others, dropped, notes)

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
        if not self.cache or size < LARGE:
            return {split: in_memory(pieces) for split, pieces in rows.items()}, sum(counts)
        state, manner = self._digests(files)
        shelf = Shelf(self.cache_of(self.root, state), manner)
        kept = shelf.read()
        if kept is not None:
            for column, (kind, texts) in zip((*inputs, *others), kept[0]["columns"], strict=True):
                column.kind = kind
                column.texts.extend(texts)
            return kept[1], int(kept[0]["dropped"])

        def meta() -> dict[str, object]:
            return {"columns": [(column.kind, column.texts) for column in (*inputs, *others)], "dropped": sum(counts)}

        tables = shelf.keep(2 * size, rows, meta)
        return tables or {split: in_memory(pieces) for split, pieces in rows.items()}, sum(counts)

    def _digests(self, files: dict[str, TableFile]) -> tuple[str, str]:
        """The first changes with the files, the second with all settings that decide how they are read."""
        state = [(s, f.path.name, f.path.stat().st_size, f.path.stat().st_mtime_ns) for s, f in files.items()]
        uses = self.uses
        settings = [uses.targets, uses.categorical, uses.drop, uses.special, self.task, self.delimiter, self.header]
        texts = (json.dumps(part) for part in ([VERSION, state], [settings, self.missing, self.skip]))
        first, second = (blake2b(text.encode(), digest_size=12).hexdigest() for text in texts)
        return first, second

    def _by_column(self, table: Stored, others: Sequence[Column]) -> dict[str, Stored]:
        """The rows of each split, by the split column."""
        name = self.uses.special["split"]
        k = [column.name for column in others].index(name)
        texts = others[k].texts
        for text in texts:
            if text not in SPLITS:
                allowed = ", ".join(SPLITS)
                raise UserError(f"dataset.split_column={name}: {self.root} holds {text!r}; allowed are {allowed}")
        if "train" not in texts:
            raise UserError(f"dataset.split_column={name}: {self.root} has no row of train")
        chosen = {text: table.extras[:, k] == texts.index(text) for text in SPLITS if text in texts}
        return {split: Stored(*(part[rows] for part in table)) for split, rows in chosen.items()}

    def _loaded(
        self,
        tables: dict[str, Stored],
        inputs: Sequence[Column],
        others: Sequence[Column],
        dropped: int,
        notes: tuple[str, ...],
    ) -> Loaded:
        columns = [LabelColumn(c.name, c.texts if c.kind == TEXT else None) for c in others[: len(self.uses.targets)]]
        answers = {split: table.extras[:, : len(columns)] for split, table in tables.items()}
        kind, targets = read_targets(columns, answers, self.task, lambda split, _: f"{self.root}, {split}")
        names = [column.name for column in others]
        place = {key: names.index(name) for key, name in self.uses.special.items()}
        pools = {}
        for split, table in tables.items():
            groups = table.extras[:, place["group"]].astype(np.int64) if "group" in place else None
            pools[split] = ArrayPool(table.values, targets[split], groups=groups)
        times = tables["train"].extras[:, place["time"]] if "time" in place else None
        texts = [column.texts if column.kind == TEXT else None for column in inputs]
        new = NewRows([column.name for column in inputs], texts, self.missing, self.delimiter, self.header)
        loaded = Loaded.of(pools, kind, times=times, dropped=dropped, notes=notes, new=new)
        return replace(loaded, fit=partial(with_encoder, loaded, new.names, texts))


def with_encoder(
    loaded: Loaded, names: Sequence[str], texts: Sequence[Sequence[str] | None], rows: np.ndarray
) -> Loaded:
    """The same data with an encoder that is learnt from some rows of the train pool.

    Args:
        loaded: its train pool is an array, (N, C) float32 with NaN for missing values.
        names: of the C columns.
        texts: for each column the texts of its codes 0, 1, ..., or None if it holds numbers.
        rows: (n,) int64, the training rows.

    Raises:
        UserError: for a column with too many categories.
    """
    assert isinstance(loaded.train, ArrayPool)
    numbers = [k for k, column in enumerate(texts) if column is None]
    categories = {k: column for k, column in enumerate(texts) if column is not None}
    learnt = learn(loaded.train.inputs, rows, numbers, categories, names)
    columns = list(zip(names, texts, strict=True))
    return replace(loaded, encoder=TableEncoder(learnt, numbers, list(categories), columns))


def _names(value: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(map(str, value))
