"""Words of a command line that a POSIX shell and Hydra take as they stand, for advice that can be pasted."""

import re
import shlex
from collections.abc import Sequence

_SIMPLE = re.compile(r"(?!(?:null|true|false|nan|inf)$)[A-Za-z_][\w.-]*", re.IGNORECASE | re.ASCII)


def quote(text: str) -> str:
    """Any text as a value in Hydra's grammar. There a backslash counts only in front of a quotation mark."""
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + "\\'", text)
    return "'" + re.sub(r"(\\+)$", lambda match: match[1] * 2, escaped) + "'"


def word(key: str, value: str | Sequence[str]) -> str:
    """`key=value`, or `key=[values]`, with the quotation marks that Hydra and the shell need."""

    def quoted(text: str) -> str:
        return text if _SIMPLE.fullmatch(text) else quote(text)

    shown = quoted(value) if isinstance(value, str) else f"[{','.join(map(quoted, value))}]"
    text = f"{key}={shown}"
    return f'"{text}"' if "'" in text and not re.search(r'[$`"!]|\\(?!\w)', text) else shlex.quote(text)
