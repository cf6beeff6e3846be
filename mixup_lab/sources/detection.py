"""From pictures with boxes, annotated in any format, to pictures of one size with their boxes scaled alike.

Each format lists its pictures and their boxes; here the files are read, the boxes checked and scaled.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np

from mixup_lab.data.source import Loaded
from mixup_lab.files.folders import digest_of, entry_of
from mixup_lab.files.headers import Problems
from mixup_lab.files.keys import few
from mixup_lab.files.picture import STORED, UPRIGHT, Header
from mixup_lab.notices import say
from mixup_lab.sources.file_source import PictureSource
from mixup_lab.targets.boxes import Boxes
from mixup_lab.types import UserError

SLACK = 1.0  # pixels by which a box may exceed the border, such as one counted from 1; it is cut off there
ROUNDING = 0.01  # pixels by which it may do so without a word
FLAGS = {"0": False, "false": False, "unspecified": False, "1": True, "true": True}
Box = tuple[str, str, float, float, float, float]  # its name in messages, class, left, top, right, bottom


@dataclass(frozen=True)
class Annotated:
    """One picture and its boxes, in pixels of the file."""

    name: str  # path below the root
    size: tuple[int, int] | None  # width and height, if the annotation has them; see `size_of`
    boxes: list[Box]


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
    """Width and height as an annotation has them: numbers or texts; None if one is missing, 0 or negative.

    Raises:
        ValueError: for other texts.
    """
    try:
        size = int(float(width or 0)), int(float(height or 0))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"its width {width!r} and height {height!r} must be numbers") from None
    return size if min(size) > 0 else None


def is_set(name: str, flag: Any) -> bool:
    """Whether an annotation sets a flag such as `iscrowd`, which may be missing.

    Raises:
        ValueError: for anything but 0 or 1, true or false, as numbers or texts.
    """
    text = str(flag or 0).strip().lower().removesuffix(".0")
    if text not in FLAGS:
        raise ValueError(f"has the flag {name} {flag!r}, which must be 0 or 1")
    return FLAGS[text]


@dataclass(kw_only=True)
class BoxSource(PictureSource):
    """Pictures with boxes; for the keys see `PictureSource`, with one exception.

    Every picture is scaled to `image_size` as a whole, so its aspect ratio may change, and that of its boxes. None: the
    pictures must all have one size, which they keep. Pictures with an EXIF orientation are turned if the sizes in their
    annotations are those of the turned pictures; else boxes are of the pixels as they are stored. A box may reach up to
    a pixel out of its picture and is cut off there. With `on_error=skip` a box that reaches further, without area or of
    an unknown class is left out, and so is a picture that cannot be read.
    """

    def load_boxes(
        self,
        splits: dict[str, list[Annotated]],
        names: Sequence[str],
        problems: Problems,
        ids: Sequence[int | str] = (),
    ) -> Loaded:
        """Read the sizes of pictures, check and scale the boxes.

        Args:
            splits: `train`, and `val` and `test` if they exist.
            names: of the classes.
            problems: of the annotations so far.
            ids: of the classes in files of COCO; empty: 1, 2, ...

        Raises:
            UserError: for a picture that is in two splits, cannot be read or has another size than in its annotation,
                for a box outside the picture, without area or of an unknown class, and for a split without boxes.
        """
        _check_apart(self.root, splits)
        every = [picture for pictures in splits.values() for picture in pictures]
        if any(p.size is None for p in every):
            say(f"sizes that annotations of {self.root} lack are those of the pictures")
        digest = digest_of(repr([p.size for p in every]), [entry_of(self.root, p.name) for p in every])
        opened = self.open(splits, digest, problems, self._header, attrgetter("name"), crop=False)
        boxes: dict[str, list[np.ndarray]] = {}
        cut: list[str] = []
        twice: list[str] = []
        for split, pictures in opened.splits.items():
            headers = zip(pictures, opened.headers[split], strict=True)
            boxes[split] = [_boxes(self.root, *each, names, problems, cut, twice) for each in headers]
            if not any(map(len, boxes[split])):
                raise UserError(f"dataset.root={self.root} has no box in {split}: there is nothing to detect")
            if np.concatenate(boxes[split])[:, 1:].max() <= 1:
                raise UserError(
                    f"all boxes of {split} in {self.root} lie within 0..1; their edges must be in pixels, not shares of"
                    " the picture"
                )
            held = np.concatenate(boxes[split])[:, 0]
            if without := [name for k, name in enumerate(names) if k not in held]:
                say(f"{split} of {self.root} has no box of {few(without)}: those classes are not learnt or not scored")
        dropped = problems.report(f"pictures or boxes of {self.root}")
        if cut:
            say(f"{len(cut)} boxes reach up to a pixel out of their picture and are cut off there, such as {cut[0]}")
        if twice:
            say(f"{len(twice)} boxes are in their picture more than once, such as {twice[0]}: all of them are kept")
        most = max(len(rows) for listed in boxes.values() for rows in listed)
        pools = {}
        for split, pictures in opened.splits.items():
            target = np.full((len(pictures), most, 5), -1, dtype=np.float32)
            for i, rows in enumerate(boxes[split]):
                scale = np.array([*opened.shape[:0:-1]] * 2) / np.tile(opened.headers[split][i, :2], 2)
                target[i, : len(rows)] = np.hstack([rows[:, :1], rows[:, 1:] * scale])
            pools[split] = opened.pool(split, [p.name for p in pictures], target)
        kind, keep = Boxes(tuple(names), tuple(ids)), pools["train"].keep
        return Loaded.of(pools, kind, dropped=dropped, group_pattern=True, keep=keep, new=opened.new)

    def _header(self, picture: Annotated) -> Header:
        header = self.header(picture.name)
        labels = UPRIGHT | STORED if picture.size is None else header.fits(picture.size)
        if picture.size is not None and not labels:
            turned = f", turned by its EXIF orientation {header.orientation}" * (header.orientation != 1)
            raise UserError(
                f"{self.root}/{picture.name} is {header.width}x{header.height} pixels{turned}, but {picture.size[0]}x"
                f"{picture.size[1]} in its annotation"
            )
        return header._replace(labels=labels)


def _check_apart(root: str, splits: dict[str, list[Annotated]]) -> None:
    split_of: dict[str, str] = {}
    for split, pictures in splits.items():
        for picture in pictures:
            if other := split_of.get(picture.name):
                both = f"{other} and {split}" if other != split else f"{split} twice"
                raise UserError(f"{root}/{picture.name} is in {both}; a picture belongs to one split, once")
            split_of[picture.name] = split


def _boxes(
    root: str,
    picture: Annotated,
    header: np.ndarray,
    names: Sequence[str],
    problems: Problems,
    cut: list[str],
    twice: list[str],
) -> np.ndarray:
    """The usable boxes of one picture: (n, 5) of class, left, top, right, bottom in pixels of the file.

    Boxes that are cut off at the border are appended to `cut`, and those that the picture has already to `twice`.
    """
    (width, height), kept = header[:2].tolist(), []
    seen: set[tuple[str, float, float, float, float]] = set()
    for title, name, *edges in picture.boxes:
        box = f"{title} of {root}/{picture.name} ({name}, {' '.join(f'{edge:g}' for edge in edges)})"
        left, top, right, bottom = edges
        inside = [max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)]
        if name not in names:
            problems.meet(f"{box} is of an unknown class; there are {', '.join(names)}")
        elif not all(map(math.isfinite, edges)):
            problems.meet(f"{box} has edges that are not finite numbers")
        elif not (left < right and top < bottom):
            problems.meet(f"{box} has no area")
        elif min(left, top) < -SLACK or right > width + SLACK or bottom > height + SLACK:
            problems.meet(f"{box} reaches outside the picture of {width}x{height} pixels")
        elif not (inside[0] < inside[2] and inside[1] < inside[3]):
            problems.meet(f"{box} is outside the picture of {width}x{height} pixels")
        else:
            if max(abs(a - b) for a, b in zip(edges, inside, strict=True)) > ROUNDING:
                cut.append(box)
            if (name, *edges) in seen:
                twice.append(box)
            seen.add((name, edges[0], edges[1], edges[2], edges[3]))
            kept.append([names.index(name), *inside])
    return np.array(kept, dtype=np.float64).reshape(-1, 5)
