"""Small sources and folders of pictures that the tests of the data room share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mixup_lab.data.prepare import Data, prepare
from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.targets.classes import Classes

COMMON: dict[str, Any] = {
    "seed": 0,
    "device": torch.device("cpu"),
    "val_fraction": 0.1,
    "test_fraction": 0.2,
    "train_size": None,
    "split_seed": None,
    "storage": "resident",
    "workers": 0,
    "mean": None,
    "std": None,
}


@dataclass(frozen=True)
class Given:
    """A source that gives what it was given."""

    loaded: Loaded

    def load(self) -> Loaded:
        return self.loaded


def prepared(source: Any, **changes: Any) -> Data:
    return prepare(source, **{**COMMON, **changes})


def array_pool(count: int, classes: int = 3, shape: tuple[int, int, int] = (3, 5, 4), seed: int = 0) -> ArrayPool:
    """Pictures whose first pixel tells their row."""
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(count) % 256
    return ArrayPool(images, np.arange(count, dtype=np.int64) % classes)


def three_pools(**kept: Any) -> Loaded:
    pools = {"train": array_pool(60), "val": array_pool(12, seed=1), "test": array_pool(18, seed=2)}
    return Loaded(**{**pools, **kept}, kind=Classes(("a", "b", "c")))


def picture(size: tuple[int, int] = (6, 5), mode: str = "RGB", seed: int = 0) -> Image.Image:
    width, height = size
    channels = {"L": (), "RGB": (3,), "RGBA": (4,), "CMYK": (4,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), dtype=np.uint8)
    return Image.frombytes(mode, size, pixels.tobytes())


def write_folder(root: Path, pictures: Mapping[str, Image.Image]) -> Path:
    """Save each picture under its path below root, such as `train/cat/1.png`."""
    for name, image in pictures.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return root


def small_folder(root: Path, splits: tuple[str, ...] = ("train",), count: int = 4, suffix: str = "png") -> Path:
    """Two classes with `count` RGB pictures of 6x5 each in every split."""
    return write_folder(
        root,
        {
            f"{split}/{name}/{i}.{suffix}": picture(seed=hash((s, c, i)) % 1000)
            for s, split in enumerate(splits)
            for c, name in enumerate(("cat", "dog"))
            for i in range(count)
        },
    )
