"""Pairs of picture and mask: from two folders for each split, or from two folders and a table of the splits."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mixup_lab.files.folders import (
    SPLIT,
    SUFFIXES,
    Entry,
    by_stem,
    check_folder,
    digest_of,
    files_below,
    names_of_splits,
    say_others,
    say_unused,
)
from mixup_lab.files.headers import Problems
from mixup_lab.files.keys import SPLIT_NAMES, SPLITS, few
from mixup_lab.files.labelled import read_rows
from mixup_lab.files.table import open_table
from mixup_lab.notices import say
from mixup_lab.types import UserError

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
        splits = (SPLIT_NAMES[name.lower()] for name in rows.columns[self.split_column])
        return dict(zip(rows.columns[self.id_column], splits, strict=True))


def find_pairs(root: str, images: str, masks: str, manifest: Manifest | None, problems: Problems) -> Pairs:
    """Pair pictures and masks that have the same name, apart from the suffix and from what all of them have in common.

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
    if os.path.normpath(images) == os.path.normpath(masks):
        raise UserError(
            f"dataset.images and dataset.masks are both {images or '.'}; masks must be in a folder of their own"
        )
    check_folder(root)
    parts: list[Sequence[Entry] | str] = [repr((images, masks, manifest))]
    stems: dict[str, list[dict[str, str]]] = {}
    others: Counter[str] = Counter()
    names = {"train": "train"}
    if SPLIT in images:
        names |= names_of_splits(root, masks) | names_of_splits(root, images)
        say_unused(root, [images, masks], names)
    folders = {
        split: [folder.replace(SPLIT, name).strip("/") for folder in (images, masks)] for split, name in names.items()
    }
    for split, both in folders.items():
        listed = [_listed(root, folder, key, others) for folder, key in zip(both, ("images", "masks"), strict=True)]
        parts += listed
        stems[split] = [
            by_stem(root, folder, (name for name, _, _ in entries))
            for folder, entries in zip(both, listed, strict=True)
        ]
    splits = {split: _paired(root, folders[split], both, problems) for split, both in _alike(stems).items()}
    say_others(root, others)
    if manifest is not None:
        split_of = manifest.read(root)
        parts.append(repr(sorted(split_of.items())))
        splits = _divided(root, folders["train"][0], splits["train"], manifest, split_of, problems)
    return Pairs(root, splits, digest_of(*parts))


def _listed(root: str, folder: str, key: str, others: Counter[str]) -> list[Entry]:
    path = os.path.join(root, folder)
    if not os.path.isdir(path):
        raise UserError(
            f"dataset.root={root} has no folder {folder}; dataset.{key}=FOLDER names the folder of the {key}"
            f" ({SPLIT} in it stands for train, val and test)"
        )
    entries = sorted(files_below(path, f"{folder}/" if folder else "", SUFFIXES, others))
    if not entries:
        raise UserError(f"dataset.root={root} has no pictures in {folder}; allowed are {' '.join(SUFFIXES)}")
    return entries


def _paired(root: str, folder: Sequence[str], stems: Sequence[dict[str, str]], problems: Problems) -> list[Pair]:
    pictures, masks = stems
    for these, others, place, thing in ((pictures, masks, folder[1], "mask"), (masks, pictures, folder[0], "picture")):
        for stem in sorted(these.keys() - others.keys()):
            there = few(sorted(map(os.path.basename, others.values())), 2)
            problems.meet(f"{root}/{these[stem]} has no {thing} {place}/{stem}.*; there are {there}")
    return [(pictures[stem], masks[stem]) for stem in pictures if stem in masks]


def _alike(stems: dict[str, list[dict[str, str]]]) -> dict[str, list[dict[str, str]]]:
    """The names of each split without what those of all pictures, or of all masks, have in common.

    `12_image` and `mask-12` both become `12`. They stay as they are if some names fit already, or if none fits then.
    """
    if any(pictures.keys() & masks.keys() for pictures, masks in stems.values()):
        return stems
    cuts = [_common([stem for both in stems.values() for stem in both[k]]) for k in (0, 1)]
    short = {
        split: [
            {stem[len(before) : len(stem) - len(after)]: name for stem, name in names.items()}
            for (before, after), names in zip(cuts, both, strict=True)
        ]
        for split, both in stems.items()
    }
    pairs = [(pictures[stem], masks[stem]) for pictures, masks in short.values() for stem in pictures if stem in masks]
    if len(pairs) < 2:
        return stems
    say(f"pictures and masks are paired like {pairs[0][0]} and {pairs[0][1]}")
    return short


def _common(stems: list[str]) -> tuple[str, str]:
    """The beginning and the end that all names share; words and numbers stay whole."""
    start = _shared(stems)
    end = _shared([stem[start:][::-1] for stem in stems])
    return stems[0][:start], stems[0][len(stems[0]) - end :]


def _shared(stems: list[str]) -> int:
    """The length of the beginning that all names share."""
    common = os.path.commonprefix(stems)  # noqa: RUF071 - of names, not of paths
    if any(stem[len(common) : len(common) + 1].isalpha() for stem in stems):
        common = re.sub(r"[^\W_]+$", "", common)
    return len(common.rstrip("0123456789"))


def _divided(
    root: str, folder: str, pairs: Sequence[Pair], manifest: Manifest, split_of: dict[str, str], problems: Problems
) -> dict[str, list[Pair]]:
    """The pairs by the splits of a manifest; an id is the path of a picture below the root or its folder.

    It may lack the suffix, or have backslashes.
    """
    split_of = {own.replace("\\", "/"): split for own, split in split_of.items()}
    splits: dict[str, list[Pair]] = {split: [] for split in SPLITS if split in split_of.values()}
    left = dict(split_of)
    for pair in pairs:
        paths = [pair[0][len(folder) + 1 if folder else 0 :], pair[0]]
        paths += [os.path.splitext(path)[0] for path in paths]
        if own := next((path for path in paths if path in split_of), None):
            splits[split_of[own]].append(pair)
            left.pop(own, None)
        else:
            problems.meet(f"{root}/{pair[0]} is not in {manifest.name}")
    for own in left:
        problems.meet(f"{root}/{manifest.name} names {own}, which is not in {root}/{folder}")
    if not splits["train"]:
        raise UserError(f"{root}/{manifest.name} has no picture of the split train")
    return {split: listed for split, listed in splits.items() if listed}
