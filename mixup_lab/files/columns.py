"""Convert the columns of a table to numbers, piece by piece; texts become codes."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from mixup_lab.files.keys import SKIP_HINT, few
from mixup_lab.files.store import Stored
from mixup_lab.files.table import TableFile
from mixup_lab.files.values import (
    DATE,
    DAY,
    EXACT,
    GROUPED,
    PLAIN,
    TRUTH,
    Ambiguous,
    Notation,
    as_number,
    is_code,
    like_numbers,
    not_a_number,
    notation_of,
    reader,
)
from mixup_lab.notices import track
from mixup_lab.pasting import word
from mixup_lab.types import UserError
from mixup_lab.visible import brief

NUMBER, TEXT, TIME = "number", "text", "time"
LARGE = 8 << 20  # bytes; reading a file of this size takes a while
LARGEST = 100_000  # different texts in a column, unless it holds groups
BIGGEST, TINY = float(np.finfo(np.float32).max), 1e-30  # a column whose largest number is smaller is lost in float32
UNREADABLE, LABELLESS, INCOMPLETE = "that cannot be read", "without target", "without split, group or time"
LOOSE = 2**24  # whole numbers above it may become others in float32
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
        labels: whether it may hold the names of classes: dates, True and False, and whole numbers that lose zeros or
            digits as float64, stay texts if the kind is undecided.

    Attributes:
        offset: a number far from 0, compared with the spread of the values, that float32 could not hold with their
            differences; callers subtract it. It is 0 for nearly all columns.
        absent: texts of a column of categories that counted as missing, besides empty ones.
        notes: sentences on what may have been misunderstood.
    """

    def __init__(
        self, name: str, missing: Sequence[str], kind: str | None = None, largest: int | None = LARGEST,
        decimal: str = "auto", labels: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.kind, self.labels = name, kind, labels and kind is None
        self.notes: list[str] = []
        self.joined = self.thousands = False  # whether a note says so
        self.missing, self._missing = tuple(missing), frozenset(missing)
        self.codes = _Codes(name, self._missing, largest)
        self.texts, self.absent = self.codes.texts, self.codes.absent  # texts of the codes 0, 1, ...
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

    @property
    def plain(self) -> bool:
        """Whether its values are numbers as Python spells them, as far as is known."""
        notations = (None, Notation(), Notation(shown=True))
        return self.kind in (None, NUMBER) and self.notation in notations and self.decimal != ","

    def decide(self, values: Sequence[Any] | np.ndarray, usual: str | None) -> None:
        """Decide kind and notation, if some values are not missing. `usual`: see `notation_of`, which may raise."""
        if isinstance(values, np.ndarray):
            self.kind, self.notation = self.kind or NUMBER, Notation(shown=bool((values > np.floor(values)).any()))
            return
        present = [text for value in values if value is not None and (text := value.strip()) not in self._missing]
        if not present:
            return
        found = notation_of(present, self.decimal, usual, self._styles)
        codes = self.labels and any(map(is_code, present))
        if self.kind is None and (found is None or 2 * found[1] < len(present) or codes):
            self.kind = TEXT
            return
        mark = "," if self.decimal == "," else "."
        self.kind, self.notation = self.kind or NUMBER, found[0] if found else Notation(mark=mark)

    def convert(self, values: Sequence[Any] | np.ndarray) -> tuple[np.ndarray, list[int]]:
        """Some values as float64, NaN if missing, and the indices of those that cannot be read."""
        if self.kind == TEXT:
            if isinstance(values, np.ndarray):
                values = [None if np.isnan(value) else repr(value).removesuffix(".0") for value in values.tolist()]
            return np.fromiter(map(self.codes.__getitem__, values), np.float64, len(values)), []
        if isinstance(values, np.ndarray):
            numbers, bad = values.astype(np.float64), list[int]()
        else:
            numbers, bad = self._numbers(values)
            if self.labels and not bad:
                bad = [k for k, value in enumerate(values) if value is not None and is_code(value.strip())]
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
            lost = lost or merged(numbers, numbers, numbers.astype(np.float32)) is not None
            self.offset = middle if lost and self.kind == NUMBER else 0.0
        return numbers - self.offset if self.offset else numbers

    def thousand(self, values: Sequence[Any] | np.ndarray) -> str | None:
        """A value such as 1.000 that may be a thousand, if no other number of the column shows what its point is."""
        told = isinstance(values, np.ndarray) or self.decimal != "auto"
        if told or self.kind == TEXT or self.notation != Notation():
            return None
        points = [text.strip() for text in values if text and "." in text and as_number(text)]
        if points:
            self.notation = Notation(shown=not all(map(GROUPED.fullmatch, points)))
        return next(iter(points), None) if self.notation == Notation() else None

    def note_kind(self, values: Sequence[Any] | np.ndarray, where: Callable[[int], str]) -> None:
        """Note a value that is not a number, if the column is read as texts though most of them begin like numbers.

        Of numbers, note two that are not written alike (01 and 1).

        Args:
            values: those that decided the kind; `texts` has them.
            where: from the index of a value to its place.
        """
        if self.kind == NUMBER and not self.labels and not isinstance(values, np.ndarray):
            zeros = {
                value.strip() for value in values if value and value.lstrip()[:1] == "0" and is_code(value.strip())
            }
            texts = {value.strip() for value in values if value} if zeros else zeros
            short = {text: text.lstrip("0") or "0" for text in zeros}
            if pair := next(((text, own) for text, own in short.items() if own in texts), None):
                self._note_pair(values, [[str(value).strip() for value in values].index(text) for text in pair], where)
        if self.labels or self.kind != TEXT or not like_numbers(self.texts):
            return
        odd = not_a_number(self.texts, self.decimal) or self.texts[0]
        place = where([str(value).strip() for value in values].index(odd))
        mark = "" if self.decimal == "auto" else f" with {word('dataset.decimal', self.decimal)}"
        keep, drop = word("dataset.categorical", [self.name]), word("dataset.drop", [self.name])
        self.notes.append(
            f"column {self.name} is read as categories, though most of its texts begin like numbers or dates: {place}"
            f" holds {brief(odd)!r}, and no single way to read them{mark} fits most rows; write all in one way without"
            f" units, or name those that are missing in dataset.missing; {keep} if they are categories;"
            f" {drop} leaves them out"
        )

    def note_merged(
        self, values: Sequence[Any] | np.ndarray, numbers: np.ndarray, stored: np.ndarray, where: Callable[[int], str]
    ) -> None:
        """Note the first two numbers that became one by rounding; arguments as for `merged` and `note_kind`."""
        if self.joined or self.kind == TEXT or not (np.abs(numbers) > LOOSE).any():
            return
        centred = (numbers - np.nanmean(numbers)).astype(stored.dtype)  # as standardisation will have it
        pair = merged(values, numbers, stored) or merged(values, numbers, centred)
        if pair is not None:
            self._note_pair(values, pair, where, f" in {stored.dtype}")

    def _note_pair(
        self, values: Sequence[Any] | np.ndarray, pair: Sequence[int], where: Callable[[int], str], kind: str = ""
    ) -> None:
        self.joined = True
        one, two = (f"{str(values[k]).strip().removesuffix('.0')} ({where(k)})" for k in pair)
        if self.kind == TIME:
            advice = "write dates instead, or subtract a constant"
        else:
            drop, keep = word("dataset.drop", [self.name]), word("dataset.categorical", [self.name])
            advice = f"if they are names and not amounts, {drop} leaves the column out, {keep} keeps them apart"
        self.notes.append(f"column {self.name}: {one} and {two} are one number{kind}; {advice}")

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
    if unlike and len(marks) != 1:
        return unlike[0]
    if unlike or marks == {","}:
        for column, values in unsure:
            column.decide(values, *marks)
    if marks != {"."}:
        note_thousands(pairs)
    return None


def note_thousands(columns: Iterable[tuple[Column, Sequence[Any] | np.ndarray]]) -> None:
    """Note how 1.000 is read, if nothing shows that it is not a thousand; the first such column has the note."""
    doubtful = [(column, text) for column, values in columns if (text := column.thousand(values))]
    if doubtful and not any(column.thousands for column, _ in doubtful):
        (first, text), names = doubtful[0], [column.name for column, _ in doubtful]
        first.notes.append(
            f"column{'s'[: len(names) > 1]} {few(names, 4)}: {text} is read as {float(text):g};"
            f" {word('dataset.decimal', ',')} reads it as {text.replace('.', '')}, {word('dataset.decimal', '.')} as"
            " now, without this line"
        )
        for column, _ in doubtful:
            column.thousands = True


def merged(values: Sequence[Any] | np.ndarray, numbers: np.ndarray, stored: np.ndarray) -> tuple[int, int] | None:
    """Places of two whole numbers that differ, and are stored as one; None if there are none.

    Args:
        values: N as they were read.
        numbers: float64 (N,), those of them.
        stored: (N,) float32 or float64.
    """
    large = np.flatnonzero((np.abs(numbers) > LOOSE) & (numbers == np.round(numbers)))
    exact = not (np.abs(numbers[large]) >= EXACT).any()
    if exact and len(np.unique(numbers[large])) == len(np.unique(stored[large])):
        return None
    first: dict[float, tuple[int | float, int]] = {}
    for place in large.tolist():
        text = str(values[place]).strip()
        whole = int(text) if text.lstrip("+-").isdecimal() else numbers[place].item()
        other, before = first.setdefault(stored[place].item(), (whole, place))
        if other != whole:
            return before, place
    return None


class _Codes(dict[Any, float]):
    """From texts to codes; a new text gets the next code."""

    def __init__(self, name: str, missing: frozenset[str], largest: int | None) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.absent: list[str] = []
        self._name, self._missing, self._largest = name, missing, largest

    def __missing__(self, text: Any) -> float:
        plain = None if text is None else text.strip()
        if plain is None or plain in self._missing:
            code = float("nan")
            if plain and plain not in self.absent:
                self.absent.append(plain)
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

    Returns:
        Pieces, whose `extras` are the other columns, and the numbers of the records as the last one.

    Raises:
        UserError: for the first row that cannot be read, with its line.
    """
    size, places = file.path.stat().st_size, {name: k for k, name in enumerate(file.names)}
    title = f"reading {file.path} ({size / 2**20:,.0f} MiB)"
    every = (*inputs, *others)
    with track(title, size >> 20) if size >= LARGE else nullcontext(lambda done: None) as advance:
        shown = 0
        yield Stored(np.empty((0, len(inputs)), np.float32), np.empty((0, len(others) + 1)))  # at least one piece
        for piece in file.pieces(skip, lambda: all(c.plain for c in every), {column.name for column in every}):
            found = {column: piece.columns[places[column.name]] for column in every}
            undecided = [column for column in every if column.kind is None]

            def where(place: int, records: Sequence[int] = piece.records) -> str:
                return file.where(records[place])

            if unlike := decide(found.items()):
                row = [str(value).strip() for value in found[unlike[0]]].index(unlike[1])
                raise UserError(_ambiguous(where(row), *unlike))
            good = np.ones(len(piece.records), bool)
            parts = []
            for columns, dtype in ((inputs, np.float32), (others, np.float64)):
                part = np.empty((len(piece.records), len(columns) + (columns is others)), dtype)
                for k, column in enumerate(columns):
                    values, bad = column.convert(found[column])
                    if bad and not skip:
                        raise UserError(_unreadable(where(bad[0]), column, found[column][bad[0]], column in others))
                    values[bad] = np.nan
                    part[:, k] = column.shift(values) if columns is inputs else values
                    good[bad] = False
                    if columns is inputs or column.kind == TIME:
                        column.note_merged(found[column], values, part[:, k], where)
                parts.append(part)
            for column in undecided:
                column.note_kind(found[column], where)
            parts[1][:, -1] = piece.records
            missing = np.isnan(parts[1])
            rows = np.flatnonzero(missing.any(1) & good)
            if len(rows) and not skip:
                k = int(missing[rows[0]].argmax())
                text = found[others[k]][rows[0]]
                raise UserError(_missing(where(int(rows[0])), others[k], text, k < targets))
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
        f"{where}: column {column.name} holds {brief(text)!r}, whose comma may be a decimal mark or separate thousands;"
        f" set {word('dataset.decimal', ',')} or {word('dataset.decimal', '.')}"
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
        what = "neither a number nor a date that has one meaning, such as 2024-03-31"
    elif column.notation and (manner := column.notation.describe()):
        what = f"not read like the other values ({manner})"
    elif column.labels and is_code(str(value).strip()):
        what = "a code: as a number, with dataset.task=regression, it would lose zeros or digits"
    elif isinstance(number := as_number(str(value)), float) and np.isfinite(number):
        what = "beyond the range of float32, up to 3.4e+38; change its unit"
    hint = (
        f"; name it in dataset.missing if it stands for a missing value, take the column as texts with"
        f" {word('dataset.categorical', [column.name])}, or leave such rows out with dataset.on_error=skip"
    )
    if needed:
        hint = SKIP_HINT if column.kind == TIME else f"; for classes set dataset.task=classification{SKIP_HINT}"
    return f"{where}: column {column.name} holds {brief(str(value))!r}, which is {what}{hint}"
