"""The files of a folder by class: `ROOT/train/CLASS/*`, and `val` and `test` if they exist, or `ROOT/CLASS/*`.

Every start of the program lists the folder, which may hold a million files: so each file is just a tuple.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from glob import escape, glob

import numpy as np

from mixup_lab.files.keys import SPLIT_NAMES, SPLITS, few
from mixup_lab.notices import say
from mixup_lab.pasting import word
from mixup_lab.types import UserError

SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jpe", ".jfif", ".apng", ".dib",
    ".pbm", ".pnm", ".jp2", ".j2k", ".avif", ".tga",
)  # fmt: skip
HIDDEN = (".", "__MACOSX")  # names that begin so are passed over; archives of macOS hold the latter
SPLIT = "SPLIT"  # stands for the name of a split in the name of a folder

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
            UserError: if a class of train, or all of a split, has no file left.
        """
        left = set(self.target["train"][keep["train"]].tolist())
        for name in (name for k, name in enumerate(self.class_names) if k not in left):
            raise UserError(f"dataset.root={root} has no file of class {name} in train that can be read")
        for split in (split for split, good in keep.items() if not good.any()):
            raise UserError(f"dataset.root={root} has no file in {split} that can be read")

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
    """List the files below `root` with these suffixes. Hidden files are ignored; what else is left out is reported.

    Args:
        root: holds `train/CLASS/*`, or `CLASS/*`, which is one pool. Folders of splits may have any of their usual
            names; val and test may lack classes.
        suffixes: in lower case, with the dot.
        things: what messages call such files.

    Raises:
        UserError: for a folder that does not exist or has another layout, an empty class of train, and a class that
            train lacks.
    """
    check_folder(root)
    folders = _split_folders(root, things)
    class_names = tuple(subfolders(root, folders["train"]))
    if len(class_names) < 2:
        found = f"found {len(class_names)}{''.join(f' ({name})' for name in class_names)}"
        raise UserError(f"dataset.root={root} must have at least 2 class folders in train, {found}")
    names: dict[str, list[str]] = {}
    target: dict[str, np.ndarray] = {}
    listed: list[Sequence[Entry]] = []
    others: Counter[str] = Counter()
    deep: list[str] = []
    for split, folder in folders.items():
        for name in sorted(set(subfolders(root, folder)).difference(class_names)):
            raise UserError(f"dataset.root={root}: {folder}/{name} is not a class of train ({few(class_names)})")
        names[split], counts, before = [], [], f"{folder}/" if folder else ""
        for name in class_names:
            inside, prefix = Counter[str](), f"{before}{name}/"
            path = os.path.join(root, prefix)
            entries = sorted(files_below(path, prefix, suffixes, inside)) if os.path.isdir(path) else []
            deep += [f"{path} of class {name}" for path, _, _ in entries if "/" in path[len(prefix) :]]
            if not entries and split == "train":
                raise UserError(f"dataset.root={root} has no {things} in {prefix[:-1]}{_only(inside, suffixes)}")
            others += inside
            listed.append(entries)
            names[split] += [path for path, _, _ in entries]
            counts.append(len(entries))
        if not names[split]:
            raise UserError(f"dataset.root={root} has no {things} in {folder}{_only(others, suffixes)}")
        target[split] = np.repeat(np.arange(len(class_names), dtype=np.int64), counts)
        say_loose(root, folder, suffixes, things)
        _check_links(root, folder)
    if deep:
        say(f"{len(deep)} {things} of {root} are in folders inside of those of classes, such as {deep[0]}")
    say_others(root, others)
    return Listing(class_names, names, target, digest_of(*listed))


def _split_folders(root: str, things: str) -> dict[str, str]:
    """The folder of each split, or the root itself as that of train, if its folders are classes.

    A folder called train is a class if it has no folders, there are two other classes, and val and test are missing.
    """
    found = names_of_splits(root)
    others = set(subfolders(root)).difference(found.values())
    flat = not any(subfolders(root, folder) for folder in found.values())
    if flat and len(found) < 2 and len(others) >= 2:
        return {"train": ""}
    if "train" not in found:
        raise UserError(
            f"dataset.root={root} has no folder train; {things} must be in train/CLASS/, or in CLASS/ for at least two"
            f" classes; its folders: {few(subfolders(root)) or 'none'}{_nearby(root)}"
        )
    say_unused(root, [SPLIT], found)
    return found


def _nearby(root: str) -> str:
    """The end of a sentence about a root without folders of classes: where they may be, above or below it."""
    here = start = os.path.abspath(root)
    if not subfolders(here):
        above = os.path.dirname(here)
        above = os.path.dirname(above) if os.path.basename(above).lower() in SPLIT_NAMES else above
        return f"; if {os.path.basename(here)} is a class, set {word('dataset.root', above)}"
    while len(folders := subfolders(here)) == 1:
        here = os.path.join(here, folders[0])
    return f"; did you mean {word('dataset.root', here)}?" if folders and here != start else ""


def names_of_splits(root: str, pattern: str = SPLIT, exists: Callable[[str], bool] = os.path.isdir) -> dict[str, str]:
    """The name that stands for SPLIT in the pattern, for each split that exists below the root.

    Raises:
        UserError: if there are two names for one split.
    """
    found: dict[str, str] = {}
    for usual, split in SPLIT_NAMES.items():
        for name in (usual, usual.capitalize(), usual.upper()):
            path = os.path.join(root, pattern.replace(SPLIT, name))
            if exists(path):
                first = os.path.join(root, pattern.replace(SPLIT, found.setdefault(split, name)))
                if not os.path.samefile(first, path):
                    raise UserError(f"{first} and {path} are both {split}; keep one of them, or rename one")
    return {split: found[split] for split in SPLITS if split in found}


def say_unused(root: str, patterns: Sequence[str], names: Mapping[str, str]) -> None:
    """Report the folders that look like one of a split, but have another name."""
    used = {pattern.replace(SPLIT, name) for pattern in patterns for name in names.values()}
    found = {path for pattern in patterns for path in glob(escape(pattern).replace(SPLIT, "*"), root_dir=root)}
    found = {path for path in found - used if not any(part.startswith(HIDDEN) for part in path.split(os.sep))}
    unused = sorted(path for path in found if os.path.isdir(os.path.join(root, path)))
    if unused:
        say(f"folders of {root} are not used: {few(unused)}; those of splits are called {few(list(SPLIT_NAMES), 99)}")


def say_others(root: str, others: Counter[str]) -> None:
    """Report the files that are left out, by their ending."""
    if others:
        count = others.total()
        files, are = ("files", "are left out because of their") if count > 1 else ("file", "is left out because of its")
        say(f"{count} {files} below {root} {are} ending: {_endings(others)}")


def say_unlisted(
    root: str, listed: Iterable[str], suffixes: tuple[str, ...], things: str, folders: Iterable[str] | None = None
) -> None:
    """Report the files in some folders, and below them, that a list does not name.

    Args:
        root: that all paths are relative to.
        listed: paths of existing files.
        suffixes: of the files that matter.
        things: what messages call them.
        folders: None: the folder that holds all that are listed, if it is below the root.
    """
    named, found, here = set(map(os.path.normpath, listed)), set[str](), os.path.realpath(root)
    if folders is None:
        holding = {os.path.realpath(os.path.join(root, folder)) for folder in set(map(os.path.dirname, named))}
        common = os.path.commonpath(holding or {os.sep})
        folders = [os.path.relpath(common, here)] if f"{common}/".startswith(f"{here}/") else []
    for folder in map(os.path.normpath, folders):
        path, prefix = os.path.join(root, folder), "" if folder == "." else f"{folder}/"
        if os.path.isdir(path):
            found |= {name for name, _, _ in files_below(path, prefix, suffixes, Counter())}
    real = cache(os.path.realpath)  # of folders, for paths that are written in another way

    def place(name: str) -> tuple[str, str]:
        return real(os.path.join(root, os.path.dirname(name))), os.path.basename(name)

    if left := found - named:
        others = set(map(place, named - found))
        left = {name for name in left if place(name) not in others}
    if left:
        say(f"{len(left)} {things} of {root} are not used, such as {min(left)}: nothing that is read lists them")


def say_loose(root: str, folder: str, suffixes: tuple[str, ...], things: str) -> None:
    """Report files that lie next to the folders that are read."""
    with os.scandir(os.path.join(root, folder)) as entries:
        count = sum(
            e.name.lower().endswith(suffixes) and not e.name.startswith(HIDDEN) and e.is_file() for e in entries
        )
    if count:
        say(f"{count} {things} of {os.path.join(root, folder)} are left out: they are not in one of its folders")


def _check_links(root: str, folder: str) -> None:
    """Raise UserError for a link that leads nowhere among the folders of classes: it may have been one."""
    with os.scandir(os.path.join(root, folder)) as entries:
        for entry in entries:
            if entry.is_symlink() and not os.path.exists(entry.path) and not os.path.splitext(entry.name)[1]:
                raise UserError(
                    f"{entry.path} is a link to {os.readlink(entry.path)}, which does not exist; if it is not a class,"
                    " remove it"
                )


def _endings(others: Counter[str]) -> str:
    return few([f"{count} {ending}" for ending, count in others.most_common()])


def _only(others: Counter[str], suffixes: tuple[str, ...]) -> str:
    """The end of a sentence about a folder without suitable files."""
    return f" ({' '.join(suffixes)})" + (f"; it has {_endings(others)}" if others else "")


def check_folder(root: str) -> None:
    """Raise UserError unless `root` is a folder."""
    if not os.path.isdir(root):
        raise UserError(f"dataset.root={root} {'is not a folder' if os.path.exists(root) else 'does not exist'}")


def entry_of(root: str, name: str) -> Entry:
    """Name, size and time of one file; size -1 if there is no such file: reading it will raise an error."""
    with suppress(OSError):
        status = os.stat(os.path.join(root, name))
        if stat.S_ISREG(status.st_mode):
            return name, status.st_size, status.st_mtime_ns
    return name, -1, 0


def digest_of(*parts: Iterable[Entry] | str) -> str:
    """A digest of files and texts; it changes with any name, size, time or text."""
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        lines = [part] if isinstance(part, str) else [f"{path}\0{size}\0{time}" for path, size, time in part]
        hashed.update("\n".join(lines).encode("utf-8", "surrogateescape") + b"\n\n")
    return hashed.hexdigest()


def subfolders(root: str, folder: str = "") -> list[str]:
    """The names of the folders in a folder, sorted, without hidden ones."""
    with _scanned(os.path.join(root, folder)) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(HIDDEN))


@contextmanager
def _scanned(folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    try:
        entries = os.scandir(folder)
    except PermissionError as error:
        raise UserError(f"the folder {folder} cannot be read ({error.strerror})") from error
    with entries:
        yield entries


def files_below(folder: str, prefix: str, suffixes: tuple[str, ...], others: Counter[str]) -> Iterator[Entry]:
    """The files in a folder and its sub-folders, in any order; their paths begin with `prefix`.

    Files with other suffixes, pipes and sockets are counted in `others`.
    """
    with _scanned(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(HIDDEN):
                continue
            if entry.is_dir():
                if not _leads_back(entry):
                    yield from files_below(entry.path, f"{prefix}{name}/", suffixes, others)
            elif not name.lower().endswith(suffixes):
                others[os.path.splitext(name)[1].lower() or "without ending"] += 1
            else:
                try:
                    status = entry.stat()
                except OSError:  # a broken link: reading it will raise an error
                    yield prefix + name, -1, 0
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield prefix + name, status.st_size, status.st_mtime_ns
                else:
                    others["pipe/socket"] += 1


def by_stem(root: str, folder: str, names: Iterable[str]) -> dict[str, str]:
    """From paths below the folder, without suffix, to paths below the root.

    Raises:
        UserError: for two files that differ only in their suffix.
    """
    found: dict[str, str] = {}
    for name in names:
        stem = os.path.splitext(name[len(folder) + 1 if folder else 0 :])[0]
        if stem in found:
            raise UserError(f"{root}/{found[stem]} and {root}/{name} differ only in their suffix; keep one of them")
        found[stem] = name
    return found


def find_files(root: str, names: Iterable[str], places: Sequence[str], suffixes: tuple[str, ...]) -> list[Entry]:
    """The files that a list names: as written, or with "/" for "\\", from another place, or with a suffix added.

    Args:
        root: that paths are relative to; those in the result too.
        names: as the list has them.
        places: other folders that they may be relative to.
        suffixes: that may be missing.

    Returns:
        An entry for each name; size -1 if there is no such file.

    Raises:
        UserError: if several files fit a name without suffix.
    """
    bases = ["", *(os.path.relpath(place, root) for place in places)]

    @cache
    def stems(folder: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        with suppress(OSError):
            for name in sorted(os.listdir(os.path.join(root, folder))):
                if name.lower().endswith(suffixes):
                    found.setdefault(os.path.splitext(name)[0], []).append(os.path.join(folder, name))
        return found

    def find(name: str) -> Entry:
        entry = entry_of(root, name)
        if entry[1] >= 0:
            return entry
        paths = [os.path.normpath(os.path.join(base, name.replace("\\", "/"))) for base in bases]
        for path in paths:
            if (entry := entry_of(root, path))[1] >= 0:
                return entry
        for folder, stem in map(os.path.split, paths):
            fitting = stems(folder).get(stem, [])
            if len(fitting) > 1:
                raise UserError(f"{name} may be {fitting[0]} or {fitting[1]} in {root}; write it with its ending")
            if fitting:
                return entry_of(root, fitting[0])
        return name, -1, 0

    return [find(name) for name in names]


def _leads_back(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a link to a folder that contains it."""
    if not entry.is_symlink():
        return False
    here, there = os.path.realpath(os.path.dirname(entry.path)), os.path.realpath(entry.path)
    return os.path.commonpath((here, there)) == there
