"""One column of a table: whether it holds numbers or texts, and its values as numbers, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from mixup_lab.types import UserError

NUMBER, TEXT, TIME = "number", "text", "time"
LARGEST = 100_000  # different texts of a column that is no group


class Column:
    """Decides at the first piece with values what it holds, then keeps to it.

    A column is of numbers if at least half of these values are; texts become codes 0, 1, ... as they come.

    Args:
        name: of the column.
        missing: texts that stand for a missing value, besides NaN.
        kind: `number`, `text` or `time` (numbers, or dates as ISO 8601 has them, to seconds); None: as the values are.
        largest: different texts at most.
    """

    def __init__(
        self, name: str, missing: Sequence[str], kind: str | None = None, largest: int | None = LARGEST
    ) -> None:
        self.name, self.kind = name, kind
        self.missing = frozenset(missing)
        self.codes = _Codes(name, self.missing, largest)
        self._missing_numbers = [n for n in map(_number, missing) if n is not None]

    @property
    def texts(self) -> list[str]:
        """Of the codes 0, 1, ..."""
        return self.codes.texts

    def convert(self, values: Sequence[Any] | np.ndarray) -> tuple[np.ndarray, list[int]]:
        """Some values as float64 with NaN for missing ones, and the places of those that cannot be read."""
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
        there = [value for value in values if value is not None and value.strip() not in self.missing]
        if not there:
            return None
        return NUMBER if 2 * sum(_number(value) is not None for value in there) >= len(there) else TEXT

    def _numbers(self, values: Sequence[Any]) -> tuple[np.ndarray, list[int]]:
        try:
            numbers = np.fromiter(map(float, values), np.float64, len(values))
            if "_" not in "".join(values):  # Python reads 1_000 as a number
                return numbers, []
        except (TypeError, ValueError):
            pass
        read: Callable[[str], float | None] = _time if self.kind == TIME else _number
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
    """Text to code; a new text gets the next one."""

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


def _number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _time(text: str) -> float | None:
    """Seconds, or the number itself; a date without a zone is taken as UTC."""
    number = _number(text)
    if number is not None:
        return number
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
