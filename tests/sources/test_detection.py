"""Object detection: sources, geometry, loss, average precision, mixing of boxes, and whole trainings."""

from __future__ import annotations

import json
import math
import re
import sys
import warnings

import numpy as np
import pytest
import torch
from helpers.cases import each
from helpers.detection_examples import SMALL, DetectorTraining, annotation, coco_tree, rectangles, voc_tree
from helpers.trainings import StopAfter, config_of
from PIL import Image
from torchvision.ops import batched_nms

from mixup_lab.config.assemble import assemble
from mixup_lab.mixing.mixer import Bound
from mixup_lab.mixing.mixup import Mixup
from mixup_lab.models.dense_detector import DenseDetector
from mixup_lab.models.torchvision_detection import TorchvisionDetection
from mixup_lab.sources.detection_coco import DetectionCOCO
from mixup_lab.sources.detection_voc import DetectionVOC
from mixup_lab.targets.average_precision import coco_average_precision
from mixup_lab.targets.boxes import Boxes, Detection, colour, union
from mixup_lab.targets.points import CELLS, Points, assign, centerness, distances, giou, grid
from mixup_lab.training.fit import Fit
from mixup_lab.training.tally import Tally
from mixup_lab.transforms.crop_flip import CropFlip
from mixup_lab.types import Labels, UserError

NAMES = ("bar", "dot")
CATEGORIES = {3: "bar", 7: "dot"}


@pytest.fixture(autouse=True)
def _pycocotools():
    pytest.importorskip("pycocotools")


def plain(height: int, width: int, *boxes):
    return np.full((height, width, 3), 100, dtype=np.uint8), list(boxes)


def real(target) -> list[list[float]]:
    return [row.tolist() for row in target if row[0] >= 0]


# ---- sources ------------------------------------------------------------------------------------------------------


def test_voc_tree_becomes_scaled_boxes(tmp_path):
    splits = {
        "train": [plain(40, 60, ("dot", 6, 8, 30, 20), ("bar", 0, 0, 60, 40)), plain(80, 60)],
        "test": [plain(40, 30, ("bar", 15, 10, 30, 40))],
    }
    loaded = DetectionVOC(str(voc_tree(tmp_path / "voc", splits)), image_size=[20, 30], cache=False).load()
    assert loaded.kind == Boxes(NAMES)
    assert (loaded.val, loaded.dropped) == (None, 0)
    assert loaded.train.target.shape == (2, 2, 5)
    assert loaded.train.target.dtype == np.float32
    assert loaded.train.shape == (3, 20, 30)
    assert real(loaded.train.target[0]) == [[1, 3, 4, 15, 10], [0, 0, 0, 30, 20]]
    assert real(loaded.train.target[1]) == []
    assert real(loaded.test.target[0]) == [[0, 15, 5, 30, 20]]
    assert list(loaded.train.names) == ["JPEGImages/train0.png", "JPEGImages/train1.png"]


def test_pictures_are_scaled_whole_and_boxes_stay_on_them(tmp_path):
    """What is inside a box keeps its colour, what is outside keeps another: nothing is cropped or exchanged."""
    pixels = np.full((60, 90, 3), 10, dtype=np.uint8)
    pixels[12:30, 36:81] = 240
    splits = {"train": [(pixels, [("bar", 36, 12, 81, 30)])]}
    loaded = DetectionVOC(str(voc_tree(tmp_path / "voc", splits)), image_size=[20, 45], cache=False).load()
    ((_, left, top, right, bottom),) = real(loaded.train.target[0])
    assert (left, top, right, bottom) == (18, 4, 40.5, 10)
    picture = loaded.train.load()[0].numpy()
    assert picture.shape == (3, 20, 45)
    bright = np.argwhere(picture[0] > 200)
    assert bright.min(0).tolist() == [4, 18]
    assert bright.max(0).tolist() == [9, 39]
    assert torch.equal(loaded.train.read(0), loaded.train.load()[0])


def test_cache_gives_the_same_pictures_and_notices_new_ones(tmp_path):
    root = voc_tree(tmp_path / "voc", {"train": rectangles(3, 0)})
    source = DetectionVOC(str(root), cache_dir=str(tmp_path / "cache"))
    first = source.load().train.load()
    assert torch.equal(source.load().train.load(), first)
    for i, (pixels, boxes) in enumerate(rectangles(3, 1)):
        Image.fromarray(pixels).save(root / f"JPEGImages/train{i}.png")
        (root / f"Annotations/train{i}.xml").write_text(annotation((40, 40), boxes))
    again = source.load().train.load()
    assert not torch.equal(again, first)
    assert torch.equal(again, DetectionVOC(str(root), cache=False).load().train.load())


def _write(root, text, name="train1"):
    (root / f"Annotations/{name}.xml").write_text(text)


BROKEN = {
    "no area": (
        lambda root: _write(root, annotation((40, 40), [("bar", 1, 1, 9, 9), ("bar", 5, 7, 5, 9)])),
        r"box 2 of .*JPEGImages/train1\.png \(bar, 5 7 5 9\) has no area",
    ),
    "outside": (
        lambda root: _write(root, annotation((40, 40), [("dot", 30, 1, 42, 9)])),
        r"box 1 of .*train1\.png \(dot, 30 1 42 9\) reaches outside the picture of 40x40 pixels",
    ),
    "no annotation": (
        lambda root: (root / "Annotations/train1.xml").unlink(),
        r"Annotations/train1\.xml is missing, the annotation of JPEGImages/train1\.png",
    ),
    "no picture": (
        lambda root: (root / "JPEGImages/train1.png").unlink(),
        r"JPEGImages has no picture train1, which ImageSets/Main/train\.txt lists",
    ),
    "damaged": (
        lambda root: (root / "JPEGImages/train1.png").write_bytes(b"no picture"),
        r"train1\.png cannot be read as a picture",
    ),
    "no xml": (lambda root: _write(root, "<annotation>"), r"train1\.xml cannot be read as an annotation"),
    "no name": (
        lambda root: _write(root, annotation((40, 40), [("", 1, 1, 9, 9)])),
        r"train1\.xml cannot be read as an annotation \(<object> has no name\)",
    ),
    "nan": (
        lambda root: _write(root, annotation((40, 40), [("bar", "nan", 1, 9, 9)])),
        r"box 1 of .*train1\.png .* has edges that are not finite numbers",
    ),
    "other size": (
        lambda root: _write(root, annotation((80, 40), [("bar", 1, 1, 9, 9)])),
        r"train1\.png is 40x40 pixels, but 80x40 in its annotation",
    ),
    "unknown class": (
        lambda root: _write(root, annotation((40, 40), [("cat", 1, 1, 9, 9)]), "test0"),
        r"box 1 of .*test0\.png \(cat, 1 1 9 9\) is of an unknown class; there are bar, dot",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_is_named_or_left_out_and_counted(case, tmp_path, capsys):
    root = voc_tree(tmp_path / "voc", {"train": rectangles(4, 0), "test": rectangles(2, 1)})
    spoil, sentence = BROKEN[case]
    spoil(root)
    with pytest.raises(UserError, match=sentence) as caught:
        DetectionVOC(str(root), cache=False).load()
    assert "dataset.on_error=skip" in str(caught.value)
    assert "\n" not in str(caught.value)
    capsys.readouterr()
    loaded = DetectionVOC(str(root), cache=False, on_error="skip").load()
    assert loaded.dropped == 1
    assert "1 pictures or boxes of" in capsys.readouterr().err
    gone = case in ("no annotation", "no picture", "damaged", "no xml", "no name", "other size")
    assert len(loaded.train.target) == (3 if gone else 4)
    if case == "no area":
        assert real(loaded.train.target[1]) == [[0, 1, 1, 9, 9]]


OBJECT = "<object><name>bar</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object>"
SIZE = "<size><width>60</width><height>40</height></size>"
SPELT = {  # documents of one picture with one box
    "namespace": f'<annotation xmlns="http://x">{SIZE}{OBJECT}</annotation>',
    "prefix": f"<v:a xmlns:v='u'>{SIZE}{OBJECT}</v:a>".replace("<object>", "<v:object>").replace("</obj", "</v:obj"),
    "wrapper": f"<root><annotation>{SIZE}{OBJECT}</annotation></root>",
    "list": f"<annotation>{SIZE}<objects>{OBJECT}</objects></annotation>",
    "letter case": f"<Annotation>{SIZE}{OBJECT}</Annotation>".replace("object", "Object").replace("xmin", "XMin"),
    "part": f"<annotation>{SIZE}{OBJECT}</annotation>".replace(
        "</object>", "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
    ),
}
UNREAD = {  # others, and what is said of them
    "two names": (OBJECT.replace("</name>", "</name><name>dot</name>"), "<object> has 2 name, must have one"),
    "two boxes": (
        OBJECT.replace("</bndbox>", "</bndbox><bndbox><xmin>1</xmin></bndbox>"),
        "<object> has 2 bndbox/xmin",
    ),
    "two edges": (OBJECT.replace("</xmin>", "</xmin><xmin>3</xmin>"), "<object> has 2 bndbox/xmin, must have one"),
    "another tag": (OBJECT + OBJECT.replace("object", "item"), "1 <xmin> are not in <object><bndbox>"),
    "two pictures": (f"<annotation>{OBJECT}</annotation>", "it has 2 <annotation>; each file is about one picture"),
    "no number": (OBJECT.replace(">9<", ">9,5<"), "bndbox/xmax is '9,5', which is not a number"),
    "empty": ("", "it is empty"),
    "a page": ("<html><p>404</p></html>", "it has no <annotation>, but <html>"),
}


@pytest.mark.parametrize("case", SPELT)
def test_boxes_are_found_wherever_a_document_has_them(tmp_path, case):
    root = voc_tree(tmp_path / "voc", {"train": [plain(40, 60, ("bar", 1, 2, 9, 8))]})
    _write(root, SPELT[case], "train0")
    loaded = DetectionVOC(str(root), cache=False).load()
    assert real(loaded.train.target[0]) == [[0, 1, 2, 9, 8]]
    assert loaded.kind.names == ("bar",)


def test_elements_that_may_be_boxes_are_counted(tmp_path, capsys):
    root = voc_tree(tmp_path / "voc", {"train": [plain(40, 60, ("bar", 1, 2, 9, 8))] * 3})
    DetectionVOC(str(root), cache=False).load()
    assert "not read" not in capsys.readouterr().err
    other = "<item><name>bar</name><box><x>1</x></box></item>"
    for name, inside in (
        ("train0", OBJECT + other),
        ("train1", other * 2),
        ("train2", f"<owner><name/></owner>{OBJECT}"),
    ):
        _write(root, f"<annotation>{SIZE}{inside}</annotation>", name)
    DetectionVOC(str(root), cache=False).load()
    assert f"annotations of {root} have elements that are not read: 3 <item>; those of" in capsys.readouterr().err


@pytest.mark.parametrize("case", UNREAD)
def test_no_box_of_a_document_is_lost(tmp_path, case):
    inside, reason = UNREAD[case]
    root = voc_tree(tmp_path / "voc", {"train": [plain(40, 60, ("bar", 1, 2, 9, 8))]})
    _write(root, inside if case == "a page" else inside and f"<annotation>{SIZE}{inside}</annotation>", "train0")
    sentence = rf"train0\.xml cannot be read as an annotation \({re.escape(reason)}"
    with pytest.raises(UserError, match=sentence):
        DetectionVOC(str(root), cache=False).load()


def test_rounding_at_the_border_is_cut_off(tmp_path):
    splits = {"train": [plain(40, 60, ("bar", -0.4, 2, 60.3, 40.5))]}
    loaded = DetectionVOC(str(voc_tree(tmp_path / "voc", splits)), cache=False).load()
    assert real(loaded.train.target[0]) == [[0, 0, 2, 60, 40]]


def test_boxes_up_to_a_pixel_outside_are_cut_off_and_counted(tmp_path, capsys):
    boxes = [("bar", -1, 2, 61, 40), ("bar", 5, 5, 9, 41), ("bar", 0, 0, 60.005, 40)]
    loaded = DetectionVOC(str(voc_tree(tmp_path / "a", {"train": [plain(40, 60, *boxes)]})), cache=False).load()
    assert real(loaded.train.target[0]) == [[0, 0, 2, 60, 40], [0, 5, 5, 9, 40], [0, 0, 0, 60, 40]]
    assert "2 boxes reach up to a pixel out of their picture and are cut off there, such as box 1 of" in (
        capsys.readouterr().err
    )
    for place, box in enumerate([("bar", 60.2, 1, 61, 9), ("bar", 1, 40, 9, 41), ("bar", -1, 1, 0, 9)]):
        root = voc_tree(tmp_path / str(place), {"train": [plain(40, 60, box)]})
        with pytest.raises(UserError, match=r"box 1 of .*train0\.png .* is outside the picture of 60x40 pixels"):
            DetectionVOC(str(root), cache=False).load()


LINES = {  # a line of a list for the picture train0
    "ending": ("train0.png", "train0"), "folder": ("JPEGImages\\train0.png", "train0"), "flag": ("train0  1", "train0"),
    "spaces": ("a photo 1", "a photo 1"), "spaces, ending": ("a photo 1.png", "a photo 1"), "dots": ("a.b", "a.b"),
    "path": ("/home/me/set/train0.PNG", "train0"),
}  # fmt: skip


@pytest.mark.parametrize("case", LINES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_lines_of_lists(tmp_path, case, encoding):
    line, stem = LINES[case]
    root = voc_tree(tmp_path / "voc", {"train": rectangles(2, 0)})
    (root / "JPEGImages/train0.png").rename(root / f"JPEGImages/{stem}.png")
    (root / "Annotations/train0.xml").rename(root / f"Annotations/{stem}.xml")
    (root / "ImageSets/Main/train.txt").rename(root / "ImageSets/Main/training.txt")
    (root / "ImageSets/Main/training.txt").write_text(f"{line}\ntrain1\n", encoding=encoding)
    assert DetectionVOC(str(root), cache=False).load().train.names == [
        f"JPEGImages/{stem}.png",
        "JPEGImages/train1.png",
    ]


def test_two_pictures_of_one_name(tmp_path):
    root = voc_tree(tmp_path / "voc", {"train": rectangles(2, 0)})
    (root / "JPEGImages/train1.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"train1\.jpg and .*train1\.png differ only in their suffix"):
        DetectionVOC(str(root), cache=False).load()


@pytest.mark.parametrize("size", [(0, 0), (-1, -1), None])
def test_sizes_that_annotations_lack_are_those_of_the_pictures(tmp_path, capsys, size):
    splits = {"train": rectangles(3, 0)}
    whole = DetectionVOC(str(voc_tree(tmp_path / "whole", splits)), cache=False).load()
    voc, coco = voc_tree(tmp_path / "voc", splits), coco_tree(tmp_path / "coco", splits, CATEGORIES)
    for path in (voc / "Annotations").iterdir():
        text = path.read_text().replace(
            ">40</width><height>40<", f">{size[0]}</width><height>{size[1]}<" if size else ""
        )
        path.write_text(text if size else re.sub("<size>.*</size>", "", text))
    content = json.loads((coco / "train.json").read_text())
    for image in content["images"]:
        image.update({"width": size[0], "height": size[1]} if size else {})
        for key in () if size else ("width", "height"):
            del image[key]
    (coco / "train.json").write_text(json.dumps(content), encoding="utf-8-sig")
    given = {"train_json": "train.json", "train_images": "train", "cache": False}
    for loaded in (DetectionVOC(str(voc), cache=False).load(), DetectionCOCO(str(coco), **given).load()):
        np.testing.assert_array_equal(loaded.train.target, whole.train.target)
    assert capsys.readouterr().err.count("that annotations of") == 2


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("labels", ["stored", "turned"])
def test_pictures_and_boxes_are_turned_together_or_not_at_all(tmp_path, orientation, labels):
    pixels = np.full((40, 60, 3), 10, dtype=np.uint8)
    pixels[4:12, 40:56] = 240
    shown = {1: pixels, 3: pixels[::-1, ::-1], 6: np.rot90(pixels, -1)}[orientation]
    turned = labels == "turned" and orientation == 6  # only there the size tells it
    places = np.argwhere((shown if turned else pixels)[..., 0] > 200)
    (top, left), (bottom, right) = places.min(0), places.max(0) + 1
    root = voc_tree(tmp_path / "voc", {"train": [(shown if turned else pixels, [("bar", left, top, right, bottom)])]})
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(root / "JPEGImages/train0.png", exif=exif)
    loaded = DetectionVOC(str(root), cache=False).load()
    assert (loaded.train.load()[0].permute(1, 2, 0).numpy() == (shown if turned else pixels)).all()
    assert real(loaded.train.target[0]) == [[0, left, top, right, bottom]]


@pytest.mark.parametrize(
    ("spoil", "keys", "sentence"),
    [
        (None, {"root": "nowhere"}, r"dataset\.root=nowhere does not exist"),
        (lambda r: (r / "ImageSets/Main/train.txt").unlink(), {}, r"has no list ImageSets/Main/train\.txt"),
        (lambda r: (r / "ImageSets/Main/test.txt").write_text("train0\n"), {}, r"train0\.png is in train and test"),
        (lambda r: (r / "ImageSets/Main/test.txt").write_text("\n"), {}, r"test\.txt lists no pictures"),
        (lambda r: _write(r, annotation((40, 40), []), "test0"), {}, r"has no box in test: there is nothing to detect"),
        (None, {"image_size": [40]}, r"dataset\.image_size=\[40\] must be null, N or \[height, width\]"),
        (None, {"channels": 2}, r"dataset\.channels=2 must be null, 1 \(grey\) or 3 \(RGB\)"),
        (None, {"on_error": "ignore"}, r"dataset\.on_error=ignore must be one of raise, skip"),
        (None, {"classes": ["bar", "bar"]}, r"dataset\.classes=.* must be null or names, each once"),
    ],
)
def test_what_no_skipping_mends(spoil, keys, sentence, tmp_path):
    root = voc_tree(tmp_path / "voc", {"train": rectangles(2, 0), "test": rectangles(1, 1)})
    if spoil:
        spoil(root)
    with pytest.raises(UserError, match=sentence):
        DetectionVOC(**{"root": str(root), "cache": False, "on_error": "skip", **keys}).load()


def test_unequal_pictures_ask_for_a_size(tmp_path):
    splits = {"train": [plain(40, 60, ("bar", 0, 0, 9, 9)), plain(50, 60)]}
    with pytest.raises(UserError, match=r"unequal sizes .*dataset\.image_size=\[height,width\]"):
        DetectionVOC(str(voc_tree(tmp_path / "voc", splits)), cache=False).load()


def test_classes_and_difficult_objects(tmp_path):
    root = voc_tree(tmp_path / "voc", {"train": [plain(40, 60, ("dot", 1, 2, 3, 4), ("bar", 5, 6, 7, 8, "difficult"))]})
    both = DetectionVOC(str(root), classes=["dot", "bar", "cat"], cache=False).load()
    assert both.kind.names == ("dot", "bar", "cat")
    assert real(both.train.target[0]) == [[0, 1, 2, 3, 4], [1, 5, 6, 7, 8]]
    easy = DetectionVOC(str(root), difficult=False, cache=False).load()
    assert real(easy.train.target[0]) == [[0, 1, 2, 3, 4]]


def _coco(root, **keys):
    given = {"train_json": "train.json", "train_images": "train", "test_json": "test.json", "test_images": "test"}
    return DetectionCOCO(**{"root": str(root), "cache": False, **given, **keys})


def test_coco_tree_gives_what_the_voc_tree_gives(tmp_path):
    splits = {"train": rectangles(5, 0), "test": rectangles(3, 1)}
    voc = DetectionVOC(str(voc_tree(tmp_path / "voc", splits)), image_size=[20, 60], cache=False).load()
    coco = _coco(coco_tree(tmp_path / "coco", splits, CATEGORIES), image_size=[20, 60]).load()
    assert coco.kind == voc.kind
    for ours, theirs in ((coco.train, voc.train), (coco.test, voc.test)):
        np.testing.assert_array_equal(ours.target, theirs.target)
        assert torch.equal(ours.load(), theirs.load())


def test_ids_as_texts_and_names_with_folders(tmp_path):
    splits = {"train": rectangles(4, 0), "test": rectangles(2, 1)}
    root = coco_tree(tmp_path / "coco", splits, CATEGORIES)
    expected = _coco(root).load()
    content = json.loads((root / "train.json").read_text())
    for i, image in enumerate(content["images"]):
        image.update(id=str(image["id"]), width="40", file_name=["0.png", "train\\1.png", "2", "./3.png"][i])
    for entry in content["annotations"]:
        entry.update(image_id=float(entry["image_id"]), category_id=str(entry["category_id"]))
    (root / "train.json").write_text(json.dumps(content))
    loaded = _coco(root).load()
    assert loaded.train.names == expected.train.names
    np.testing.assert_array_equal(loaded.train.target, expected.train.target)
    for name in ("train", "test"):
        content = json.loads((root / f"{name}.json").read_text())
        for entry in content["categories"]:
            entry["id"] = {"3": "b", "7": "a"}[str(entry["id"])]
        for entry in content["annotations"]:
            entry["category_id"] = {"3": "b", "7": "a"}[str(entry["category_id"])]
        (root / f"{name}.json").write_text(json.dumps(content))
    assert _coco(root).load().kind.names == ("dot", "bar")


def test_a_box_that_is_there_twice_is_said(tmp_path, capsys):
    boxes = [("dot", 6, 8, 30, 20), ("bar", 6, 8, 30, 20), ("dot", 6, 8, 30, 20)]
    root = voc_tree(tmp_path / "voc", {"train": [plain(40, 40, *boxes)]})
    assert len(real(DetectionVOC(str(root), cache=False).load().train.target[0])) == 3
    said = "1 boxes are in their picture more than once, such as box 3 of"
    assert capsys.readouterr().err.count(said) == 1


def test_classes_without_a_box_are_named(tmp_path, capsys):
    """As Roboflow writes a category above the others."""
    splits = {"train": [plain(40, 40, ("dot", 6, 8, 30, 20))], "test": [plain(40, 40, ("bar", 6, 8, 30, 20))]}
    root = coco_tree(tmp_path / "coco", splits, {1: "all", **CATEGORIES})
    assert _coco(root).load().kind.names == ("all", "bar", "dot")
    err = capsys.readouterr().err
    assert f"train of {root} has no box of all, bar: those classes are not learnt or not scored" in err
    assert f"test of {root} has no box of all, dot: those" in err


def _changed(key, number, **values):
    def change(content):
        content[key][number].update(values)

    return change


@pytest.mark.parametrize(
    ("split", "change", "sentence"),
    [
        (
            "train",
            _changed("annotations", 0, bbox=[3, 3, 0, 4]),
            r"box 1 of .*train/0\.png \(.*, 3 3 3 7\) has no area",
        ),
        ("train", _changed("annotations", 0, image_id=9), r"annotation 1 refers to picture 9, which is missing"),
        ("train", _changed("annotations", 0, category_id=9), r"annotation 1 has category 9, which is missing"),
        ("train", _changed("images", 1, id=100), r"it has the picture id 100 twice"),
        ("test", _changed("categories", 1, name="cat"), r"other categories .* id 7 is cat, in train dot"),
        ("test", lambda content: content.pop("images"), r"test\.json cannot be read .* \(it has no list 'images'\)"),
        ("test", _changed("images", 0, file_name="no.png"), r"test\.json: no\.png, the picture 100, is not in .*/test"),
        ("test", _changed("images", 0, file_name="C:\\a\\0.png"), r": C:\\a\\0\.png, the picture 100, is not in"),
        ("test", _changed("images", 0, file_name=None), r"entry 1 of 'images' has no 'file_name'"),
        ("train", _changed("images", 0, file_name="1.png"), r"coco/train/1\.png is in train twice"),
        ("train", _changed("images", 0, width="wide"), r"its width 'wide' and height 40 must be numbers"),
        ("train", _changed("categories", 1, name="bar"), r"the category 'bar' more than once"),
        ("train", _changed("categories", 1, id="3"), r"the category id 3 more than once"),
        ("train", _changed("annotations", 0, bbox="1234"), r"annotation 1 has the bbox '1234', which must be"),
        ("train", _changed("annotations", 0, bbox=None), r"train\.json: annotation 1 has the bbox None, which must be"),
        (
            "train",
            _changed("annotations", 0, bbox=[1, 2, 3]),
            r"has the bbox \[1, 2, 3\], which must be \[left, top, width, ",
        ),
        (
            "train",
            _changed("annotations", 0, iscrowd="no"),
            r"annotation 1 has the flag iscrowd 'no', which must be 0 or 1",
        ),
        ("train", lambda content: content.update(annotations={}), r"it has no list 'annotations'"),
    ],
)
def test_what_is_wrong_with_instances_of_coco(split, change, sentence, tmp_path):
    root = coco_tree(tmp_path / "coco", {"train": rectangles(3, 0), "test": rectangles(2, 1)}, CATEGORIES)
    content = json.loads((root / f"{split}.json").read_text())
    change(content)
    (root / f"{split}.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=sentence):
        _coco(root).load()


def test_files_of_boxes_that_are_empty_or_something_else(tmp_path):
    root = coco_tree(tmp_path / "coco", {"train": rectangles(2, 0), "test": rectangles(1, 1)}, CATEGORIES)
    for text, reason in (("", "it is empty"), ("[]", "it has no list 'categories'")):
        (root / "test.json").write_text(text)
        with pytest.raises(UserError, match=rf"test\.json cannot be read as instances of COCO \({reason}\)$"):
            _coco(root).load()


def test_shares_of_the_picture_are_not_boxes_in_pixels(tmp_path):
    root = voc_tree(tmp_path / "voc", {"train": [plain(40, 60, ("bar", 0.1, 0.2, 0.5, 1))]})
    with pytest.raises(UserError, match=r"all boxes of train in .* lie within 0\.\.1; their edges must be in pixels"):
        DetectionVOC(str(root), cache=False).load()


def test_pictures_that_no_list_names_are_counted(tmp_path, capsys):
    splits = {"train": rectangles(3, 0), "test": rectangles(2, 1)}
    coco, voc = coco_tree(tmp_path / "coco", splits, CATEGORIES), voc_tree(tmp_path / "voc", splits)
    _coco(coco).load()
    DetectionVOC(str(voc), cache=False).load()
    assert "not used" not in capsys.readouterr().err
    for path in (coco / "train/7.png", coco / "train/sub/8.jpg", coco / "other/9.png", voc / "JPEGImages/x.png"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    _coco(coco).load()
    assert f"2 pictures of {coco} are not used, such as train/7.png: nothing" in capsys.readouterr().err
    DetectionVOC(str(voc), cache=False).load()
    assert f"1 pictures of {voc} are not used, such as JPEGImages/x.png: nothing" in capsys.readouterr().err


def test_crowds_are_left_out_and_said(tmp_path, capsys):
    root = coco_tree(tmp_path / "coco", {"train": rectangles(3, 0)}, CATEGORIES)
    content = json.loads((root / "train.json").read_text())
    before = len(content["annotations"])
    content["annotations"][0]["iscrowd"] = 1
    (root / "train.json").write_text(json.dumps(content))
    loaded = _coco(root, test_json=None, test_images=None).load()
    assert sum(len(real(rows)) for rows in loaded.train.target) == before - 1
    assert "1 boxes around crowds" in capsys.readouterr().err


def test_half_of_a_coco_split_and_a_missing_file_are_told(tmp_path):
    with pytest.raises(UserError, match=r"dataset\.val_images must be set too"):
        _coco(tmp_path, val_json="val.json")
    with pytest.raises(UserError, match=r"dataset\.train_json=train\.json is not below dataset\.root"):
        _coco(tmp_path).load()


# ---- geometry and loss --------------------------------------------------------------------------------------------


def boxes_of(*pictures) -> torch.Tensor:
    most = max(map(len, pictures))
    return torch.tensor([[*map(list, boxes), *[[-1.0] * 5] * (most - len(boxes))] for boxes in pictures]).float()


def some_boxes(seed: int, batch: int, most: int, height: float, width: float) -> torch.Tensor:
    """Random boxes of two classes; the last picture has none."""
    rng = np.random.default_rng(seed)
    target = np.full((batch, most, 5), -1, dtype=np.float32)
    for i in range(batch - 1):
        for k in range(int(rng.integers(1, most + 1))):
            w, h = rng.uniform(4, 0.9 * width), rng.uniform(4, 0.9 * height)
            left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
            target[i, k] = [rng.integers(2), left, top, left + w, top + h]
    return torch.from_numpy(target)


def reference_loss(task: Detection, output: torch.Tensor, target: torch.Tensor) -> list[float]:
    """One point, one box, one class after the other, in double precision."""
    batch, channels, rows, columns = output.shape
    classes, (down, across) = channels - 5, (task.height / rows, task.width / columns)
    size = math.sqrt(down * across)
    losses = []
    for i in range(batch):
        total = 0.0
        for r in range(rows):
            for c in range(columns):
                x, y = (c + 0.5) * across, (r + 0.5) * down
                best = None
                for row in target[i].tolist():
                    kind, left, top, right, bottom = row[:5]
                    near = max(abs(x - (left + right) / 2), abs(y - (top + bottom) / 2)) < 1.5 * size
                    area = (right - left) * (bottom - top)
                    inside = left < x < right and top < y < bottom
                    if kind >= 0 and near and inside and (best is None or area < best[0]):
                        best = area, int(kind), (x - left, y - top, right - x, bottom - y), row[5] if row[5:] else 1.0
                values = output[i, :, r, c].double().tolist()
                for k in range(classes):
                    p = 1 / (1 + math.exp(-values[k]))
                    if best is not None and best[1] == k:
                        total += best[3] * 0.25 * (1 - p) ** 2 * -math.log(p)
                    else:
                        total += 0.75 * p**2 * -math.log(1 - p)
                if best is None:
                    continue
                a, b = [v * size for v in values[classes : classes + 4]], best[2]
                inter = (min(a[0], b[0]) + min(a[2], b[2])) * (min(a[1], b[1]) + min(a[3], b[3]))
                both = (a[0] + a[2]) * (a[1] + a[3]) + (b[0] + b[2]) * (b[1] + b[3]) - inter
                hull = (max(a[0], b[0]) + max(a[2], b[2])) * (max(a[1], b[1]) + max(a[3], b[3]))
                middle = math.sqrt(min(b[0], b[2]) / max(b[0], b[2]) * min(b[1], b[3]) / max(b[1], b[3]))
                q = 1 / (1 + math.exp(-values[-1]))
                total += best[3] * (1 - inter / both + (hull - both) / hull)
                total += best[3] * -(middle * math.log(q) + (1 - middle) * math.log(1 - q))
        losses.append(total / (9 * task.normaliser / CELLS))
    return losses


def random_output(seed: int, batch: int, classes: int, rows: int, columns: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    output = torch.randn(batch, classes + 5, rows, columns, generator=generator)
    output[:, classes:-1] = output[:, classes:-1].abs() * 2
    return output


@pytest.mark.parametrize("shape", [(3, 24, 40), (1, 30, 30)])
def test_loss_equals_a_plain_reference(shape):
    task = Detection(NAMES, shape, boxes_per_picture=2.5)
    rows, columns = -(-shape[1] // 4), -(-shape[2] // 4)
    target, output = some_boxes(0, 3, 4, *shape[1:]), random_output(1, 3, 2, rows, columns)
    found = task.loss(output, target)
    assert found.shape == (3,)
    np.testing.assert_allclose(found.numpy(), reference_loss(task, output, target), rtol=1e-5)
    counts = torch.cat([target, torch.rand(3, 4, 1, generator=torch.Generator().manual_seed(2))], 2)
    np.testing.assert_allclose(task.loss(output, counts).numpy(), reference_loss(task, output, counts), rtol=1e-5)


def test_giou_and_centerness_are_torchvisions():
    from torchvision.ops import generalized_box_iou_loss

    one, two = torch.rand(2, 50, 4, generator=torch.Generator().manual_seed(0)) * 10
    corners = [torch.cat([-d[:, :2], d[:, 2:]], 1) for d in (one, two)]
    torch.testing.assert_close(1 - giou(one, two), generalized_box_iou_loss(*corners), rtol=1e-4, atol=1e-5)
    assert centerness(torch.tensor([2.0, 3.0, 2.0, 3.0])) == 1
    assert centerness(torch.tensor([1.0, 3.0, 4.0, 3.0])) == 0.5


@pytest.fixture(scope="module")
def fcos():
    torch.manual_seed(0)
    return TorchvisionDetection(input_shape=(3, 128, 256), num_outputs=7, name="fcos_resnet18_fpn").eval()


def test_points_of_several_maps_have_the_loss_of_torchvision(fcos):
    """Matching and all three losses of torchvision's own FCOS, picture by picture."""
    from torchvision.models.detection.image_list import ImageList

    inputs = torch.randn(3, 3, 128, 256, generator=torch.Generator().manual_seed(0))
    target = some_boxes(3, 3, 5, 128, 256)
    task = Detection(NAMES, (3, 128, 256), boxes_per_picture=1.0)
    with torch.no_grad():
        output = fcos(inputs)
        maps = list(fcos.model.backbone(inputs).values())
        head = fcos.model.head(maps)
        anchors = fcos.model.anchor_generator(ImageList(inputs, [(128, 256)] * 3), maps)
        found = task.loss(output, target) * CELLS
        matched, _ = assign(Points(*output[0, :, -3:].unbind(1)), target)
        for i in range(3):
            rows = target[i][target[i, :, 0] >= 0]
            truth = [{"boxes": rows[:, 1:], "labels": rows[:, 0].long()}]
            own = {key: value[i : i + 1] for key, value in head.items()}
            losses = fcos.model.compute_loss(truth, own, anchors[:1], [m.shape[2] * m.shape[3] for m in maps])
            theirs = sum(losses.values()) * max(1, int(matched[i].sum()))
            torch.testing.assert_close(found[i], theirs, rtol=1e-5, atol=1e-5)


def test_finer_maps_answer_for_smaller_boxes():
    points = Points(torch.tensor([50.0, 50.0, 50.0]), torch.tensor([50.0, 50.0, 50.0]), torch.tensor([8.0, 16.0, 32.0]))
    target = boxes_of([(0, 40, 40, 61, 61)], [(0, 0, 0, 101, 101)], [(0, -150, -150, 251, 251)])
    found, _ = assign(points, target)
    assert found.tolist() == [[True, False, False], [True, False, False], [False, False, True]]


def perfect(task: Detection, target: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    points = grid(task.height, task.width, rows, columns, target.device)
    found, box = assign(points, target)
    hit = (box[..., :1] == torch.arange(len(task.names))) & found[..., None]
    wanted = torch.where(found[..., None], distances(points, box), 1.0)
    middle = torch.where(found, centerness(wanted), 0.5).clamp(1e-4, 1 - 1e-4).logit()
    answer = torch.cat([torch.where(hit, 12.0, -12.0), wanted / points.size[:, None], middle[..., None]], 2)
    return answer.transpose(1, 2).unflatten(2, (rows, columns))


def test_decoding_what_a_perfect_model_says_gives_the_boxes_back():
    target = boxes_of(
        [(0, 2, 3, 20, 13), (1, 22, 4, 38, 30), (0, 3, 16, 19, 31)], [(1, 0, 0, 40, 32)], [(1, 12, 8.5, 31.25, 28)], []
    )
    task = Detection(NAMES, (3, 32, 40), 1.0)
    found = task.decode(perfect(task, target, 8, 10))
    assert found.shape == (4, 100, 6)
    for rows, truth in zip(found, target, strict=True):
        assert (rows[rows[:, 0] >= 0, 1] > 0.05).all()
        kept = [[row[0], *row[2:]] for row in real(rows)]
        assert np.allclose(sorted(kept), sorted(real(truth)), atol=1e-3)


def test_loss_is_least_at_the_perfect_answer():
    target = boxes_of([(0, 2, 3, 20, 13), (1, 22, 4, 38, 30)], [(1, 12, 8, 31, 28)])
    task = Detection(NAMES, (3, 32, 40), 1.0)
    best = perfect(task, target, 8, 10)
    least = task.loss(best, target)
    generator = torch.Generator().manual_seed(0)
    for part in (slice(0, 2), slice(2, 6), slice(6, 7)):
        for _ in range(5):
            other = best.clone()
            shift = torch.randn(other[:, part].shape, generator=generator)
            other[:, part] = (other[:, part] + (shift * 8 if part.start == 0 else shift)).clamp_min(
                0 if part.start == 2 else -20
            )
            assert (task.loss(other, target) > least).all()
    answer = best.requires_grad_()
    task.loss(answer, target).sum().backward()
    assert answer.grad.isfinite().all()


def test_pictures_without_boxes_have_a_finite_loss_and_gradient():
    task = Detection(NAMES, (3, 16, 16), 3.0)
    output = random_output(0, 2, 2, 4, 4).requires_grad_()
    loss = task.loss(output, torch.full((2, 3, 5), -1.0))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert output.grad.isfinite().all()
    assert (output.grad[:, 2:] == 0).all(), "where there is no box, edges are free"


def test_overlapping_answers_are_left_out_within_a_class_alone():
    task = Detection(NAMES, (3, 32, 32), 1.0)
    output = torch.zeros(1, 7, 8, 8)
    output[:, :2], output[:, -1] = -12, 6
    for row, column, kind, sure in ((3, 3, 0, 3.0), (3, 4, 0, 2.0), (3, 3, 1, 1.0), (0, 0, 0, 0.0)):
        output[0, kind, row, column] = sure
        output[0, 2:6, row, column] = torch.tensor([2.0, 2, 2, 2]) if row else torch.tensor([0.5, 0.5, 1, 1])
    output[0, 2:6, 3, 4] = torch.tensor([3.0, 2, 1, 2])  # the same box as that of (3, 3)
    rows = real(task.decode(output)[0])
    assert [row[0] for row in rows] == [0, 1, 0]
    assert rows[0][2:] == rows[1][2:] == [6, 6, 22, 22]
    assert rows[2][2:] == [0, 0, 6, 6]
    assert rows[0][1] > rows[1][1] > rows[2][1]


def decoded_alone(task: Detection, output: torch.Tensor) -> torch.Tensor:
    """The same boxes, one picture at a time and with a mask of its likely candidates."""
    answer = task._read(output)
    found = torch.full((len(output), 100, 6), -1.0)
    found[..., 1:] = 0
    for i in range(len(output)):
        sure = (answer.logits[i].sigmoid() * answer.centerness[i].sigmoid()[:, None]).sqrt().flatten()
        score, place = sure.topk(min(500, len(sure)))
        x, y, _ = answer.points
        left, top, right, bottom = answer.distance[i].unbind(1)
        corners = torch.stack([x - left, y - top, x + right, y + bottom], 1)[place // len(task.names)]
        limits = torch.tensor([task.width, task.height] * 2)
        corners = corners.clamp_min(0).minimum(limits)
        likely, kind = score >= 0.05, place % len(task.names)
        kept = batched_nms(corners[likely], score[likely], kind[likely], 0.6)[:100]
        rows = torch.cat([kind[likely][kept, None].float(), score[likely][kept, None], corners[likely][kept]], 1)
        found[i, : len(rows)] = rows
    return found


@pytest.mark.parametrize("confident", [-9.0, -3.0, 0.0, 4.0], ids="confident {}".format)
def test_a_batch_is_decoded_as_its_pictures_are_one_by_one(confident):
    task = Detection(NAMES, (3, 64, 80), 1.0)
    output = torch.randn(5, 7, 16, 20, generator=torch.Generator().manual_seed(int(confident)))
    output[:, 2:6] = (output[:, 2:6] * 3).exp()
    output[1:, :2] += confident  # the first picture differs from the others
    for outputs in (output, output[:, :, :2, :3]):  # also with less than 500 candidates
        before = outputs.clone()
        assert torch.equal(task.decode(outputs), decoded_alone(task, outputs))
        assert torch.equal(outputs, before)


def test_foreign_outputs_are_refused():
    task = Detection(NAMES, (3, 16, 16), 1.0)
    with pytest.raises(ValueError, match=r"boxes of 2 classes need maps \(B, 7, h, w\) or points \(B, P, 10\)"):
        task.loss(torch.zeros(2, 5), torch.full((2, 1, 5), -1.0))


# ---- average precision --------------------------------------------------------------------------------------------


def detections(*pictures, most=100) -> np.ndarray:
    found = np.full((len(pictures), most, 6), -1.0)
    for i, rows in enumerate(pictures):
        found[i, : len(rows)] = np.reshape(rows, (-1, 6))
    return found


def test_average_precision_by_hand():
    target = boxes_of([(0, 0, 0, 10, 10), (0, 20, 20, 30, 30)], [(1, 5, 5, 15, 25)]).numpy()
    exact = detections([(0, 0.9, 0, 0, 10, 10), (0, 0.8, 20, 20, 30, 30)], [(1, 0.5, 5, 5, 15, 25)])
    assert coco_average_precision(exact, target, 3, 100) == pytest.approx({"map": 1.0, "map50": 1.0})
    # One of two boxes of class 0: recall 0.5 at precision 1, 51 of COCO's 101 points.
    half = detections([(0, 0.9, 0, 0, 10, 10)], [(1, 0.5, 5, 5, 15, 25)])
    assert coco_average_precision(half, target, 3, 100) == pytest.approx(
        {"map": (51 / 101 + 1) / 2, "map50": (51 / 101 + 1) / 2}
    )
    # IoU 0.7 counts for the thresholds 0.50, 0.55, ..., 0.70: five of ten.
    off = detections([(0, 0.9, 0, 0, 10, 7.01), (0, 0.8, 20, 20, 30, 27.01)], [])
    assert coco_average_precision(off, target, 3, 100) == pytest.approx({"map": 0.25, "map50": 0.5})
    wrong = detections([(1, 0.9, 0, 0, 10, 10)], [(0, 0.9, 5, 5, 15, 25)])
    assert coco_average_precision(wrong, target, 3, 100) == {"map": 0.0, "map50": 0.0}
    nothing = {"map": 0.0, "map50": 0.0}
    assert coco_average_precision(detections([], []), target, 3, 100) == nothing
    assert coco_average_precision(exact, np.full((2, 1, 5), -1.0), 3, 100) == nothing


def test_average_precision_is_torchmetrics(capsys):
    from torchmetrics.detection import MeanAveragePrecision

    rng = np.random.default_rng(0)
    target = some_boxes(1, 8, 6, 60, 80).numpy()
    pictures = []
    for rows in target:
        some = [[k, rng.random(), *(np.array(e) + rng.normal(0, 3, 4) * [1, 1, 1, 1])] for k, *e in real(rows)]
        other = [[rng.integers(2), rng.random(), x, y, x + 9, y + 9] for x, y in rng.uniform(0, 50, (3, 2))]
        pictures.append([row for row in some + other if row[2] < row[4] and row[3] < row[5]])
    found = detections(*pictures)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MeanAveragePrecision()
        for rows, truth in zip(found, target, strict=True):
            rows, truth = torch.from_numpy(rows[rows[:, 0] >= 0]), torch.from_numpy(truth[truth[:, 0] >= 0])
            guess = {"boxes": rows[:, 2:], "scores": rows[:, 1], "labels": rows[:, 0].long()}
            theirs.update([guess], [{"boxes": truth[:, 1:], "labels": truth[:, 0].long()}])
        wanted = theirs.compute()
    capsys.readouterr()
    ours = coco_average_precision(found, target, 2, 100)
    assert capsys.readouterr().out == "", "the library's progress is not shown"
    assert ours == pytest.approx({"map": float(wanted["map"]), "map50": float(wanted["map_50"])}, abs=1e-6)
    assert 0.05 < ours["map"] < 0.95


def test_metrics_do_not_depend_on_batches_and_mistakes_come_worst_first():
    task = Detection(NAMES, (3, 24, 40), 2.0)
    target, output = some_boxes(0, 6, 4, 24, 40), random_output(1, 6, 2, 6, 10)
    output[:, :2] += 2
    whole = task.observe(output, target)
    parts = [task.observe(output[i : i + 1], target[i : i + 1]) for i in range(6)]
    kept = {name: torch.cat([part[name] for part in parts]) for name in whole}
    assert task.metrics(whole) == pytest.approx(task.metrics(kept), rel=1e-6)
    assert set(task.metrics(whole)) == {"loss", "map", "map50"}
    assert task.metrics(whole)["loss"] == pytest.approx(float(task.loss(output, target).mean()))
    worst = task.mistakes(whole, NAMES, 3)
    assert [i for i, _ in worst] == task.loss(output, target).argsort(descending=True)[:3].tolist()
    assert all("bar" in said or "dot" in said for _, said in worst)


def test_only_sure_boxes_are_drawn_as_what_the_model_says():
    task = Detection(NAMES, (3, 24, 40), 2.0)
    output = random_output(1, 6, 2, 6, 10)
    output[:, :2] += 2
    found, said = task.decode(output), task.as_target(output)
    assert said.shape == (6, 100, 5)
    for rows, boxes in zip(found, said, strict=True):
        sure = [row for row in rows.tolist() if row[0] >= 0 and row[1] >= 0.5]
        assert sure
        assert len(sure) < int((rows[:, 0] >= 0).sum()), "some are not sure"
        assert [[kind, *edges] for kind, _, *edges in sure] == [row for row in boxes.tolist() if row[0] >= 0]


def test_missing_pycocotools_is_told_at_the_start(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(UserError, match=r"pip install 'mixup-lab\[detection\]'"):
        Detection(NAMES, (3, 16, 16), 1.0)


# ---- mixing -------------------------------------------------------------------------------------------------------


def _bound() -> Bound:
    model = DenseDetector(input_shape=(3, 32, 32), num_outputs=7, backbone="small", width=4)
    return Bound(
        model,
        Detection(NAMES, (3, 32, 32), 1.0).loss,
        (3, 32, 32),
        Labels(averaged=False, one_each=False, whole=True, join=union),
    )


def test_mixed_loss_is_that_of_both_sets_of_boxes():
    torch.manual_seed(0)
    task, target = Detection(NAMES, (3, 24, 40), 2.0), some_boxes(0, 4, 3, 24, 40)
    inputs, output = torch.randn(4, 3, 24, 40), random_output(1, 4, 2, 6, 10)
    mixer = Mixup(1.0, lam_per="sample", seed=3)
    mixed = mixer(inputs, target)
    perm = [next(j for j in range(4) if torch.equal(mixed.partner[i], target[j])) for i in range(4)]
    lam = mixed.lam[:, None, None, None]
    torch.testing.assert_close(mixed.inputs, lam * inputs + (1 - lam) * inputs[perm])
    own, partner = task.loss(output, target), task.loss(output, target[perm])
    torch.testing.assert_close(mixed.loss(task.loss, output), mixed.lam * own + (1 - mixed.lam) * partner)


def test_union_has_the_boxes_of_both_with_their_shares():
    own, partner = boxes_of([(0, 1, 2, 3, 4), (1, 5, 6, 7, 8)], [(1, 0, 0, 9, 9)]), boxes_of([(1, 9, 9, 19, 19)], [])
    partner = torch.cat([partner, torch.full((2, 1, 5), -1.0)], 1)
    joined = union(own, partner, torch.tensor([0.75, 1.0]))
    assert joined.shape == (2, 4, 6)
    assert real(joined[0]) == [[0, 1, 2, 3, 4, 0.75], [1, 5, 6, 7, 8, 0.75], [1, 9, 9, 19, 19, 0.25]]
    assert real(joined[1]) == [[1, 0, 0, 9, 9, 1]]


def test_union_in_training_terms():
    """Unmixed it is the plain loss bit for bit; mixed, one loss of the joined boxes, and not the two-term loss."""
    task, target = Detection(NAMES, (3, 24, 40), 2.0), some_boxes(0, 4, 3, 24, 40)
    inputs, output = torch.randn(4, 3, 24, 40), random_output(1, 4, 2, 6, 10)
    plain_loss = task.loss(output, target)
    unmixed = Mixup(0.0, labels="union")
    unmixed.bind(_bound())
    assert torch.equal(unmixed(inputs, target).loss(task.loss, output), plain_loss)
    losses = {}
    for labels in ("union", "two_term"):
        mixer = Mixup(law="fixed", lam=0.7, labels=labels, partner="roll", seed=0)
        mixer.bind(_bound())
        losses[labels] = mixer(inputs, target).loss(task.loss, output)
    joined = union(target, target.roll(1, 0), torch.full((4,), 0.7))
    np.testing.assert_allclose(losses["union"].numpy(), reference_loss(task, output, joined), rtol=1e-5)
    assert not torch.allclose(losses["union"], losses["two_term"])
    # Where the boxes of the two pictures lie apart, edges and centerness are the same sum: the classes alone differ.
    apart = boxes_of([(0, 2, 2, 14, 20)], [(1, 24, 3, 38, 21)])
    both = union(apart, apart.flip(0), torch.tensor([0.7, 0.7]))
    sure = random_output(2, 2, 2, 6, 10)
    other = sure.clone()
    other[:, 2:] = random_output(3, 2, 2, 6, 10)[:, 2:]
    two = [0.7 * task.loss(o, apart) + 0.3 * task.loss(o, apart.flip(0)) for o in (sure, other)]
    torch.testing.assert_close(two[1] - two[0], task.loss(other, both) - task.loss(sure, both), rtol=1e-4, atol=1e-5)


def test_label_mass_counts_boxes_with_their_shares():
    task = Detection(NAMES, (3, 24, 40), 2.0, label_shares=torch.tensor([0.5, 0.5]))
    own = boxes_of([(0, 1, 2, 3, 4), (1, 5, 6, 7, 8)], [(1, 0, 0, 9, 9)])
    partner, lam, output = own.flip(0), torch.tensor([0.75, 0.5]), torch.zeros(2, 7, 6, 10)
    wanted = torch.tensor([0.75 + 0.5, 0.75 + 0.25 + 0.5 + 0.5])
    torch.testing.assert_close(task.train_sums(output, own, partner, lam)["label_mass"], wanted)
    joined = union(own, partner, lam)
    sums = task.train_sums(output, joined, joined, lam)
    torch.testing.assert_close(sums["label_mass"], wanted)
    shift = task.train_scalars({**sums, "lam": lam})["mix/label_shift"]
    assert shift == pytest.approx(abs(1.25 / 3.25 - 0.5))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    splits = {"train": rectangles(64, 0), "val": rectangles(16, 1), "test": rectangles(16, 2)}
    return voc_tree(tmp_path_factory.mktemp("detection") / "voc", splits)


REFUSED = [
    *((f"aug={name}", r"^aug: \w+ does not keep both inputs whole, as these labels need; use aug=mixup") for name in
      ("cutmix", "fmix", "gridmix", "kfold_mixup", "mixup_cutmix", "resizemix", "saliencymix", "smoothmix")),
    ("aug=label_smoothing", "^aug: (label_smoothing needs targets that are classes|LabelSmoothing does not keep)"),
    ("aug=cmixup", r"^aug: partner=near_label needs one label for each example, and these have several"),
    ("aug=mixup aug.partner=same_class", "^aug: partner=same_class needs one label for each example"),
    ("aug=mixup aug.labels=soft", "^aug: labels=soft needs labels"),
    ("trainer.label_smoothing=0.1", r"^trainer\.label_smoothing=0\.1 is for classes, not for boxes$"),
    ("trainer.class_weights=balanced", r"^trainer\.class_weights=balanced is for classes, not for boxes$"),
    ("transform=randaugment", "^transform: RandAugment cannot move boxes along with the picture; use none, crop_flip"),
    ("transform=augmix", "^transform: AugMix cannot move boxes along with the picture"),
    ("model=torchvision_detection model.name=retinanet_resnet50_fpn", "^model.name must be fcos_BACKBONE_fpn"),
    ("model.stride=16", "^model.stride must be one of 4, 8, got 16$"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "sentence"), REFUSED)
def test_what_means_nothing_for_boxes_is_refused(words, sentence, tree):
    given = [*SMALL, f"dataset.root={tree}"]
    if words.startswith("model="):  # keys of another model are unknown to this one
        given = [word for word in given if not word.startswith("model")]
    with pytest.raises(UserError, match=sentence) as caught:
        assemble(config_of(*given, *words.split()), "fingerprint")
    assert "\n" not in str(caught.value)


def test_models_and_targets_that_do_not_belong_together(tree):
    given = ("dataset=detection_voc", f"dataset.root={tree}", "dataset.cache=false", "trainer.device=cpu")
    with pytest.raises(UserError, match=r"^model: MLP does not predict boxes; use dense_detector or torch"):
        assemble(config_of(*given, "model=mlp"), "fingerprint")
    fake = ("dataset=fake", "dataset.shape=[3,32,32]", "dataset.num_classes=7", "trainer.device=cpu")
    with pytest.raises(UserError, match=r"^model: DenseDetector predicts boxes, but the targets are classes$"):
        assemble(config_of(*fake, "model=dense_detector", "model.backbone=small"), "fingerprint")
    with pytest.raises(UserError, match=r"^aug: labels=union joins the boxes of both pictures"):
        assemble(config_of(*fake, "model=small_cnn", "aug=mixup", "aug.labels=union"), "fingerprint")


# ---- transforms and pictures --------------------------------------------------------------------------------------


def test_boxes_go_where_crop_and_flip_take_the_pixels():
    """Each box is drawn in a grey of its own; after the transform its pixels are looked for."""
    rng = np.random.default_rng(0)
    batch, high, wide, padding = 40, 24, 36, 8
    inputs, target = np.zeros((batch, 1, high, wide), np.uint8), np.full((batch, 2, 5), -1, np.float32)
    for i in range(batch):
        for k in range(2):
            left, top = int(rng.integers(0, 12)) + 18 * k, int(rng.integers(0, 16))
            inputs[i, 0, top : top + 8, left : left + 6] = 100 + k
            target[i, k] = [k, left, top, left + 6, top + 8]
    transform = CropFlip(padding)
    drawn = transform.draw(np.random.default_rng(1), 1, batch)
    draw = {name: torch.from_numpy(values[0]) for name, values in drawn.items()}
    pixels = transform.apply(torch.from_numpy(inputs), draw).numpy()
    moved = transform.move_boxes(torch.from_numpy(target), draw, (1, high, wide)).numpy()
    kept = 0
    for i in range(batch):
        for k in range(2):
            places = np.argwhere(pixels[i, 0] == 100 + k)
            if moved[i, k, 0] < 0:
                assert len(places) <= 8 * 6 / 2, "more than half of it is to be seen"
                continue
            kept += 1
            (top, left), (bottom, right) = places.min(0), places.max(0) + 1
            assert moved[i, k].tolist() == [k, left, top, right, bottom]
    assert batch < kept < 2 * batch
    nobody = torch.full((1, 3, 5), -1.0)
    one = {name: values[:1] for name, values in draw.items()}
    assert (transform.move_boxes(nobody, one, (1, high, wide))[..., 0] == -1).all()


def test_boxes_of_a_training_batch_lie_on_their_pixels(tree, tmp_path):
    words = (*SMALL, f"dataset.root={tree}", "transform=crop_flip", "transform.padding=8")
    fit = Fit(assemble(config_of(*words), "fingerprint"), tmp_path)
    mean, std = (torch.tensor(v)[:, None, None] for v in (fit.parts.data.encode.mean, fit.parts.data.encode.std))
    count = 0
    for _, prepared in fit.batches.prepared(fit.batches.plan(0), 0):
        batch = fit.batches.encoded(prepared.batch)
        for inputs, boxes in zip(batch.inputs * std + mean, batch.target, strict=True):
            for kind, *edges in real(boxes):
                left, top, right, bottom = map(int, edges)
                red, _, blue = inputs[:, top:bottom, left:right].flatten(1).mul(255).round().unbind(0)
                assert (red > blue + 100).all() if NAMES[int(kind)] == "bar" else (blue > red + 100).all()
                count += 1
    assert count > 40


def test_boxes_are_drawn_in_the_colours_of_their_classes():
    tiles = np.zeros((2, 20, 30, 3), np.uint8)
    boxes = boxes_of([(1, 20, 10, 40, 30)], []).numpy()
    drawn = Boxes(NAMES).draw(tiles, boxes, (3, 40, 60))
    assert not tiles.any()
    assert not drawn[1].any()
    lit = np.argwhere(drawn[0].any(2))
    assert (lit.min(0).tolist(), lit.max(0).tolist()) == ([5, 10], [14, 19])
    assert tuple(drawn[0, 5, 10]) == colour(1) != colour(0)
    assert not drawn[0, 8, 14].any(), "an outline"
    lam = np.array([1.0, 0.4], np.float32)
    other = boxes_of([(0, 0, 0, 10, 10)], [(0, 0, 0, 10, 10)]).numpy()
    mixed = Boxes(NAMES).draw_mixed(tiles, boxes, other, lam, (3, 40, 60))
    assert np.array_equal(mixed[0], drawn[0]), "a partner of no share is not shown"
    assert mixed[1].any()


# ---- models -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "shape", "wanted"),
    [
        ({"backbone": "small", "width": 8}, (3, 40, 56), (2, 8, 10, 14)),
        ({"backbone": "small", "width": 8, "stride": 8}, (1, 45, 33), (2, 8, 6, 5)),
        ({"width": 16}, (3, 64, 96), (2, 8, 16, 24)),
        ({"backbone": "resnet34", "width": 16, "stride": 8}, (1, 64, 64), (2, 8, 8, 8)),
    ],
)
def test_dense_detector_gives_a_map(keys, shape, wanted):
    torch.manual_seed(0)
    model = DenseDetector(input_shape=shape, num_outputs=8, **keys)
    output = model(torch.randn(2, *shape))
    assert output.shape == wanted
    assert (output[:, 3:7] > 0).all()
    assert output[:, :3].detach().sigmoid().mean() == pytest.approx(0.01, rel=0.2)
    target = some_boxes(0, 2, 3, *shape[1:])
    Detection(("a", "b", "c"), shape, 1.0).loss(output, target).sum().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not dead
    assert all(name in dict(model.named_modules()) for name in model.mixup_layers)


def test_torchvision_detection_trains(fcos):
    assert all(name in dict(fcos.named_modules()) for name in fcos.mixup_layers)
    torch.manual_seed(0)
    model = TorchvisionDetection(input_shape=(3, 64, 64), num_outputs=7, name="fcos_resnet18_fpn")
    output = model(torch.randn(2, 3, 64, 64))
    assert output.shape == (2, 64 + 16 + 4 + 1 + 1, 10)
    Detection(NAMES, (3, 64, 64), 1.0).loss(output, boxes_of([(0, 4, 4, 30, 40)], [(1, 0, 0, 60, 60)])).sum().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None]
    assert not dead


@each(
    "family, keys, sentence",
    [
        (DenseDetector, {"input_shape": (3, 31, 64)}, "at least 32x32 pixels, got 31x64"),
        (DenseDetector, {"num_outputs": 5}, r"num_outputs must be classes \+ 5, got 5"),
        (DenseDetector, {"width": 0}, "width must be >= 1, got 0"),
        (DenseDetector, {"backbone": "vgg11"}, "backbone must be small or of the family resnet"),
        (DenseDetector, {"backbone": "small", "weights": "DEFAULT"}, "backbone=small has no weights=DEFAULT"),
        (TorchvisionDetection, {"input_shape": (1, 64, 64)}, r"in RGB, got 1 channels; set dataset\.channels=3"),
        (TorchvisionDetection, {"trainable_layers": 6}, r"trainable_layers must be in 0\.\.5 or null, got 6"),
        (
            TorchvisionDetection,
            {"name": "fcos_resnet19_fpn"},
            "name must be fcos_BACKBONE_fpn .* got fcos_resnet19_fpn",
        ),
        (
            TorchvisionDetection,
            {"weights_backbone": "NONE"},
            "'NONE' is not among the weights of torchvision's resnet50",
        ),
        (TorchvisionDetection, {"name": "fcos_resnet18_fpn", "weights": "COCO_V1"}, "weights=COCO_V1 need name="),
    ],
)
def test_bad_arguments_are_told(family, keys, sentence):
    with torch.device("meta"), pytest.raises(ValueError, match=sentence):
        family(**({"input_shape": (3, 64, 64), "num_outputs": 7} | keys))


# ---- trainings ----------------------------------------------------------------------------------------------------

LEARN = ("trainer.epochs=12", "trainer.eval_every=12", "scheduler=one_cycle")


def test_a_detector_learns_rectangles(tree, tmp_path):
    scalars = DetectorTraining(tmp_path / "run", tree, *LEARN).run()
    assert scalars["test/map50"] > 0.9
    assert scalars["test/map"] > 0.35
    assert 0 < scalars["val/map"] <= scalars["val/map50"]
    with np.load(tmp_path / "run/predictions.npz") as kept:
        assert kept["test_boxes"].shape == (16, 100, 6)
        assert kept["test_target"].shape == (16, 2, 5)
        again = coco_average_precision(kept["test_boxes"].astype(float), kept["test_target"].astype(float), 2, 100)
    assert again["map"] == pytest.approx(scalars["test/map"])


@pytest.mark.parametrize("wrong", ["shuffled", "swapped"])
def test_wrong_boxes_are_not_learnt(wrong, tmp_path):
    """Boxes of another picture, or with x and y exchanged, in all splits alike."""

    def spoil(pictures):
        if wrong == "shuffled":
            return [
                (pixels, boxes) for (pixels, _), (_, boxes) in zip(pictures, pictures[1:] + pictures[:1], strict=True)
            ]
        return [(p, [(name, top, left, low, right) for name, left, top, right, low in b]) for p, b in pictures]

    splits = {"train": rectangles(64, 0), "val": rectangles(16, 1), "test": rectangles(16, 2)}
    root = voc_tree(tmp_path / "voc", {name: spoil(pictures) for name, pictures in splits.items()})
    assert DetectorTraining(tmp_path / "run", root, *LEARN, "trainer.epochs=8").run()["test/map50"] < 0.3


def test_a_mixed_training_goes_on_after_a_cut(tree, tmp_path):
    few = ("trainer.epochs=2", "dataset.train_size=16", "aug=mixup", "aug.alpha=0.2", "transform=crop_flip")
    whole = DetectorTraining(tmp_path / "whole", tree, *few).run()
    assert all(math.isfinite(value) for value in whole.values())
    with pytest.raises(KeyboardInterrupt):
        DetectorTraining(tmp_path / "cut", tree, *few).run(StopAfter(3))
    resumed = DetectorTraining(tmp_path / "cut", tree, *few, resume=True).run()
    for name, value in whole.items():
        assert name.startswith("time/") or resumed[name] == value, name


@pytest.mark.parametrize("words", ["aug=manifold_mixup transform=cutout", "aug=regmixup aug.labels=union"])
def test_other_ways_of_mixing_train(words, tree, tmp_path):
    scalars = DetectorTraining(tmp_path / "run", tree, "trainer.epochs=1", "dataset.train_size=8", *words.split()).run()
    assert all(math.isfinite(value) for value in scalars.values())


def test_torchvision_detection_in_a_run(tree, tmp_path):
    words = ("trainer.epochs=1", "dataset.train_size=8", "trainer.batch_size=4", "aug=mixup", "aug.labels=union")
    given = (
        "dataset=detection_voc",
        "dataset.cache=false",
        "model=torchvision_detection",
        "model.name=fcos_resnet18_fpn",
    )
    fit = Fit(assemble(config_of(*given, f"dataset.root={tree}", *words, "trainer.device=cpu"), "x"), tmp_path)
    (_, mixed), *_ = fit.batches.mixed(fit.batches.plan(0), 0)
    tally = Tally(fit.parts.task, fit.parts.device, {})
    fit.train_batch(mixed, 0, tally)
    assert mixed.target.shape == (4, 4, 6)
    assert tally.read()["losses"].isfinite().all()


def test_boxes_say_what_they_are():
    target = boxes_of([(0, 1, 2, 3, 4), (1, 5, 6, 7, 8), (1, 0, 0, 2, 2)]).numpy()[0]
    assert Boxes(NAMES).describe_one(target) == "1 bar, 2 dot"
    assert Boxes(NAMES).describe_one(np.full((2, 5), -1.0)) == "no box"
