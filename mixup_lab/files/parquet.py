"""Parquet files as tables; needs pyarrow, which the extra `parquet` brings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mixup_lab.files.piece import CELLS, Piece, checked_names
from mixup_lab.types import UserError


class ParquetFile:
    """Numbers and truth values as numbers, dates as they are, texts as texts.

    Raises:
        UserError: if pyarrow is not installed, and for what is no such file.
    """

    def __init__(self, path: Path) -> None:
        try:
            from pyarrow import ArrowException, parquet
        except ImportError as error:
            raise UserError(f"dataset.root={path} needs pyarrow: pip install 'mixup-lab[parquet]'") from error
        self.path = path
        try:
            self._file = parquet.ParquetFile(path)
        except (ArrowException, OSError) as error:
            raise UserError(f"{path} cannot be read as a parquet file: {str(error).splitlines()[0]}") from error
        self.names = checked_names(path, list(self._file.schema_arrow.names))
        self.unnamed = [name for name in self.names if name.startswith("__index_level_")]  # as pandas writes an index

    def pieces(self, skip: bool, numbers: bool) -> Iterator[Piece]:
        """All rows: in such a file all are of one length."""
        start, size, rows = 0, self.path.stat().st_size, self._file.metadata.num_rows
        for batch in self._file.iter_batches(max(1, CELLS // len(self.names))):
            columns = [self._plain(name, column) for name, column in zip(self.names, batch.columns, strict=True)]
            start += batch.num_rows
            yield Piece(columns, range(start - batch.num_rows, start), 0, size * start // rows)

    def where(self, record: int) -> str:
        """There are no lines: rows from 1."""
        return f"{self.path} row {record + 1}"

    def _plain(self, name: str, column: Any) -> Sequence[Any] | np.ndarray:
        import pyarrow as pa

        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.dictionary_decode()
            kind = column.type
        if pa.types.is_boolean(kind):
            column, kind = column.cast(pa.int8()), pa.int8()
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            numbers: np.ndarray = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            return numbers
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            return [None if value is None else value.isoformat() for value in column.to_pylist()]
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
            texts: list[Any] = column.to_pylist()
            return texts
        raise UserError(f"column {name} of {self.path} is of type {kind}, which is no number and no text")
