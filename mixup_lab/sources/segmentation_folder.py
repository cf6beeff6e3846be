"""Pictures and masks in folders: two folders for every split, or two folders and a table of the splits."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixup_lab.data.source import Loaded
from mixup_lab.files.keys import check, few
from mixup_lab.files.masks import Labels, binary_labels, known_labels
from mixup_lab.files.pairs import Manifest, find_pairs
from mixup_lab.notices import say
from mixup_lab.sources.segmentation import MaskSource
from mixup_lab.types import VOID, UserError

HINT = (
    "; dataset.classes names the classes, dataset.void=LABEL the pixels that do not count,"
    " and dataset.binary=true makes one class of all labels but 0"
)
MANY = 20  # labels without names that may be instances


@dataclass(kw_only=True)
class SegmentationFolder(MaskSource):
    """Any pictures, each with a mask of the same name; for other keys see `PictureSource`.

    Names may differ in their suffix, and in what those of all pictures, or of all masks, have in common, such as _mask.
    `on_error=skip` also leaves out pictures without a mask, and masks without a picture.

    Metrics are computed at `image_size`, the size that the model sees, not at the size of the files.

    Args:
        images: folder of the pictures. SPLIT in it stands for train, val and test; val and test are optional. Without
            SPLIT all pictures are one pool, from which val and test are carved or which a manifest divides.
        masks: folder of the masks, likewise: files with one channel, whose values are labels of classes. In files with
            a palette the indices count.
        classes: names, that of label k at place k; or a text file with one on each line (`0 sky` or `sky`). None:
            `class 0`, `class 1`, ... up to the largest label in the masks of train, or if most of these do not occur,
            the labels that do.
        void: label or labels of pixels that do not count; their names in `classes` are dropped.
        binary: 0 is the background and every other label the foreground, as in maps of instances.
        manifest: CSV file with the split (train, val or test) of each picture.
        id_column: its column of picture names, with or without suffix.
        split_column: its column of splits.

    Raises:
        UserError: for values outside their range, and for files with another layout.
    """

    ROOT = "DIR to a folder with train/images and train/masks in it"

    images: str = "SPLIT/images"
    masks: str = "SPLIT/masks"
    classes: str | Sequence[str] | None = None
    void: int | Sequence[int] | None = None
    binary: bool = False
    manifest: str | None = None
    id_column: str = "id"
    split_column: str = "split"

    def __post_init__(self) -> None:
        super().__post_init__()
        labels = [] if self.void is None else [self.void] if isinstance(self.void, int) else list(self.void)
        right = all(type(label) is int and 0 <= label < 2**16 for label in labels)
        check(right, "void", self.void, "null, a label in 0..65535 or a list of such")
        if self.binary and 0 in labels:
            raise UserError("dataset.binary=true makes label 0 the background, so it cannot be in dataset.void")
        self._void: list[int] = labels

    def load(self) -> Loaded:
        """Find the files and read the masks; the pictures follow later."""
        manifest = None if self.manifest is None else Manifest(self.manifest, self.id_column, self.split_column)
        problems = self.problems()
        pairs = find_pairs(self.root, self.images, self.masks, manifest, problems)
        return self.load_pairs(pairs, self._labels, problems)

    def _labels(self, train: np.ndarray, paths: Sequence[str]) -> Labels:
        names = self._names()
        if self.binary:
            if names is not None and len(names) != 2:
                raise UserError(f"dataset.binary=true has two classes, dataset.classes names {len(names)}")
            self._say_soft(train)
            return binary_labels(names or ("background", "foreground"), self._void)
        if names is None:
            return self._found(train, paths)
        return known_labels(names, self._void, HINT)

    def _say_soft(self, train: np.ndarray) -> None:
        """Report values between 0 and 255, which may be soft edges, where a map of instances would have fewer."""
        held = np.bincount(train.reshape(-1)).nonzero()[0]
        between = held[(held > 0) & (held < VOID) & ~np.isin(held, self._void)].tolist()
        if between and held[-1] == VOID and VOID not in self._void:
            say(
                f"masks of train in {self.root} hold 255 and {few(list(map(str, between)))}: all are the foreground,"
                " soft edges too"
            )

    def _found(self, train: np.ndarray, paths: Sequence[str]) -> Labels:
        """The classes of the labels in train. Those that never occur count too, unless most do not."""
        held = {
            path: np.bincount(mask.reshape(-1)).nonzero()[0].tolist() for path, mask in zip(paths, train, strict=True)
        }
        counts = Counter(label for own in held.values() for label in own)
        labels = sorted(counts.keys() - set(self._void))
        shown = f"masks of train in {self.root} hold {few(list(map(str, labels)))}"
        if labels == [0, 255]:
            say(f"{shown}: 255 is the foreground, as with dataset.binary=true")
            return binary_labels(("background", "foreground"), self._void)
        rarest = min(labels, key=lambda label: (counts[label], -label), default=0)
        example = f"{rarest} as in {next((path for path, own in held.items() if rarest in own), self.root)}"
        if labels and labels[-1] == VOID:  # beyond it there are instances
            what = f"is {VOID} void (dataset.void={VOID}) or a class?{HINT.replace('; ', ' ', 1)}"
            raise UserError(f"{shown} ({example}): {what}")
        size = max(labels, default=0) + 1
        if 2 * len(labels) > size:
            missing = [str(k) for k in range(size) if k not in counts]
            if missing:
                say(f"{shown}: {few(missing)} in between {'is a class' if len(missing) == 1 else 'are classes'} too")
            elif size > MANY and not self._void:
                say(f"{shown}: {size} classes; dataset.binary=true suits maps of instances")
            return known_labels([f"class {k}" for k in range(size)], self._void, HINT)
        say(f"{shown} ({example}): these {len(labels)} labels are the classes")
        index = {label: k for k, label in enumerate(labels)} | dict.fromkeys(self._void, VOID)
        return Labels(tuple(f"class {label}" for label in labels), index, hint=HINT)

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
