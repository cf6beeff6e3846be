"""New rows of a table for a trained model, read as the table of training was."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixup_lab.data.source import ArrayPool, New
from mixup_lab.files.columns import NUMBER, TEXT, Column
from mixup_lab.files.table import PARQUET, TEXTS, open_table
from mixup_lab.sources.new_files import files_of, unskipped
from mixup_lab.types import UserError

MISSING = ("", "?", "NA", "N/A", "na", "n/a", "nan", "NaN", "NAN", "null", "NULL", "None")


@dataclass(frozen=True)
class NewRows:
    """`Loaded.new` of a table.

    Args:
        names: of the C columns of inputs.
        texts: for each column the texts of its codes 0, 1, ..., or None if it holds numbers.
        missing: texts that mean a missing value.
        delimiter: as in `TextFile`; None: detected in each file.
        header: whether the first line names the columns.
    """

    names: Sequence[str]
    texts: Sequence[Sequence[str] | None]
    missing: Sequence[str] = MISSING
    delimiter: str | None = None
    header: bool = True

    def __call__(self, paths: Sequence[Path]) -> New:
        """The rows (N, C) of some files. Other columns of the files are ignored.

        A category that training did not have is a missing value.

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
        file = open_table(path, self.delimiter, self.header)
        for name in self.names:
            if name not in file.names:
                raise UserError(f"{path} has no column {name}, which training had; it has {', '.join(file.names)}")
        places = [file.names.index(name) for name in self.names]
        columns = [self._column(name, texts) for name, texts in zip(self.names, self.texts, strict=True)]
        pieces = [np.empty((0, len(columns)), np.float32)]
        for piece in file.pieces(skip=False, numbers=all(texts is None for texts in self.texts)):
            part = np.empty((len(piece.records), len(columns)), np.float32)
            for k, (column, place, texts) in enumerate(zip(columns, places, self.texts, strict=True)):
                part[:, k], bad = column.convert(piece.columns[place])
                if bad:
                    found = str(piece.columns[place][bad[0]])
                    raise UserError(
                        f"{file.where(piece.records[bad[0]])}: column {column.name} holds {found!r}, which is not a"
                        " finite number"
                    )
                if texts is not None:
                    part[part[:, k] >= len(texts), k] = np.nan
            pieces.append(part)
        values = np.concatenate(pieces)
        if not len(values):
            raise UserError(f"{path} has no rows")
        return values

    def _column(self, name: str, texts: Sequence[str] | None) -> Column:
        column = Column(name, self.missing, NUMBER if texts is None else TEXT, largest=None)
        for code, text in enumerate(texts or ()):
            column.texts.append(text)
            column.codes[text] = float(code)
        return column
