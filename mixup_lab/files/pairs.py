"""Which picture belongs to which mask: folders for each split, or two folders and a table that says who is where."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from mixup_lab.files.folders import SUFFIXES, Entry, check_folder, digested, files_below
from mixup_lab.types import UserError

SPLIT = "SPLIT"  # stands for train, val and test in the name of a folder
SPLITS = ("train", "val", "test")

Pair = tuple[str, str]  # picture and mask, paths below ROOT with "/"


@dataclass(frozen=True)
class Pairs:
    """What was found below `root`: for each split its pairs, sorted; `dropped` counts files without a counterpart."""

    root: str
    splits: dict[str, list[Pair]]
    digest: str  # changes with any name, size, time, and with who is in which split
    dropped: int = 0


@dataclass(frozen=True)
class Manifest:
    """A table with a row for each picture: a CSV file below the root, and its columns."""

    name: str
    id_column: str
    split_column: str

    def read(self, root: str) -> dict[str, str]:
        """Split of each id.

        Raises:
            UserError: if the file or a column is missing, for an id twice, and for an unknown split.
        """
        path = os.path.join(root, self.name)
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                rows = csv.DictReader(file)
                columns = rows.fieldnames or []
                for key, column in (("id_column", self.id_column), ("split_column", self.split_column)):
                    if columns.count(column) != 1:
                        raise UserError(
                            f"{path} must have one column {column}, it has {', '.join(columns) or 'none'};"
                            f" dataset.{key}=NAME names another"
                        )
                return self._checked(path, rows)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"dataset.manifest={self.name}: {path} cannot be read ({error})") from error

    def _checked(self, path: str, rows: csv.DictReader[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for row in rows:
            own, split = row[self.id_column], row[self.split_column]
            if own in found:
                raise UserError(f"{path} line {rows.line_num}: {own} stands there twice")
            if split not in SPLITS:
                raise UserError(f"{path} line {rows.line_num}: the split must be train, val or test, got {split}")
            found[own] = split
        return found


def find_pairs(root: str, images: str, masks: str, manifest: Manifest | None, skip: bool) -> Pairs:
    """Pictures and masks of the same name, but for the suffix.

    Args:
        root: the folder that all names are relative to.
        images: folder of the pictures; SPLIT in it stands for train, val and test. Without SPLIT all are one pool.
        masks: folder of the masks, likewise.
        manifest: says the split of each picture, where folders do not.
        skip: leave out what has no counterpart, in place of an error.

    Raises:
        UserError: for folders that are not there, and for files without a counterpart.
    """
    if (SPLIT in images) != (SPLIT in masks):
        raise UserError(
            f"dataset.images={images} and dataset.masks={masks} must both have {SPLIT} in their names, or neither"
        )
    if SPLIT in images and manifest is not None:
        raise UserError(
            f"dataset.manifest={manifest.name} and {SPLIT} in dataset.images both say who is in which split"
        )
    check_folder(root)
    hashed = hashlib.blake2b(repr((images, masks, manifest)).encode(), digest_size=16)
    splits: dict[str, list[Pair]] = {}
    dropped = 0
    for split in SPLITS if SPLIT in images else SPLITS[:1]:
        folders = [folder.replace(SPLIT, split).strip("/") for folder in (images, masks)]
        if split != "train" and not os.path.isdir(os.path.join(root, folders[0])):
            continue
        listed = [_listed(root, folder, key) for folder, key in zip(folders, ("images", "masks"), strict=True)]
        for entries in listed:
            hashed.update(digested(entries))
        splits[split], alone = _paired(root, folders, listed, skip)
        dropped += alone
    if manifest is not None:
        known = manifest.read(root)
        hashed.update(repr(sorted(known.items())).encode())
        splits, alone = _divided(root, folders[0], splits["train"], manifest, known, skip)
        dropped += alone
    return Pairs(root, splits, hashed.hexdigest(), dropped)


def _listed(root: str, folder: str, key: str) -> list[Entry]:
    path = os.path.join(root, folder)
    if not os.path.isdir(path):
        raise UserError(
            f"dataset.root={root} has no folder {folder}; dataset.{key}=FOLDER says where {key} lie"
            f" ({SPLIT} in it stands for train, val and test)"
        )
    entries = sorted(files_below(path, f"{folder}/" if folder else "", SUFFIXES))
    if not entries:
        raise UserError(f"dataset.root={root} has no pictures in {folder}; allowed are {' '.join(SUFFIXES)}")
    return entries


def _stems(root: str, folder: str, entries: Sequence[Entry]) -> dict[str, str]:
    """Path below the folder without the suffix, to the path below the root."""
    found: dict[str, str] = {}
    for name, _, _ in entries:
        stem = os.path.splitext(name[len(folder) + 1 if folder else 0 :])[0]
        if stem in found:
            raise UserError(f"{root}/{found[stem]} and {root}/{name} differ in their suffix alone; keep one of them")
        found[stem] = name
    return found


def _paired(root: str, folders: Sequence[str], listed: Sequence[Sequence[Entry]], skip: bool) -> tuple[list[Pair], int]:
    pictures, masks = (_stems(root, folder, entries) for folder, entries in zip(folders, listed, strict=True))
    if not skip:
        for these, others, folder, what in (
            (pictures, masks, folders[1], "mask"),
            (masks, pictures, folders[0], "picture"),
        ):
            for stem in these.keys() - others.keys():
                raise UserError(
                    f"{root}/{these[stem]} has no {what} {folder}/{stem}.*; dataset.on_error=skip leaves such files out"
                )
    both = [stem for stem in pictures if stem in masks]
    return [(pictures[stem], masks[stem]) for stem in both], len(pictures) + len(masks) - 2 * len(both)


def _divided(
    root: str, folder: str, pairs: Sequence[Pair], manifest: Manifest, known: dict[str, str], skip: bool
) -> tuple[dict[str, list[Pair]], int]:
    """The pairs by the splits that a manifest tells; an id is the name of a picture, with its suffix or without."""
    splits: dict[str, list[Pair]] = {split: [] for split in SPLITS if split in known.values()}
    left, dropped = dict(known), 0
    for pair in pairs:
        name = pair[0][len(folder) + 1 if folder else 0 :]
        own = name if name in known else os.path.splitext(name)[0]
        if own in known:
            splits[known[own]].append(pair)
            left.pop(own, None)
        elif skip:
            dropped += 1
        else:
            raise UserError(f"{root}/{pair[0]} is not in {manifest.name}; dataset.on_error=skip leaves such files out")
    if left and not skip:
        raise UserError(f"{root}/{manifest.name} names {next(iter(left))}, which is not in {root}/{folder}")
    if not splits.get("train"):
        raise UserError(f"{root}/{manifest.name} has no picture of the split train")
    return {split: found for split, found in splits.items() if found}, dropped + len(left)
