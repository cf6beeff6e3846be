"""Which audio files there are, of which class, split and group: by folders, by their names, or by a table."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mixup_lab.files.folders import Entry, Listing, check_folder, digested, files_below, list_folder
from mixup_lab.files.listed import SPLITS, read_rows
from mixup_lab.files.sound import SUFFIXES
from mixup_lab.notices import say
from mixup_lab.types import UserError


class Row(NamedTuple):
    """One clip, and where it was found, for messages."""

    entry: Entry
    split: str
    label: str
    group: str | None
    where: Callable[[], str]


class Pattern(NamedTuple):
    """A regular expression with one group, and the key that it came by."""

    key: str
    compiled: re.Pattern[str]


class Columns(NamedTuple):
    """Names of the columns of a table; None: there is no such column."""

    path: str
    label: str
    split: str | None
    group: str | None


@dataclass(frozen=True)
class Clips:
    """The files of each split, and of each file what may not be torn apart, such as its speaker."""

    listing: Listing
    groups: dict[str, list[str]] | None
    dropped: int = 0  # rows of a table that were left out


def clips_by_folder(root: str, group_pattern: str | None) -> Clips:
    """`ROOT/train/CLASS/*`, with `val` and `test` beside it or not.

    Raises:
        UserError: for a folder that is not laid out so, and for a name without a group.
    """
    listing = list_folder(root, SUFFIXES, "audio files")
    if group_pattern is None:
        return Clips(listing, None)
    pattern = _compiled("group_pattern", group_pattern)
    groups = {split: [_found(pattern, name) for name in names] for split, names in listing.names.items()}
    _tell_of_groups(root, groups)
    return Clips(listing, groups)


def clips_by_name(root: str, label_pattern: str, group_pattern: str | None) -> Clips:
    """All files below ROOT, or below its folders `train`, `val` and `test`; what they are stands in their paths.

    Args:
        root: where files and patterns begin.
        label_pattern: regular expression whose one group, searched in the path below root, is the class.
        group_pattern: likewise for what may not be torn apart; None: nothing.

    Raises:
        UserError: for a pattern that is none, and for a file that it does not fit.
    """
    check_folder(root)
    label = _compiled("label_pattern", label_pattern)
    group = None if group_pattern is None else _compiled("group_pattern", group_pattern)
    given = os.path.isdir(os.path.join(root, "train"))
    rows = []
    for split in SPLITS if given else ("train",):
        prefix = f"{split}/" if given else ""
        if not os.path.isdir(os.path.join(root, prefix)):
            continue
        for entry in sorted(files_below(os.path.join(root, prefix), prefix, SUFFIXES)):
            name = entry[0]
            speaker = None if group is None else _found(group, name)
            rows.append(Row(entry, split, _found(label, name), speaker, partial("{}/{}".format, root, name)))
    if not rows:
        raise UserError(f"dataset.root={root} has no audio files; allowed are {' '.join(SUFFIXES)}")
    return clips_of(f"dataset.root={root}", rows)


def clips_by_csv(root: str, path: str, columns: Columns, group_pattern: str | None, skip: bool) -> Clips:
    """The rows of a table with a header, CSV, TSV or parquet; its paths begin at ROOT.

    Args:
        root: where the paths begin, that of the CSV file too.
        path: of the table, below ROOT.
        columns: what they are called. Without a split all rows are one pool, from which val and test are carved.
        group_pattern: instead of a column for the group: searched in the paths.
        skip: leave out rows without a class and count them, instead of refusing them.

    Raises:
        UserError: for a column that is missing or there twice, and for rows that lack something.
    """
    check_folder(root)
    file = Path(root, os.path.expanduser(path))
    if not file.is_file():
        raise UserError(f"dataset.csv={file} does not exist")
    group = None if group_pattern is None else _compiled("group_pattern", group_pattern)
    table = read_rows(
        file, columns.path, [columns.label], columns.split, columns.group, True, skip, "audio file", "label_column"
    )
    rows = []
    for split, places in table.splits.items():
        for i in places.tolist():
            name = table.paths[i]
            if group is not None:
                speaker: str | None = _found(group, name)
            else:
                speaker = None if table.groups is None else str(table.groups[i])
            rows.append(Row(_entry(root, name), split, table.targets[0][i], speaker, partial(table.where, i)))
    return replace(clips_of(str(file), rows), dropped=table.dropped)


def clips_of(source: str, rows: Sequence[Row]) -> Clips:
    """Put the rows in order; classes are those of train, by name.

    Raises:
        UserError: for less than two classes, and for a class that train lacks.
    """
    parts = {split: [row for row in rows if row.split == split] for split in SPLITS}
    if not parts["train"]:
        raise UserError(f"{source} has no clip for train")
    class_names = tuple(sorted({row.label for row in parts["train"]}))
    if len(class_names) < 2:
        raise UserError(f"{source} must have at least 2 classes in train, found {class_names[0]} alone")
    index = {name: k for k, name in enumerate(class_names)}
    hashed = hashlib.blake2b(digest_size=16)
    names, target, groups = {}, {}, {}
    for split, part in parts.items():
        if not part:
            continue
        for row in part:
            if row.label not in index:
                raise UserError(f"{row.where()} is in {split} and of class {row.label}, which train has no clip of")
        hashed.update(digested(row.entry for row in part))
        names[split] = [row.entry[0] for row in part]
        target[split] = np.array([index[row.label] for row in part], dtype=np.int64)
        groups[split] = [row.group for row in part if row.group is not None]
    known = groups if groups["train"] else None
    if known:
        _tell_of_groups(source, known)
    return Clips(Listing(class_names, names, target, hashed.hexdigest()), known)


def _entry(root: str, name: str) -> Entry:
    try:
        status = os.stat(os.path.join(root, name))
    except OSError:  # reading it will say so
        return name, -1, 0
    return name, status.st_size, status.st_mtime_ns


def _compiled(key: str, pattern: str) -> Pattern:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"dataset.{key}={pattern} is no regular expression: {error}") from error
    if compiled.groups != 1:
        raise UserError(f"dataset.{key}={pattern} must have one group in parentheses, it has {compiled.groups}")
    return Pattern(key, compiled)


def _found(pattern: Pattern, name: str) -> str:
    match = pattern.compiled.search(name)
    if not match or not match[1]:
        raise UserError(f"dataset.{pattern.key}={pattern.compiled.pattern} finds nothing in the path {name}")
    return match[1]


def _tell_of_groups(source: str, groups: dict[str, list[str]]) -> None:
    """One line for groups that lie in train and in a split that was given with it."""
    for split in SPLITS[1:]:
        both = sorted(set(groups["train"]).intersection(groups.get(split, ())))
        if both:
            say(f"{source}: {len(both)} groups have clips in train and in {split}; scores on {split} flatter")
