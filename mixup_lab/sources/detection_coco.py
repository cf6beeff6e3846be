"""COCO: one JSON file of instances for each split, and the folder that its pictures lie in."""

import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from mixup_lab.data.source import Loaded
from mixup_lab.files.folders import SUFFIXES, check_folder, find_files, say_unlisted
from mixup_lab.files.headers import Problems
from mixup_lab.files.keys import SPLITS
from mixup_lab.files.reasons import reason_of
from mixup_lab.notices import say
from mixup_lab.sources.detection import Annotated, BoxSource, is_set, size_of
from mixup_lab.types import UserError

Id = int | str
NEEDED = {  # in the entries of each list of a file
    "images": ("id", "file_name"), "annotations": ("image_id", "category_id"), "categories": ("id", "name"),
}  # fmt: skip


@dataclass
class DetectionCOCO(BoxSource):
    """Pictures with boxes in the format of COCO instances (Lin et al., 2014); for other keys see `BoxSource`.

    Pictures without boxes are kept. Boxes around crowds (`iscrowd`) are left out of all splits, which is reported.

    Args:
        train_json: file of the instances of train, below root.
        train_images: folder of its pictures, below root; `.` for root itself.
        val_json: likewise for val; None: val is carved from train.
        val_images: see train_images.
        test_json: likewise for test; None: test is carved from train.
        test_images: see train_images.
    """

    ROOT = "DIR to the folder of the instances and pictures"

    train_json: str = ""
    train_images: str = ""
    val_json: str | None = None
    val_images: str | None = None
    test_json: str | None = None
    test_images: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._files: dict[str, tuple[str, str]] = {}
        for split in SPLITS:
            instances, images = (getattr(self, f"{split}_{part}") for part in ("json", "images"))
            if (instances is None) != (images is None):
                missing = "json" if instances is None else "images"
                raise UserError(f"dataset.{split}_{missing} must be set too, or neither of {split}_json and _images")
            if instances is not None:
                self._files[split] = instances, images

    def load(self) -> Loaded:
        """Read the annotations and the sizes of pictures; the pixels follow later."""
        check_folder(self.root)
        splits: dict[str, list[Annotated]] = {}
        categories: dict[Id, str] = {}
        problems = self.problems()
        for split, (instances, images) in self._files.items():
            path = os.path.join(self.root, instances)
            try:
                with open(path, "rb") as file:  # json finds the encoding, and a byte order mark
                    content = json.load(file)
                own = _categories(content)
                if split == "train":
                    categories = own
                elif own != categories:
                    raise UserError(f"{path} has other categories than those of train: {_difference(own, categories)}")
                splits[split] = _pictures(self.root, path, content, images, categories, problems)
            except FileNotFoundError:
                raise UserError(f"dataset.{split}_json={instances} is not below dataset.root={self.root}") from None
            except (OSError, ValueError, RecursionError) as error:
                raise UserError(f"{path} cannot be read as instances of COCO ({reason_of(path, error)})") from error
        listed = [picture.name for pictures in splits.values() for picture in pictures]
        say_unlisted(self.root, listed, SUFFIXES, "pictures", [images for _, images in self._files.values()])
        ids = sorted(categories, key=lambda key: (isinstance(key, str), key))
        return self.load_boxes(splits, [categories[key] for key in ids], problems, ids)


def _id(value: Any) -> Id:
    """1, "1" and 1.0 are one id."""
    return value if isinstance(value, int) else int(value) if re.fullmatch(r"-?\d+(\.0*)?", str(value)) else str(value)


def _entries(content: Any, key: str) -> list[dict[str, Any]]:
    """One list of a file. Raises ValueError unless it is a list of objects that have what they need."""
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ValueError(f"it has no list {key!r}")
    for place, entry in enumerate(entries, 1):
        for name in NEEDED[key]:
            if not isinstance(entry, dict) or entry.get(name) is None:
                raise ValueError(f"entry {place} of {key!r} has no {name!r}")
    return entries


def _categories(content: Any) -> dict[Id, str]:
    """The name of each id, in the order of the file. Raises ValueError for names or ids that occur twice."""
    entries = _entries(content, "categories")
    found = [(_id(entry["id"]), str(entry["name"])) for entry in entries]
    for what, values in zip(("category id", "category"), zip(*found, strict=True), strict=False):
        for value, count in Counter(values).items():
            if count > 1 or value == "":
                raise ValueError(f"it has the {what} {value!r} more than once, or without a name")
    return dict(found)


def _pictures(
    root: str, path: str, content: Any, images: str, categories: dict[Id, str], problems: Problems
) -> list[Annotated]:
    """All pictures of one file, in its order, with their boxes."""
    pictures: dict[Id, Annotated] = {}
    missing: set[Id] = set()
    listed = _entries(content, "images")
    folder = os.path.join(root, images)
    files = find_files(folder, [str(entry["file_name"]) for entry in listed], [root], SUFFIXES)
    for entry, (file, size, _) in zip(listed, files, strict=True):
        if _id(entry["id"]) in pictures:
            raise ValueError(f"it has the picture id {entry['id']} twice")
        name = os.path.normpath(os.path.join(images, file)).replace(os.sep, "/")
        pictures[_id(entry["id"])] = Annotated(name, size_of(entry.get("width"), entry.get("height")), [])
        if size < 0:
            problems.meet(f"{path}: {file}, the picture {entry['id']}, is not in {folder}")
            missing.add(_id(entry["id"]))
    crowds = 0
    for place, entry in enumerate(_entries(content, "annotations"), 1):
        title = entry.get("id", f"{place} of the list")
        picture, category = pictures.get(_id(entry["image_id"])), categories.get(_id(entry["category_id"]))
        try:
            if picture is None:
                raise ValueError(f"refers to picture {entry['image_id']}, which is missing")
            if category is None:
                raise ValueError(f"has category {entry['category_id']}, which is missing")
            if is_set("iscrowd", entry.get("iscrowd")):
                crowds += 1
            else:
                picture.boxes.append((f"box {title}", category, *_edges(entry.get("bbox"))))
        except ValueError as error:
            problems.meet(f"{path}: annotation {title} {error}")
    if crowds:
        say(f"{crowds} boxes around crowds in {path} are left out")
    return [picture for key, picture in pictures.items() if key not in missing]


def _edges(box: Any) -> tuple[float, float, float, float]:
    """Left, top, right and bottom."""
    try:
        left, top, width, height = map(float, () if isinstance(box, str) else box)  # "1234" is not four numbers
    except (TypeError, ValueError):
        raise ValueError(f"has the bbox {box!r}, which must be [left, top, width, height]") from None
    return left, top, left + width, top + height


def _difference(own: dict[Id, str], train: dict[Id, str]) -> str:
    key = min((key for key in {*own, *train} if own.get(key) != train.get(key)), key=str)
    return f"id {key} is {own.get(key, 'missing')}, in train {train.get(key, 'missing')}"
