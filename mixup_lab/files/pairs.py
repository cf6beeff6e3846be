"""Pairs of picture and mask: from two folders for each split, or from two folders and a table of the splits."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mixup_lab.files.folders import SUFFIXES, Entry, check_folder, digest_of, files_below
from mixup_lab.files.headers import Problems
from mixup_lab.files.keys import SPLITS
from mixup_lab.files.labelled import read_rows
from mixup_lab.files.table import open_table
from mixup_lab.types import UserError

SPLIT = "SPLIT"  # stands for train, val and test in the name of a folder

Pair = tuple[str, str]  # picture and mask, paths below ROOT with "/"


@dataclass(frozen=True)
class Pairs:
    """The pairs below `root`, sorted, for each split."""

    root: str
    splits: dict[str, list[Pair]]
    digest: str  # changes with any name, size, time, and with the split of any pair


@dataclass(frozen=True)
class Manifest:
    """A table with a row for each picture: a file below the root, and its columns."""

    name: str
    id_column: str
    split_column: str

    def read(self, root: str) -> dict[str, str]:
        """Split of each id.

        Raises:
            UserError: if the file or a column is missing, for an id that occurs twice, and for an unknown split.
        """
        path = Path(root, self.name)
        if not path.is_file():
            raise UserError(f"dataset.manifest={self.name}: {path} does not exist")
        columns = [("id_column", self.id_column), ("split_column", self.split_column)]
        rows = read_rows(open_table(path, None, header=True), columns, skip=False)
        rows.check_unique(self.id_column)
        rows.splits(self.split_column)
        return dict(zip(rows.columns[self.id_column], rows.columns[self.split_column], strict=True))


def find_pairs(root: str, images: str, masks: str, manifest: Manifest | None, problems: Problems) -> Pairs:
    """Pair pictures and masks that have the same name, apart from the suffix.

    Args:
        root: the folder that all names are relative to.
        images: folder of the pictures; SPLIT in it stands for train, val and test. Without SPLIT all are one pool.
        masks: folder of the masks, likewise.
        manifest: gives the split of each picture, if folders do not.
        problems: collects files without a counterpart.

    Raises:
        UserError: for missing folders, and for files without a counterpart.
    """
    if (SPLIT in images) != (SPLIT in masks):
        raise UserError(f"dataset.images={images} and dataset.masks={masks} must both contain {SPLIT}, or neither")
    if SPLIT in images and manifest is not None:
        raise UserError(f"dataset.manifest={manifest.name} and {SPLIT} in dataset.images both set the splits")
    check_folder(root)
    parts: list[Sequence[Entry] | str] = [repr((images, masks, manifest))]
    splits: dict[str, list[Pair]] = {}
    for split in SPLITS if SPLIT in images else SPLITS[:1]:
        folders = [folder.replace(SPLIT, split).strip("/") for folder in (images, masks)]
        if split != "train" and not os.path.isdir(os.path.join(root, folders[0])):
            continue
        listed = [_listed(root, folder, key) for folder, key in zip(folders, ("images", "masks"), strict=True)]
        parts += listed
        splits[split] = _paired(root, folders, listed, problems)
    if manifest is not None:
        split_of = manifest.read(root)
        parts.append(repr(sorted(split_of.items())))
        splits = _divided(root, folders[0], splits["train"], manifest, split_of, problems)
    return Pairs(root, splits, digest_of(*parts))


def _listed(root: str, folder: str, key: str) -> list[Entry]:
    path = os.path.join(root, folder)
    if not os.path.isdir(path):
        raise UserError(
            f"dataset.root={root} has no folder {folder}; dataset.{key}=FOLDER names the folder of the {key}"
            f" ({SPLIT} in it stands for train, val and test)"
        )
    entries = sorted(files_below(path, f"{folder}/" if folder else "", SUFFIXES))
    if not entries:
        raise UserError(f"dataset.root={root} has no pictures in {folder}; allowed are {' '.join(SUFFIXES)}")
    return entries


def _stems(root: str, folder: str, entries: Sequence[Entry]) -> dict[str, str]:
    """From paths below the folder, without suffix, to paths below the root."""
    names: dict[str, str] = {}
    for name, _, _ in entries:
        stem = os.path.splitext(name[len(folder) + 1 if folder else 0 :])[0]
        if stem in names:
            raise UserError(f"{root}/{names[stem]} and {root}/{name} differ only in their suffix; keep one of them")
        names[stem] = name
    return names


def _paired(root: str, folders: Sequence[str], listed: Sequence[Sequence[Entry]], problems: Problems) -> list[Pair]:
    pictures, masks = (_stems(root, folder, entries) for folder, entries in zip(folders, listed, strict=True))
    for these, others, folder, thing in (
        (pictures, masks, folders[1], "mask"),
        (masks, pictures, folders[0], "picture"),
    ):
        for stem in these.keys() - others.keys():
            problems.meet(f"{root}/{these[stem]} has no {thing} {folder}/{stem}.*")
    return [(pictures[stem], masks[stem]) for stem in pictures if stem in masks]


def _divided(
    root: str, folder: str, pairs: Sequence[Pair], manifest: Manifest, split_of: dict[str, str], problems: Problems
) -> dict[str, list[Pair]]:
    """The pairs by the splits of a manifest; an id is the name of a picture, with or without its suffix."""
    splits: dict[str, list[Pair]] = {split: [] for split in SPLITS if split in split_of.values()}
    left = dict(split_of)
    for pair in pairs:
        name = pair[0][len(folder) + 1 if folder else 0 :]
        own = name if name in split_of else os.path.splitext(name)[0]
        if own in split_of:
            splits[split_of[own]].append(pair)
            left.pop(own, None)
        else:
            problems.meet(f"{root}/{pair[0]} is not in {manifest.name}")
    for own in left:
        problems.meet(f"{root}/{manifest.name} names {own}, which is not in {root}/{folder}")
    if not splits["train"]:
        raise UserError(f"{root}/{manifest.name} has no picture of the split train")
    return {split: listed for split, listed in splits.items() if listed}
