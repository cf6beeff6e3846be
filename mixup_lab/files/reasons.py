"""Why a file cannot be read, in words for the user."""

import os
import re
from contextlib import suppress

START = 64  # bytes that show whether a file is a text
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")


def reason_of(path: str, error: Exception) -> str:
    """What is wrong with a file that a library refuses: its message, and what the file is instead.

    A file may be empty, or a text such as the page of an error that was saved in place of a download.
    """
    if not os.path.exists(path):
        return "it does not exist"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = re.sub(r" <_io\.\w+ name=.*>", "", " ".join(str(error).split())).replace(f" {path!r}", "")
    text = text.removeprefix("Error opening: ").rstrip(".") or type(error).__name__
    if os.path.isfile(path):  # a pipe would block
        with suppress(OSError), open(path, "rb") as file:
            start = file.read(START)
            if not start:
                return "it is empty"
            decoder = isinstance(error, (OSError, RuntimeError)) and not isinstance(error, RecursionError)
            if decoder and not CONTROL.search(start):
                text += f"; it is a text that begins with {' '.join(start.decode(errors='replace').split())!r}"
    return text
