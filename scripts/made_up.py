"""Synthetic data of every kind for `bench.py` and `check_gpu.py`.

Each function writes `count` examples, drawn from a fixed seed, into a new folder and returns the words that make it the
dataset of a command line.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def pictures(folder: Path, count: int) -> list[str]:
    """Small JPEG files of CIFAR's size in ten classes, ROOT/train/CLASS/*.jpg, and a tenth as many to test on."""
    rng = np.random.default_rng(0)
    for split, size in (("train", count), ("test", max(10, count // 10))):
        for k in range(10):
            (folder / split / f"class{k}").mkdir(parents=True)
        for i in range(size):
            small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            small.resize((32, 32)).save(folder / split / f"class{i % 10}" / f"{i}.jpg", quality=90)
    return ["dataset=image_folder", f"dataset.root={folder}"]


def table(folder: Path, count: int) -> list[str]:
    """Rows of 20 numbers and 2 categories in two classes."""
    rng = np.random.default_rng(0)
    numbers, kinds = rng.normal(size=(count, 20)), rng.integers(0, 8, (count, 2))
    target = (numbers[:, :5].sum(1) + kinds[:, 0] > 3).astype(int)
    head = [*(f"x{k}" for k in range(20)), "a", "b", "y"]
    rows = ([*(f"{value:.4f}" for value in row), f"kind{a}", f"kind{b}", f"class{y}"]
            for row, (a, b), y in zip(numbers, kinds, target, strict=True))  # fmt: skip
    return ["dataset=table", f"dataset.root={_csv(folder, head, rows)}", "dataset.target=y"]


def numbers(folder: Path, count: int) -> list[str]:
    """Rows of 3 numbers and a category; the target is a number."""
    rng = np.random.default_rng(0)
    rows = ([*(f"{value:.4f}" for value in x), ("red", "blue")[i % 2], f"{2 * x[0] - x[1] + 0.1 * rng.normal():.4f}"]
            for i, x in enumerate(rng.normal(size=(count, 3))))  # fmt: skip
    return ["dataset=table", f"dataset.root={_csv(folder, ['a', 'b', 'c', 'colour', 'y'], rows)}", "dataset.target=y"]


def tags(folder: Path, count: int) -> list[str]:
    """Rows of 3 numbers with two tags each."""
    values = np.random.default_rng(0).normal(size=(count, 3))
    rows = ([*(f"{value:.4f}" for value in x), str(int(x[0] > 0)), str(int(x[1] + x[2] > 0))] for x in values)
    root = _csv(folder, ["a", "b", "c", "p", "q"], rows)
    return ["dataset=table", f"dataset.root={root}", "dataset.target=[p,q]"]


def texts(folder: Path, count: int) -> list[str]:
    """Texts of 5 to 50 words in two classes."""
    rng = np.random.default_rng(0)
    rows = ([" ".join(f"w{word}" for word in rng.integers(0, 8000, rng.integers(5, 51))), "ab"[i % 2]]
            for i in range(count))  # fmt: skip
    return ["dataset=text_table", f"dataset.root={_csv(folder, ['text', 'label'], rows)}"]


def sounds(folder: Path, count: int) -> list[str]:
    """Noisy tones of half a second in two classes."""
    import soundfile

    rng, seconds = np.random.default_rng(0), np.arange(4000) / 8000
    for i in range(count):
        path = folder / "train" / ("low", "high")[i % 2] / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = 0.3 * np.sin(2 * np.pi * (300 + 500 * (i % 2)) * seconds) + 0.1 * rng.normal(size=4000)
        soundfile.write(path, tone, 8000)
    return ["dataset=audio_folder", f"dataset.root={folder}"]


def masks(folder: Path, count: int, size: tuple[int, int] = (180, 240)) -> list[str]:
    """Pictures of 11 classes in squares of 20 pixels, with a mask each; `size` is height and width."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / "train" / kind).mkdir(parents=True)
    for i in range(count):
        squares = rng.integers(0, 11, (-(-size[0] // 20), -(-size[1] // 20)), dtype=np.uint8)
        mask = np.kron(squares, np.ones((20, 20), np.uint8))[: size[0], : size[1]]
        pixels = (20 * mask + rng.integers(0, 30, mask.shape)).astype(np.uint8)
        Image.fromarray(mask).save(folder / "train" / "masks" / f"{i}.png")
        Image.fromarray(pixels).convert("RGB").save(folder / "train" / "images" / f"{i}.png")
    return ["dataset=segmentation_folder", f"dataset.root={folder}"]


def boxes(folder: Path, count: int) -> list[str]:
    """Pictures of 64x64 with one or two coloured rectangles, as Pascal VOC has them."""
    rng = np.random.default_rng(0)
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for i in range(count):
        pixels, objects = rng.integers(90, 150, (64, 64, 3)).astype(np.uint8), ""
        for half in range(1 + i % 2):
            kind, (width, height) = int(rng.integers(2)), rng.integers(10, 24, 2)
            left, top = 32 * half + int(rng.integers(0, 32 - width)), int(rng.integers(0, 64 - height))
            pixels[top : top + height, left : left + width] = ((220, 40, 40), (40, 60, 220))[kind]
            objects += (
                f"<object><name>{('red', 'blue')[kind]}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
                f"<xmax>{left + width}</xmax><ymax>{top + height}</ymax></bndbox></object>"
            )
        Image.fromarray(pixels).save(folder / "JPEGImages" / f"{i}.png")
        size = "<size><width>64</width><height>64</height></size>"
        (folder / "Annotations" / f"{i}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    (folder / "ImageSets" / "Main" / "train.txt").write_text("".join(f"{i}\n" for i in range(count)))
    return ["dataset=detection_voc", f"dataset.root={folder}"]


def _csv(folder: Path, head: list[str], rows) -> Path:
    folder.mkdir(parents=True)
    path = folder / "rows.csv"
    path.write_text("".join(",".join(row) + "\n" for row in (head, *rows)))
    return path
