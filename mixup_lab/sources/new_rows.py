"""New rows of a table for a trained model, read as the table of training was."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mixup_lab.data.source import ArrayPool, New
from mixup_lab.files.columns import NUMBER, TEXT, Column
from mixup_lab.files.table import PARQUET, TEXTS, open_table
from mixup_lab.files.values import Notation
from mixup_lab.notices import say
from mixup_lab.sources.new_files import files_of, unskipped
from mixup_lab.types import UserError
from mixup_lab.visible import brief

MISSING = (
    "", "?", "NA", "N/A", "na", "n/a", "nan", "NaN", "NAN", "null", "NULL", "None", "#N/A", "<NA>", "NaT", "\\N",
)  # fmt: skip


class Form(NamedTuple):
    """The form of a column of inputs.

    `texts` are those of its codes 0, 1, ..., or None if it holds numbers, which are spelt in `notation`; `offset` was
    subtracted from them.
    """

    name: str
    texts: Sequence[str] | None = None
    notation: Notation = Notation()
    offset: float = 0.0

    @classmethod
    def of(cls, column: Column) -> "Form":
        """The form of a column that has been read."""
        texts = column.texts if column.kind == TEXT else None
        return cls(column.name, texts, column.notation or Notation(), column.offset or 0.0)

    def about(self) -> dict[str, object]:
        """In plain values, for users of an exported model."""
        plain = {"name": self.name, "categories": None if self.texts is None else list(self.texts)}
        unusual = {"spelling": self.notation.describe(), "offset": self.offset}
        return plain | {key: value for key, value in unusual.items() if value}

    def column(self, missing: Sequence[str]) -> Column:
        """A column that reads other values as it did."""
        column = Column(self.name, missing, NUMBER if self.texts is None else TEXT, largest=None)
        column.notation, column.offset = self.notation, self.offset
        for code, text in enumerate(self.texts or ()):
            column.texts.append(text)
            column.codes[text] = float(code)
        return column


@dataclass(frozen=True)
class NewRows:
    """`Loaded.new` of a table.

    Args:
        forms: of the C columns of inputs.
        missing: texts that mean a missing value.
        delimiter: as in `TextFile`; `auto` or None: detected in each file.
        header: whether the first line names the columns.
        encoding: as in `TextFile`.
    """

    forms: Sequence[Form]
    missing: Sequence[str] = MISSING
    delimiter: str | None = None
    header: bool = True
    encoding: str | None = None

    def __call__(self, paths: Sequence[Path]) -> New:
        """The rows (N, C) of some files. Other columns of the files are ignored.

        A category that training did not have is a missing value, and a line names the first one.

        Raises:
            UserError: for a file that lacks a column, and for a value that is not a number where numbers must be.
        """
        tables = [Path(file) for file in files_of(paths, (*TEXTS, *PARQUET), "tables")]
        with unskipped():
            values = [self._values(path) for path in tables]
        rows = [row + 1 for table in values for row in range(len(table))]
        files = [path for path, table in zip(tables, values, strict=True) for _ in range(len(table))]
        every = np.concatenate(values)
        names = [f"{path}:{row}" for path, row in zip(files, rows, strict=True)]
        return New(names, list(map(str, rows)), ArrayPool(every, np.zeros(len(every))))

    def _values(self, path: Path) -> np.ndarray:
        alone = self.forms[0].name if len(self.forms) == 1 else None
        file = open_table(path, self.delimiter, self.header, encoding=self.encoding, alone=alone)
        for form in self.forms:
            if form.name not in file.names:
                raise UserError(f"{path} has no column {form.name}, which training had; it has {', '.join(file.names)}")
        places = [file.names.index(form.name) for form in self.forms]
        columns = [form.column(self.missing) for form in self.forms]
        pieces = [np.empty((0, len(columns)), np.float32)]
        numbers = all(column.plain for column in columns)
        unseen: dict[str, list[int]] = {}  # by column, the records with a category that training did not have
        for piece in file.pieces(skip=False, numbers=lambda: numbers, names={form.name for form in self.forms}):
            part = np.empty((len(piece.records), len(columns)), np.float32)
            for k, (column, place, form) in enumerate(zip(columns, places, self.forms, strict=True)):
                values, bad = column.convert(piece.columns[place])
                if bad:
                    found = brief(str(piece.columns[place][bad[0]]))
                    manner = form.notation.describe()
                    raise UserError(
                        f"{file.where(piece.records[bad[0]])}: column {column.name} holds {found!r}, which is"
                        f" {f'not read like the values of training ({manner})' if manner else 'not a finite number'}"
                    )
                part[:, k] = column.shift(values)
                if form.texts is not None:
                    rows = np.flatnonzero(part[:, k] >= len(form.texts))
                    part[rows, k] = np.nan
                    unseen.setdefault(form.name, []).extend(piece.records[row] for row in rows.tolist())
            pieces.append(part)
        values = np.concatenate(pieces)
        if not len(values):
            raise UserError(f"{path} has no rows")
        for column, form in zip(columns, self.forms, strict=True):
            if records := unseen.get(form.name):
                say(
                    f"{file.where(records[0])}: column {form.name} holds"
                    f" {brief(column.texts[len(form.texts or ())])!r}, which"
                    f" training did not have; such categories count as missing (rows: {len(records):,} of"
                    f" {len(values):,})"
                )
        return values
