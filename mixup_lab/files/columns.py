"""Convert the columns of a table to numbers, piece by piece; texts become codes."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from mixup_lab.files.keys import SKIP_HINT
from mixup_lab.files.store import Stored
from mixup_lab.files.table import TableFile
from mixup_lab.files.values import DATE, DAY, PLAIN, TRUTH, Ambiguous, Notation, as_number, notation_of, reader
from mixup_lab.notices import track
from mixup_lab.pasting import word
from mixup_lab.types import UserError

NUMBER, TEXT, TIME = "number", "text", "time"
LARGE = 8 << 20  # bytes; reading a file of this size takes a while
LARGEST = 100_000  # different texts in a column, unless it holds groups
BIGGEST, TINY = float(np.finfo(np.float32).max), 1e-30  # a column whose largest number is smaller is lost in float32
UNREADABLE, LABELLESS, INCOMPLETE = "that cannot be read", "without target", "without split, group or time"
FAR = 1e-3  # rounding to float32 that would be this share of a column's standard deviation


class Column:
    """One column. The first piece that has values decides its kind, its notation and its offset.

    It holds numbers if one notation (decimal mark, unit, dates, True and False) reads at least half of these values.
    Texts become codes 0, 1, ... in order of appearance.

    Args:
        name: of the column.
        missing: texts that mean a missing value, besides NaN.
        kind: `number`, `text` or `time` (numbers, or dates, which become seconds); None: undecided.
        largest: maximum number of different texts; None: no limit.
        decimal: decimal mark, `.` or `,`; `auto`: the one that the values of the column, or of the file, show.
        labels: whether it may hold the names of classes: dates, True and False stay texts if the kind is undecided.

    Attributes:
        offset: a number far from 0, compared with the spread of the values, that float32 could not hold with their
            differences; callers subtract it. It is 0 for nearly all columns.
    """

    def __init__(
        self, name: str, missing: Sequence[str], kind: str | None = None, largest: int | None = LARGEST,
        decimal: str = "auto", labels: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.kind = name, kind
        self.missing, self._missing = tuple(missing), frozenset(missing)
        self.codes = _Codes(name, self._missing, largest)
        self.texts = self.codes.texts  # of the codes 0, 1, ...
        self.notation: Notation | None = None
        self.offset: float | None = None  # until the first values are read
        self.decimal = decimal
        self._styles = {TIME: (PLAIN, DATE), None: (PLAIN,) if labels else (PLAIN, DATE, TRUTH)}.get(
            kind, (PLAIN, DATE, TRUTH)
        )
        self._missing_numbers = [n for n in map(as_number, missing) if n is not None]

    @property
    def undecided(self) -> bool:
        """Whether `decide` has to see values."""
        return self.kind is None or (self.kind != TEXT and self.notation is None)

    def decide(self, values: Sequence[Any] | np.ndarray, usual: str | None) -> None:
        """Decide kind and notation, if some values are not missing. `usual`: see `notation_of`, which may raise."""
        if isinstance(values, np.ndarray):
            self.kind, self.notation = self.kind or NUMBER, Notation()
            return
        present = [text for value in values if value is not None and (text := value.strip()) not in self._missing]
        if not present:
            return
        found = notation_of(present, self.decimal, usual, self._styles)
        if self.kind is None and (found is None or 2 * found[1] < len(present)):
            self.kind = TEXT
            return
        self.kind, self.notation = self.kind or NUMBER, found[0] if found else Notation()

    def convert(self, values: Sequence[Any] | np.ndarray) -> tuple[np.ndarray, list[int]]:
        """Some values as float64, NaN if missing, and the indices of those that cannot be read."""
        if self.kind == TEXT:
            if isinstance(values, np.ndarray):
                values = [None if np.isnan(value) else f"{value:.15g}" for value in values.tolist()]
            return np.fromiter(map(self.codes.__getitem__, values), np.float64, len(values)), []
        if isinstance(values, np.ndarray):
            numbers, bad = values.astype(np.float64), list[int]()
        else:
            numbers, bad = self._numbers(values)
        for number in self._missing_numbers:
            numbers[numbers == number] = np.nan
        if bad or self.kind == TIME:
            return numbers, bad or np.flatnonzero(np.isinf(numbers)).tolist()
        size = np.abs(numbers)
        most = float(np.fmax.reduce(size, initial=0.0))
        return numbers, [int(np.nanargmax(size))] if 0 < most < TINY else np.flatnonzero(size > BIGGEST).tolist()

    def shift(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers without the offset, which the first of them decide."""
        if self.offset is None and not np.isnan(numbers).all():
            middle = float(np.nanmedian(numbers))
            lost = 2.0**-24 * abs(middle) > FAR * float(np.nanstd(numbers - middle)) > 0
            self.offset = middle if lost and self.kind == NUMBER else 0.0
        return numbers - self.offset if self.offset else numbers

    def _numbers(self, values: Sequence[Any]) -> tuple[np.ndarray, list[int]]:
        notation = self.notation or Notation()
        try:
            if notation.style == PLAIN:
                joined = "\n".join(values)
                points = values if notation.mark == "." else joined.replace(",", ".").split("\n")
                if "_" not in joined and (notation.mark == "." or "." not in joined):  # 1_000 is a number in Python
                    return np.fromiter(map(float, points), np.float64, len(values)), []
        except (TypeError, ValueError):
            pass
        read, unit = reader(notation), DAY if self.kind == TIME and notation.style == DATE else 1
        numbers, bad = np.full(len(values), np.nan), []
        for place, value in enumerate(values):
            if value is None or value.strip() in self._missing:
                continue
            number = read(value)
            if number is None:
                bad.append(place)
            else:
                numbers[place] = number * unit
        return numbers, bad


def decide(columns: Iterable[tuple[Column, Sequence[Any] | np.ndarray]]) -> tuple[Column, str] | None:
    """Decide the kinds of columns by values of each; where a column fits two decimal marks, the others tell.

    Returns:
        A column that cannot be decided, and one of its texts; else None.
    """
    pairs = list(columns)
    unsure, unlike = [], []
    for column, values in pairs:
        if column.undecided:
            try:
                column.decide(values, None)
            except Ambiguous as error:
                unlike.append((column, str(error)))
            if column.kind != TEXT and column.notation in (None, Notation()):
                unsure.append((column, values))
    marks = {column.notation.mark for column, _ in pairs if column.notation and column.notation.shown}
    if len(marks) != 1:
        return unlike[0] if unlike else None
    if unlike or marks == {","}:
        (usual,) = marks
        for column, values in unsure:
            column.decide(values, usual)
    return None


class _Codes(dict[Any, float]):
    """From texts to codes; a new text gets the next code."""

    def __init__(self, name: str, missing: frozenset[str], largest: int | None) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._name, self._missing, self._largest = name, missing, largest

    def __missing__(self, text: Any) -> float:
        plain = None if text is None else text.strip()
        if plain is None or plain in self._missing:
            code = float("nan")
        elif plain != text:
            code = self[plain]
        else:
            if self._largest is not None and len(self.texts) >= self._largest:
                raise UserError(
                    f"column {self._name} has more than {self._largest:,} different texts; leave it out with"
                    f" {word('dataset.drop', [self._name])}"
                )
            code = float(len(self.texts))
            self.texts.append(plain)
        self[text] = code
        return code


def coded_rows(
    file: TableFile,
    inputs: Sequence[Column],
    others: Sequence[Column],
    targets: int,
    skip: bool,
    dropped: Counter[str],
) -> Iterator[Stored]:
    """Read a file and convert its columns, piece by piece.

    Args:
        file: has all columns.
        inputs: columns whose values may be missing, which gives NaN.
        others: columns whose values may not; the targets come first.
        targets: how many of `others` are targets.
        skip: leave out rows that cannot be read, instead of refusing them.
        dropped: counts the rows that are left out, by the reason.

    Raises:
        UserError: for the first row that cannot be read, with its line.
    """
    size, places = file.path.stat().st_size, {name: k for k, name in enumerate(file.names)}
    title = f"reading {file.path} ({size / 2**20:,.0f} MiB)"
    every = (*inputs, *others)
    numbers = all(column.kind in (None, NUMBER) and column.decimal != "," for column in every)
    with track(title, size >> 20) if size >= LARGE else nullcontext(lambda done: None) as advance:
        shown = 0
        yield Stored(np.empty((0, len(inputs)), np.float32), np.empty((0, len(others))))  # at least one piece
        for piece in file.pieces(skip, numbers, {column.name for column in every}):
            found = {column: piece.columns[places[column.name]] for column in every}
            if unlike := decide(found.items()):
                row = [str(value).strip() for value in found[unlike[0]]].index(unlike[1])
                raise UserError(_ambiguous(file.where(piece.records[row]), *unlike))
            good = np.ones(len(piece.records), bool)
            parts = []
            for columns, dtype in ((inputs, np.float32), (others, np.float64)):
                part = np.empty((len(piece.records), len(columns)), dtype)
                for k, column in enumerate(columns):
                    values, bad = column.convert(found[column])
                    if bad and not skip:
                        where = file.where(piece.records[bad[0]])
                        raise UserError(_unreadable(where, column, found[column][bad[0]], column in others))
                    values[bad] = np.nan
                    part[:, k] = column.shift(values) if columns is inputs else values
                    good[bad] = False
                parts.append(part)
            missing = np.isnan(parts[1])
            rows = np.flatnonzero(missing.any(1) & good)
            if len(rows) and not skip:
                k = int(missing[rows[0]].argmax())
                text = found[others[k]][rows[0]]
                raise UserError(_missing(file.where(piece.records[rows[0]]), others[k], text, k < targets))
            dropped[UNREADABLE] += piece.dropped + int((~good).sum())
            good[rows] = False
            lacking = int(missing[rows, :targets].any(1).sum())
            dropped[LABELLESS] += lacking
            dropped[INCOMPLETE] += len(rows) - lacking
            yield Stored(*parts) if good.all() else Stored(*(part[good] for part in parts))
            advance((piece.done >> 20) - shown)
            shown = piece.done >> 20


def _ambiguous(where: str, column: Column, text: str) -> str:
    return (
        f"{where}: column {column.name} holds {text!r}, whose comma may be a decimal mark or separate thousands; set"
        f" {word('dataset.decimal', ',')} or {word('dataset.decimal', '.')}"
    )


def _missing(where: str, column: Column, value: Any, target: bool) -> str:
    what = f"{'the target' if target else 'the value of column'} {column.name}"
    text = value.strip() if isinstance(value, str) else ""
    if not text:
        return f"{where}: {what} is missing{SKIP_HINT}"
    kept = word("dataset.missing", [other for other in column.missing if other != text])
    return f"{where}: {what} is {text!r}, which means a missing value; if it is a class, set {kept}{SKIP_HINT}"


def _unreadable(where: str, column: Column, value: Any, needed: bool) -> str:
    what = "not a finite number"
    if column.kind == TIME:
        what = "neither a number nor a date such as 2024-03-31"
    elif column.notation and (manner := column.notation.describe()):
        what = f"not read like the other values ({manner})"
    elif isinstance(number := as_number(str(value)), float) and np.isfinite(number):
        what = "beyond the range of float32, up to 3.4e+38; change its unit"
    hint = (
        f"; name it in dataset.missing if it stands for a missing value, take the column as texts with"
        f" {word('dataset.categorical', [column.name])}, or leave such rows out with dataset.on_error=skip"
    )
    if needed:
        hint = SKIP_HINT if column.kind == TIME else f"; for classes set dataset.task=classification{SKIP_HINT}"
    return f"{where}: column {column.name} holds {str(value)!r}, which is {what}{hint}"
