"""List audio files with their classes, splits and groups: from folders, from file names, or from a table."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mixup_lab.files.folders import (
    SPLIT,
    Entry,
    Listing,
    check_folder,
    digest_of,
    files_below,
    find_files,
    list_folder,
    names_of_splits,
    say_loose,
    say_others,
    say_unlisted,
    say_unused,
)
from mixup_lab.files.group_columns import unused_split
from mixup_lab.files.keys import SPLITS, text_finder
from mixup_lab.files.labelled import MISSING, one_spelling, read_rows
from mixup_lab.files.sound import SUFFIXES
from mixup_lab.files.table import open_table
from mixup_lab.notices import say
from mixup_lab.types import UserError


class Row(NamedTuple):
    """One clip; `where` returns its place, for messages."""

    entry: Entry
    split: str
    label: str
    group: str | None
    where: Callable[[], str]


def clips_by_folder(root: str, group_pattern: str | None) -> Listing:
    """List `ROOT/train/CLASS/*`, and `val` and `test` if they exist.

    Raises:
        UserError: for a folder with another layout, and for a file name without a group.
    """
    listing = list_folder(root, SUFFIXES, "audio files")
    if group_pattern is None:
        return listing
    group_of = text_finder("group_pattern", group_pattern)
    return replace(listing, groups={split: list(map(group_of, names)) for split, names in listing.names.items()})


def clips_by_name(root: str, label_pattern: str, group_pattern: str | None) -> Listing:
    """List all files below ROOT, or below its folders `train`, `val` and `test`; their paths contain their classes.

    Args:
        root: folder that all paths are relative to.
        label_pattern: regular expression, searched in each path; its one group is the class.
        group_pattern: likewise for the groups, each of which stays in one split; None: there are none.

    Raises:
        UserError: for an invalid pattern, and for a file that it does not match.
    """
    check_folder(root)
    label_of = text_finder("label_pattern", label_pattern)
    group_of = None if group_pattern is None else text_finder("group_pattern", group_pattern)
    found = names_of_splits(root)
    by_split = "train" in found
    if by_split:
        say_unused(root, [SPLIT], found)
        say_loose(root, "", SUFFIXES, "audio files")
    rows = []
    others: Counter[str] = Counter()
    for split, folder in found.items() if by_split else (("train", ""),):
        prefix = f"{folder}/" if by_split else ""
        for entry in sorted(files_below(os.path.join(root, prefix), prefix, SUFFIXES, others)):
            name = entry[0]
            group = group_of(name) if group_of else None
            rows.append(Row(entry, split, label_of(name), group, partial("{}/{}".format, root, name)))
    say_others(root, others)
    if not rows:
        raise UserError(f"dataset.root={root} has no audio files; allowed are {' '.join(SUFFIXES)}")
    return clips_of(f"dataset.root={root}", rows)


def clips_by_csv(
    root: str,
    path: str,
    columns: dict[str, str | None],
    group_pattern: str | None,
    skip: bool,
    missing: Sequence[str] = MISSING,
) -> Listing:
    """List the files in a table, CSV or TSV with a header, or parquet.

    Args:
        root: folder that all paths are relative to, that of the table too.
        path: of the table.
        columns: the column for each key: `path_column` and `label_column`, and `split_column` and `group_column` or
            None. Without a split all rows are one pool, from which val and test are carved.
        group_pattern: instead of a group column: regular expression, searched in each path.
        skip: leave out incomplete rows and count them, instead of refusing them.
        missing: texts that mean a missing label, in capitals or not.

    Raises:
        UserError: for a missing column, a path that occurs twice, and an incomplete row.
    """
    check_folder(root)
    file = Path(root, os.path.expanduser(path))
    if not file.is_file():
        raise UserError(f"dataset.csv={file} does not exist")
    path_column, label_column = str(columns["path_column"]), str(columns["label_column"])
    table = open_table(file, None, header=True)
    texts = read_rows(table, list(columns.items()), skip, labels=[label_column], missing=missing)
    for note in unused_split(table, list(texts.columns)) if columns["split_column"] is None else ():
        say(note)
    paths, labels = texts.columns[path_column], texts.columns[label_column]
    spelt = one_spelling(labels)
    groups: Sequence[str | None] = [None] * len(texts)
    if group_pattern is not None:
        groups = list(map(text_finder("group_pattern", group_pattern), paths))
    elif columns["group_column"] is not None:
        groups = [str(number) for number in texts.numbered(columns["group_column"])]
    entries = find_files(root, paths, [str(file.parent)], SUFFIXES)
    texts.check_unique(path_column, [os.path.normpath(name) for name, _, _ in entries])
    say_unlisted(root, [name for name, size, _ in entries if size >= 0], SUFFIXES, "audio files")
    rows = [
        Row(entries[i], split, spelt[labels[i]], groups[i], partial(texts.where, i))
        for split, places in texts.splits(columns["split_column"]).items()
        for i in places.tolist()
    ]
    return replace(clips_of(str(file), rows), dropped=texts.dropped)


def clips_of(source: str, rows: Sequence[Row]) -> Listing:
    """Arrange the rows by split; the classes are those of train, sorted.

    Raises:
        UserError: for fewer than two classes, and for a class that train lacks.
    """
    parts = {split: [row for row in rows if row.split == split] for split in SPLITS}
    if not parts["train"]:
        raise UserError(f"{source} has no clips for train")
    class_names = tuple(sorted({row.label for row in parts["train"]}))
    if len(class_names) < 2:
        raise UserError(f"{source} must have at least 2 classes in train, it has only {class_names[0]}")
    index = {name: k for k, name in enumerate(class_names)}
    parts = {split: part for split, part in parts.items() if part}
    for split, part in parts.items():
        for row in part:
            if row.label not in index:
                raise UserError(f"{row.where()} is in {split} with class {row.label}, which has no clip in train")
    groups = {split: [row.group for row in part if row.group is not None] for split, part in parts.items()}
    return Listing(
        class_names,
        {split: [row.entry[0] for row in part] for split, part in parts.items()},
        {split: np.array([index[row.label] for row in part], dtype=np.int64) for split, part in parts.items()},
        digest_of(*([row.entry for row in part] for part in parts.values())),
        groups if groups["train"] else None,
    )
