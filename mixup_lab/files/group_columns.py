"""Columns of a table whose names say that they hold groups, such as patients, which nobody has named as such."""

import re
from collections.abc import Collection

from mixup_lab.files.columns import LARGE
from mixup_lab.files.table import TableFile
from mixup_lab.pasting import word

FEWEST = 3  # groups, so that each of three splits can have one; and rows of a group on average
NAMES = re.compile(
    r"(patient|subject|speaker|recording|session|user|site|group|document)s?([ _-]?(id|no|nr|number|name|code))?|.+_id",
    re.IGNORECASE,
)


def unused_groups(file: TableFile, used: Collection[str]) -> tuple[str, ...]:
    """A sentence for the first column that seems to hold groups; none for a large file, which is not read again.

    Args:
        file: with the rows of train.
        used: columns that have a use as target, split, group, time, path or text.
    """
    names = [name for name in file.names if NAMES.fullmatch(name) and name not in used]
    if not names or file.path.stat().st_size >= LARGE:
        return ()
    places = [file.names.index(name) for name in names]
    values: list[set[str]] = [set() for _ in names]
    rows = 0
    for piece in file.pieces(skip=True, names=names):
        rows += len(piece.records)
        for found, place in zip(values, places, strict=True):
            found.update(map(str, piece.columns[place]))
    for name, found in zip(names, values, strict=True):
        if FEWEST <= len(found) <= rows / FEWEST:
            return (
                f"column {name} of {file.path} has {len(found)} different values in {rows:,} rows; if rows with the"
                f" same value belong together, such as those of one patient, set {word('dataset.group_column', name)}",
            )
    return ()
