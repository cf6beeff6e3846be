"""COCO: one JSON file of instances for each split, and the folder that its pictures lie in."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from mixup_lab.data.source import Loaded
from mixup_lab.files.folders import check_folder
from mixup_lab.notices import say
from mixup_lab.sources.detection import Annotated, Problems, Settings, load_boxes
from mixup_lab.types import UserError


class DetectionCOCO:
    """Pictures with boxes in the format of COCO instances (Lin et al., 2014).

    Every picture is scaled to `image_size` whole, so its aspect may change, and its boxes with it. Pictures without
    boxes count as such. Boxes around crowds (`iscrowd`) are left out of all splits, which a line says.

    Args:
        root: folder that the other paths are below.
        train_json: instances of train, below root.
        train_images: folder of its pictures, below root; `.` for root itself.
        val_json: of val, or None: val is carved from train.
        val_images: see train_images.
        test_json: of test, or None: test is carved from train.
        test_images: see train_images.
        image_size: see `detection.Settings`, as the rest.
        channels: likewise.
        on_error: at a missing or unreadable picture, or a box outside the picture or without area: `raise` stops and
            names it, `skip` leaves that picture or box out and counts it.
        cache: likewise.
        cache_dir: likewise.
    """

    def __init__(
        self,
        root: str,
        train_json: str,
        train_images: str,
        val_json: str | None = None,
        val_images: str | None = None,
        test_json: str | None = None,
        test_images: str | None = None,
        image_size: Sequence[int] | None = None,
        channels: int | None = None,
        on_error: str = "raise",
        cache: bool = True,
        cache_dir: str | None = None,
    ) -> None:
        self.root = os.path.expanduser(root)
        self.files: dict[str, tuple[str, str]] = {}
        for split, instances, images in (
            ("train", train_json, train_images),
            ("val", val_json, val_images),
            ("test", test_json, test_images),
        ):
            if (instances is None) != (images is None):
                missing = "json" if instances is None else "images"
                raise UserError(f"dataset.{split}_{missing} must be given too, or neither of {split}_json and _images")
            if instances is not None and images is not None:
                self.files[split] = instances, images
        self.settings = Settings(self.root, image_size, channels, on_error, cache, cache_dir)

    def load(self) -> Loaded:
        """Read the annotations and look at the pictures; the pixels follow when they are asked for."""
        check_folder(self.root)
        problems = Problems(self.settings.on_error)
        splits: dict[str, list[Annotated]] = {}
        categories: dict[int, str] = {}
        for split, (instances, images) in self.files.items():
            path = os.path.join(self.root, instances)
            try:
                with open(path, encoding="utf-8") as file:
                    content = json.load(file)
                found = {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
                if split == "train":
                    categories = found
                    _check_categories(path, content["categories"])
                elif found != categories:
                    raise UserError(
                        f"{path} has other categories than those of train: {_difference(found, categories)}"
                    )
                splits[split] = _pictures(path, content, images, categories)
            except FileNotFoundError:
                raise UserError(f"dataset.{split}_json={instances} is not below dataset.root={self.root}") from None
            except (OSError, ValueError, KeyError, TypeError) as error:
                reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
                raise UserError(f"{path} cannot be read as instances of COCO ({reason})") from error
        return load_boxes(self.settings, splits, [categories[key] for key in sorted(categories)], problems)


def _pictures(path: str, content: Any, images: str, categories: dict[int, str]) -> list[Annotated]:
    """All pictures of one file in its order, with their boxes."""
    pictures: dict[Any, Annotated] = {}
    for entry in content["images"]:
        if entry["id"] in pictures:
            raise UserError(f"{path} has the picture id {entry['id']} twice")
        name = os.path.normpath(os.path.join(images, entry["file_name"])).replace(os.sep, "/")
        pictures[entry["id"]] = Annotated(name, (int(entry["width"]), int(entry["height"])), [])
    crowds = 0
    for entry in content["annotations"]:
        if entry["image_id"] not in pictures:
            raise UserError(f"{path}: annotation {entry['id']} is of picture {entry['image_id']}, which is not there")
        if entry["category_id"] not in categories:
            raise UserError(f"{path}: annotation {entry['id']} is of category {entry['category_id']}, not listed")
        if entry.get("iscrowd"):
            crowds += 1
            continue
        left, top, width, height = map(float, entry["bbox"])
        box = f"box {entry['id']}", categories[entry["category_id"]], left, top, left + width, top + height
        pictures[entry["image_id"]].boxes.append(box)
    if crowds:
        say(f"{crowds} boxes around crowds in {path} are left out")
    return list(pictures.values())


def _check_categories(path: str, entries: Sequence[Any]) -> None:
    names = [entry["name"] for entry in entries]
    for name in names:
        if names.count(name) > 1 or not name:
            raise UserError(f"{path} has the category {name!r} more than once, or without a name")


def _difference(found: dict[int, str], wanted: dict[int, str]) -> str:
    keys = [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
    key = keys[0]
    return f"id {key} is {found.get(key, 'missing')}, in train {wanted.get(key, 'missing')}"
