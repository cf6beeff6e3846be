"""Small folders of pictures and masks that the tests of segmentation share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mixup_lab.targets.pixels import Segmentation

NAMES = ("ground", "red", "blue")


def shapes(count: int, seed: int, size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Red and blue rectangles on noise: pictures uint8 (count, size, size, 3), masks uint8 (count, size, size)."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(60, 150, (count, size, size, 3), dtype=np.uint8)
    masks = np.zeros((count, size, size), dtype=np.uint8)
    for picture, mask in zip(pictures, masks, strict=True):
        for kind in (1, 2):
            high, wide = rng.integers(size // 4, size // 2, 2)
            top, left = rng.integers(0, size - high), rng.integers(0, size - wide)
            place = slice(top, top + high), slice(left, left + wide)
            mask[place] = kind
            picture[place] = rng.integers(0, 60, (high, wide, 3))
            picture[(*place, 0 if kind == 1 else 2)] = rng.integers(180, 255, (high, wide))
    return pictures, masks


def predictions(split: str, logits: np.ndarray, masks: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a split in `predictions.npz`, from logits (N, C, H, W) and masks (N, H, W)."""
    kept = Segmentation(logits.shape[1]).observe(torch.from_numpy(logits), torch.from_numpy(masks))
    return {f"{split}_{key}": array.numpy() for key, array in kept.items()} | {f"{split}_id": np.arange(len(masks))}


def save(path: Path, pixels: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def write(root: Path, split: str, pictures: np.ndarray, masks: np.ndarray) -> Path:
    """As ROOT/split/images/N.png and ROOT/split/masks/N.png."""
    for number, (picture, mask) in enumerate(zip(pictures, masks, strict=True)):
        save(root / split / "images" / f"{number}.png", picture)
        save(root / split / "masks" / f"{number}.png", mask)
    return root
