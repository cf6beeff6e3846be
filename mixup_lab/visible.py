"""Text that any page, file and picture can hold."""

from __future__ import annotations

import unicodedata


def visible(text: str) -> str:
    """Text that any page and file can hold: what controls or cannot be encoded becomes U+FFFD; tab and newline stay."""
    bad = {c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n"} | {"\ufffe", "\uffff"}
    return "".join("\ufffd" if c in bad else c for c in text)
