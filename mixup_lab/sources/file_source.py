"""The keys that sources of files share, and those of sources of pictures."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from itertools import chain, compress
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from PIL import __version__ as pillow

from mixup_lab.data.source import New
from mixup_lab.files.cache import Cache, default_folder
from mixup_lab.files.headers import Problems, read_headers
from mixup_lab.files.keys import ON_ERROR, check, check_choice, path_given, text_finder
from mixup_lab.files.picture import (
    HEADER,
    LABELS,
    MOST,
    ORIENTED,
    STORED,
    UPRIGHT,
    Header,
    common_shape,
    decode,
    read_header,
    say_pages,
    scale_among,
    sizes,
)
from mixup_lab.files.pool import FilePool
from mixup_lab.notices import say
from mixup_lab.sources.new_files import pictures
from mixup_lab.types import UserError

T = TypeVar("T")


@dataclass
class FileSource:
    """Files on disk.

    Args:
        root: a folder, or a file.
        on_error: `raise` stops at a file or row that cannot be used; `skip` leaves them out and reports how many.

    Raises:
        UserError: for values outside their range.
    """

    ROOT: ClassVar[str] = "DIR"  # what `root` must be, for messages

    root: str = ""
    _: KW_ONLY
    on_error: str = "raise"

    def __post_init__(self) -> None:
        self.root = path_given("root", self.root, self.ROOT)
        check_choice("on_error", self.on_error, ON_ERROR)

    @property
    def skip(self) -> bool:
        """Whether things that cannot be used are left out."""
        return self.on_error == "skip"

    def problems(self) -> Problems:
        """An empty list of things that cannot be used."""
        return Problems(self.skip)


@dataclass(kw_only=True)
class CachedSource(FileSource):
    """Files whose decoded contents are kept on disk.

    Args:
        cache: whether to keep them for the next start.
        cache_dir: where; None: `$XDG_CACHE_HOME/mixup-lab` or `~/.cache/mixup-lab`.
    """

    cache: bool = True
    cache_dir: str | None = None

    def cache_of(self, origin: str, digest: str) -> Cache:
        """The cache of the files that `origin` holds or lists; `digest` identifies their state."""
        folder = Path(self.cache_dir).expanduser() if self.cache_dir else default_folder()
        return Cache.of(origin, digest, folder if self.cache else None)


@dataclass
class Opened(Generic[T]):
    """The usable pictures, before they are decoded."""

    root: str
    shape: tuple[int, int, int]  # (C, H, W), after decoding
    splits: dict[str, list[T]]
    keep: dict[str, np.ndarray]  # of each split bool (n,): whether an item is usable
    headers: dict[str, np.ndarray]  # of each split (N, 3): width, height, grey
    cache: Cache
    decoding: dict[str, Any]  # further arguments of `picture.decode`
    version: str  # of everything that decoding depends on besides the shape
    group_of: Callable[[str], str] | None = None  # from the path of a picture below the root

    @property
    def new(self) -> Callable[[Sequence[Path]], New] | None:
        """`Loaded.new`: other pictures, decoded as these."""
        return pictures(self.shape, **self.decoding)

    def pool(self, split: str, names: Sequence[str], target: np.ndarray, groups: np.ndarray | None = None) -> FilePool:
        """The pictures of a split."""
        if self.group_of is not None:
            groups = np.array(list(map(self.group_of, names)))
        read = partial(decode, shape=self.shape, **self.decoding)
        return FilePool(self.root, split, names, target, self.shape, read, self.version, self.cache, groups=groups)


@dataclass(kw_only=True)
class PictureSource(CachedSource):
    """Pictures in files.

    Args:
        image_size: height and width of all pictures, [height, width] or one number for both: they are scaled to cover
            it and cropped at the centre. None: pictures of one size keep it; else the size is a square of the median
            short side of train, at most 224, which is reported.
        channels: 1 (grey) or 3 (RGB). None: 1 if all pictures are grey, else 3.
        group_pattern: regular expression with one group, searched in the path of each picture below root. Pictures with
            the same match, such as those of one patient, stay in one split.
        max_pixels: of a picture; a larger one cannot be used, as a small file may fill the memory.
    """

    image_size: int | Sequence[int] | None = None
    channels: int | None = None
    group_pattern: str | None = None
    max_pixels: int = MOST

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.max_pixels >= 1, "max_pixels", self.max_pixels, "at least 1")
        size = self.image_size
        sides = [size, size] if isinstance(size, int) else size
        right = sides is None or (len(sides) == 2 and all(type(side) is int and side >= 1 for side in sides))
        check(right, "image_size", size, "null, N or [height, width], each at least 1")
        check(self.channels in (None, 1, 3), "channels", self.channels, "null, 1 (grey) or 3 (RGB)")
        self.sides = None if sides is None else (sides[0], sides[1])
        pattern = self.group_pattern
        self.group_of = None if pattern is None else text_finder("group_pattern", pattern)

    def open(
        self,
        splits: Mapping[str, Sequence[T]],
        digest: str,
        problems: Problems,
        header: Callable[[T], Header],
        name: Callable[[T], str] = str,
        origin: str = "",
        crop: bool = True,
    ) -> Opened[T]:
        """Read the sizes of pictures, and leave out those that cannot be used; the pixels follow later.

        Args:
            splits: an item for each picture; `train` is one of the splits.
            digest: changes with any of the files and their order.
            problems: collects the pictures that cannot be used.
            header: reads the header of an item; raises UserError for one that cannot be used.
            name: the path of an item, for messages.
            origin: the folder or table that lists the pictures; empty: `root`.
            crop: whether pictures may be cropped; else they are scaled as a whole, and of unequal sizes only if
                `image_size` is set.

        Raises:
            UserError: if no picture of a split is left.
        """
        origin = origin or self.root
        cache = self.cache_of(origin, digest)
        title = f"looking at {sum(map(len, splits.values())):,} pictures in {origin}"
        version = f"pillow{pillow}-{HEADER}-{self.max_pixels}"
        tables = read_headers(splits, header, problems, cache, title, version)
        keep = {split: table[:, 0] > 0 for split, table in tables.items()}
        for split, good in keep.items():
            if not good.any():
                raise UserError(f"{origin} has no usable picture in {split}")
        found = {split: table[keep[split]] for split, table in tables.items()}
        every = np.concatenate(list(found.values()))
        upright, scale = _way_up(origin, every), scale_among(origin, every)
        headers = {split: sizes(table, upright) for split, table in found.items()}
        shape = common_shape(headers, origin, self.channels, self.sides, crop)
        usable = {split: list(compress(items, keep[split])) for split, items in splits.items()}
        say_pages(origin, every, list(map(name, chain.from_iterable(usable.values()))))
        version = f"{'stretched-' * (not crop)}pillow{pillow}{'-stored' * (not upright)}"
        version += "" if scale is None else f"-{scale.factor:g}-{scale.shift:g}"
        decoding = {"stretch": not crop, "upright": upright, "scale": scale, "most": self.max_pixels}
        return Opened(self.root, shape, usable, keep, headers, cache, decoding, version, self.group_of)

    def header(self, name: str, values: bool = True) -> Header:
        """The header of a picture below the root; with `skip` it is decoded too: some damage shows only then."""
        return read_header(os.path.join(self.root, name), self.skip, self.max_pixels, values)


def _way_up(origin: str, headers: np.ndarray) -> bool:
    """Whether pictures are turned by their EXIF orientation, as their labels are; all in one way.

    Sizes of labels tell it where width and height differ. Where no size tells it, labels are of the stored pixels.
    """
    ways = headers[headers[:, ORIENTED] != 1, LABELS].astype(int)
    upright, stored = (bool((ways & way).all()) for way in (UPRIGHT, STORED))
    if not (upright or stored):
        raise UserError(
            f"{origin} has pictures with an EXIF orientation whose labels are of the turned picture, and others whose"
            " labels are of the stored pixels; turn the pictures for good, or remove the orientation"
        )
    if (ways & STORED).any():
        how = "taken as they are stored" if stored else "turned"
        say(f"{len(ways)} pictures in {origin} have an EXIF orientation: they are {how}, as their labels are")
    return not stored or not len(ways)
