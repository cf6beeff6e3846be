"""The files of a folder by class: `ROOT/train/CLASS/*`, and `val` and `test` beside `train` if they are there.

Every start of the program lists the folder, and it may hold a million files: no objects per file but tuples.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mixup_lab.types import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

Entry = tuple[str, int, int]  # path below ROOT with "/", size in bytes, time of change in ns


@dataclass(frozen=True)
class Listing:
    """What lies in the folder. `names` are sorted within each class, and classes follow one another."""

    class_names: tuple[str, ...]
    names: dict[str, list[str]]  # split -> paths below ROOT
    target: dict[str, np.ndarray]  # split -> class indices, int64
    digest: str  # changes with any name, size or time


def list_folder(root: str, suffixes: tuple[str, ...] = SUFFIXES, things: str = "pictures") -> Listing:
    """List the files below `root` with these suffixes. Hidden files and others are passed over.

    Args:
        root: holds `train/CLASS/*`.
        suffixes: in lower case, with the dot.
        things: what such files are, for messages.

    Raises:
        UserError: for a folder that is not there, not laid out so, or has an empty class.
    """
    check_folder(root)
    if not os.path.isdir(os.path.join(root, "train")):
        raise UserError(f"dataset.root={root} has no folder train; {things} are to lie in train/CLASS/")
    class_names = tuple(_subfolders(root, "train"))
    if len(class_names) < 2:
        found = ", ".join(class_names) or "none"
        raise UserError(f"dataset.root={root} must have at least 2 class folders in train, found {found}")
    names: dict[str, list[str]] = {}
    target: dict[str, np.ndarray] = {}
    hashed = hashlib.blake2b(digest_size=16)
    for split in ("train", "val", "test"):
        if not os.path.isdir(os.path.join(root, split)):
            continue
        _check_classes(root, split, class_names)
        names[split], counts = [], []
        for name in class_names:
            entries = sorted(files_below(os.path.join(root, split, name), f"{split}/{name}/", suffixes))
            if not entries:
                raise UserError(
                    f"dataset.root={root} has no {things} in {split}/{name}; allowed are {' '.join(suffixes)}"
                )
            hashed.update(digested(entries))
            names[split] += [path for path, _, _ in entries]
            counts.append(len(entries))
        target[split] = np.repeat(np.arange(len(class_names), dtype=np.int64), counts)
    return Listing(class_names, names, target, hashed.hexdigest())


def check_folder(root: str) -> None:
    """Raise UserError unless `root` is a folder."""
    if not os.path.isdir(root):
        raise UserError(
            f"dataset.root={root} does not exist" if not os.path.exists(root) else f"dataset.root={root} is no folder"
        )


def digested(entries: Iterable[Entry]) -> bytes:
    """What a digest of these files is made of; it changes with any name, size or time."""
    text = "\n".join(f"{path}\0{size}\0{changed}" for path, size, changed in entries)
    return text.encode("utf-8", "surrogateescape") + b"\n\n"


def _subfolders(root: str, split: str) -> list[str]:
    with os.scandir(os.path.join(root, split)) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _check_classes(root: str, split: str, class_names: tuple[str, ...]) -> None:
    found = set(_subfolders(root, split))
    for name in sorted(found.difference(class_names)):
        raise UserError(f"dataset.root={root}: {split}/{name} is no class of train ({_few(class_names)})")
    for name in class_names:
        if name not in found:
            raise UserError(f"dataset.root={root}: class {name} of train has no folder {split}/{name}")


def _few(names: tuple[str, ...], most: int = 8) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def files_below(folder: str, prefix: str, suffixes: tuple[str, ...]) -> Iterator[Entry]:
    """The files in a folder and its sub-folders, in no order; `prefix` comes before their paths."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            if name.lower().endswith(suffixes):
                try:
                    status = entry.stat()
                    yield prefix + name, status.st_size, status.st_mtime_ns
                except OSError:  # a link to nowhere: reading it will say so
                    yield prefix + name, -1, 0
            elif entry.is_dir() and not _leads_back(entry):
                yield from files_below(entry.path, f"{prefix}{name}/", suffixes)


def _leads_back(entry: os.DirEntry[str]) -> bool:
    """Whether a link to a folder points at one of the folders that it lies in."""
    if not entry.is_symlink():
        return False
    here, there = os.path.realpath(os.path.dirname(entry.path)), os.path.realpath(entry.path)
    return os.path.commonpath((here, there)) == there
