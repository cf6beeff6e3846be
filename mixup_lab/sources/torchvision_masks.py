"""Well-known data sets of masks that torchvision can find, and some of which it can download."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixup_lab.data.source import Loaded
from mixup_lab.files.folders import digested
from mixup_lab.files.masks import Labels
from mixup_lab.files.pairs import Pair, Pairs
from mixup_lab.sources.segmentation import PairReader
from mixup_lab.sources.torchvision_pictures import downloaded
from mixup_lab.types import VOID, UserError

VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class _Known:
    """What is known of a data set. `arguments` are of its train and test part."""

    torchvision: str  # name of the class
    arguments: tuple[dict[str, Any], dict[str, Any]]
    fetched: bool = True  # whether torchvision can download it


KNOWN = {
    "voc": _Known("VOCSegmentation", ({"image_set": "train"}, {"image_set": "val"})),
    "oxford_pets": _Known(
        "OxfordIIITPet",
        ({"split": "trainval", "target_types": "segmentation"}, {"split": "test", "target_types": "segmentation"}),
    ),
    "cityscapes": _Known(
        "Cityscapes",
        ({"split": "train", "target_type": "semantic"}, {"split": "val", "target_type": "semantic"}),
        fetched=False,
    ),
}


class TorchvisionMasks:
    """Pascal VOC 2012, Oxford-IIIT Pets or Cityscapes; val is carved from train.

    VOC and Cityscapes keep the masks of their test to themselves: their official val is the test here.

    Args:
        name: a key of `KNOWN`.
        root: folder of the files, as torchvision lays them out. `~` and the working directory count.
        download: whether to fetch files that are not there. Nobody may fetch Cityscapes without an account.
        image_size: see `PairReader`, as the rest.
        cache: see there.
        cache_dir: see there.

    Raises:
        UserError: if the data is not there and cannot or must not be fetched, or is damaged.
    """

    def __init__(
        self,
        name: str,
        root: str = "data",
        download: bool = False,
        image_size: int | Sequence[int] | None = None,
        cache: bool = True,
        cache_dir: str | None = None,
    ) -> None:
        if name not in KNOWN:
            raise UserError(f"dataset.name must be one of {', '.join(KNOWN)}, got {name}")
        self.name = name
        self.root = Path(root).expanduser()
        self.download = download
        self.reader = PairReader(image_size, None, "raise", cache, cache_dir)

    def load(self) -> Loaded:
        """List the files, after fetching them if need be, and read the masks."""
        known = KNOWN[self.name]
        parts = [self._open(known, arguments) for arguments in known.arguments]
        splits = {split: self._pairs(part) for split, part in zip(("train", "test"), parts, strict=True)}
        files = [self.root / name for pairs in splits.values() for pair in pairs for name in pair]
        try:
            entries = [(str(file), status.st_size, status.st_mtime_ns) for file in files for status in [file.stat()]]
        except OSError as error:
            raise UserError(f"dataset.root={self.root} lacks {error.filename}") from error
        digest = hashlib.blake2b(digested(entries), digest_size=16).hexdigest()
        return self.reader.load(Pairs(str(self.root), splits, digest), lambda train: _labels(self.name, parts[0]))

    def _pairs(self, part: Any) -> list[Pair]:
        if self.name == "oxford_pets":
            pairs = list(zip(part._images, part._segs, strict=True))
        elif self.name == "cityscapes":
            pairs = sorted((image, targets[0]) for image, targets in zip(part.images, part.targets, strict=True))
        else:
            pairs = list(zip(part.images, part.masks, strict=True))
        return [(os.path.relpath(image, self.root), os.path.relpath(mask, self.root)) for image, mask in pairs]

    def _open(self, known: _Known, arguments: dict[str, Any]) -> Any:
        """One part as torchvision's object, fetched first if it is missing and may be fetched."""
        import torchvision.datasets

        kind = getattr(torchvision.datasets, known.torchvision)
        try:
            return kind(str(self.root), **arguments)
        except (RuntimeError, OSError, ValueError) as error:  # RuntimeError: not there; the others: not whole
            if not self.download:
                remedy = ", or dataset.download=true to fetch it" if known.fetched else " after fetching it by hand"
                raise UserError(
                    f"dataset={self.name}: no data that torchvision's {known.torchvision} finds in {self.root};"
                    f" set dataset.root=DIR{remedy}"
                ) from error
        if not known.fetched:
            raise UserError(f"dataset={self.name}: it cannot be downloaded without an account; set dataset.root=DIR")
        return downloaded(self.name, kind, self.root, arguments)


def _labels(name: str, part: Any) -> Labels:
    """What the labels in the files mean."""
    if name == "voc":
        return Labels(VOC, {k: k for k in range(len(VOC))} | {255: VOID})
    if name == "oxford_pets":  # trimaps: 1 the animal, 2 the background, 3 the border, which is either
        return Labels(("background", "pet"), {1: 1, 2: 0, 3: VOID})
    classes = [entry for entry in part.classes if entry.id >= 0]
    counted = sorted((entry for entry in classes if not entry.ignore_in_eval), key=lambda entry: entry.train_id)
    index = {entry.id: VOID if entry.ignore_in_eval else entry.train_id for entry in classes}
    return Labels(tuple(entry.name for entry in counted), index)
