"""Columns of a table that seem to hold groups, such as patients, or the splits, and that nobody has named as such."""

import re
from collections.abc import Collection

from mixup_lab.files.columns import LARGE
from mixup_lab.files.keys import SPLIT_NAMES, few
from mixup_lab.files.table import TableFile
from mixup_lab.pasting import word

FEWEST = 3  # groups, so that each of three splits can have one; and rows of a group on average
NAMES = re.compile(
    r"(patient|subject|speaker|recording|session|user|site|group|document)s?([ _-]?(id|no|nr|number|name|code))?|.+_id",
    re.IGNORECASE,
)
SPLIT_COLUMNS = re.compile(r"((data)?[ _-]?(set|split)|subset|partition|fold|phase)s?([ _-]?name)?", re.IGNORECASE)


def unused_groups(file: TableFile, used: Collection[str]) -> tuple[str, ...]:
    """A sentence for the first column that seems to hold groups; none for a large file, which is not read again.

    Args:
        file: with the rows of train.
        used: columns that have a use as target, split, group, time, path or text.
    """
    values, rows = _values(file, NAMES, used)
    for name, found in values.items():
        if FEWEST <= len(found) <= rows / FEWEST:
            return (
                f"column {name} of {file.path} has {len(found)} different values in {rows:,} rows; if rows with the"
                f" same value belong together, such as those of one patient, set {word('dataset.group_column', name)}",
            )
    return ()


def unused_split(file: TableFile, used: Collection[str]) -> tuple[str, ...]:
    """A sentence for the first column that holds nothing but names of splits; arguments as in `unused_groups`."""
    for name, found in _values(file, SPLIT_COLUMNS, used)[0].items():
        if len({SPLIT_NAMES.get(text.strip().lower()) for text in found} - {None}) == len(found) > 1:
            return (
                f"column {name} of {file.path} holds {few(sorted(found))}; if these are the splits, set"
                f" {word('dataset.split_column', name)}",
            )
    return ()


def _values(file: TableFile, pattern: re.Pattern[str], used: Collection[str]) -> tuple[dict[str, set[str]], int]:
    """The texts in each unused column with such a name, and the number of rows; nothing of a large file."""
    names = [name for name in file.names if pattern.fullmatch(name) and name not in used]
    if not names or file.path.stat().st_size >= LARGE:
        return {}, 0
    values: dict[str, set[str]] = {name: set() for name in names}
    rows = 0
    for piece in file.pieces(skip=True, names=names):
        rows += len(piece.records)
        for name, found in values.items():
            found.update(map(str, piece.columns[file.names.index(name)]))
    return values, rows
