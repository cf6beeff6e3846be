"""Generated pictures with boxes, as the trees that the sources read, and a training on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.trainings import Training, config_of
from mixup_lab.config.assemble import assemble
from mixup_lab.runs.log import RunLog
from mixup_lab.runs.progress import ProgressView
from mixup_lab.runs.record import Record
from mixup_lab.runs.tensorboard import TensorBoardView
from mixup_lab.training.fit import Fit

COLOURS = {"bar": (220, 40, 40), "dot": (40, 60, 220)}
SIDE = 40

Picture = tuple[np.ndarray, list[tuple[str, int, int, int, int]]]


def rectangles(count: int, seed: int) -> list[Picture]:
    """Pictures of 40x40 with noise and, in each half, a wide red bar, a small blue dot or nothing, and their boxes."""
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        pixels = rng.integers(90, 150, (SIDE, SIDE, 3)).astype(np.uint8)
        boxes = []
        for half in range(2):
            name = ("bar", "dot", None)[rng.integers(0, 3) if half else rng.integers(0, 2)]
            if name is None:
                continue
            width, height = (int(rng.integers(13, 18)), 7) if name == "bar" else (8, 8)
            left = half * SIDE // 2 + int(rng.integers(0, SIDE // 2 - width + 1))
            top = int(rng.integers(0, SIDE - height + 1))
            pixels[top : top + height, left : left + width] = COLOURS[name]
            boxes.append((name, left, top, left + width, top + height))
        pictures.append((pixels, boxes))
    return pictures


def annotation(size: tuple[int, int], boxes: list[tuple]) -> str:
    """What an XML file of Pascal VOC says; `size` is width and height."""
    objects = "".join(
        f"<object><name>{name}</name><difficult>{1 if rest else 0}</difficult><bndbox><xmin>{left}</xmin>"
        f"<ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for name, left, top, right, bottom, *rest in boxes
    )
    return f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{objects}</annotation>"


def voc_tree(root: Path, splits: dict[str, list[Picture]]) -> Path:
    """Write a tree of Pascal VOC; pictures are named SPLIT0, SPLIT1, ..."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for split, pictures in splits.items():
        for i, (pixels, boxes) in enumerate(pictures):
            Image.fromarray(pixels).save(root / f"JPEGImages/{split}{i}.png")
            height, width = pixels.shape[:2]
            (root / f"Annotations/{split}{i}.xml").write_text(annotation((width, height), boxes))
        names = "".join(f"{split}{i}\n" for i in range(len(pictures)))
        (root / f"ImageSets/Main/{split}.txt").write_text(names)
    return root


def coco_tree(root: Path, splits: dict[str, list[Picture]], categories: dict[int, str]) -> Path:
    """Write pictures and SPLIT.json as COCO has them; the ids of pictures begin at 100."""
    ids = {name: key for key, name in categories.items()}
    for split, pictures in splits.items():
        (root / split).mkdir(parents=True)
        images, annotations = [], []
        for i, (pixels, boxes) in enumerate(pictures):
            Image.fromarray(pixels).save(root / f"{split}/{i}.png")
            height, width = pixels.shape[:2]
            images.append({"id": 100 + i, "file_name": f"{i}.png", "width": width, "height": height})
            for name, left, top, right, bottom in boxes:
                box = [left, top, right - left, bottom - top]
                entry = {"id": len(annotations) + 1, "image_id": 100 + i, "category_id": ids[name], "bbox": box}
                annotations.append({**entry, "iscrowd": 0})
        named = [{"id": key, "name": name} for key, name in categories.items()]
        content = {"images": images, "annotations": annotations, "categories": named}
        (root / f"{split}.json").write_text(json.dumps(content))
    return root


SMALL = (
    "dataset=detection_voc", "dataset.cache=false", "model=dense_detector", "model.backbone=small", "model.width=16",
    "optimizer=adamw", "optimizer.lr=0.005", "trainer.batch_size=8", "trainer.progress=none",
    "trainer.malloc=default", "trainer.device=cpu",
)  # fmt: skip


class DetectorTraining(Training):
    """A training of a small detector on a tree of Pascal VOC."""

    def __init__(self, run_dir: Path, root: Path, *overrides: str, resume: bool = False) -> None:
        self.run_dir = run_dir
        self.fit = Fit(assemble(config_of(*SMALL, f"dataset.root={root}", *overrides), "fingerprint"), run_dir)
        if resume:
            self.fit.resume()
        self.log = RunLog(Record(run_dir, resume=resume), TensorBoardView(run_dir), ProgressView())
        if not resume:
            self.log.record.event("start", arm="arm", seed=0)
