"""Pascal VOC: `JPEGImages/ID.jpg`, `Annotations/ID.xml`, and lists of IDs in `ImageSets/Main/{train,val,test}.txt`."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from mixup_lab.data.source import Loaded
from mixup_lab.files.folders import (
    SPLIT,
    SUFFIXES,
    by_stem,
    check_folder,
    files_below,
    names_of_splits,
    say_others,
    say_unlisted,
)
from mixup_lab.files.headers import Problems
from mixup_lab.files.keys import check, few
from mixup_lab.files.reasons import reason_of
from mixup_lab.notices import say
from mixup_lab.sources.detection import Annotated, Box, BoxSource, is_set, size_of
from mixup_lab.types import UserError

EDGES = ("xmin", "ymin", "xmax", "ymax")
HEADER = ("size", "source", "owner")  # elements with others inside that hold no box


@dataclass
class DetectionVOC(BoxSource):
    """Pictures with boxes in the layout of Pascal VOC (Everingham et al., 2010); for other keys see `BoxSource`.

    Edges are used as written: the first pixel is 1 in VOC's own files and 0 in those of many tools.

    Args:
        root: holds JPEGImages, Annotations and ImageSets/Main with train.txt, and val.txt and test.txt if they exist.
        classes: their names, in order. None: those that occur in train, sorted; others in val or test are an error.
        difficult: keep objects that are marked as difficult.
    """

    ROOT = "DIR to the folder of JPEGImages, Annotations and ImageSets"

    classes: Sequence[str] | None = None
    difficult: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        classes = self.classes
        right = classes is None or (len(classes) > 0 and len(set(classes)) == len(classes))
        check(right, "classes", classes, "null or names, each once")

    def load(self) -> Loaded:
        """Read lists, annotations and the sizes of pictures; the pixels follow later."""
        check_folder(self.root)
        for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
            if not os.path.isdir(os.path.join(self.root, folder)):
                raise UserError(f"dataset.root={self.root} has no folder {folder}, which Pascal VOC needs")
        found = names_of_splits(self.root, f"ImageSets/Main/{SPLIT}.txt", os.path.isfile)
        lists = {split: self._ids(name) for split, name in found.items()}
        if "train" not in lists:
            raise UserError(f"dataset.root={self.root} has no list ImageSets/Main/train.txt")
        others = Counter[str]()
        entries = sorted(files_below(os.path.join(self.root, "JPEGImages"), "JPEGImages/", SUFFIXES, others))
        files = by_stem(self.root, "JPEGImages", (name for name, _, _ in entries))
        say_others(self.root, others)
        named = [files[stem] for ids in lists.values() for i in ids if (stem := _stem(i, files)) is not None]
        say_unlisted(self.root, named, SUFFIXES, "pictures", ["JPEGImages"])
        problems, unread = self.problems(), Counter[str]()
        splits = {
            split: [p for i in ids if (p := self._picture(found[split], i, files, problems, unread)) is not None]
            for split, ids in lists.items()
        }
        if unread:
            shown = few([f"{count} <{tag}>" for tag, count in unread.most_common()])
            say(f"annotations of {self.root} have elements that are not read: {shown}; those of boxes are <object>")
        classes = self.classes or sorted({box[1] for picture in splits["train"] for box in picture.boxes})
        return self.load_boxes(splits, list(classes), problems)

    def _ids(self, name: str) -> list[str]:
        """The lines of a list."""
        path = os.path.join(self.root, "ImageSets", "Main", f"{name}.txt")
        try:
            with open(path, encoding="utf-8-sig") as file:
                ids = [line.strip() for line in file if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error
        if not ids:
            raise UserError(f"{path} lists no pictures")
        return ids

    def _picture(
        self, split: str, line: str, files: dict[str, str], problems: Problems, unread: Counter[str]
    ) -> Annotated | None:
        name = _stem(line, files)
        if name is None:
            problems.meet(f"{self.root}/JPEGImages has no picture {line}, which ImageSets/Main/{split}.txt lists")
            return None
        path = f"{self.root}/Annotations/{name}.xml"
        try:
            size, boxes = self._read(path, unread)
        except FileNotFoundError:
            problems.meet(f"{path} is missing, the annotation of {files[name]}")
            return None
        except (OSError, ElementTree.ParseError, ValueError) as error:
            problems.meet(f"{path} cannot be read as an annotation ({reason_of(path, error)})")
            return None
        return Annotated(files[name], size, boxes)

    def _read(self, path: str, unread: Counter[str]) -> tuple[tuple[int, int] | None, list[Box]]:
        """The size of the picture and its boxes, wherever in the file they are, with any namespace and letter case.

        Elements next to the objects that may hold boxes in another form are counted in `unread`.
        """
        tree = ElementTree.parse(path).getroot()
        for element in tree.iter():
            element.tag = element.tag.rpartition("}")[2].lower()
        tags = Counter(element.tag for element in tree.iter())
        if not tags["annotation"] and not tags["object"]:
            raise ValueError(f"it has no <annotation>, but <{tree.tag}>")
        for tag in ("annotation", "size"):
            if tags[tag] > 1:
                raise ValueError(f"it has {tags[tag]} <{tag}>; each file is about one picture")
        size = size_of(tree.findtext(".//size/width"), tree.findtext(".//size/height"))
        boxes: list[Box] = []
        for number, entry in enumerate(tree.iter("object"), 1):
            left, top, right, bottom = (_number(entry, f"bndbox/{edge}") for edge in EDGES)
            if self.difficult or not is_set("difficult", entry.findtext("difficult")):
                boxes.append((f"box {number}", _text(entry, "name"), left, top, right, bottom))
        if lost := tags[EDGES[0]] - tags["object"] - len(tree.findall(f".//part//{EDGES[0]}")):
            raise ValueError(f"{lost} <{EDGES[0]}> are not in <object><bndbox>")
        for element in next(tree.iter("annotation"), tree):
            if len(element) and element.tag not in HEADER and next(element.iter("object"), None) is None:
                unread[element.tag] += 1
        return size, boxes


def _stem(line: str, files: dict[str, str]) -> str | None:
    """The key of the picture that a line of a list means: a name, perhaps with folders, its ending, or a 1, 0 or -1."""
    for text in (line, re.sub(r"\s+-?[01]$", "", line)):
        path = text.replace("\\", "/").removeprefix("./").removeprefix("JPEGImages/")
        for name in (path, path.rpartition("/")[2]):
            for stem, ending in ((name, ""), os.path.splitext(name)):
                if stem in files and ending.lower() in ("", *SUFFIXES):
                    return stem
    return None


def _text(element: ElementTree.Element, path: str) -> str:
    texts = [text for own in element.findall(path) if (text := (own.text or "").strip())]
    if len(texts) != 1:
        raise ValueError(f"<{element.tag}> has {len(texts) or 'no'} {path}{', must have one' * bool(texts)}")
    return texts[0]


def _number(element: ElementTree.Element, path: str) -> float:
    text = _text(element, path)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{path} is {text!r}, which is not a number") from None
