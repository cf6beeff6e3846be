"""How the texts of a column spell numbers: decimal marks, thousands, units, dates, times, True and False.

A column has one notation. What it does not read is refused by name later, so nothing is guessed value by value.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

PLAIN, DATE, TRUTH = "number", "date", "truth"
DAY = 86_400  # seconds
ISO, CLOCK = "ISO 8601", "hours:minutes"
_UNITS = (r"(?:US|A|C|HK|R)?\$|[%‰€£¥₹₩₽₺₫₴₪฿₱¢]|kr|zł|Kč|Ft|lei|Fr\.?|EUR|USD|GBP|CHF|JPY|CNY|INR|AUD|CAD|SEK|NOK|DKK"
          r"|PLN|CZK|BRL|Rs\.?")  # fmt: skip
_DAYS = ("%Y/%m/%d", "%Y.%m.%d", "%Y-%m-%d", "%Y-%m", "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y",
         "%m/%d/%y", "%y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y",
         "%B %d, %Y", "%b %d %Y")  # fmt: skip
_HOURS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
FORMS = tuple(day + hour for day in _DAYS for hour in _HOURS)
TRIED = 20  # texts that show which forms of dates are possible
TRUTHS = {"true": 1.0, "false": 0.0}
GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+")  # 1.000, which may be a thousand
EXACT = 2**53  # whole numbers above it may lose digits in float64
_BEGINS = re.compile(rf"[-+\u2212('\"\s]*(?:{_UNITS})?\s*[-+\u2212]?[.,]?\d")
_TIME = re.compile(
    r"(?:(?P<days>-?\d+) days?(?: \+?|$))?"
    r"(?:(?P<hours>\d+):(?P<minutes>[0-5]\d)(?::(?P<seconds>[0-5]\d(?:[.,]\d+)?))?)?"
)


class Ambiguous(Exception):
    """Texts such as 1,234, which may be 1234 or 1.234; the argument is one of them."""


class Notation(NamedTuple):
    """The notation of a column.

    `style` is `number` (with a decimal `mark`, and a `unit` such as % or a currency), `date` (in a `form` of strptime,
    ISO 8601 or hours:minutes) or `truth` (True and False). `shown`: a value of the column shows the mark.
    """

    style: str = PLAIN
    mark: str = "."
    unit: str = ""
    form: str = ""
    shown: bool = False

    def read(self, text: str) -> float | None:
        """The number that a text spells: dates in days since 1970, times in days. None: another notation."""
        if self.style == TRUTH:
            return TRUTHS.get(text.strip().lower())
        if self.style == DATE:
            seconds = read_date(text.strip(), self.form)
            return None if seconds is None else seconds / DAY
        found = _number(text.strip(), self.mark)
        return found[0] if found and (found[1] == self.unit or not found[0]) else None

    def describe(self) -> str:
        """In a few words, for the user; empty for plain numbers."""
        if self.style == TRUTH:
            return "True and False as 1 and 0"
        if self.style == DATE:
            return "times in days" if self.form == CLOCK else "dates in days"
        return " ".join(filter(None, ("decimal comma" * (self.mark == ","), self.unit and f"in {self.unit}")))


def as_number(text: str) -> float | None:
    """The number that a text spells, as Python reads it but without underscores; None for other texts."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def is_numeric(text: str) -> bool:
    """Whether a text is a number with one decimal mark or the other."""
    return any(_number(text.strip(), mark) for mark in ".,")


def is_code(text: str) -> bool:
    """Whether a text of digits would lose some of them as float64: zeros at its beginning, or those beyond 2**53."""
    digits, _, part = text.lstrip("+-").partition(".")
    if not digits.isdecimal() or part.strip("0"):
        return False
    return (len(digits) > 1 and digits[0] == "0") or len(digits) > 16 or int(digits) > EXACT


def like_numbers(texts: Sequence[str]) -> bool:
    """Whether at least half of some different texts begin like numbers or dates, and they are not codes.

    Codes have letters, digits and hyphens, and all the same length: 12345-6789, or 3A7 and 4B1. With the same letters
    in all of them, as in 5kg and 7kg, they are measures.
    """
    if 2 * sum(bool(_BEGINS.match(text)) for text in texts) < len(texts):
        return False
    letters = {re.sub(r"[\d-]", "", text) for text in texts}
    even = len(set(map(len, texts))) == 1 and all(re.fullmatch(r"[\w-]+", text) for text in texts)
    dates = any(read_date(texts[0], form) is not None for form in FORMS)
    return not (even and (len(letters) > 1 or (letters == {""} and not dates)))


def not_a_number(texts: Sequence[str], decimal: str) -> str | None:
    """The first text that is not a number with the decimal mark, or one with a unit; None if all are plain numbers."""
    marks = ".," if decimal == "auto" else decimal
    odd = (text for text in texts if not any(_number(text, mark) for mark in marks))
    return next(odd, None) or next((text for text in texts if as_number(text) is None), None)


@cache
def _pattern(mark: str) -> re.Pattern[str]:
    gap = rf"[{'.' if mark == ',' else ','} \u00a0\u2009\u202f'’]"
    groups = rf"[1-9]\d{{0,2}}(?P<gap>{gap})\d{{3}}(?:(?P=gap)\d{{3}})*"
    digits = rf"(?P<whole>{groups}|\d*)(?:{re.escape(mark)}(?P<part>\d*))?(?P<power>[eE][+-]?\d+)?"
    start = rf"(?P<open>\()?(?P<sign>[-+\u2212]?)\s*(?P<unit>{_UNITS})?\s*(?P<inner>\()?(?P<late>[-\u2212]?)"
    return re.compile(rf"{start}{digits}\s*(?P<after>{_UNITS})?(?(open)\))(?(inner)\))")


def _number(text: str, mark: str) -> tuple[float, str] | None:
    """A number, negative in parentheses too, and its unit; thousands may be separated."""
    simple = text if mark == "." else "" if "." in text else text.replace(",", ".")
    if (value := as_number(simple)) is not None:
        return value, ""
    found = _pattern(mark).fullmatch(text)
    if not found or not (found["whole"] or found["part"]) or (found["unit"] and found["after"]):
        return None
    whole = re.sub(r"\D", "", found["whole"])
    value = float(f"{whole or 0}.{found['part'] or 0}{found['power'] or ''}")
    brackets = (found["open"] is not None) + (found["inner"] is not None)
    negative = brackets + (found["sign"] in ("-", "\u2212")) + bool(found["late"])
    if negative > 1:
        return None
    return -value if negative else value, found["unit"] or found["after"] or ""


def read_date(text: str, form: str) -> float | None:
    """Seconds since 1970, or of a time since midnight; a date without a time zone is taken as UTC."""
    try:
        if form == CLOCK:
            found = _TIME.fullmatch(text)
            if not found or not text:
                return None
            days, hours, minutes = (int(found[part] or 0) for part in ("days", "hours", "minutes"))
            return days * DAY + hours * 3600 + minutes * 60 + float((found["seconds"] or "0").replace(",", "."))
        when = datetime.fromisoformat(text) if form == ISO else datetime.strptime(text, form)
    except (ValueError, OverflowError):
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def notation_of(
    texts: Sequence[str], decimal: str = "auto", usual: str | None = None, wanted: Iterable[str] = (PLAIN, DATE, TRUTH)
) -> tuple[Notation, int] | None:
    """The notation that reads most of some texts, and how many of them; None if nothing reads any.

    Args:
        texts: without missing ones.
        decimal: `.`, `,` or `auto`.
        usual: the decimal mark of other columns of the file, for texts that fit both; None: unknown.
        wanted: styles that are tried.

    Raises:
        Ambiguous: for numbers with a comma that may be a decimal mark or separate thousands.
    """
    counts = Counter(texts)
    found = [_marked(counts, decimal, usual)] if PLAIN in wanted else []
    if TRUTH in wanted and all(text.lower() in TRUTHS for text in counts):
        found.append((Notation(TRUTH), len(texts)))
    if DATE in wanted and (not found or 2 * found[0][1] < len(texts)):
        found.append(_dated(counts))
    best = max(found, key=lambda pair: pair[1], default=(Notation(), 0))
    return best if best[1] else None


def _marked(counts: Counter[str], decimal: str, usual: str | None) -> tuple[Notation, int]:
    """As numbers. A mark that reads more of the texts is right; if both read as many, other columns decide."""
    total = counts.total()
    if decimal == "auto" and all(as_number(text) is not None for text in counts):
        fractions = [text for text in counts if "." in text]
        shown = not all(GROUPED.fullmatch(text.strip()) for text in fractions)
        if shown or not fractions or usual != ",":
            return Notation(shown=shown), total
    read = {mark: {text: _number(text, mark) for text in counts} for mark in (".,") if decimal in ("auto", mark)}
    sums = {mark: sum(n for text, n in counts.items() if values[text]) for mark, values in read.items()}
    mark = max(sums, key=sums.__getitem__)
    shown = False
    if len(sums) == 2:
        both = read["."], read[","]
        unlike = [text for text in counts if both[0][text] != both[1][text]]
        shown = sums["."] != sums[","]
        if unlike and not shown:
            mark = usual or "."
            if usual is None and 2 * sums["."] >= total and any(as_number(text) is None for text in unlike):
                raise Ambiguous(next(text for text in unlike if as_number(text) is None))
    units = Counter[str]()
    for text, pair in read[mark].items():
        if pair:
            units[pair[1]] += counts[text]
    notation = Notation(PLAIN, mark, max(units, key=units.__getitem__, default=""), shown=shown)
    return notation, sum(n for text, n in counts.items() if notation.read(text) is not None)


def _dated(counts: Counter[str]) -> tuple[Notation, int]:
    """As dates or times; none if two forms read as many texts and disagree, as 1/2/2024 in all rows would."""
    some = list(counts)[:TRIED]
    forms = [form for form in (ISO, CLOCK, *FORMS) if any(read_date(text, form) is not None for text in some)]
    read = {form: {text: read_date(text, form) for text in counts} for form in forms}
    sums = {form: sum(n for text, n in counts.items() if values[text] is not None) for form, values in read.items()}
    most = max(sums.values(), default=0)
    best = [form for form in forms if sums[form] == most]
    if not best or any(read[form] != read[best[0]] for form in best[1:]):
        return Notation(DATE), 0
    return Notation(DATE, form=best[0]), most


def reader(notation: Notation) -> Callable[[str], float | None]:
    """`notation.read`, which remembers the texts of dates: they repeat, and reading one takes a while."""
    return cache(notation.read) if notation.style == DATE else notation.read
