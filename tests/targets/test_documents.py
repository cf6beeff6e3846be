"""Masks and boxes that `predict` writes: in the pixels of the pictures, and read again as those of training are."""

import io
import json

import numpy as np
import pytest
from helpers.detection_examples import coco_tree
from PIL import Image
from scipy.ndimage import map_coordinates

from mixup_lab.files.masks import Labels, binary_labels, decode_mask, known_labels
from mixup_lab.files.picture import view_of
from mixup_lab.sources.detection_coco import DetectionCOCO
from mixup_lab.targets.pixels import Pixels
from mixup_lab.targets.target import Shown
from mixup_lab.types import VOID, UserError, View

NAMES = ("background", "cat", "dog")


def image_of(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def whole(size: int) -> View:
    return View((size, size), (0.0, 0.0), (1.0, 1.0))


def chances(seed: int, high: int, wide: int) -> np.ndarray:
    maps = np.random.default_rng(seed).random((len(NAMES), high, wide), dtype=np.float32)
    return maps / maps.sum(0)


@pytest.mark.parametrize(
    ("size", "seen", "steps"),
    [((48, 24), ((12, 36), (0, 24)), 2), ((12, 30), ((0, 12), (9, 21)), 1), ((600, 600), ((0, 600), (0, 600)), 50)],
)
def test_masks_are_interpolated_to_the_part_that_the_model_saw(size, seen, steps, tmp_path):
    Image.new("RGB", size).save(tmp_path / "a.png")
    maps = chances(0, 12, 12)
    view = view_of(str(tmp_path / "a.png"), (3, 12, 12))
    ((name, content),) = Pixels(NAMES).documents(maps[None], [Shown("sub/a.b.png", view)])
    assert name == "sub/a.b.png"
    (left, right), (top, bottom) = seen
    rows, columns = ((np.arange(end - start) + 0.5) / steps - 0.5 for start, end in ((top, bottom), (left, right)))
    places = np.meshgrid(rows, columns, indexing="ij")
    expected = np.full(size[::-1], VOID)
    sampled = [map_coordinates(plane, places, order=1, mode="nearest") for plane in maps]
    expected[top:bottom, left:right] = np.argmax(sampled, axis=0)
    assert (np.asarray(image_of(content)) != expected).mean() < 1e-3  # ties


def test_a_mask_is_that_of_training_again(tmp_path):
    true = np.random.default_rng(0).integers(0, 3, (12, 12))
    maps = np.eye(3, dtype=np.float32)[true].transpose(2, 0, 1)
    for size in ((12, 12), (24, 24), (24, 50), (70, 36)):
        Image.new("RGB", size).save(tmp_path / "a.jpg")
        view = view_of(str(tmp_path / "a.jpg"), (3, 12, 12))
        ((_, content),) = Pixels(NAMES).documents(maps[None], [Shown("a.jpg", view)])
        (tmp_path / "a.png").write_bytes(content)
        assert np.array_equal(decode_mask(str(tmp_path / "a.png"), 12, 12), true)
    colours = np.unique(np.asarray(image_of(content).convert("RGB")).reshape(-1, 3), axis=0)
    assert len(colours) == 4  # the classes and void
    assert not colours[0].any()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (known_labels(NAMES, []), (0, 1, 2, 255)),
        (known_labels(("background", "edge", "cat", "dog"), [1]), (0, 2, 3, 1)),
        (binary_labels(("ground", "cell"), []), (0, 1, 255)),
        (binary_labels(("ground", "cell"), [1, 9]), (0, 2, 1)),
        (Labels(("a", "b"), {255: 0, 7: 1, 11: 1, 900: VOID}), (255, 7, 900)),
        (Labels(("a", "b"), {255: 0, 0: 1}), (255, 0, 1)),
    ],
)
def test_labels_are_those_of_the_files_of_training(labels, expected, tmp_path):
    assert labels.written == expected
    count = len(labels.names)
    kind = Pixels(labels.names, labels.written)
    true = np.arange(16).reshape(4, 4) % count
    maps = np.eye(count, dtype=np.float32)[true].transpose(2, 0, 1)
    ((_, content),) = kind.documents(maps[None], [Shown("a.png", View((6, 4), (1, 0), (1, 1)))])
    (tmp_path / "a.png").write_bytes(content)
    read = decode_mask(str(tmp_path / "a.png"), 4, 6)
    assert set(read[:, [0, 5]].flat) == {expected[-1]}
    assert np.array_equal(labels.apply(read[None, :, 1:5], ["a.png"])[0], true)


def test_two_pictures_of_one_name_are_told():
    shown = [Shown(name, whole(2)) for name in ("a/1.jpg", "b/1.jpg", "a/1.png")]
    with pytest.raises(UserError, match=r"a/1.jpg and a/1.png would both be written to a/1.png"):
        next(Pixels(NAMES).documents(np.zeros((3, 3, 2, 2), np.float32), shown))


def test_boxes_are_those_of_the_annotation_again(tmp_path):
    pytest.importorskip("pycocotools")
    rng = np.random.default_rng(0)
    pictures = [
        (rng.integers(0, 255, (high, wide, 3), dtype=np.uint8), [("cat", 3, 5, wide - 2, 20), ("dog", 0, 0, 9, high)])
        for high, wide in ((40, 60), (33, 21), (50, 50))
    ]
    coco_tree(tmp_path, {"train": pictures}, {3: "cat", 8: "dog"})

    def load(name: str):
        return DetectionCOCO(
            str(tmp_path), train_json=name, train_images="train", image_size=[32, 48], cache=False
        ).load()

    loaded = load("train.json")
    kind, target = loaded.kind, loaded.train.target
    found = np.full((3, 100, 6), -1.0, dtype=np.float32)
    found[:, :2, 0], found[:, :2, 2:] = target[..., 0], target[..., 1:]
    found[:, :2, 1] = 0.75
    found[0, 2] = (1, 0.5, 7, 7, 7, 9)  # no area
    shown = [Shown(f"{i}.png", view_of(str(tmp_path / f"train/{i}.png"), (3, 32, 48), True)) for i in range(3)]
    ((name, content),) = kind.documents(found, shown)
    assert name == ""
    (tmp_path / "found.json").write_bytes(content)
    again = load("found.json")
    np.testing.assert_allclose(again.train.target, target, atol=2e-3)
    assert json.loads(content)["categories"] == [{"id": 3, "name": "cat"}, {"id": 8, "name": "dog"}]
    assert {box["score"] for box in json.loads(content)["annotations"]} == {0.75}
