"""Tables in files, read piece by piece: CSV, TSV and the like, or parquet.

Text files are UTF-8, with or without a byte order mark, or UTF-16 with one; values may be quoted. A line `sep=;` and
lines of comment (#) above the header are passed over. Errors give the line that an editor shows: `PATH, line N: ...`.
"""

import csv
import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

import numpy as np

from mixup_lab.files.encodings import AUTO, MARKS, encoding_of, undecodable
from mixup_lab.files.keys import SKIP_HINT, SPLIT_NAMES, SPLITS, few
from mixup_lab.files.values import DAY, EXACT, as_number, is_numeric
from mixup_lab.notices import say
from mixup_lab.types import UserError

CELLS = 2**19  # values read at a time
LONGEST = 2**31 - 1  # characters of a value; csv's own limit, 131,072, is less than a book
SNIFFED = 50  # lines that show the delimiter
DELIMITERS = (",", ";", "\t", "|", " ")
SPELT = {"\\t": "\t", "tab": "\t", "space": " ", "comma": ","}
TABS_FIRST = (".tsv", ".txt")
UNNAMED = re.compile(r"Unnamed: \d+(\.\d+)*")  # as pandas calls them
RULE = re.compile(r"[-=+:]+")  # below the header of a table that is drawn with characters
ESCAPED = re.compile(r'(?:^|[,;\t|])"[^"]*\\"[^,;\t|"\s]')  # \" inside of quotation marks
CODE = re.compile(r"0\d(?<![\d.eE]0\d)(?<![eE][-+]0\d)")  # a number that begins with a zero and a digit
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
        self.unnamed = [
            own for own, name in zip(self.names, names, strict=True) if header and (not name or UNNAMED.fullmatch(name))
        ]  # usually an index
        self.like_values = False  # whether the header may be a row of values
        self.notes: list[str] = []  # what a user should know about the file, as far as it has been read
        for name, count in Counter(self.names).items():
            if count > 1:
                first, second = [k + 1 for k, other in enumerate(self.names) if other == name][:2]
                hint = "; if line 1 is a row of values, set dataset.header=false" if header and is_numeric(name) else ""
                raise UserError(f"{path} has two columns named {name} ({first} and {second}); rename one of them{hint}")

    def pieces(
        self, skip: bool, numbers: Callable[[], bool] = bool, names: Collection[str] | None = None
    ) -> Iterator[Piece]:
        """All rows.

        Args:
            skip: leave out rows of another length and count them, instead of refusing them.
            numbers: whether no column is needed as texts; asked before each piece.
            names: columns that are needed; others may be empty. None: all.
        """
        raise NotImplementedError

    def where(self, record: int) -> str:
        """File and line of a record, for messages; found by reading again, so that no lines have to be kept."""
        return f"{self.path}, {self.UNIT} {next(itertools.islice(self.lines(), record, None))}"

    def lines(self) -> Iterator[int]:
        """The line at which each record ends, from 1; or its row, if the file has no lines."""
        return itertools.count(1)


def texts_of(file: TableFile, name: str) -> dict[int, str]:
    """A column as stripped texts, by the numbers of the records; "" where nothing is.

    Raises:
        UserError: if the file lacks the column.
    """
    if name not in file.names:
        raise UserError(f"{file.path} has no column {name}; its columns are {few(file.names)}")
    place, texts = file.names.index(name), dict[int, str]()
    for piece in file.pieces(skip=True, names=[name]):
        values = ("" if value is None else str(value).strip() for value in piece.columns[place])
        texts |= zip(piece.records, values, strict=True)
    return texts


def split_files(root: str, endings: Sequence[str], names: Mapping[str, str | None] | None = None) -> dict[str, Path]:
    """Find the file of each split, by the usual names of splits; only train must have one. Others are reported.

    Args:
        root: the file of train, or a folder.
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
    there = sorted(path for path in folder.iterdir() if path.suffix.lower() in endings and path.is_file())
    for split in SPLITS:
        name = names and names[split]
        usual = [stem for stem, of in SPLIT_NAMES.items() if of == split]
        paths = [path for stem in usual for path in there if path.stem.lower() == stem]
        paths = [path for path in [folder / name] if path.is_file()] if name else paths
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
    there += [path for path in folder.iterdir() if path.name.split(".")[0].lower() in SPLIT_NAMES and path.is_file()]
    unused = sorted({path.name for path in there if path not in files.values()})
    if unused:
        usable = f"{few(list(SPLIT_NAMES), 99)}, and end in {' '.join(endings)}"
        say(f"files of {root} are not used: {few(unused)}; those of splits are called {usable}")
    return files


def open_table(
    path: Path, delimiter: str | None, header: bool, plain_tabs: bool = False, encoding: str | None = None,
    alone: str | None = None,
) -> TableFile:  # fmt: skip
    """Open a table; arguments as for `TextFile`.

    Raises:
        UserError: for a file that is empty or not a table.
    """
    if path.suffix.lower() in PARQUET:
        return ParquetFile(path)
    return TextFile(path, delimiter, header, plain_tabs, encoding=encoding, alone=alone)


class TextFile(TableFile):
    """A text file with one row a line, its values separated by delimiters.

    Args:
        path: of the file.
        delimiter: one character, `tab`, or a space for any number of spaces; `auto` or None: detected in the first
            lines.
        header: whether the first line names the columns; else they are c0, c1, ...
        plain_tabs: in files with tabs treat quotation marks as plain characters; sentences often begin with one.
        hints: whether messages name keys of `conf/dataset`.
        encoding: as Python names it; `auto`: UTF-8, or UTF-16 with a byte order mark. None: likewise, without a key for
            it in messages.
        alone: name of a column that may be the only one; None: a table has at least two.

    Raises:
        UserError: for an empty file, a column name that occurs twice, and a file that is not a table.
    """

    def __init__(
        self, path: Path, delimiter: str | None, header: bool, plain_tabs: bool = False, hints: bool = True,
        encoding: str | None = None, alone: str | None = None,
    ) -> None:  # fmt: skip
        csv.field_size_limit(LONGEST)
        self.path, self._header, self._plain_tabs, self._hints = path, header, plain_tabs, hints
        self._above, self._encoding_key = 0, encoding is not None
        with self._errors():
            self._encoding = encoding_of(path, encoding)
            with self._open() as file:
                start = list(itertools.islice(file, SNIFFED))
        if not any(line.strip() for line in start):
            raise UserError(f"{path} is empty")
        self._escape = "\\" if any(map(ESCAPED.search, start)) else None
        given = re.fullmatch(r'"?sep=(.)"?\s*', start[0], re.IGNORECASE)
        self._above = int(given is not None)
        if delimiter not in AUTO:
            self._delimiter = SPELT.get(str(delimiter), str(delimiter))
        elif given:
            self._delimiter = given[1]
        elif alone is not None and start[0].strip().strip('"') == alone:
            self._delimiter = ","
        else:
            self._delimiter = self._sniffed([line for line in start if line[0] != "#"] or start)
        if len(self._delimiter) != 1 or self._delimiter in '"\r\n':
            raise UserError(f"dataset.delimiter={delimiter} must be auto, one character, tab or space")
        comments = self._comments(start[self._above :])
        self._above += comments
        start = start[self._above :]
        with self._errors():
            rows = [row for row in self._records(start, self._delimiter) if row]
        first = rows[0] if rows else []
        width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
        self._title = _folded(first) if header and not all(map(is_numeric, first)) else []
        extra = [value for row in rows if len(row) == width for value in row[len(first) :]]
        if header and not "".join(extra).strip():
            first = [*first, *[""] * (width - len(first))]  # the other lines end with a delimiter
        named = [name for name in first if name.strip()]
        filled = [sum(bool(value.strip()) for value in row) for row in rows[1:]]
        usual = Counter(filled).most_common(1)[0][0] if filled else 0
        if header and ((width > len(first) and 2 * count >= len(rows)) or 2 * len(named) <= usual):
            number = self._above + 1 + next(k for k, line in enumerate(start) if line.strip())
            raise UserError(
                f"{path}, line {number}: the header has {len(named)} value{'s'[: len(named) != 1]} ({few(named)}), and"
                f" most lines below have {max(usual, width)}; name all columns there, or, if a title is above the"
                " header, remove it or put # in front of it"
            )
        if len(first) < 2 and alone is None:
            hint = "; dataset.delimiter=... sets the separator" if hints else ""
            raise UserError(f"{path} seems to have only one column{hint}")
        super().__init__(path, [" ".join(name.split()) if header else "" for name in first], header)
        if any("\n" in name or "\r" in name for name in first):
            self._several_lines()
        if self._escape:
            self.notes.append(f"{self._escape} before a quotation mark makes it a plain one")
        self.like_values = header and _like_values(first, rows[1:])
        if comments:
            self.notes.append(f"{comments} line{'s'[: comments > 1]} of comment above the header passed over")

    def _comments(self, start: Sequence[str]) -> int:
        """How many lines above the header begin with #, or are empty among such lines.

        The last of them is the header itself if it has as many values as the line below, unless the type of the values
        shows that the line below is the header.
        """
        count = next((k for k, line in enumerate(start) if line.strip() and line[0] != "#"), 0)
        if not any(line[0] == "#" for line in start[:count]):
            return 0
        with self._errors():
            below = [row for row in self._records(start[count:], self._delimiter) if row]
            last = max(k for k in range(count) if start[k][0] == "#")
            if not self._header or len(next(self._records([start[last]], self._delimiter))) != len(below[0]):
                return count
        like = [row for row in below[1:] if len(row) == len(below[0])]
        titles = any(
            2 * sum(is_numeric(row[k]) for row in like) > len(like) and not is_numeric(name)
            for k, name in enumerate(below[0])
        )
        return count if titles else last

    def _several_lines(self) -> None:
        """Note how many rows go over several lines, inside of quotation marks. Raise UserError for marks left open."""
        kept: list[str] = []

        def lines(file: TextIO) -> Iterator[str]:
            for line in file:
                kept.append(line)
                yield line

        places = []
        with self._errors(), self._open() as file:
            records = self._records(lines(file), self._delimiter)
            for _ in records:
                if len(kept) > 1:
                    places.append(self._above + records.line_num - len(kept) + 1)
                    try:
                        list(self._records(kept, self._delimiter, strict=True))
                    except csv.Error:
                        end = self._above + records.line_num
                        raise UserError(
                            f"{self.path}, line {places[-1]}: a quotation mark is opened and not closed, so that the"
                            f" lines up to {end} would be one row; close it, or write it twice where it is meant"
                        ) from None
                kept.clear()
        note = f"rows over several lines: {len(places)}, the first from line {places[0]} on" if places else ""
        if note and note not in self.notes:
            self.notes.append(note)

    def pieces(
        self, skip: bool, numbers: Callable[[], bool] = bool, names: Collection[str] | None = None
    ) -> Iterator[Piece]:
        """All rows, without empty lines. As long as all values are numbers numpy reads them, four times faster."""
        width, count, number = len(self.names), max(1, CELLS // len(self.names)), 0
        with self._open() as file:
            records, checked = self._records(file, self._delimiter), False
            if self._header:
                _first(records)
            fast = self._delimiter != " "
            while True:
                if fast and numbers():
                    with self._errors():
                        some = list(itertools.islice(file, count))
                    table = self._numbers(some, width) if some else None
                    if table is not None:
                        columns: list[Any] = list(table.T)
                        if not number and _may_be_thousands(table, some):
                            columns = list(zip(*self._records(some, self._delimiter), strict=True))
                        yield Piece(columns, range(number, number + len(some)), 0, file.buffer.tell())
                        number += len(some)
                        continue
                    records = self._records(itertools.chain(some, file), self._delimiter)
                fast = False  # from here on as texts
                before = records.line_num
                with self._errors():
                    rows = list(itertools.islice(records, count))
                if not checked and records.line_num - before > len(rows):
                    checked = True
                    self._several_lines()
                if not rows:
                    return
                places: Sequence[int] = range(number, number + len(rows))
                number, dropped = number + len(rows), 0
                if set(map(len, rows)) != {width} or (self._title and any(map(self._again, rows))):
                    rows, places, dropped = self._fitting(rows, places, skip)
                yield Piece(list(zip(*rows, strict=True)) or [()] * width, places, dropped, file.buffer.tell())

    def lines(self) -> Iterator[int]:
        with self._open() as file:
            records = self._records(file, self._delimiter)
            if self._header:
                _first(records)
            for _ in records:
                yield self._above + records.line_num

    def _numbers(self, lines: list[str], width: int) -> np.ndarray | None:
        """The rows as float64 (lines, width); None if not all of them are as long, or a value is not exactly that."""
        if not lines[0].strip() or CODE.search("".join(lines)):
            return None
        try:
            table = np.loadtxt(lines, delimiter=self._delimiter, quotechar='"', comments=None, ndmin=2)
        except ValueError:
            return None
        return table if table.shape == (len(lines), width) and not (np.abs(table) >= EXACT).any() else None

    def _fitting(self, rows: list[list[str]], numbers: Sequence[int], skip: bool) -> tuple[Any, list[int], int]:
        """Rows of the right length, their numbers, and how many others were left out, not counting empty lines."""
        width = len(self.names)
        kept = []
        for number, row in zip(numbers, rows, strict=True):
            again = self._title and row and self._again(row)
            if len(row) == width and not again:
                kept.append((number, row))
            elif (row or width == 1) and not skip:
                fault = again or f"{len(row)} value{'s'[: len(row) != 1]} instead of {width}"
                raise UserError(f"{self.where(number)}: {fault}{SKIP_HINT if self._hints else ''}")
        dropped = sum(bool(row) for row in rows) - len(kept)
        return [row for _, row in kept], [number for number, _ in kept], dropped

    def _again(self, row: Sequence[str]) -> str:
        """What a row is that belongs to the header: the same again, in capitals or not, or a line below it; or ""."""
        first = row[0].strip()
        if first.casefold() == self._title[0] and _folded(row) == self._title:
            return "the header again"
        if first and not RULE.fullmatch(first):
            return ""
        parts = [text for value in row if (text := value.strip())]
        drawn = "---" in "".join(parts).replace("=", "-") and all(map(RULE.fullmatch, parts))
        return "a line below the header" if drawn else ""

    @contextmanager
    def _open(self) -> Iterator[TextIO]:
        """The file from the header on."""
        with open(self.path, newline="", encoding=self._encoding) as file:
            for _ in range(self._above):
                next(file)
            yield file

    def _records(self, lines: Iterable[str], delimiter: str, strict: bool = False) -> Any:
        if delimiter == " ":
            lines = (line.strip(" \r\n") + "\n" for line in lines)
        quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" and self._plain_tabs else csv.QUOTE_MINIMAL
        escape = None if quoting == csv.QUOTE_NONE else self._escape
        return csv.reader(
            lines, delimiter=delimiter, skipinitialspace=True, quoting=quoting, escapechar=escape, strict=strict
        )

    def _sniffed(self, start: Sequence[str]) -> str:
        """The delimiter on which most lines agree; if several do, the most usual one."""
        usual = sorted(DELIMITERS, key="\t".__ne__) if self.path.suffix.lower() in TABS_FIRST else DELIMITERS
        scores, numeric = {usual[0]: (0.0, False)}, {}
        for delimiter in usual:
            try:
                rows = [row for row in self._records(start, delimiter) if row]
            except csv.Error:
                continue
            width, count = Counter(map(len, rows)).most_common(1)[0]
            if width > 1:
                scores[delimiter] = count / len(rows), len(rows[0]) == width
                numeric[delimiter] = sum(is_numeric(text) for row in rows for text in row) / sum(map(len, rows))
        best = max(scores, key=scores.__getitem__)
        if best == "," and scores.get(";") == scores[","] and numeric[";"] > numeric[","]:
            return ";"  # 1,5;2,5 has decimal commas
        return best

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            other = self._encoding_key and self._encoding not in MARKS.values()
            hint = "; dataset.encoding=cp1252 (or another one) reads it" if other else ""
            raise UserError(undecodable(self.path, self._encoding) + hint) from None
        except csv.Error as error:
            raise UserError(f"{self.path} cannot be read as a table: {error}") from error


def _time(count: int, second: int) -> str:
    """A duration as days, hours, minutes and seconds, from so many parts of a second."""
    seconds, part = divmod(count, second)
    days, rest = divmod(seconds, DAY)
    return f"{days} days {rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}.{part * 10**9 // second:09}"


def _may_be_thousands(table: np.ndarray, lines: Sequence[str]) -> bool:
    """Whether a column may have no other fractions than three digits, as in 1.000, so that the texts must be seen."""
    parts, whole = 1000 * np.abs(table), table == np.round(table)
    grouped = whole | ((parts >= 1000) & (np.abs(parts - np.round(parts)) < 1e-6))
    points = re.search(r"[1-9]\d{0,2}\.000(?!\d)", "".join(lines))
    return points is not None or bool((grouped.all(0) & ~whole.all(0)).any())


def _like_values(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether names may be values: numbers wherever the rows have numbers, and among those.

    Not so whole numbers that grow from column to column, such as years.
    """
    table = [[_finite(text) for text in row] for row in (names, *rows) if len(row) == len(names)]
    columns = [(own[0], [value for value in own[1:] if value is not None]) for own in zip(*table, strict=True)]
    numbers = [(name, values) for name, values in columns if 2 * len(values) >= len(table) > 1]
    found = [name for name, _ in numbers if name is not None]
    if not found or len(found) < len(numbers):
        return False
    counted = all(name == round(name) for name in found) and found == sorted(set(found))
    among = sum(min(values) <= name <= max(values) for name, values in numbers if name is not None)
    return not counted and 2 * among > len(found)


def _finite(text: str) -> float | None:
    value = as_number(text)
    return value if value is not None and isfinite(value) else None


def _folded(row: Sequence[str]) -> list[str]:
    return [value.strip().casefold() for value in row]


def _first(records: Any) -> list[str]:
    """The next record that is not an empty line; [] at the end."""
    return next((row for row in records if row), [])


class ParquetFile(TableFile):
    """A parquet file, which needs pyarrow: the extra `parquet`.

    Booleans become numbers; dates, times, durations and columns with whole numbers beyond 2**53 become texts.

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

    def pieces(
        self, skip: bool, numbers: Callable[[], bool] = bool, names: Collection[str] | None = None
    ) -> Iterator[Piece]:
        start, size, rows = 0, self.path.stat().st_size, self._file.metadata.num_rows
        for batch in self._file.iter_batches(max(1, CELLS // len(self.names))):
            columns = [
                self._plain(name, column) if names is None or name in names else ()
                for name, column in zip(self.names, batch.columns, strict=True)
            ]
            start += batch.num_rows
            yield Piece(columns, range(start - batch.num_rows, start), 0, size * start // rows)

    def _plain(self, name: str, column: Any) -> Sequence[Any] | np.ndarray:
        import pyarrow as pa
        from pyarrow.compute import min_max

        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.dictionary_decode()
            kind = column.type
        if pa.types.is_boolean(kind):
            column, kind = column.cast(pa.int8()), pa.int8()
        if pa.types.is_duration(kind):
            second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
            return [None if value is None else _time(value, second) for value in column.cast(pa.int64()).to_pylist()]
        whole = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and not kind.scale)
        if whole and any(value is not None and abs(value) > EXACT for value in min_max(column).as_py().values()):
            return [None if value is None else str(value) for value in column.to_pylist()]
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            numbers: np.ndarray = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            return numbers
        if pa.types.is_timestamp(kind) or pa.types.is_time64(kind):  # Python has no nanoseconds
            kind = pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else pa.time64("us")
            column = column.cast(kind, safe=False)
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind) or pa.types.is_time(kind):
            return [None if value is None else value.isoformat() for value in column.to_pylist()]
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
            texts: list[Any] = column.to_pylist()
            return texts
        raise UserError(f"{self.path}: column {name} has the type {kind}, which is neither numeric nor text")
