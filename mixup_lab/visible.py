"""Text that is valid in any page, file and picture, and scores as one line shows them."""

import unicodedata


def visible(text: str) -> str:
    """The text with U+FFFD for control characters and those without an encoding; tab and newline stay."""
    bad = {c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n"} | {"\ufffe", "\uffff"}
    return "".join("\ufffd" if c in bad else c for c in text)


def score(value: float) -> str:
    """A score with four decimals, or with five digits where these do not suit: "0.9722", "123.46", "3.4125e-07"."""
    return f"{value:.4f}" if value == 0 or 0.001 <= abs(value) < 10 else f"{value:.5g}"
