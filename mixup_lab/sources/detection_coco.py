"""COCO: one JSON file of instances for each split, and the folder that its pictures lie in."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mixup_lab.data.source import Loaded
from mixup_lab.files.folders import SUFFIXES, check_folder, find_files
from mixup_lab.files.keys import SPLITS
from mixup_lab.notices import say
from mixup_lab.sources.detection import Annotated, BoxSource, size_of
from mixup_lab.types import UserError

Id = int | str


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
        for split, (instances, images) in self._files.items():
            path = os.path.join(self.root, instances)
            try:
                with open(path, "rb") as file:  # json finds the encoding, and a byte order mark
                    content = json.load(file)
                own = {_id(entry["id"]): str(entry["name"]) for entry in content["categories"]}
                if split == "train":
                    categories = own
                    _check_categories(path, content["categories"])
                elif own != categories:
                    raise UserError(f"{path} has other categories than those of train: {_difference(own, categories)}")
                splits[split] = _pictures(self.root, path, content, images, categories)
            except FileNotFoundError:
                raise UserError(f"dataset.{split}_json={instances} is not below dataset.root={self.root}") from None
            except (OSError, ValueError, KeyError, TypeError) as error:
                reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
                raise UserError(f"{path} cannot be read as instances of COCO ({reason})") from error
        ids = sorted(categories, key=lambda key: (isinstance(key, str), key))
        return self.load_boxes(splits, [categories[key] for key in ids], self.problems(), ids)


def _id(value: Any) -> Id:
    """1, "1" and 1.0 are one id."""
    return value if isinstance(value, int) else int(value) if re.fullmatch(r"-?\d+(\.0*)?", str(value)) else str(value)


def _pictures(root: str, path: str, content: Any, images: str, categories: dict[Id, str]) -> list[Annotated]:
    """All pictures of one file, in its order, with their boxes."""
    pictures: dict[Id, Annotated] = {}
    listed = content["images"]
    files = find_files(os.path.join(root, images), [entry["file_name"] for entry in listed], [root], SUFFIXES)
    for entry, (file, _, _) in zip(listed, files, strict=True):
        if _id(entry["id"]) in pictures:
            raise UserError(f"{path} has the picture id {entry['id']} twice")
        name = os.path.normpath(os.path.join(images, file)).replace(os.sep, "/")
        pictures[_id(entry["id"])] = Annotated(name, size_of(entry.get("width"), entry.get("height")), [])
    crowds = 0
    for entry in content["annotations"]:
        picture, category = pictures.get(_id(entry["image_id"])), categories.get(_id(entry["category_id"]))
        if picture is None:
            raise UserError(f"{path}: annotation {entry['id']} refers to picture {entry['image_id']}, which is missing")
        if category is None:
            raise UserError(f"{path}: annotation {entry['id']} has category {entry['category_id']}, which is missing")
        if int(entry.get("iscrowd") or 0):
            crowds += 1
            continue
        left, top, width, height = map(float, entry["bbox"])
        picture.boxes.append((f"box {entry['id']}", category, left, top, left + width, top + height))
    if crowds:
        say(f"{crowds} boxes around crowds in {path} are left out")
    return list(pictures.values())


def _check_categories(path: str, entries: Sequence[Any]) -> None:
    for key, what in (("name", "category"), ("id", "category id")):
        values = [entry[key] for entry in entries]
        for value in values:
            if values.count(value) > 1 or value == "":
                raise UserError(f"{path} has the {what} {value!r} more than once, or without a name")


def _difference(own: dict[Id, str], train: dict[Id, str]) -> str:
    key = min((key for key in {*own, *train} if own.get(key) != train.get(key)), key=str)
    return f"id {key} is {own.get(key, 'missing')}, in train {train.get(key, 'missing')}"
