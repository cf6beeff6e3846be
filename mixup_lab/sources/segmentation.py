"""From pairs of picture and mask to the pools of a data set: sizes, decoding, cache. One for folders and known sets."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
from PIL import __version__ as pillow

from mixup_lab.data.source import Loaded
from mixup_lab.files.cache import Cache
from mixup_lab.files.masks import Labels, decode_masks
from mixup_lab.files.pairs import Pair, Pairs
from mixup_lab.files.picture import Header, scan
from mixup_lab.files.pictures import FolderPool, ImageFiles, common_shape
from mixup_lab.notices import say, track
from mixup_lab.targets.pixels import Pixels
from mixup_lab.types import UserError


class PairReader:
    """How pictures and masks are read.

    Args:
        image_size: [height, width], or one number for both: pictures (bilinear) and masks (nearest) are scaled to cover
            it and cropped at the centre. None: those of one size stay as they are; else the size is a square of the
            median short side of train, at most 224, and a line says so.
        channels: 1 (grey) or 3 (RGB). None: 1 if all pictures are grey.
        on_error: `raise` stops at what cannot be read and at a mask of another size than its picture; `skip` leaves the
            pair out and says how many there were.
        cache: whether to keep decoded pictures and masks on disk for the next start.
        cache_dir: where; None: `$XDG_CACHE_HOME/mixup-lab` or `~/.cache/mixup-lab`.

    Raises:
        UserError: for values outside their range.
    """

    def __init__(
        self,
        image_size: int | Sequence[int] | None = None,
        channels: int | None = None,
        on_error: str = "raise",
        cache: bool = True,
        cache_dir: str | None = None,
    ) -> None:
        sides = [image_size, image_size] if isinstance(image_size, int) else image_size
        if sides is not None and not (len(sides) == 2 and all(type(side) is int and side >= 1 for side in sides)):
            raise UserError(f"dataset.image_size must be null, N or [height, width], each at least 1, got {image_size}")
        self.image_size = None if sides is None else (sides[0], sides[1])
        self.files = ImageFiles(None, channels, on_error, cache, cache_dir)
        self.skip = self.files.skip

    def load(self, pairs: Pairs, labels_of: Callable[[np.ndarray], Labels]) -> Loaded:
        """Read the masks; the pictures follow when they are asked for.

        Args:
            pairs: what was found.
            labels_of: what labels mean, given those of the train pool (N, H, W).
        """
        root = pairs.root
        cache = Cache.of(root, pairs.digest, self.files.cache_dir) if self.files.cache_dir else None
        headers = self._headers(pairs, cache)
        kept = {split: table[:, 0] > 0 for split, table in headers.items()}
        splits = {
            split: [pair for pair, keep in zip(found, kept[split], strict=True) if keep]
            for split, found in pairs.splits.items()
        }
        dropped = pairs.dropped + sum(int((~keep).sum()) for keep in kept.values())
        if dropped:
            say(f"{dropped} pictures or masks in {root} cannot be used, left out")
        for split, found in splits.items():
            if not found:
                raise UserError(f"dataset.root={root} has no picture in {split} that can be used")
        shape = common_shape(
            {split: table[kept[split]] for split, table in headers.items()},
            root,
            self.files.channels,
            self.image_size,
            ", masks alike; dataset.image_size=[HEIGHT,WIDTH] sets another size",
        )
        raw = {split: _masks(root, split, found, shape, cache) for split, found in splits.items()}
        labels = labels_of(raw["train"])
        pools = {
            split: FolderPool(
                root,
                split,
                [picture for picture, _ in found],
                labels.apply(raw[split], [f"{root}/{mask}" for _, mask in found]),
                shape,
                cache,
            )
            for split, found in splits.items()
        }
        train = pools["train"]
        kind = Pixels(labels.names)
        return Loaded(train, pools.get("val"), pools.get("test"), kind, dropped=dropped, keep=train.keep)

    def _headers(self, pairs: Pairs, cache: Cache | None) -> dict[str, np.ndarray]:
        """For each split int32 (N, 3): width, height and grey of the pictures; zeros for a pair that cannot be used."""
        found = [pair for split in pairs.splits.values() for pair in split]
        key = f"pairs-{'decoded' if self.skip else 'seen'}-pillow{pillow}"
        table = cache.read(key) if cache else None
        if table is None or table.shape != (len(found), 3):
            with track(f"looking at {len(found):,} pictures and masks in {pairs.root}", 2 * len(found)) as advance:
                seen = scan([f"{pairs.root}/{name}" for pair in found for name in pair], self.skip, advance)
            both = zip(found, seen[::2], seen[1::2], strict=True)
            table = np.array([self._header(pairs.root, *pair_and_headers) for pair_and_headers in both], np.int32)
            if cache:
                cache.write(key, table)
        ends = np.cumsum([len(split) for split in pairs.splits.values()])[:-1]
        return dict(zip(pairs.splits, np.split(table, ends), strict=True))

    def _header(self, root: str, pair: Pair, picture: Header | UserError, mask: Header | UserError) -> Header:
        """That of the picture, if the pair can be used."""
        if isinstance(picture, UserError):
            error = picture
        elif isinstance(mask, UserError):
            error = mask
        elif picture[:2] == mask[:2]:
            return picture
        else:
            error = UserError(
                f"the mask {root}/{pair[1]} has {mask.width}x{mask.height} pixels, its picture {root}/{pair[0]} has"
                f" {picture.width}x{picture.height}; dataset.on_error=skip leaves such pairs out"
            )
        if not self.skip:
            raise error
        return Header(0, 0, False)


def _masks(
    root: str, split: str, found: Sequence[Pair], shape: tuple[int, int, int], cache: Cache | None
) -> np.ndarray:
    """The labels in the files (N, H, W), from the cache if they are there."""
    wanted = len(found), *shape[1:]
    key = f"{split}-masks-{'x'.join(map(str, wanted))}-pillow{pillow}"
    kept = cache.read(key) if cache else None
    if kept is not None and kept.shape == wanted:
        return kept
    with track(f"decoding {len(found):,} masks of {split} in {root}", len(found)) as advance:
        masks = decode_masks([f"{root}/{mask}" for _, mask in found], *shape[1:], advance)
    if cache:
        cache.write(key, masks)
    return masks


def expanded(root: str | None, example: str) -> str:
    """The user's folder; raises UserError where there is none."""
    if root in (None, "", "???"):
        raise UserError(f"dataset.root has no value; set dataset.root=DIR to a folder with {example} in it")
    return os.path.expanduser(str(root))
