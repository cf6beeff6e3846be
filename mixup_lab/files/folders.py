"""The files of a folder by class: `ROOT/train/CLASS/*`, and `val` and `test` if they exist.

Every start of the program lists the folder, which may hold a million files: so each file is just a tuple.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mixup_lab.files.keys import SPLITS, few
from mixup_lab.types import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

Entry = tuple[str, int, int]  # path below ROOT with "/", size in bytes, time of change in ns


@dataclass(frozen=True)
class Listing:
    """Files, each with a class. Those of a folder are sorted by class, then by name."""

    class_names: tuple[str, ...]
    names: dict[str, list[str]]  # split -> paths below ROOT
    target: dict[str, np.ndarray]  # split -> class indices, int64
    digest: str  # changes with any name, size or time
    groups: dict[str, list[str]] | None = None  # split -> group of each file, such as its speaker
    dropped: int = 0  # rows of a table that were left out

    def keeping(self, keep: dict[str, np.ndarray], root: str) -> Listing:
        """The files for which `keep`, bool (n,) of each split, is true.

        Raises:
            UserError: if a class of a split has no file left.
        """
        for split, target in self.target.items():
            for k in sorted(set(target.tolist()) - set(target[keep[split]].tolist())):
                raise UserError(
                    f"dataset.root={root} has no file of class {self.class_names[k]} in {split} that can be read"
                )

        def kept(lists: dict[str, list[str]]) -> dict[str, list[str]]:
            return {
                split: [item for item, good in zip(items, keep[split], strict=True) if good]
                for split, items in lists.items()
            }

        return replace(
            self,
            names=kept(self.names),
            target={split: target[keep[split]] for split, target in self.target.items()},
            groups=self.groups and kept(self.groups),
        )


def list_folder(root: str, suffixes: tuple[str, ...] = SUFFIXES, things: str = "pictures") -> Listing:
    """List the files below `root` with these suffixes; hidden files and others are ignored.

    Args:
        root: holds `train/CLASS/*`.
        suffixes: in lower case, with the dot.
        things: what messages call such files.

    Raises:
        UserError: for a folder that does not exist, has another layout, or has an empty class.
    """
    check_folder(root)
    if not os.path.isdir(os.path.join(root, "train")):
        raise UserError(f"dataset.root={root} has no folder train; {things} must be in train/CLASS/")
    class_names = tuple(_subfolders(root, "train"))
    if len(class_names) < 2:
        raise UserError(f"dataset.root={root} must have at least 2 class folders in train, found {len(class_names)}")
    names: dict[str, list[str]] = {}
    target: dict[str, np.ndarray] = {}
    listed: list[Sequence[Entry]] = []
    for split in SPLITS:
        if not os.path.isdir(os.path.join(root, split)):
            continue
        _check_classes(root, split, class_names)
        names[split], counts = [], []
        for name in class_names:
            entries = sorted(files_below(os.path.join(root, split, name), f"{split}/{name}/", suffixes))
            if not entries:
                raise UserError(f"dataset.root={root} has no {things} in {split}/{name} ({' '.join(suffixes)})")
            listed.append(entries)
            names[split] += [path for path, _, _ in entries]
            counts.append(len(entries))
        target[split] = np.repeat(np.arange(len(class_names), dtype=np.int64), counts)
    return Listing(class_names, names, target, digest_of(*listed))


def check_folder(root: str) -> None:
    """Raise UserError unless `root` is a folder."""
    if not os.path.isdir(root):
        raise UserError(f"dataset.root={root} {'is not a folder' if os.path.exists(root) else 'does not exist'}")


def entry_of(root: str, name: str) -> Entry:
    """Name, size and time of one file; size -1 if it does not exist: reading it will raise an error."""
    try:
        status = os.stat(os.path.join(root, name))
    except OSError:
        return name, -1, 0
    return name, status.st_size, status.st_mtime_ns


def digest_of(*parts: Iterable[Entry] | str) -> str:
    """A digest of files and texts; it changes with any name, size, time or text."""
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        lines = [part] if isinstance(part, str) else [f"{path}\0{size}\0{time}" for path, size, time in part]
        hashed.update("\n".join(lines).encode("utf-8", "surrogateescape") + b"\n\n")
    return hashed.hexdigest()


def _subfolders(root: str, split: str) -> list[str]:
    with os.scandir(os.path.join(root, split)) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _check_classes(root: str, split: str, class_names: tuple[str, ...]) -> None:
    folders = set(_subfolders(root, split))
    for name in sorted(folders.difference(class_names)):
        raise UserError(f"dataset.root={root}: {split}/{name} is not a class of train ({few(class_names)})")
    for name in class_names:
        if name not in folders:
            raise UserError(f"dataset.root={root}: class {name} of train has no folder {split}/{name}")


def files_below(folder: str, prefix: str, suffixes: tuple[str, ...]) -> Iterator[Entry]:
    """The files in a folder and its sub-folders, in any order; their paths begin with `prefix`."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            if name.lower().endswith(suffixes):
                try:
                    status = entry.stat()
                    yield prefix + name, status.st_size, status.st_mtime_ns
                except OSError:  # a broken link: reading it will raise an error
                    yield prefix + name, -1, 0
            elif entry.is_dir() and not _leads_back(entry):
                yield from files_below(entry.path, f"{prefix}{name}/", suffixes)


def _leads_back(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a link to a folder that contains it."""
    if not entry.is_symlink():
        return False
    here, there = os.path.realpath(os.path.dirname(entry.path)), os.path.realpath(entry.path)
    return os.path.commonpath((here, there)) == there
