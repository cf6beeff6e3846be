"""Well-known data sets of pictures, some with masks, that torchvision can read; most of them it can download."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.disk import locked
from mixup_lab.files import idx
from mixup_lab.files.folders import digest_of, entry_of
from mixup_lab.files.keys import check_choice
from mixup_lab.files.masks import Labels
from mixup_lab.files.pairs import Pair, Pairs
from mixup_lab.sources.new_files import pictures
from mixup_lab.sources.segmentation import MaskSource
from mixup_lab.targets.classes import Classes
from mixup_lab.types import VOID, UserError

DIGITS = tuple("0123456789")
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class _Facts:
    """Facts about a data set of pictures. Mean and std are those of its training pictures."""

    torchvision: str  # name of the class; in the MNIST family also of the folder
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...] | None = None  # None: read from the files
    family: str = "mnist"


@dataclass(frozen=True)
class _MaskFacts:
    """Facts about a data set of masks. `arguments` open its train and its test part."""

    torchvision: str  # name of the class
    arguments: tuple[dict[str, Any], dict[str, Any]]
    fetched: bool = True  # whether torchvision can download it


# Mean and std are the values in common use.
KNOWN = {
    "mnist": _Facts("MNIST", (0.1307,), (0.3081,), DIGITS),
    "fashion_mnist": _Facts(
        "FashionMNIST",
        (0.2860,),
        (0.3530,),
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "kmnist": _Facts("KMNIST", (0.1918,), (0.3483,), ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
    "cifar10": _Facts("CIFAR10", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), family="cifar"),
    "cifar100": _Facts("CIFAR100", (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), family="cifar"),
    "svhn": _Facts("SVHN", (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970), DIGITS, family="svhn"),
}
MASKS = {
    "voc": _MaskFacts("VOCSegmentation", ({"image_set": "train"}, {"image_set": "val"})),
    "oxford_pets": _MaskFacts(
        "OxfordIIITPet",
        ({"split": "trainval", "target_types": "segmentation"}, {"split": "test", "target_types": "segmentation"}),
    ),
    "cityscapes": _MaskFacts(
        "Cityscapes",
        ({"split": "train", "target_type": "semantic"}, {"split": "val", "target_type": "semantic"}),
        fetched=False,
    ),
}


class TorchvisionSet:
    """One of MNIST, Fashion-MNIST, KMNIST, CIFAR-10, CIFAR-100 and SVHN; val is carved from train.

    Args:
        name: a key of `KNOWN`.
        root: folder of the files in torchvision's layout, relative to the working directory; `~` is expanded. The four
            files of the MNIST family may also be directly in it.
        download: whether to fetch missing files. Existing files are never fetched again.

    Raises:
        UserError: if data are missing and cannot or must not be fetched, or are damaged.
    """

    def __init__(self, name: str, root: str = "data", download: bool = True) -> None:
        check_choice("name", name, KNOWN)
        self.name = name
        self.root = Path(root).expanduser()
        self.download = download

    def load(self) -> Loaded:
        """Read train and test, after fetching them if needed."""
        facts = KNOWN[self.name]
        if facts.family == "mnist":
            folder = idx.find(self.root, facts.torchvision)
            if folder is None:
                # Here torchvision only fetches; reading the files without it saves a second at every start.
                self._open(train=True)
                folder = idx.find(self.root, facts.torchvision)
            if folder is None:
                raise UserError(f"dataset.root={self.root} lacks some of the four files *-ubyte of {self.name}")
            pools = [ArrayPool(*idx.read_part(folder, part)) for part in ("train", "test")]
            class_names = facts.class_names
        else:
            sets = [self._open(train) for train in (True, False)]
            pools = [_pool(facts.family, opened) for opened in sets]
            class_names = facts.class_names or tuple(sets[0].classes)
        assert class_names is not None
        new = pictures(pools[0].shape)
        return Loaded(pools[0], None, pools[1], Classes(class_names), facts.mean, facts.std, new=new)

    def _open(self, train: bool) -> Any:
        arguments = {"split": "train" if train else "test"} if self.name == "svhn" else {"train": train}
        return _opened(self.name, KNOWN[self.name].torchvision, self.root, arguments, self.download, True)


class TorchvisionMasks:
    """Pascal VOC 2012, Oxford-IIIT Pets or Cityscapes; val is carved from train.

    The test masks of VOC and Cityscapes are not public, so the official val is the test here.

    Args:
        name: a key of `MASKS`.
        root: folder of the files in torchvision's layout, relative to the working directory; `~` is expanded.
        download: whether to fetch missing files. Cityscapes needs an account and is fetched by hand.
        image_size: see `PictureSource`, also for the rest.
        cache: likewise.
        cache_dir: likewise.

    Raises:
        UserError: if data are missing and cannot or must not be fetched, or are damaged.
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
        check_choice("name", name, MASKS)
        self.name = name
        self.root = Path(root).expanduser()
        self.download = download
        self.reader = MaskSource(root, image_size=image_size, cache=cache, cache_dir=cache_dir)

    def load(self) -> Loaded:
        """List the files, after fetching them if needed, and read the masks."""
        facts = MASKS[self.name]
        parts = [
            _opened(self.name, facts.torchvision, self.root, arguments, self.download, facts.fetched)
            for arguments in facts.arguments
        ]
        splits = {split: self._pairs(part) for split, part in zip(("train", "test"), parts, strict=True)}
        entries = [entry_of(str(self.root), name) for pairs in splits.values() for pair in pairs for name in pair]
        for name, size, _ in entries:
            if size < 0:
                raise UserError(f"dataset.root={self.root} lacks {name}")
        pairs = Pairs(str(self.root), splits, digest_of(entries))
        loaded = self.reader.load_pairs(pairs, lambda *_: _labels(self.name, parts[0]), self.reader.problems())
        return replace(loaded, group_pattern=False)

    def _pairs(self, part: Any) -> list[Pair]:
        if self.name == "oxford_pets":
            pairs = list(zip(part._images, part._segs, strict=True))
        elif self.name == "cityscapes":
            pairs = sorted((image, targets[0]) for image, targets in zip(part.images, part.targets, strict=True))
        else:
            pairs = list(zip(part.images, part.masks, strict=True))
        return [(os.path.relpath(image, self.root), os.path.relpath(mask, self.root)) for image, mask in pairs]


def _opened(
    name: str, torchvision_name: str, root: Path, arguments: dict[str, Any], download: bool, fetched: bool
) -> Any:
    """One part of a data set as torchvision's object, downloaded if missing; `fetched`: whether torchvision can do so.

    Raises:
        UserError: if it is missing and cannot or must not be fetched, or is damaged.
    """
    import torchvision.datasets

    kind = getattr(torchvision.datasets, torchvision_name)
    try:
        return kind(str(root), download=False, **arguments) if fetched else kind(str(root), **arguments)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:  # RuntimeError: missing or incomplete
        if not (download and fetched):
            remedy = ", or dataset.download=true to fetch it" if fetched else " after fetching it by hand"
            reason = "" if isinstance(error, RuntimeError) else f" that can be read ({error})"
            raise UserError(f"dataset={name}: no data in {root}{reason}; set dataset.root=DIR{remedy}") from error
    try:
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / ".download.lock"):  # runs of a sweep may start together; the next one finds the files
            return kind(str(root), download=True, **arguments)
    except (OSError, RuntimeError, EOFError, HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"dataset={name}: not in {root} and the download failed ({reason}); set dataset.root=DIR to the folder of"
            " the files"
        ) from error


def _pool(family: str, opened: Any) -> ArrayPool:
    """(N, C, H, W) from torchvision's arrays: CIFAR keeps (N, H, W, C), SVHN (N, C, H, W). In memory: channels last."""
    images, target = (
        (opened.data, opened.targets) if family == "cifar" else (opened.data.transpose(0, 2, 3, 1), opened.labels)
    )
    return ArrayPool(np.ascontiguousarray(images).transpose(0, 3, 1, 2), np.asarray(target, dtype=np.int64))


def _labels(name: str, part: Any) -> Labels:
    """The class of each label in the files."""
    if name == "voc":
        return Labels(VOC, {k: k for k in range(len(VOC))} | {255: VOID})
    if name == "oxford_pets":  # trimaps: 1 the animal, 2 the background, 3 the border, which is either
        return Labels(("background", "pet"), {1: 1, 2: 0, 3: VOID})
    classes = [entry for entry in part.classes if entry.id >= 0]
    counted = sorted((entry for entry in classes if not entry.ignore_in_eval), key=lambda entry: entry.train_id)
    index = {entry.id: VOID if entry.ignore_in_eval else entry.train_id for entry in classes}
    return Labels(tuple(entry.name for entry in counted), index)
