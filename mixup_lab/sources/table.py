"""Your own table: rows of numbers and categories, from which to predict classes, numbers or tags."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b

import numpy as np

from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.files.columns import INCOMPLETE, LABELLESS, LARGE, TEXT, UNREADABLE, Column, coded_rows
from mixup_lab.files.group_columns import unused_groups, unused_split
from mixup_lab.files.index_columns import counts_rows
from mixup_lab.files.keys import DECIMALS, SPLIT_NAMES, SPLITS, check_choice, few
from mixup_lab.files.labelled import numbers_of
from mixup_lab.files.store import Shelf, Stored, in_memory
from mixup_lab.files.table import PARQUET, TEXTS, TableFile, open_table, split_files, texts_of
from mixup_lab.files.values import DATE, Notation
from mixup_lab.inputs.rows import TableEncoder, learn
from mixup_lab.notices import say
from mixup_lab.pasting import word
from mixup_lab.sources.file_source import CachedSource
from mixup_lab.sources.label_columns import TASKS, LabelColumn, read_targets
from mixup_lab.sources.new_rows import MISSING, Form, NewRows
from mixup_lab.sources.uses import Uses
from mixup_lab.types import UserError
from mixup_lab.visible import brief, look_alikes

VERSION = 4  # of the cached tables
SHOWN = 4  # names of columns in a sentence
MANY = 20  # different texts of a column; more than this, in most rows, are hardly categories


@dataclass(kw_only=True)
class Table(CachedSource):
    """A CSV or parquet file, or a folder with `train.csv` and, optionally, `val.csv` and `test.csv`.

    A row is kept as one float32 vector; a number of more than seven digits is rounded, but numbers that lie close
    together and far from 0, such as times of a computer, become differences before. Dates become days since 1970, True
    and False 1 and 0. Standardisation, imputation and the categories come from the training rows alone: see
    `with_encoder`.
    Only large tables are cached; for other keys see `CachedSource`.

    Args:
        root: the file or folder.
        target: name of the column to be predicted, or of several; * stands for any characters, as in `label_*`.
        task: `classification`, `regression`, `multilabel`, or `auto`: texts, and whole numbers with at most 20
            different values, are classes; other numbers are predicted as numbers; several columns of 0 and 1 are tags.
            `classification` takes several columns with a single 1 in each row as one class.
        categorical: columns of categories, besides those that hold texts; with * as in `target`.
        drop: columns that are left out, likewise.
        delimiter: between the values; `auto`: detected in the first lines.
        decimal: decimal mark of numbers, `.` or `,`; `auto`: the one that the values show.
        encoding: of text files, as Python names it; `auto`: UTF-8, or UTF-16 with a byte order mark.
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
    delimiter: str | None = "auto"
    decimal: str = "auto"
    encoding: str = "auto"
    header: bool = True
    missing: Sequence[str] = MISSING
    split_column: str | None = None
    group_column: str | None = None
    time_column: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("task", self.task, TASKS)
        check_choice("decimal", self.decimal, DECIMALS)
        columns = {"split": self.split_column, "group": self.group_column, "time": self.time_column}
        special = {key: name for key, name in columns.items() if name is not None}
        self.uses = Uses(_names(self.target), _names(self.categorical), _names(self.drop), special)
        self.missing = [str(text) for text in self.missing]

    def load(self) -> Loaded:
        """Read the files, or map the tables that an earlier start has cached."""
        paths = split_files(self.root, (*TEXTS, *PARQUET))
        if "split" in self.uses.special and len(paths) > 1:
            raise UserError(f"dataset.split_column is for one file; dataset.root={self.root} has a file for each split")
        files = {
            split: open_table(path, self.delimiter, self.header, encoding=self.encoding)
            for split, path in paths.items()
        }
        for file in files.values():
            if file.like_values:
                say(
                    f"{file.path}: the header ({few(file.names, SHOWN)}) looks like a row of values; if it is one, set"
                    " dataset.header=false"
                )
        uses = self.uses.among(files["train"])
        uses.check(files)
        inputs, others = uses.columns(files["train"].names, self.missing, self.task, self.decimal)
        tables, dropped = self._tables(uses, files, inputs, others)
        for split, table in tables.items():
            if not len(table.values):
                raise UserError(f"{files[split].path} has no rows{f': {left}' if (left := _left_out(dropped)) else ''}")
        if "split" in uses.special:
            tables = self._by_column(files["train"], tables["train"], others)
        notes = _alike(uses, others) if "group" in uses.special else unused_groups(files["train"], uses.extras)
        if len(files) == 1 and "split" not in uses.special:
            notes += unused_split(files["train"], (*uses.extras, *uses.drop))
        notes += _doubtful(inputs, tables["train"], dropped.total())
        notes += tuple(note for column in others for note in column.notes)
        loaded = self._loaded(uses, files, tables, inputs, others, dropped.total(), notes)
        rows = sum(len(table.values) for table in tables.values())
        above = [f"{file.path.name}: {note}" for file in files.values() for note in file.notes]
        names, shown = uses.targets, {c.notation.describe() for c in others[: len(uses.targets)] if c.notation}
        answer = ", ".join([loaded.kind.describe(), *filter(None, sorted(shown))])
        target = f"target{'s'[: len(names) != 1]} {few(names, SHOWN)} ({answer})"
        said = (_inputs(inputs), target, _left_out(dropped), *above)
        say(f"{self.root}: {rows:,} row{'s'[: rows != 1]}: {', '.join(filter(None, said))}")
        return loaded

    def _tables(
        self, uses: Uses, files: dict[str, TableFile], inputs: Sequence[Column], others: Sequence[Column]
    ) -> tuple[dict[str, Stored], Counter[str]]:
        """The rows of each file, and how many were left out, by the reason."""
        size = sum(file.path.stat().st_size for file in files.values())
        counts = Counter[str]()
        rows = {
            split: coded_rows(file, inputs, others, len(uses.targets), self.skip, counts)
            for split, file in files.items()
        }
        if not self.cache or size < LARGE:
            return {split: in_memory(pieces) for split, pieces in rows.items()}, counts
        state, manner = self._digests(uses, files)
        shelf = Shelf(self.cache_of(self.root, state), manner)
        kept = shelf.read()
        if kept is not None:
            for column, kept_one in zip((*inputs, *others), kept[0]["columns"], strict=True):
                column.kind, texts, absent, notation, column.offset, column.notes = kept_one
                column.notation = notation and Notation(*notation)
                column.texts.extend(texts)
                column.absent.extend(absent)
            for file, notes in zip(files.values(), kept[0]["notes"], strict=True):
                file.notes = notes
            return kept[1], Counter(kept[0]["dropped"])

        def meta() -> dict[str, object]:
            return {
                "columns": [(c.kind, c.texts, c.absent, c.notation, c.offset, c.notes) for c in (*inputs, *others)],
                "dropped": counts,
                "notes": [file.notes for file in files.values()],
            }

        tables = shelf.keep(2 * size, rows, meta)
        return tables or {split: in_memory(pieces) for split, pieces in rows.items()}, counts

    def _digests(self, uses: Uses, files: dict[str, TableFile]) -> tuple[str, str]:
        """The first changes with the files, the second with all settings that decide how they are read."""
        state = [(s, f.path.name, f.path.stat().st_size, f.path.stat().st_mtime_ns) for s, f in files.items()]
        settings = [uses.targets, uses.categorical, uses.drop, uses.special, self.task, self.delimiter, self.header]
        settings += [self.decimal, self.encoding]
        texts = (json.dumps(part) for part in ([VERSION, state], [settings, self.missing, self.skip]))
        first, second = (blake2b(text.encode(), digest_size=12).hexdigest() for text in texts)
        return first, second

    def _by_column(self, file: TableFile, table: Stored, others: Sequence[Column]) -> dict[str, Stored]:
        """The rows of each split, by the split column."""
        name = self.uses.special["split"]
        k = [column.name for column in others].index(name)
        texts = others[k].texts
        for code, text in enumerate(texts):
            if text.lower() not in SPLIT_NAMES:
                where = file.where(int(table.extras[(table.extras[:, k] == code).argmax(), -1]))
                allowed = ", ".join(SPLIT_NAMES)
                raise UserError(
                    f"{where}: column {name} (dataset.split_column) holds {brief(text)!r}; allowed are {allowed}"
                )
        splits = [SPLIT_NAMES[text.lower()] for text in texts]
        if "train" not in splits:
            raise UserError(f"dataset.split_column={name}: {self.root} has no row of train")
        codes = {split: [code for code, other in enumerate(splits) if other == split] for split in SPLITS}
        chosen = {split: np.isin(table.extras[:, k], own) for split, own in codes.items() if own}
        return {split: Stored(*(part[rows] for part in table)) for split, rows in chosen.items()}

    def _loaded(
        self,
        uses: Uses,
        files: dict[str, TableFile],
        tables: dict[str, Stored],
        inputs: Sequence[Column],
        others: Sequence[Column],
        dropped: int,
        notes: tuple[str, ...],
    ) -> Loaded:
        names = [column.name for column in others]
        place = {key: names.index(name) for key, name in uses.special.items()}
        columns = [LabelColumn(c.name, c.texts if c.kind == TEXT else None) for c in others[: len(uses.targets)]]
        answers = {split: table.extras[:, : len(columns)] for split, table in tables.items()}

        def where(split: str, row: int) -> str:
            return files["train" if "split" in place else split].where(int(tables[split].extras[row, -1]))

        def column(split: str, name: str) -> list[str]:
            texts = texts_of(files["train" if "split" in place else split], name)
            found = [texts[int(record)] for record in tables[split].extras[:, -1]]
            return ["" if text in self.missing else text for text in found]

        kind, targets = read_targets(columns, answers, self.task, where)
        pools, same = {}, np.zeros(0, dtype=np.int64)
        if "group" in place:
            same = np.array(list(numbers_of(others[place["group"]].texts).values()), dtype=np.int64)
        for split, table in tables.items():
            groups = same[table.extras[:, place["group"]].astype(np.int64)] if "group" in place else None
            pools[split] = ArrayPool(table.values, targets[split], groups=groups)
        times = tables["train"].extras[:, place["time"]] if "time" in place else None
        forms = [Form.of(column) for column in inputs]
        new = NewRows(forms, self.missing, self.delimiter, self.header, self.encoding)
        loaded = Loaded.of(pools, kind, times=times, dropped=dropped, notes=notes, new=new, column=column)
        return replace(loaded, fit=partial(with_encoder, loaded, forms))


def _inputs(columns: Sequence[Column]) -> str:
    """The inputs in words: 18 numbers (when: dates in days), 1 category (colour, 5 values)."""
    texts = [column for column in columns if column.kind == TEXT]
    numbers = len(columns) - len(texts)
    manners: dict[str, list[str]] = {}
    for column in columns:
        if column.kind != TEXT and column.notation and (manner := column.notation.describe()):
            manners.setdefault(manner, []).append(column.name)
    details = "; ".join(f"{few(names, SHOWN)}: {manner}" for manner, names in manners.items())
    values = [
        f"{column.name}, {len(column.texts)} value{'s'[: len(column.texts) != 1]}"
        f"{f' and {few(column.absent, SHOWN)} as missing' if column.absent else ''}"
        for column in texts
    ]
    parts = []
    if numbers:
        parts.append(f"{numbers:,} number{'s'[: numbers != 1]}{f' ({details})' if details else ''}")
    if texts:
        shown = "; ".join(values[:SHOWN]) + "; ..." * (len(values) > SHOWN)
        parts.append(f"{len(texts)} categor{'y' if len(texts) == 1 else 'ies'} ({shown})")
    return ", ".join(parts)


def _left_out(dropped: Counter[str]) -> str:
    """How many rows were left out, and why."""
    counts = [(dropped[reason], reason) for reason in (LABELLESS, INCOMPLETE, UNREADABLE) if dropped[reason]]
    parts = [f"{count:,} row{'s'[: count != 1]} {reason}" for count, reason in counts]
    return f"{' and '.join(parts)} left out" if parts else ""


def _doubtful(columns: Sequence[Column], table: Stored, dropped: int) -> tuple[str, ...]:
    """Sentences on inputs that are hardly ones: numbers of rows, texts nearly all different, nothing that differs."""
    notes = []
    same = []
    rows = len(table.values)
    for k, column in enumerate(columns):
        notes += column.notes
        different, drop = len(column.texts), word("dataset.drop", [column.name])
        low, high = np.fmin.reduce(table.values[:, k]), np.fmax.reduce(table.values[:, k])
        if np.isnan(low):
            same.append(f"{column.name} (no value)")
        elif low == high and not np.isnan(table.values[:, k]).any():
            same.append(f"{column.name} (one value)")
        dates = column.notation is not None and column.notation.style == DATE
        if column.kind != TEXT and not dates and counts_rows(table.values[:, k], dropped):
            notes.append(f"column {column.name} numbers the rows in their order; if it is an index, set {drop}")
        elif column.kind == TEXT and different > max(MANY, rows // 2) and not column.notes:
            notes.append(
                f"column {column.name} has {different:,} different texts in {rows:,} rows, such as"
                f" {brief(column.texts[0])!r},"
                f" and each is an input of its own; {drop} leaves it out"
            )
        elif column.kind != TEXT and (told := _far(table.values[:, k].astype(np.float64) + (column.offset or 0.0))):
            number, count, least, most = told
            kept = word("dataset.missing", [*column.missing, f"{number:.0f}"])
            notes.append(
                f"column {column.name}: {number:.0f} in {count:,} rows is far from all other values ({least:g} to"
                f" {most:g}); if it means a missing value, set {kept}"
            )
        elif pair := look_alikes(column.texts):
            notes.append(f"column {column.name}: the categories {' and '.join(pair)} look alike, and are two")
    if same:
        notes.append(
            f"nothing can be learnt from {few(same, SHOWN)}: the same in all rows of train; dataset.drop=[...] leaves"
            " columns out"
        )
    return tuple(notes)


def _far(values: np.ndarray) -> tuple[float, int, float, float] | None:
    """A number such as -999 or 9999 that occurs more than once among values (N,) and is far from all others.

    Returns:
        The number, how often it occurs, and the range of the others, less than half their distance from it.
    """
    values = values[~np.isnan(values)]
    for number in (values.min(), values.max()) if len(values) else ():
        others = values[values != number]
        count = len(values) - len(others)
        if count > 1 and len(others) and re.fullmatch("-?99+", f"{number:.0f}"):
            least, most = float(others.min()), float(others.max())
            if max(least - number, number - most) > 2 * (most - least) > 0:
                return float(number), count, least, most
    return None


def _alike(uses: Uses, others: Sequence[Column]) -> tuple[str, ...]:
    """A sentence on the first two groups that look alike; groups come after the targets."""
    groups = next(column for column in others[len(uses.targets) :] if column.name == uses.special["group"])
    pair = look_alikes(groups.texts)
    return (f"column {groups.name}: the groups {' and '.join(pair)} look alike, and are two",) if pair else ()


def with_encoder(loaded: Loaded, forms: Sequence[Form], rows: np.ndarray) -> Loaded:
    """The same data with an encoder that is learnt from some rows of the train pool.

    Args:
        loaded: its train pool is an array, (N, C) float32 with NaN for missing values.
        forms: of the C columns.
        rows: (n,) int64, the training rows.

    Raises:
        UserError: for a column with too many categories, and for one that float32 cannot standardise.
    """
    assert isinstance(loaded.train, ArrayPool)
    numbers = [k for k, form in enumerate(forms) if form.texts is None]
    categories = {k: form.texts for k, form in enumerate(forms) if form.texts is not None}
    learnt = learn(loaded.train.inputs, rows, numbers, categories, [form.name for form in forms])
    return replace(loaded, encoder=TableEncoder(learnt, numbers, list(categories), [form.about() for form in forms]))


def _names(value: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(map(str, value))
