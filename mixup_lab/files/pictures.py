"""Pictures in files, however they are listed: their common size, unreadable ones, and what is kept on disk."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import __version__ as pillow
from torch import Tensor

from mixup_lab.files.cache import Cache, default_folder
from mixup_lab.files.picture import decode, decode_all, scan
from mixup_lab.notices import say, track
from mixup_lab.types import Pool, UserError

ON_ERROR = ("raise", "skip")
LARGEST = 224  # short side that pictures of unequal sizes are reduced to, if they are larger


@dataclass(frozen=True)
class FolderPool(Pool):
    """The pictures of one split. `load` keeps what it decodes on disk; `read` goes to the file each time.

    `names` are paths below `root`, or whole ones.
    """

    root: str
    split: str
    names: Sequence[str]
    target: np.ndarray
    shape: tuple[int, int, int]
    cache: Cache | None
    stretch: bool = False  # scale whole pictures, in place of cropping the centre

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
            paths = [self._path(name) for name in self.names]
            decode_all(paths, self.shape, out.transpose(0, 3, 1, 2), advance, self.stretch)
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
        return torch.tensor(decode(self._path(self.names[i]), self.shape, self.stretch))

    def _stored_shape(self) -> tuple[int, int, int, int]:
        channels, height, width = self.shape
        return len(self.names), height, width, channels  # as decoders give them; channels_last to torch

    def _key(self) -> str:
        sizes = "x".join(map(str, self._stored_shape()))
        return f"{self.split}-{sizes}{'-stretched' * self.stretch}-pillow{pillow}"

    def _path(self, name: str) -> str:
        return os.path.join(self.root, name)


class Opened(NamedTuple):
    """What is known of the pictures before they are decoded."""

    shape: tuple[int, int, int]  # (C, H, W), as they will be given
    readable: dict[str, np.ndarray]  # bool (n,) of each split
    dropped: int
    cache: Cache | None


class ImageFiles:
    """What becomes of pictures in files: the keys that every source of such has.

    Args:
        image_size: the short side is scaled to this and the centre cropped to a square. None: pictures of one size stay
            as they are; else the size is the median short side of train, at most 224, and a line says so.
        channels: 1 (grey) or 3 (RGB). None: 1 if all pictures are grey.
        on_error: `raise` stops at a picture that cannot be read; `skip` leaves it out and says how many there were.
        cache: whether to keep decoded pictures, and their mean and std, on disk for the next start.
        cache_dir: where; None: `$XDG_CACHE_HOME/mixup-lab` or `~/.cache/mixup-lab`.

    Raises:
        UserError: for values outside their range.
    """

    def __init__(
        self, image_size: int | None, channels: int | None, on_error: str, cache: bool, cache_dir: str | None
    ) -> None:
        if image_size is not None and image_size < 1:
            raise UserError(f"dataset.image_size must be null or at least 1, got {image_size}")
        if channels not in (None, 1, 3):
            raise UserError(f"dataset.channels must be null, 1 or 3, got {channels}")
        if on_error not in ON_ERROR:
            raise UserError(f"dataset.on_error must be one of {', '.join(ON_ERROR)}, got {on_error}")
        self.image_size = image_size
        self.channels = channels
        self.skip = on_error == "skip"
        self.cache_dir = (Path(cache_dir).expanduser() if cache_dir else default_folder()) if cache else None

    def open(self, root: str, names: Mapping[str, Sequence[str]], origin: str, digest: str) -> Opened:
        """Learn sizes and which pictures can be read; the pixels follow when they are asked for.

        Args:
            root: the folder that names are below.
            names: of the pictures of each split, `train` among them.
            origin: the folder or table that lists them, for messages; what is kept on disk belongs to it.
            digest: changes with any of the files and their order.

        Raises:
            UserError: for the first picture that cannot be read, unless such are left out; if none is left in train.
        """
        cache = Cache.of(origin, digest, self.cache_dir) if self.cache_dir else None
        headers = self._headers(root, names, origin, cache)
        readable = {split: table[:, 0] > 0 for split, table in headers.items()}
        shape = self._shape({split: table[readable[split]] for split, table in headers.items()}, origin)
        dropped = sum(int((~keep).sum()) for keep in readable.values())
        if dropped:
            say(f"{dropped} of {sum(map(len, readable.values()))} pictures in {origin} cannot be read, left out")
        return Opened(shape, readable, dropped, cache)

    def _headers(
        self, root: str, names: Mapping[str, Sequence[str]], origin: str, cache: Cache | None
    ) -> dict[str, np.ndarray]:
        """For each split int32 (N, 3): width, height, grey; zeros for a picture that cannot be read."""
        paths = [os.path.join(root, name) for split in names.values() for name in split]
        key = f"headers-{'decoded' if self.skip else 'seen'}-pillow{pillow}"
        table = cache.read(key) if cache else None
        if table is None or table.shape != (len(paths), 3):
            with track(f"looking at {len(paths):,} pictures in {origin}", len(paths)) as advance:
                found = scan(paths, self.skip, advance)
            errors = [header for header in found if isinstance(header, UserError)]
            if errors and not self.skip:
                raise errors[0]
            table = np.array([(0, 0, 0) if isinstance(h, UserError) else h for h in found], dtype=np.int32)
            if cache:
                cache.write(key, table)
        ends = np.cumsum([len(split) for split in names.values()])[:-1]
        return dict(zip(names, np.split(table, ends), strict=True))

    def _shape(self, headers: Mapping[str, np.ndarray], origin: str) -> tuple[int, int, int]:
        """(C, H, W) of the pictures as they will be given."""
        if not len(headers["train"]):
            raise UserError(f"{origin} has no picture in train that can be read")
        size = None if self.image_size is None else (self.image_size, self.image_size)
        return common_shape(headers, origin, self.channels, size, "; dataset.image_size=N sets another size")


def common_shape(
    headers: Mapping[str, np.ndarray], origin: str, channels: int | None, size: tuple[int, int] | None, ending: str
) -> tuple[int, int, int]:
    """(C, H, W) that all pictures are brought to.

    Args:
        headers: for each split (N, 3): width, height and grey; at least one in train, whose median decides.
        origin: of the pictures, for the line that says so.
        channels: the user's, if any; else 1 where all are grey, and 3.
        size: the user's height and width, if any; else those of all pictures, or a square.
        ending: of the line.
    """
    table = np.concatenate(list(headers.values()))
    channels = channels or (1 if table[:, 2].all() else 3)
    if size is not None:
        return channels, *size
    low, high = table[:, :2].min(0).tolist(), table[:, :2].max(0).tolist()
    if low == high:
        return channels, low[1], low[0]
    side = min(LARGEST, int(np.median(headers["train"][:, :2].min(1))))
    say(
        f"pictures in {origin} have unequal sizes ({low[0]} to {high[0]} wide, {low[1]} to {high[1]} high):"
        f" short side scaled to {side}, centre {side}x{side} cropped{ending}"
    )
    return channels, side, side
