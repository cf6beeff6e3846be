"""Pascal VOC: `JPEGImages/ID.jpg`, `Annotations/ID.xml`, and lists of IDs in `ImageSets/Main/{train,val,test}.txt`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from xml.etree import ElementTree

from mixup_lab.data.source import Loaded
from mixup_lab.files.folders import SUFFIXES, check_folder
from mixup_lab.sources.detection import Annotated, Problems, Settings, load_boxes
from mixup_lab.types import UserError

SPLITS = ("train", "val", "test")
EDGES = ("xmin", "ymin", "xmax", "ymax")


class DetectionVOC:
    """Pictures with boxes in the layout of Pascal VOC (Everingham et al., 2010).

    Every picture is scaled to `image_size` whole, so its aspect may change, and its boxes with it. Edges are taken as
    they are written; the first pixel, 1 in VOC's own files, is 0 in those of many tools, and that pixel is not undone.

    Args:
        root: holds JPEGImages, Annotations and ImageSets/Main with train.txt; val.txt and test.txt are used if there.
        classes: names in their order. None: those that occur in train, sorted; other ones in val or test are an error.
        difficult: whether objects that are marked as difficult count as others do; else they are left out.
        image_size: see `detection.Settings`, as the rest.
        channels: likewise.
        on_error: at a missing or unreadable file, or a box outside the picture, without area or of an unknown class:
            `raise` stops and names it, `skip` leaves that picture or box out and counts it.
        cache: likewise.
        cache_dir: likewise.
    """

    def __init__(
        self,
        root: str,
        classes: Sequence[str] | None = None,
        difficult: bool = True,
        image_size: Sequence[int] | None = None,
        channels: int | None = None,
        on_error: str = "raise",
        cache: bool = True,
        cache_dir: str | None = None,
    ) -> None:
        self.root = os.path.expanduser(root)
        if classes is not None and (not classes or len(set(classes)) != len(classes)):
            raise UserError(f"dataset.classes must be null or names, each once, got {list(classes)}")
        self.classes = classes
        self.difficult = difficult
        self.settings = Settings(self.root, image_size, channels, on_error, cache, cache_dir)

    def load(self) -> Loaded:
        """Read lists and annotations and look at the pictures; the pixels follow when they are asked for."""
        check_folder(self.root)
        for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
            if not os.path.isdir(os.path.join(self.root, folder)):
                raise UserError(f"dataset.root={self.root} has no folder {folder}, as Pascal VOC has")
        lists = {split: ids for split in SPLITS if (ids := self._ids(split)) is not None}
        if "train" not in lists:
            raise UserError(f"dataset.root={self.root} has no list ImageSets/Main/train.txt")
        names = os.listdir(os.path.join(self.root, "JPEGImages"))
        files = {os.path.splitext(n)[0]: f"JPEGImages/{n}" for n in sorted(names) if n.lower().endswith(SUFFIXES)}
        problems = Problems(self.settings.on_error)
        splits = {
            split: [picture for i in ids if (picture := self._picture(split, i, files, problems)) is not None]
            for split, ids in lists.items()
        }
        classes = self.classes or sorted({box[1] for picture in splits["train"] for box in picture.boxes})
        return load_boxes(self.settings, splits, list(classes), problems)

    def _ids(self, split: str) -> list[str] | None:
        path = os.path.join(self.root, "ImageSets", "Main", f"{split}.txt")
        try:
            with open(path, encoding="utf-8") as file:
                ids = [line.split()[0] for line in file if line.strip()]
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error
        if not ids:
            raise UserError(f"{path} names no picture")
        return ids

    def _picture(self, split: str, name: str, files: dict[str, str], problems: Problems) -> Annotated | None:
        if name not in files:
            problems.meet(f"{self.root}/JPEGImages has no picture {name}, which ImageSets/Main/{split}.txt names")
            return None
        path = f"{self.root}/Annotations/{name}.xml"
        try:
            tree = ElementTree.parse(path).getroot()
            size = tuple(int(float(_text(tree, f"size/{side}"))) for side in ("width", "height"))
            boxes = []
            for number, entry in enumerate(tree.findall("object"), 1):
                if not self.difficult and (entry.findtext("difficult") or "0").strip() == "1":
                    continue
                left, top, right, bottom = (float(_text(entry, f"bndbox/{edge}")) for edge in EDGES)
                boxes.append((f"box {number}", _text(entry, "name"), left, top, right, bottom))
        except FileNotFoundError:
            problems.meet(f"{path} is missing, the annotation of {files[name]}")
            return None
        except (OSError, ElementTree.ParseError, ValueError) as error:
            problems.meet(f"{path} cannot be read as an annotation ({error})")
            return None
        return Annotated(files[name], (size[0], size[1]), boxes)


def _text(element: ElementTree.Element, path: str) -> str:
    found = (element.findtext(path) or "").strip()
    if not found:
        raise ValueError(f"<{element.tag}> has no {path}")
    return found
