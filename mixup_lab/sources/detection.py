"""What annotated pictures of every format become: pictures of one size, and boxes in its pixels.

A format says which pictures there are and which boxes are written down for each; here files are looked at, mistakes
are told, and boxes are scaled.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mixup_lab.data.source import Loaded
from mixup_lab.files.cache import Cache, default_folder
from mixup_lab.files.folders import digested
from mixup_lab.files.picture import Header, scan
from mixup_lab.files.pictures import ON_ERROR, FolderPool
from mixup_lab.notices import say, track
from mixup_lab.targets.boxes import Boxes
from mixup_lab.types import UserError

SLACK = 0.5  # pixels that a box may reach over the border, by rounding; it is cut off there


@dataclass(frozen=True)
class Annotated:
    """One picture and its boxes, in pixels of the file."""

    name: str  # path below the root
    size: tuple[int, int] | None  # width and height, if the annotation says them
    boxes: list[tuple[str, str, float, float, float, float]]  # what to call it, class, left, top, right, bottom


@dataclass
class Problems:
    """What is wrong with the data: raised at once, or counted and left out.

    Args:
        on_error: `raise` or `skip`.
    """

    on_error: str
    dropped: int = 0
    told: list[str] = field(default_factory=list)

    def meet(self, sentence: str) -> None:
        """Raise UserError, or count one more thing that is left out."""
        if self.on_error == "raise":
            raise UserError(f"{sentence}; dataset.on_error=skip leaves it out")
        self.dropped += 1
        self.told.append(sentence)


@dataclass(frozen=True)
class Settings:
    """Keys that all formats share, checked.

    Args:
        root: folder that all paths are below.
        image_size: height and width that every picture is scaled to, whatever its own sides; None: they are all of one
            size, which they keep.
        channels: 1 (grey) or 3 (RGB). None: 1 if all pictures are grey.
        on_error: `raise` or `skip`.
        cache: whether decoded pictures are kept on disk.
        cache_dir: where. None: see `disk_cache.default_folder`.

    Raises:
        UserError: for values outside their range.
    """

    root: str
    image_size: Sequence[int] | None
    channels: int | None
    on_error: str
    cache: bool
    cache_dir: str | None

    def __post_init__(self) -> None:
        size = self.image_size
        if size is not None and (len(size) != 2 or not all(isinstance(s, int) and s >= 1 for s in size)):
            raise UserError(f"dataset.image_size must be null or [height, width] in pixels, got {list(size)}")
        if self.channels not in (None, 1, 3):
            raise UserError(f"dataset.channels must be null, 1 (grey) or 3 (RGB), got {self.channels}")
        if self.on_error not in ON_ERROR:
            raise UserError(f"dataset.on_error must be one of {', '.join(ON_ERROR)}, got {self.on_error}")


def load_boxes(
    settings: Settings, splits: dict[str, list[Annotated]], names: Sequence[str], problems: Problems
) -> Loaded:
    """Look at the pictures, check and scale the boxes.

    Args:
        settings: see there.
        splits: `train`, and `val` and `test` if there are any.
        names: of the classes.
        problems: is told what is wrong; has counted what the format left out.

    Raises:
        UserError: for a picture that is in two splits, that cannot be read or has another size than its annotation
            says, a box outside the picture, without area or of an unknown class, and a split without boxes.
    """
    root, cache_dir = settings.root, Path(settings.cache_dir).expanduser() if settings.cache_dir else default_folder()
    _check_apart(splits)
    every = [picture for pictures in splits.values() for picture in pictures]
    cache = Cache.of(root, _digest(root, every), cache_dir) if settings.cache else None
    headers = _headers(root, every, settings.on_error == "skip", cache)
    found = dict(zip((picture.name for picture in every), headers, strict=True))
    pictures: dict[str, list[Annotated]] = {}
    boxes: dict[str, list[np.ndarray]] = {}
    for split, listed in splits.items():
        pictures[split] = [picture for picture in listed if _readable(root, picture, found[picture.name], problems)]
        boxes[split] = [_boxes(root, p, found[p.name], names, problems) for p in pictures[split]]
        if not any(map(len, boxes[split])):
            raise UserError(f"dataset.root={root} has no box in {split}: there is nothing to find")
    if problems.dropped:
        shown = "; ".join(problems.told[:3]) + ("; ..." if len(problems.told) > 3 else "")
        say(f"{problems.dropped} pictures or boxes of {root} are left out: {shown}")
    names_left = [picture.name for listed in pictures.values() for picture in listed]
    kept = {name: header for name in names_left if isinstance(header := found[name], Header)}
    shape = _shape(settings, kept)
    most = max(1, max(len(rows) for listed in boxes.values() for rows in listed))
    pools = {}
    for split, listed in pictures.items():
        target = np.full((len(listed), most, 5), -1, dtype=np.float32)
        for i, (picture, rows) in enumerate(zip(listed, boxes[split], strict=True)):
            header = kept[picture.name]
            scale = np.array([shape[2] / header.width, shape[1] / header.height] * 2)
            target[i, : len(rows)] = np.hstack([rows[:, :1], rows[:, 1:] * scale])
        pools[split] = FolderPool(root, split, [p.name for p in listed], target, shape, cache, stretch=True)
    train = pools["train"]
    return Loaded(
        train, pools.get("val"), pools.get("test"), Boxes(tuple(names)), dropped=problems.dropped, keep=train.keep
    )


def _check_apart(splits: dict[str, list[Annotated]]) -> None:
    seen: dict[str, str] = {}
    for split, pictures in splits.items():
        for picture in pictures:
            if picture.name in seen:
                both = " and ".join([seen[picture.name], split]) if seen[picture.name] != split else f"{split} twice"
                raise UserError(f"{picture.name} is in {both}; a picture belongs to one split, once")
            seen[picture.name] = split


def _digest(root: str, pictures: Sequence[Annotated]) -> str:
    """Changes with any name, size or time of the files, and with the sizes of pictures that annotations say."""
    entries = []
    for picture in pictures:
        name = f"{picture.name}\0{picture.size}"
        try:
            status = os.stat(f"{root}/{picture.name}")
            entries.append((name, status.st_size, status.st_mtime_ns))
        except OSError:  # reading it will say so
            entries.append((name, -1, 0))
    return hashlib.blake2b(digested(entries), digest_size=16).hexdigest()


def _headers(root: str, pictures: Sequence[Annotated], thorough: bool, cache: Cache | None) -> list[Header | UserError]:
    """Size and kind of each picture, or what is wrong with it; all good ones are kept for the next start."""
    key = f"boxes-headers-{'decoded' if thorough else 'seen'}"
    table = cache.read(key) if cache else None
    if table is not None and table.shape == (len(pictures), 3):
        return [Header(width, height, bool(grey)) for width, height, grey in table.tolist()]
    with track(f"looking at {len(pictures):,} pictures in {root}", len(pictures)) as advance:
        found = scan([f"{root}/{picture.name}" for picture in pictures], thorough, advance)
    good = [header for header in found if isinstance(header, Header)]
    if cache and len(good) == len(found):
        cache.write(key, np.array(good, dtype=np.int32).reshape(-1, 3))
    return found


def _readable(root: str, picture: Annotated, header: Header | UserError, problems: Problems) -> bool:
    if isinstance(header, UserError):
        problems.meet(str(header).partition("; dataset.on_error")[0])
        return False
    if picture.size is not None and picture.size != (header.width, header.height):
        said = "x".join(map(str, picture.size))
        problems.meet(f"{root}/{picture.name} is {header.width}x{header.height} pixels, its annotation says {said}")
        return False
    return True


def _boxes(
    root: str, picture: Annotated, header: Header | UserError, names: Sequence[str], problems: Problems
) -> np.ndarray:
    """The boxes of one picture that can be used: (n, 5) of class, left, top, right, bottom in its own pixels."""
    assert isinstance(header, Header)
    limits, kept = (header.width, header.height), []
    for said, name, *edges in picture.boxes:
        what = f"{said} of {root}/{picture.name} ({name}, {' '.join(f'{edge:g}' for edge in edges)})"
        left, top, right, bottom = edges
        if name not in names:
            problems.meet(f"{what} is of no known class; there are {', '.join(names)}")
        elif not all(map(math.isfinite, edges)):
            problems.meet(f"{what} has edges that are no numbers")
        elif not (left < right and top < bottom):
            problems.meet(f"{what} has no area")
        elif min(left, top) < -SLACK or right > limits[0] + SLACK or bottom > limits[1] + SLACK:
            problems.meet(f"{what} reaches outside the picture of {limits[0]}x{limits[1]} pixels")
        else:
            clipped = [max(left, 0.0), max(top, 0.0), min(right, limits[0]), min(bottom, limits[1])]
            kept.append([names.index(name), *clipped])
    return np.array(kept, dtype=np.float64).reshape(-1, 5)


def _shape(settings: Settings, headers: dict[str, Header]) -> tuple[int, int, int]:
    """(C, H, W) of the pictures as they will be given."""
    table = np.array(list(headers.values()))
    channels = settings.channels or (1 if table[:, 2].all() else 3)
    if settings.image_size is not None:
        return channels, settings.image_size[0], settings.image_size[1]
    low, high = table[:, :2].min(0).tolist(), table[:, :2].max(0).tolist()
    if low != high:
        raise UserError(
            f"pictures in dataset.root={settings.root} have unequal sizes ({low[0]} to {high[0]} wide, {low[1]} to"
            f" {high[1]} high); scale them all with dataset.image_size=[height,width]"
        )
    return channels, low[1], low[0]
