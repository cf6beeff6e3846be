"""Pictures and masks in folders: one folder of each for every split, or a table that says who is in which split."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np

from mixup_lab.data.source import Loaded
from mixup_lab.files.masks import Labels, binary_labels, known_labels
from mixup_lab.files.pairs import Manifest, find_pairs
from mixup_lab.sources.segmentation import PairReader, expanded
from mixup_lab.types import UserError

HINT = (
    "; dataset.classes names the classes, dataset.void=LABEL what counts nowhere,"
    " and dataset.binary=true makes one class of all labels but 0"
)


class SegmentationFolder:
    """Any pictures with a mask each, of the same name but for the suffix.

    Metrics are of pixels of the size that the model sees, see `image_size`; they are not those of the files' own size.

    Args:
        root: the folder that all other names are relative to.
        images: folder of the pictures. SPLIT in it stands for train, val and test; val and test need not be there.
            Without SPLIT all pictures are one pool that val and test are carved from, or a manifest divides it.
        masks: folder of the masks, likewise: files with one channel, whose values are labels of classes. Of a palette
            the numbers count.
        classes: names, that of label k at place k; or a text file with one on each line (`0 sky` or `sky`). None: as
            many as the masks of train have, `class 0` and so on.
        void: label or labels that count nowhere; a name that `classes` has for one is dropped.
        binary: 0 is the background and every other label the foreground, as in maps of instances.
        manifest: CSV file that says the split (train, val or test) of each picture.
        id_column: its column with the names of pictures, with suffix or without.
        split_column: its column with the splits.
        image_size: see `PairReader`, as the rest.
        channels: see there.
        on_error: see there; `skip` also leaves out pictures without a mask, and masks without a picture.
        cache: see there.
        cache_dir: see there.

    Raises:
        UserError: for values outside their range, and for files that are not laid out so.
    """

    def __init__(
        self,
        root: str | None = None,
        images: str = "SPLIT/images",
        masks: str = "SPLIT/masks",
        classes: str | Sequence[str] | None = None,
        void: int | Sequence[int] | None = None,
        binary: bool = False,
        manifest: str | None = None,
        id_column: str = "id",
        split_column: str = "split",
        image_size: int | Sequence[int] | None = None,
        channels: int | None = None,
        on_error: str = "raise",
        cache: bool = True,
        cache_dir: str | None = None,
    ) -> None:
        self.root = expanded(root, "train/images and train/masks")
        self.images, self.masks, self.classes, self.binary = images, masks, classes, binary
        labels = [] if void is None else [void] if isinstance(void, int) else list(void)
        if any(type(label) is not int or not 0 <= label < 2**16 for label in labels):
            raise UserError(f"dataset.void must be null, a label in 0..65535 or a list of such, got {void}")
        if binary and 0 in labels:
            raise UserError("dataset.binary=true makes label 0 the background, so that it cannot be in dataset.void")
        self.void: list[int] = labels
        self.manifest = None if manifest is None else Manifest(manifest, id_column, split_column)
        self.reader = PairReader(image_size, channels, on_error, cache, cache_dir)

    def load(self) -> Loaded:
        """Find the files and read the masks; the pictures follow when they are asked for."""
        pairs = find_pairs(self.root, self.images, self.masks, self.manifest, self.reader.skip)
        return self.reader.load(pairs, self._labels)

    def _labels(self, train: np.ndarray) -> Labels:
        names = self._names()
        if self.binary:
            if names is not None and len(names) != 2:
                raise UserError(f"dataset.binary=true has two classes, dataset.classes names {len(names)}")
            return binary_labels(names or ("background", "foreground"), self.void)
        if names is None:
            found = np.bincount(train.reshape(-1)).nonzero()[0]
            largest = max((int(label) for label in found if label not in self.void), default=0)
            names = [f"class {k}" for k in range(largest + 1)]
        return known_labels(names, self.void, HINT)

    def _names(self) -> list[str] | None:
        if self.classes is None or not isinstance(self.classes, str):
            return None if self.classes is None else [str(name) for name in self.classes]
        path = os.path.join(self.root, self.classes)
        try:
            with open(path, encoding="utf-8-sig") as file:
                lines = [line.strip() for line in file if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"dataset.classes={self.classes}: {path} cannot be read ({error})") from error
        numbered = [re.fullmatch(r"(\d+)[\s,:]+(.+)", line) for line in lines]
        if all(match and int(match[1]) == k for k, match in enumerate(numbered)):
            return [match[2] for match in numbered if match]
        return lines
