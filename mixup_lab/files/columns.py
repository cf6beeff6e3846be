"""Convert the columns of a table to numbers, piece by piece; texts become codes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import numpy as np

from mixup_lab.files.keys import SKIP_HINT
from mixup_lab.files.store import Stored
from mixup_lab.files.table import TableFile
from mixup_lab.notices import track
from mixup_lab.types import UserError

NUMBER, TEXT, TIME = "number", "text", "time"
LARGE = 8 << 20  # bytes; reading a file of this size takes a while
LARGEST = 100_000  # different texts in a column, unless it holds groups


class Column:
    """One column. The first piece that has values decides its kind.

    It holds numbers if at least half of these values are numbers. Texts become codes 0, 1, ... in order of appearance.

    Args:
        name: of the column.
        missing: texts that mean a missing value, besides NaN.
        kind: `number`, `text` or `time` (numbers, or ISO 8601 dates, which become seconds); None: undecided.
        largest: maximum number of different texts; None: no limit.
    """

    def __init__(
        self, name: str, missing: Sequence[str], kind: str | None = None, largest: int | None = LARGEST
    ) -> None:
        self.name, self.kind = name, kind
        self.missing = frozenset(missing)
        self.codes = _Codes(name, self.missing, largest)
        self.texts = self.codes.texts  # of the codes 0, 1, ...
        self._missing_numbers = [n for n in map(as_number, missing) if n is not None]

    def convert(self, values: Sequence[Any] | np.ndarray) -> tuple[np.ndarray, list[int]]:
        """Some values as float64, NaN if missing, and the indices of those that cannot be read."""
        if self.kind is None:
            self.kind = self._kind(values)
        if self.kind == TEXT:
            if isinstance(values, np.ndarray):
                values = [None if np.isnan(value) else f"{value:.15g}" for value in values.tolist()]
            return np.fromiter(map(self.codes.__getitem__, values), np.float64, len(values)), []
        if isinstance(values, np.ndarray):
            numbers = values.astype(np.float64)
        else:
            numbers, bad = self._numbers(values)
            if bad:
                return numbers, bad
        for number in self._missing_numbers:
            numbers[numbers == number] = np.nan
        return numbers, np.flatnonzero(np.isinf(numbers)).tolist()

    def _kind(self, values: Sequence[Any] | np.ndarray) -> str | None:
        if isinstance(values, np.ndarray):
            return NUMBER
        present = [value for value in values if value is not None and value.strip() not in self.missing]
        if not present:
            return None
        return NUMBER if 2 * sum(as_number(value) is not None for value in present) >= len(present) else TEXT

    def _numbers(self, values: Sequence[Any]) -> tuple[np.ndarray, list[int]]:
        try:
            numbers = np.fromiter(map(float, values), np.float64, len(values))
            if "_" not in "".join(values):  # Python reads 1_000 as a number
                return numbers, []
        except (TypeError, ValueError):
            pass
        read: Callable[[str], float | None] = _time if self.kind == TIME else as_number
        numbers, bad = np.full(len(values), np.nan), []
        for place, value in enumerate(values):
            if value is None or value.strip() in self.missing:
                continue
            number = read(value)
            if number is None:
                bad.append(place)
            else:
                numbers[place] = number
        return numbers, bad


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
                    f" dataset.drop=[{self._name}]"
                )
            code = float(len(self.texts))
            self.texts.append(plain)
        self[text] = code
        return code


def as_number(text: str) -> float | None:
    """The number that a text spells, as Python reads it but without underscores; None for other texts."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _time(text: str) -> float | None:
    """Seconds since 1970, or the number itself; a date without a time zone is taken as UTC."""
    number = as_number(text)
    if number is not None:
        return number
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def coded_rows(
    file: TableFile, inputs: Sequence[Column], others: Sequence[Column], targets: int, skip: bool, dropped: list[int]
) -> Iterator[Stored]:
    """Read a file and convert its columns, piece by piece.

    Args:
        file: has all columns.
        inputs: columns whose values may be missing, which gives NaN.
        others: columns whose values may not; the targets come first.
        targets: how many of `others` are targets.
        skip: leave out rows that cannot be read, and count them in `dropped`, instead of refusing them.
        dropped: one number is appended for each piece.

    Raises:
        UserError: for the first row that cannot be read, with its line.
    """
    size, places = file.path.stat().st_size, {name: k for k, name in enumerate(file.names)}
    title = f"reading {file.path} ({size / 2**20:,.0f} MiB)"
    with track(title, size >> 20) if size >= LARGE else nullcontext(lambda done: None) as advance:
        shown = 0
        yield Stored(np.empty((0, len(inputs)), np.float32), np.empty((0, len(others))))  # at least one piece
        for piece in file.pieces(skip, all(column.kind in (None, NUMBER) for column in (*inputs, *others))):
            good = np.ones(len(piece.records), bool)
            parts = []
            for columns, dtype in ((inputs, np.float32), (others, np.float64)):
                part = np.empty((len(piece.records), len(columns)), dtype)
                for k, column in enumerate(columns):
                    values = piece.columns[places[column.name]]
                    part[:, k], bad = column.convert(values)
                    if bad and not skip:
                        where = file.where(piece.records[bad[0]])
                        raise UserError(_unreadable(where, column, values[bad[0]], column in others))
                    good[bad] = False
                parts.append(part)
            missing = np.isnan(parts[1])
            rows = np.flatnonzero(missing.any(1) & good)
            if len(rows) and not skip:
                k = int(missing[rows[0]].argmax())
                what = "the target" if k < targets else "the value of column"
                raise UserError(f"{file.where(piece.records[rows[0]])}: {what} {others[k].name} is missing{SKIP_HINT}")
            good[rows] = False
            dropped.append(piece.dropped + int((~good).sum()))
            yield Stored(*parts) if good.all() else Stored(*(part[good] for part in parts))
            advance((piece.done >> 20) - shown)
            shown = piece.done >> 20


def _unreadable(where: str, column: Column, value: Any, needed: bool) -> str:
    what = "neither a number nor a date such as 2024-03-31" if column.kind == TIME else "not a finite number"
    hint = (
        f"; name it in dataset.missing if it stands for a missing value, take the column as texts with"
        f" dataset.categorical=[{column.name}], or leave such rows out with dataset.on_error=skip"
    )
    return f"{where}: column {column.name} holds {str(value)!r}, which is {what}{SKIP_HINT if needed else hint}"
