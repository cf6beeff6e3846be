"""Text that is valid in any page, file and picture, texts that look alike, and scores as one line shows them."""

import unicodedata
from collections.abc import Iterable

LONG = 80  # characters of a value in a sentence


def visible(text: str) -> str:
    """The text with U+FFFD for control characters and those without an encoding; tab and newline stay."""
    bad = {c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n"} | {"\ufffe", "\uffff"}
    return "".join("\ufffd" if c in bad else c for c in text)


def brief(text: str) -> str:
    """The text as a sentence shows it: the beginning of a long one."""
    return text if len(text) <= LONG else f"{text[:LONG]}..."


def look_alikes(texts: Iterable[str]) -> tuple[str, str] | None:
    """The first two texts that differ only in capitals, quotes, dashes, spaces, hidden characters or coding.

    They are written so that a reader sees the difference.
    """
    first: dict[str, str] = {}
    for text in texts:
        kinds = [(unicodedata.category(c), c) for c in unicodedata.normalize("NFKC", text)]
        plain = "".join("-" if kind == "Pd" else c for kind, c in kinds if kind[0] != "C" and kind not in ("Pi", "Pf"))
        other = first.setdefault(" ".join(plain.strip("'\"`´ ").casefold().split()), text)
        if other != text:
            same = unicodedata.normalize("NFC", other) == unicodedata.normalize("NFC", text)
            return (ascii(other), ascii(text)) if same else (repr(other), repr(text))
    return None


def score(value: float) -> str:
    """A score with four decimals, or with five digits where these do not suit: "0.9722", "123.46", "3.4125e-07"."""
    return f"{value:.4f}" if value == 0 or 0.001 <= abs(value) < 10 else f"{value:.5g}"
