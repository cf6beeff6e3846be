"""From pairs of picture and mask to the pools of a data set; shared by folders and the sets of torchvision."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

import numpy as np
from PIL import __version__ as pillow

from mixup_lab.data.source import Loaded
from mixup_lab.files.headers import Problems
from mixup_lab.files.keys import SKIP_HINT
from mixup_lab.files.masks import Labels, decode_masks
from mixup_lab.files.pairs import Pair, Pairs
from mixup_lab.files.picture import STORED, UPRIGHT, Header
from mixup_lab.files.pool import FilePool
from mixup_lab.sources.file_source import Opened, PictureSource
from mixup_lab.targets.pixels import Pixels
from mixup_lab.types import UserError


@dataclass
class MaskSource(PictureSource):
    """Pictures, each with a mask; for the keys see `PictureSource`.

    Masks are scaled like their pictures, to the nearest label. Both are turned by their EXIF orientation, or neither:
    if sizes do not tell which of them fits, they are taken as they are stored. With `on_error=skip` a pair is left out
    if picture or mask cannot be read, or if their sizes differ.
    """

    def load_pairs(
        self, pairs: Pairs, labels_of: Callable[[np.ndarray, Sequence[str]], Labels], problems: Problems
    ) -> Loaded:
        """Read the masks; the pictures follow later.

        Args:
            pairs: of all splits.
            labels_of: from the labels of the train pool (N, H, W) and the paths (N,) of its masks to the class of each.
            problems: of the files so far.
        """
        opened = self.open(pairs.splits, pairs.digest, problems, self._header, itemgetter(0))
        dropped = problems.report(f"pictures or masks in {self.root}")
        raw = {split: _masks(opened, split) for split in opened.splits}
        masks = {split: [f"{self.root}/{mask}" for _, mask in listed] for split, listed in opened.splits.items()}
        labels = labels_of(raw["train"], masks["train"])
        pools: dict[str, FilePool] = {}
        for split, listed in opened.splits.items():
            target = labels.apply(raw[split], masks[split])
            pools[split] = opened.pool(split, [picture for picture, _ in listed], target)
        kind, keep = Pixels(labels.names, labels.written), pools["train"].keep
        return Loaded.of(pools, kind, dropped=dropped, group_pattern=True, keep=keep, new=opened.new)

    def _header(self, pair: Pair) -> Header:
        """The header of the picture, if the pair is usable."""
        picture, mask = self.header(pair[0]), self.header(pair[1], values=False)
        if mask.pages > 1:
            raise UserError(f"the mask {self.root}/{pair[1]} has {mask.pages} pages, must have one{SKIP_HINT}")
        labels = picture.fits(mask.size(True)) & UPRIGHT | picture.fits(mask.size(False)) & STORED
        if not labels:
            turned = f", turned by its EXIF orientation {picture.orientation}" * (picture.orientation != 1)
            raise UserError(
                f"the mask {self.root}/{pair[1]} has {mask.width}x{mask.height} pixels, its picture"
                f" {self.root}/{pair[0]} has {picture.width}x{picture.height}{turned}{SKIP_HINT}"
            )
        return picture._replace(labels=labels)


def _masks(opened: Opened[Pair], split: str) -> np.ndarray:
    """The labels in the files (N, H, W), from the cache if it has them."""
    paths = [f"{opened.root}/{mask}" for _, mask in opened.splits[split]]
    height, width = opened.shape[1:]
    title, upright = f"decoding {len(paths):,} masks of {split} in {opened.root}", opened.decoding["upright"]
    name = f"{split}-masks-{len(paths)}x{height}x{width}-pillow{pillow}{'-stored' * (not upright)}"
    return opened.cache.get(name, partial(decode_masks, paths, height, width, title, upright))
