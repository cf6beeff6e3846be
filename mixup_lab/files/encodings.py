"""The encoding of a text file, by its name or by its first bytes, which also show what is not text."""

import codecs
import re
from pathlib import Path

from mixup_lab.types import UserError

AUTO = (None, "auto")
BYTES = {  # what files begin with that are not tables
    b"PK\x03\x04": "a zip archive, as .xlsx and .ods are too", b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"\x1f\x8b": "compressed with gzip", b"BZh91AY": "compressed with bzip2", b"\xfd7zXZ": "compressed with xz",
    b"(\xb5/\xfd": "compressed with zstd", b"7z\xbc\xaf": "a 7-Zip archive", b"SQLite format": "an SQLite database",
    b"\x89HDF": "an HDF5 file", b"%PDF": "a PDF file", b"ARROW1": "a feather file",
    b"PAR1": "a parquet file with another ending",
}  # fmt: skip
MARKUP = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:(\{\s*\x22|\[\s*(?:[\x22\[{]|$))|<(?:!doctype|html|\?xml|table)\b)", re.IGNORECASE
)
MARKS = {  # byte order marks; that of UTF-32 begins like that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
UNMARKED = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")


def encoding_of(path: Path, name: str | None) -> str:
    """The encoding of this name; for `auto` or None UTF-8, or UTF-16 or UTF-32 if a byte order mark says so.

    Raises:
        UserError: for an unknown name, and for a file that does not begin like a table.
    """
    with open(path, "rb") as file:
        start = file.read(1024)
    markup = MARKUP.match(start)
    other = next((what for mark, what in BYTES.items() if start.startswith(mark)), None)
    if markup or other:
        what = other or ("JSON" if markup and markup[1] else "HTML or XML")
        raise UserError(f"{path} is {what}; unpack, convert or rename it; tables are CSV, TSV or .parquet")
    if name in AUTO:
        if b"\0" in start and not start.startswith(tuple(MARKS)):
            own = next((own for own in UNMARKED if "\n" in start.decode(own, "replace").replace("\r", "\n")), None)
            if own is None:
                line = start.count(b"\n", 0, start.index(b"\0")) + 1
                raise UserError(f"{path}, line {line}: a byte of value 0: the line is damaged, or this is not a table")
            hint = f"; dataset.encoding={own} reads it" if name else "; convert it to UTF-8"
            raise UserError(f"{path} is {own.upper()} without a byte order mark{hint}")
        return marked(start)
    try:
        found = codecs.lookup(name).name
    except LookupError:
        raise UserError(
            f"dataset.encoding={name} must be auto, or an encoding such as utf-8, cp1252 or utf-16"
        ) from None
    return "utf-8-sig" if found == "utf-8" else found


def marked(start: bytes) -> str:
    """The encoding that a byte order mark at the start says; UTF-8 without one."""
    return next((own for mark, own in MARKS.items() if start.startswith(mark)), "utf-8-sig")


def undecodable(path: Path, encoding: str) -> str:
    """A sentence about the first byte of a file that is not in an encoding."""
    content, name = path.read_bytes(), encoding.upper().removesuffix("-SIG")
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f"{path}, line {line}: byte {content[error.start]:#x} is not {name}; convert the file"
    return f"{path} is not {name}; convert the file"
