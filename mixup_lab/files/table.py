"""Tables in files, read piece by piece: CSV, TSV and the like, or parquet.

Text files are UTF-8, with or without a byte order mark; values may be quoted. Errors give the line that an editor
shows: `PATH, line N: ...`.
"""

import csv
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

import numpy as np

from mixup_lab.files.keys import SKIP_HINT
from mixup_lab.types import UserError

CELLS = 2**19  # values read at a time
LONGEST = 2**31 - 1  # characters of a value; csv's own limit, 131,072, is less than a book
SNIFFED = 50  # lines that show the delimiter
DELIMITERS = (",", ";", "\t", "|", " ")
SPELT = {"\\t": "\t", "tab": "\t", "space": " ", "comma": ","}
TABS_FIRST = (".tsv", ".txt")
TEXTS, PARQUET = (".csv", ".tsv", ".txt", ".data", ".dat"), (".parquet",)


class Piece(NamedTuple):
    """Some rows: for each column texts (None: missing) or float64 (NaN: missing), and the number of each record."""

    columns: Sequence[Sequence[Any] | np.ndarray]
    records: Sequence[int]
    dropped: int  # rows of this piece that were left out
    done: int  # bytes of the file read so far


class TableFile:
    """A file that holds a table.

    Args:
        path: of the file.
        names: of the columns; those without one are called c0, c1, ... by their place.
        header: whether the file names its columns.

    Raises:
        UserError: for two columns with the same name.
    """

    UNIT = "line"

    def __init__(self, path: Path, names: Sequence[str], header: bool) -> None:
        self.path = path
        self.names = [name or f"c{k}" for k, name in enumerate(names)]
        self.unnamed = [f"c{k}" for k, name in enumerate(names) if header and not name]  # usually an index
        for name, count in Counter(self.names).items():
            if count > 1:
                first, second = [k + 1 for k, other in enumerate(self.names) if other == name][:2]
                raise UserError(f"{path} has two columns named {name} ({first} and {second}); rename one of them")

    def pieces(self, skip: bool, numbers: bool) -> Iterator[Piece]:
        """All rows.

        Args:
            skip: leave out rows of another length and count them, instead of refusing them.
            numbers: no column is needed as texts.
        """
        raise NotImplementedError

    def where(self, record: int) -> str:
        """File and line of a record, for messages; found by reading again, so that no lines have to be kept."""
        return f"{self.path}, {self.UNIT} {next(itertools.islice(self.lines(), record, None))}"

    def lines(self) -> Iterator[int]:
        """The line at which each record ends, from 1; or its row, if the file has no lines."""
        return itertools.count(1)


def split_files(
    root: str, stems: Mapping[str, Sequence[str]], endings: Sequence[str], names: Mapping[str, str | None] | None = None
) -> dict[str, Path]:
    """Find the file of each split; only train must have one.

    Args:
        root: the file of train, or a folder.
        stems: for each split the usual names, without ending.
        endings: that files may have.
        names: for each split the user's file name within the folder, or None.

    Raises:
        UserError: for a missing root, a missing file, several files for one split, and none for train.
    """
    folder = Path(root)
    if folder.is_file():
        return {"train": folder}
    if not folder.is_dir():
        raise UserError(f"dataset.root={root} does not exist; it must be a file or a folder")
    files: dict[str, Path] = {}
    for split, usual in stems.items():
        name = names and names[split]
        paths = [folder / name] if name else [folder / f"{stem}{ending}" for stem in usual for ending in endings]
        paths = [path for path in paths if path.is_file()]
        if name and not paths:
            raise UserError(f"dataset.{split}_file={name} is not in dataset.root={root}")
        if len(paths) > 1:
            hint = f"; dataset.{split}_file=NAME chooses one" if names else ""
            raise UserError(f"dataset.root={root} has both {paths[0].name} and {paths[1].name}{hint}")
        if paths:
            files[split] = paths[0]
    if "train" not in files:
        hint = "; dataset.train_file=NAME sets another" if names else ""
        raise UserError(f"dataset.root={root} has no train file ({' '.join(f'train{e}' for e in endings)}){hint}")
    return files


def open_table(path: Path, delimiter: str | None, header: bool, plain_tabs: bool = False) -> TableFile:
    """Open a table; arguments as for `TextFile`.

    Raises:
        UserError: for a file that is empty or not a table.
    """
    if path.suffix.lower() in PARQUET:
        return ParquetFile(path)
    return TextFile(path, delimiter, header, plain_tabs)


class TextFile(TableFile):
    """A text file with one row a line, its values separated by delimiters.

    Args:
        path: of the file.
        delimiter: one character, `tab`, or a space for any number of spaces; None: detected in the first lines.
        header: whether the first line names the columns; else they are c0, c1, ...
        plain_tabs: in files with tabs treat quotation marks as plain characters; sentences often begin with one.
        hints: whether messages name keys of `conf/dataset`.

    Raises:
        UserError: for an empty file, a column name that occurs twice, and a file that is not a table.
    """

    def __init__(
        self, path: Path, delimiter: str | None, header: bool, plain_tabs: bool = False, hints: bool = True
    ) -> None:
        csv.field_size_limit(LONGEST)
        self.path, self._header, self._plain_tabs, self._hints = path, header, plain_tabs, hints
        with self._errors(), self._open() as file:
            start = list(itertools.islice(file, SNIFFED))
        if not any(line.strip() for line in start):
            raise UserError(f"{path} is empty")
        self._delimiter = self._sniffed(start) if delimiter is None else SPELT.get(delimiter, delimiter)
        if len(self._delimiter) != 1 or self._delimiter in '"\r\n':
            raise UserError(f"dataset.delimiter={delimiter} must be null, one character, tab or space")
        with self._errors():
            first = _first(self._records(start, self._delimiter))
        if len(first) < 2:
            hint = "; dataset.delimiter=... sets the separator" if hints else ""
            raise UserError(f"{path} seems to have only one column{hint}")
        super().__init__(path, [name.strip() if header else "" for name in first], header)

    def pieces(self, skip: bool, numbers: bool) -> Iterator[Piece]:
        """All rows, without empty lines. As long as all values are numbers numpy reads them, four times faster."""
        width, count, number = len(self.names), max(1, CELLS // len(self.names)), 0
        with self._open() as file:
            lines: Iterator[str] = file
            if self._header:
                _first(self._records(lines, self._delimiter))
            while numbers and self._delimiter != " ":
                with self._errors():
                    some = list(itertools.islice(file, count))
                table = self._numbers(some, width) if some else None
                if table is None:
                    lines = itertools.chain(some, file)  # from here on as texts
                    break
                yield Piece(list(table.T), range(number, number + len(some)), 0, file.buffer.tell())
                number += len(some)
            records = self._records(lines, self._delimiter)
            while True:
                with self._errors():
                    rows = list(itertools.islice(records, count))
                if not rows:
                    return
                places: Sequence[int] = range(number, number + len(rows))
                number, dropped = number + len(rows), 0
                if set(map(len, rows)) != {width}:
                    rows, places, dropped = self._fitting(rows, places, skip)
                yield Piece(list(zip(*rows, strict=True)) or [()] * width, places, dropped, file.buffer.tell())

    def lines(self) -> Iterator[int]:
        with self._open() as file:
            records = self._records(file, self._delimiter)
            if self._header:
                _first(records)
            for _ in records:
                yield records.line_num

    def _numbers(self, lines: list[str], width: int) -> np.ndarray | None:
        """The rows as float64 (lines, width); None if not all values are numbers, or not all rows as long."""
        if not lines[0].strip():
            return None
        try:
            table = np.loadtxt(lines, delimiter=self._delimiter, quotechar='"', comments=None, ndmin=2)
        except ValueError:
            return None
        return table if table.shape == (len(lines), width) else None

    def _fitting(self, rows: list[list[str]], numbers: Sequence[int], skip: bool) -> tuple[Any, list[int], int]:
        """Rows of the right length, their numbers, and how many others were left out, not counting empty lines."""
        width = len(self.names)
        for number, row in zip(numbers, rows, strict=True):
            if len(row) not in (0, width) and not skip:
                hint = SKIP_HINT if self._hints else ""
                raise UserError(
                    f"{self.where(number)}: {len(row)} value{'s'[: len(row) != 1]} instead of {width}{hint}"
                )
        kept = [(number, row) for number, row in zip(numbers, rows, strict=True) if len(row) == width]
        dropped = sum(bool(row) for row in rows) - len(kept)
        return [row for _, row in kept], [number for number, _ in kept], dropped

    def _open(self) -> TextIO:
        return open(self.path, newline="", encoding="utf-8-sig")

    def _records(self, lines: Iterable[str], delimiter: str) -> Any:
        if delimiter == " ":
            lines = (line.strip(" \r\n") + "\n" for line in lines)
        quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" and self._plain_tabs else csv.QUOTE_MINIMAL
        return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, quoting=quoting)

    def _sniffed(self, start: Sequence[str]) -> str:
        """The delimiter on which most lines agree; if several do, the most usual one."""
        usual = sorted(DELIMITERS, key="\t".__ne__) if self.path.suffix.lower() in TABS_FIRST else DELIMITERS
        best, most = usual[0], 0.0
        for delimiter in usual:
            try:
                widths = Counter(len(row) for row in self._records(start, delimiter) if row)
            except csv.Error:
                continue
            width, rows = widths.most_common(1)[0]
            if width > 1 and rows / widths.total() > most:
                best, most = delimiter, rows / widths.total()
        return best

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise UserError(_not_utf8(self.path)) from None
        except csv.Error as error:
            raise UserError(f"{self.path} cannot be read as a table: {error}") from error


def _not_utf8(path: Path) -> str:
    content = path.read_bytes()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f"{path}, line {line}: byte {content[error.start]:#x} is not UTF-8; convert the file"
    return f"{path} is not UTF-8; convert the file"


def _first(records: Any) -> list[str]:
    """The next record that is not an empty line; [] at the end."""
    return next((row for row in records if row), [])


class ParquetFile(TableFile):
    """A parquet file: booleans become numbers, dates ISO 8601 texts. It needs pyarrow: the extra `parquet`.

    Raises:
        UserError: if pyarrow is not installed, and for a file that is not a parquet table.
    """

    UNIT = "row"

    def __init__(self, path: Path) -> None:
        try:
            from pyarrow import ArrowException, parquet
        except ImportError as error:
            raise UserError(f"dataset.root={path} needs pyarrow: pip install 'mixup-lab[parquet]'") from error
        try:
            self._file = parquet.ParquetFile(path)
        except (ArrowException, OSError) as error:
            raise UserError(f"{path} cannot be read as a parquet file: {str(error).splitlines()[0]}") from error
        super().__init__(path, list(self._file.schema_arrow.names), header=False)
        self.unnamed = [name for name in self.names if name.startswith("__index_level_")]  # pandas writes its index so

    def pieces(self, skip: bool, numbers: bool) -> Iterator[Piece]:
        start, size, rows = 0, self.path.stat().st_size, self._file.metadata.num_rows
        for batch in self._file.iter_batches(max(1, CELLS // len(self.names))):
            columns = [self._plain(name, column) for name, column in zip(self.names, batch.columns, strict=True)]
            start += batch.num_rows
            yield Piece(columns, range(start - batch.num_rows, start), 0, size * start // rows)

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
        raise UserError(f"{self.path}: column {name} has the type {kind}, which is neither numeric nor text")
