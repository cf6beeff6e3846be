"""Pictures in folders, one folder for each class: `ROOT/train/CLASS/*`, with `val` and `test` beside it or not."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from mixup_lab.data.source import Loaded
from mixup_lab.files.folders import list_folder
from mixup_lab.files.pictures import FolderPool, ImageFiles
from mixup_lab.targets.classes import Classes
from mixup_lab.types import UserError


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
        self.root = os.path.expanduser(str(root))
        self.files = ImageFiles(image_size, channels, on_error, cache, cache_dir)

    def load(self) -> Loaded:
        """List the files and learn their sizes; the pixels follow when they are asked for."""
        listing = list_folder(self.root)
        opened = self.files.open(self.root, listing.names, self.root, listing.digest)
        pools = {}
        for split, keep in opened.readable.items():
            names, target = listing.names[split], listing.target[split]
            if not keep.all():
                names, target = [name for name, kept in zip(names, keep, strict=True) if kept], target[keep]
                _check_classes_remain(self.root, split, listing.class_names, target)
            pools[split] = FolderPool(self.root, split, names, target, opened.shape, opened.cache)
        train = pools["train"]
        kind = Classes(listing.class_names)
        return Loaded(train, pools.get("val"), pools.get("test"), kind, dropped=opened.dropped, keep=train.keep)


def _check_classes_remain(root: str, split: str, class_names: Sequence[str], target: np.ndarray) -> None:
    for name, count in zip(class_names, np.bincount(target, minlength=len(class_names)).tolist(), strict=True):
        if count == 0:
            raise UserError(f"dataset.root={root} has no picture in {split}/{name} that can be read")
