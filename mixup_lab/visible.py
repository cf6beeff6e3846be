"""Text that is valid in any page, file and picture."""

import unicodedata


def visible(text: str) -> str:
    """The text with U+FFFD for control characters and those without an encoding; tab and newline stay."""
    bad = {c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n"} | {"\ufffe", "\uffff"}
    return "".join("\ufffd" if c in bad else c for c in text)
