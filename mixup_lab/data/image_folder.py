"""Pictures in folders, one folder for each class: `ROOT/train/CLASS/*`, with `val` and `test` beside it or not."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import __version__ as pillow
from torch import Tensor

from mixup_lab.data.image_cache import Cache, default_folder
from mixup_lab.data.image_decode import decode, decode_all, scan
from mixup_lab.data.image_listing import Listing, list_folder
from mixup_lab.data.progress import say, track
from mixup_lab.data.source import Loaded
from mixup_lab.tasks.kinds import Classes
from mixup_lab.types import UserError

ON_ERROR = ("raise", "skip")
LARGEST = 224  # short side that pictures of unequal sizes are reduced to, if they are larger


@dataclass(frozen=True)
class FolderPool:
    """The pictures of one split. `load` keeps what it decodes on disk; `read` goes to the file each time."""

    root: str
    split: str
    names: Sequence[str]
    target: np.ndarray
    shape: tuple[int, int, int]
    cache: Cache | None

    @property
    def nbytes(self) -> int:
        """Memory that the decoded pictures take."""
        return math.prod(self._stored_shape())

    def load(self) -> Tensor:
        """All pictures, from the cache if they are there."""
        shape = self._stored_shape()
        kept = self.cache.read(self._key()) if self.cache else None
        if kept is not None and kept.shape == shape and kept.dtype == np.uint8:
            return torch.from_numpy(kept).movedim(-1, 1)
        out = np.empty(shape, dtype=np.uint8)
        with track(f"decoding {len(out):,} pictures of {self.root}/{self.split}", len(out)) as advance:
            decode_all([self._path(name) for name in self.names], self.shape, out.transpose(0, 3, 1, 2), advance)
        if self.cache:
            self.cache.write(self._key(), out)
        return torch.from_numpy(out).movedim(-1, 1)

    def keep(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """What follows from the decoded pictures, from the cache if it is there."""
        key = f"{self._key()}-{name}"
        array = self.cache.read(key) if self.cache else None
        if array is None:
            array = make()
            if self.cache:
                self.cache.write(key, array)
        return array

    def read(self, i: int) -> Tensor:
        """Decode one file."""
        return torch.tensor(decode(self._path(self.names[i]), self.shape))

    def _stored_shape(self) -> tuple[int, int, int, int]:
        channels, height, width = self.shape
        return len(self.names), height, width, channels  # as decoders give them; channels_last to torch

    def _key(self) -> str:
        return f"{self.split}-{'x'.join(map(str, self._stored_shape()))}-pillow{pillow}"

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"


class ImageFolder:
    """Any folder of pictures.

    Args:
        root: holds `train/CLASS/*`, and `val` and `test` with the same classes or not. Sub-folders of a class count.
        image_size: the short side is scaled to this and the centre cropped to a square. None: pictures of one size stay
            as they are; else the size is the median short side of train, at most 224, and a line says so.
        channels: 1 (grey) or 3 (RGB). None: 1 if all pictures are grey.
        on_error: `raise` stops at a picture that cannot be read; `skip` leaves it out and says how many there were.
        cache: whether to keep decoded pictures, and their mean and std, on disk for the next start.
        cache_dir: where; None: `$XDG_CACHE_HOME/mixup-lab` or `~/.cache/mixup-lab`.

    Raises:
        UserError: for values outside their range and folders that are not laid out so.
    """

    def __init__(
        self,
        root: str | None = None,
        image_size: int | None = None,
        channels: int | None = None,
        on_error: str = "raise",
        cache: bool = True,
        cache_dir: str | None = None,
    ) -> None:
        if root in (None, "", "???"):
            raise UserError("dataset.root has no value; set dataset.root=DIR to a folder with train/CLASS/ in it")
        if image_size is not None and image_size < 1:
            raise UserError(f"dataset.image_size must be null or at least 1, got {image_size}")
        if channels not in (None, 1, 3):
            raise UserError(f"dataset.channels must be null, 1 or 3, got {channels}")
        if on_error not in ON_ERROR:
            raise UserError(f"dataset.on_error must be one of {', '.join(ON_ERROR)}, got {on_error}")
        self.root = os.path.expanduser(str(root))
        self.image_size = image_size
        self.channels = channels
        self.on_error = on_error
        self.cache_dir = (Path(cache_dir).expanduser() if cache_dir else default_folder()) if cache else None

    def load(self) -> Loaded:
        """List the files and learn their sizes; the pixels follow when they are asked for."""
        listing = list_folder(self.root)
        cache = Cache.of(self.root, listing.digest, self.cache_dir) if self.cache_dir else None
        headers = self._headers(listing, cache)
        readable = {split: table[:, 0] > 0 for split, table in headers.items()}
        shape = self._shape({split: table[readable[split]] for split, table in headers.items()})
        pools, dropped = {}, 0
        for split, keep in readable.items():
            names, target = listing.names[split], listing.target[split]
            if not keep.all():
                dropped += int((~keep).sum())
                names, target = [name for name, kept in zip(names, keep, strict=True) if kept], target[keep]
                _check_classes_remain(self.root, split, listing.class_names, target)
            pools[split] = FolderPool(self.root, split, names, target, shape, cache)
        if dropped:
            say(f"{dropped} of {sum(map(len, readable.values()))} pictures in {self.root} cannot be read, left out")
        train = pools["train"]
        kind = Classes(listing.class_names)
        return Loaded(train, pools.get("val"), pools.get("test"), kind, dropped=dropped, keep=train.keep)

    def _headers(self, listing: Listing, cache: Cache | None) -> dict[str, np.ndarray]:
        """For each split int32 (N, 3): width, height, grey; zeros for a picture that cannot be read."""
        skip = self.on_error == "skip"
        names = [name for split in listing.names.values() for name in split]
        key = f"headers-{'decoded' if skip else 'seen'}-pillow{pillow}"
        table = cache.read(key) if cache else None
        if table is None or table.shape != (len(names), 3):
            with track(f"looking at {len(names):,} pictures in {self.root}", len(names)) as advance:
                found = scan([f"{self.root}/{name}" for name in names], skip, advance)
            errors = [header for header in found if isinstance(header, UserError)]
            if errors and not skip:
                raise errors[0]
            table = np.array([(0, 0, 0) if isinstance(h, UserError) else h for h in found], dtype=np.int32)
            if cache:
                cache.write(key, table)
        ends = np.cumsum([len(split) for split in listing.names.values()])[:-1]
        return dict(zip(listing.names, np.split(table, ends), strict=True))

    def _shape(self, headers: dict[str, np.ndarray]) -> tuple[int, int, int]:
        """(C, H, W) of the pictures as they will be given."""
        table = np.concatenate(list(headers.values()))
        if not len(headers["train"]):
            raise UserError(f"dataset.root={self.root} has no picture in train that can be read")
        channels = self.channels or (1 if table[:, 2].all() else 3)
        if self.image_size is not None:
            return channels, self.image_size, self.image_size
        low, high = table[:, :2].min(0).tolist(), table[:, :2].max(0).tolist()
        if low == high:
            return channels, low[1], low[0]
        size = min(LARGEST, int(np.median(headers["train"][:, :2].min(1))))
        say(
            f"pictures in {self.root} have unequal sizes ({low[0]} to {high[0]} wide, {low[1]} to {high[1]} high):"
            f" short side scaled to {size}, centre {size}x{size} cropped; dataset.image_size=N sets another size"
        )
        return channels, size, size


def _check_classes_remain(root: str, split: str, class_names: Sequence[str], target: np.ndarray) -> None:
    for name, count in zip(class_names, np.bincount(target, minlength=len(class_names)).tolist(), strict=True):
        if count == 0:
            raise UserError(f"dataset.root={root} has no picture in {split}/{name} that can be read")
