"""Pictures with masks: layouts of folders, what labels mean, sizes, cache, known sets, and what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.data_examples import prepared
from helpers.mask_examples import save, shapes, write
from PIL import Image

from mixup_lab.files.masks import decode_mask
from mixup_lab.sources.segmentation_folder import SegmentationFolder
from mixup_lab.sources.torchvision import TorchvisionMasks
from mixup_lab.types import VOID, UserError

GREY = np.zeros((24, 24), dtype=np.uint8)


def folder(root: Path, **keys) -> SegmentationFolder:
    return SegmentationFolder(root=str(root), **{"cache": False, **keys})


@pytest.fixture
def small(tmp_path):
    """Three pairs in train and two in test, with labels 0, 1 and 2."""
    write(tmp_path, "train", *shapes(3, seed=0))
    return write(tmp_path, "test", *shapes(2, seed=1))


# ---- layouts --------------------------------------------------------------------------------------------------------


def test_folders_for_each_split(small):
    loaded = folder(small, classes=["ground", "red", "blue"]).load()
    pictures, masks = shapes(3, seed=0)
    assert loaded.kind.names == ("ground", "red", "blue")
    assert loaded.val is None
    assert loaded.train.shape == (3, 24, 24)
    assert loaded.train.target.dtype == np.uint8
    assert (loaded.train.target == masks).all()
    assert (loaded.train.load().numpy() == pictures.transpose(0, 3, 1, 2)).all()
    assert (loaded.test.target == shapes(2, seed=1)[1]).all()
    assert list(loaded.train.names) == [f"train/images/{k}.png" for k in range(3)]


def test_without_names_classes_are_those_of_train(small):
    assert folder(small).load().kind.names == ("class 0", "class 1", "class 2")


def test_names_of_folders_and_a_file_of_classes_with_void(tmp_path):
    """As CamVid unpacks: train and trainannot, `11 void` in classes.txt."""
    pictures, masks = shapes(3, seed=0)
    masks[:, :2] = 11
    for number in range(3):
        for split in ("train", "val", "test"):
            save(tmp_path / split / f"{number}.jpg", pictures[number])
            save(tmp_path / f"{split}annot" / f"{number}.png", masks[number])
    (tmp_path / "classes.txt").write_text("\n".join(f"{k} c{k}" for k in range(11)) + "\n11 void\n")
    loaded = folder(tmp_path, images="SPLIT", masks="SPLITannot", classes="classes.txt", void=11).load()
    assert loaded.kind.names == tuple(f"c{k}" for k in range(11))
    for pool in (loaded.train, loaded.val, loaded.test):
        assert (pool.target == np.where(masks == 11, VOID, masks)).all()


def test_a_manifest_divides_maps_of_instances(tmp_path):
    pictures, masks = shapes(6, seed=0)
    instances = masks.astype(np.uint16) * 300
    splits = ["train", "val", "test", "train", "train", "test"]
    for number in range(6):
        save(tmp_path / "images" / f"p{number}.png", pictures[number])
        save(tmp_path / "labels" / f"p{number}.png", instances[number])
    rows = [f"p{k}{'.png' if k == 3 else ''},{split},7" for k, split in enumerate(splits)]
    (tmp_path / "m.csv").write_text("name,part,other\n" + "\n".join(rows))
    keys = {"images": "images", "masks": "labels", "binary": True}
    loaded = folder(tmp_path, manifest="m.csv", id_column="name", split_column="part", **keys).load()
    assert loaded.kind.names == ("background", "foreground")
    for pool, members in ((loaded.train, [0, 3, 4]), (loaded.val, [1]), (loaded.test, [2, 5])):
        assert (pool.target == (masks[members] > 0)).all()
        assert (pool.load().numpy() == pictures[members].transpose(0, 3, 1, 2)).all()
    whole = folder(tmp_path, **keys).load()  # without a manifest all are one pool, and splits are carved from it
    assert (len(whole.train.target), whole.val, whole.test) == (6, None, None)


def test_a_run_gets_splits_that_pictures_and_masks_share(small):
    for storage in ("resident", "streaming"):
        data = prepared(folder(small), val_fraction=0.4, storage=storage)
        pictures, masks = shapes(3, seed=0)
        assert len(data.val) == 1
        for split in (data.train, data.val):
            (batch,) = split.batches([np.arange(len(split))])
            assert (batch.inputs.numpy() == pictures[split.ids].transpose(0, 3, 1, 2)).all()
            assert (batch.target.numpy() == masks[split.ids]).all()


# ---- labels ---------------------------------------------------------------------------------------------------------


def test_labels_after_a_void_one_move_up(small):
    loaded = folder(small, classes=["nothing", "red", "blue"], void=0).load()
    assert loaded.kind.names == ("red", "blue")
    masks = shapes(3, seed=0)[1].astype(int)
    assert (loaded.train.target == np.where(masks == 0, VOID, masks - 1)).all()


LABELS = [  # values in the files for 0, 1 and 2; keys; names of the classes; class indices of the values; what is said
    (
        (0, 100, 200),
        {},
        ("class 0", "class 100", "class 200"),
        (0, 1, 2),
        "train/masks/0.png): these 3 labels are the classes",
    ),
    ((0, 40000, 50000), {}, ("class 0", "class 40000", "class 50000"), (0, 1, 2), "these 3 labels are the classes"),
    ((0, 100, 255), {"void": 255}, ("class 0", "class 100"), (0, 1, VOID), "hold 0, 100 (100 as in "),
    (
        (0, 1, 3),
        {},
        ("class 0", "class 1", "class 2", "class 3"),
        (0, 1, 3),
        "hold 0, 1, 3: 2 in between is a class too",
    ),
    ((0, 255, 255), {}, ("background", "foreground"), (0, 1, 1), "255 is the foreground, as with dataset.binary=true"),
    ((0, 1, 2), {}, ("class 0", "class 1", "class 2"), (0, 1, 2), None),
]


@pytest.mark.parametrize(("values", "keys", "names", "indices", "said"), LABELS, ids=[str(row[0]) for row in LABELS])
def test_labels_with_gaps_are_the_classes_that_occur(small, capsys, values, keys, names, indices, said):
    masks = shapes(3, seed=0)[1]
    for i, mask in enumerate(masks):
        save(small / f"train/masks/{i}.png", np.array(values, np.uint16 if max(values) > 255 else np.uint8)[mask])
    for i, mask in enumerate(shapes(2, seed=1)[1]):
        save(small / f"test/masks/{i}.png", np.array(values, np.uint16)[mask])
    loaded = folder(small, **keys).load()
    assert loaded.kind.names == names
    assert (loaded.train.target == np.array(indices)[masks]).all()
    err = capsys.readouterr().err
    assert said is None or said in err
    assert (" hold " in err) == (said is not None)


@pytest.mark.parametrize(
    ("picture", "mask"),
    [
        ("{}", "{}_mask"), ("{}", "mask_{}"), ("{}", "{}-seg"), ("img {}", "label {}"), ("{}_sat", "{}_mask"),
        ("case_{}_0000", "case_{}"), ("a/image{}", "a/gt{}_x"),
    ],
)  # fmt: skip
def test_names_may_differ_in_what_all_have_in_common(tmp_path, capsys, picture, mask):
    pictures, masks = shapes(12, seed=0)
    for i in range(12):  # val has one pair, whose names alone do not tell what they have in common
        split = "val" if i == 10 else "train"
        save(tmp_path / f"{split}/images/{picture.format(i)}.png", pictures[i])
        save(tmp_path / f"{split}/masks/{mask.format(i)}.png", masks[i])
    loaded = folder(tmp_path).load()
    for pool, rows in ((loaded.train, [i for i in range(12) if i != 10]), (loaded.val, [10])):
        paths = [f"images/{picture.format(i)}.png" for i in rows]
        order = np.argsort(paths)
        assert [name.partition("/")[2] for name in pool.names] == sorted(paths)
        assert (pool.target == masks[np.array(rows)[order]]).all()
    assert "pictures and masks are paired like train/images/" in capsys.readouterr().err


def test_masks_that_fit_no_picture_are_named(tmp_path):
    for i in range(2):
        save(tmp_path / f"train/images/{i}.png", GREY)
        save(tmp_path / f"train/masks/{i}_a_{i}.png", GREY)
    with pytest.raises(UserError, match=r"has no mask train/masks/[01]\.\*; there are 0_a_0\.png, 1_a_1\.png; dataset"):
        folder(tmp_path).load()


@pytest.mark.parametrize("value", [-1, 70000, 1.5])
def test_values_that_are_not_labels_are_refused(tmp_path, value):
    pixels = np.full((3, 4), value, np.int32 if isinstance(value, int) else np.float32)
    save(tmp_path / "x.tif", pixels)
    with pytest.raises(UserError, match=rf"holds {value}; labels are 0\.\.65535|values are not whole numbers"):
        decode_mask(str(tmp_path / "x.tif"), 3, 4)
    save(tmp_path / "x.tif", np.full((3, 4), 7, np.float32))
    assert (decode_mask(str(tmp_path / "x.tif"), 3, 4) == 7).all()


def test_other_names_of_splits_and_ids_of_a_manifest(tmp_path):
    pictures, masks = shapes(4, seed=0)
    for split, rows in (("training", [0, 1]), ("valid", [2, 3])):
        write(tmp_path, split, pictures[rows], masks[rows])
    loaded = folder(tmp_path).load()
    assert (len(loaded.train.target), len(loaded.val.target), loaded.test) == (2, 2, None)
    (tmp_path / "m.csv").write_text("id,split\nimages\\0,Training\nvalid/images/1.png,dev\n")
    keys = {"images": "valid/images", "masks": "valid/masks", "manifest": "m.csv"}
    (tmp_path / "m.csv").write_text("id,split\nvalid\\images\\0,Training\nvalid/images/1.png,dev\n")
    loaded = folder(tmp_path, **keys).load()
    assert (loaded.train.target == masks[2]).all()
    assert (loaded.val.target == masks[3]).all()


def test_several_void_labels_and_a_plain_file_of_names(small):
    (small / "names.txt").write_text("ground\nred\n\nblue\n")
    loaded = folder(small, classes="names.txt", void=[1, 77]).load()
    assert loaded.kind.names == ("ground", "blue")
    assert set(np.unique(loaded.train.target)) == {0, 1, VOID}


def test_binary_takes_255_for_the_foreground(small):
    mask = np.array(Image.open(small / "train/masks/0.png"))
    save(small / "train/masks/0.png", np.where(mask > 0, 255, 0).astype(np.uint8))
    assert (folder(small, binary=True).load().train.target[0] == (mask > 0)).all()


def test_every_way_to_store_numbers(tmp_path):
    mask = shapes(1, seed=3)[1][0]
    palette = Image.fromarray(mask)
    palette.putpalette([9, 9, 9, 200, 0, 0, 0, 0, 200])
    rgba = np.dstack([mask, mask, mask, np.full_like(mask, 255)])
    for name, image in (
        ("grey.png", Image.fromarray(mask)),
        ("palette.png", palette),
        ("rgb.png", Image.fromarray(np.dstack([mask] * 3))),
        ("rgba.png", Image.fromarray(rgba)),
        ("wide.png", Image.fromarray(mask.astype(np.uint16))),
        ("int.tif", Image.fromarray(mask.astype(np.int32))),
    ):
        image.save(tmp_path / name)
        assert (decode_mask(str(tmp_path / name), 24, 24) == mask).all(), name
    Image.fromarray(mask > 0).save(tmp_path / "bit.png")
    assert (decode_mask(str(tmp_path / "bit.png"), 24, 24) == (mask > 0)).all()


# ---- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, 24, [12, 12], [24, 36], [48, 40], [9, 13], [64, 96]])
def test_a_mask_lies_where_its_picture_shows_it(tmp_path, size):
    """Pictures that are bright where the mask is 1: whatever the size, the two agree but on blurred outlines."""
    blocks = np.random.default_rng(0).integers(0, 2, (4, 6), dtype=np.uint8)
    mask = blocks.repeat(8, 0).repeat(8, 1)  # 32 x 48
    save(tmp_path / "train/images/a.png", mask * 255)
    save(tmp_path / "train/masks/a.png", mask)
    loaded = folder(tmp_path, image_size=size).load()
    bright, target = loaded.train.load().numpy()[0, 0], loaded.train.target[0]
    assert bright.shape == target.shape == ((32, 48) if size is None else (24, 24) if size == 24 else tuple(size))
    sharp = (bright < 64) | (bright > 191)
    assert sharp.mean() > 0.4
    assert ((bright > 127) == (target == 1))[sharp].all()
    for axis in (0, 1):
        for step in (-1, 1):
            shifted = np.roll(target, step, axis)
            assert ((bright > 127) != (shifted == 1))[sharp].any(), "a shift by one pixel is seen"


def test_unequal_sizes_are_said(small, capsys):
    pictures, masks = shapes(1, seed=5, size=32)
    save(small / "train/images/9.png", pictures[0])
    save(small / "train/masks/9.png", masks[0])
    loaded = folder(small).load()
    assert loaded.train.shape == (3, 24, 24)
    assert loaded.train.target.shape == (4, 24, 24)
    said = capsys.readouterr().err
    assert "unequal sizes (24 to 32 wide, 24 to 32 high)" in said
    assert "dataset.image_size=N or [height,width]" in said


# ---- cache and what cannot be used ----------------------------------------------------------------------------------


def test_masks_are_decoded_once(small, tmp_path, capsys):
    keys = {"cache": True, "cache_dir": str(tmp_path / "kept")}
    first = folder(small, **keys).load()
    assert "decoding 3 masks" in capsys.readouterr().err
    again = folder(small, void=0, **keys).load()  # other labels, the same files
    assert "decoding" not in capsys.readouterr().err
    assert (again.train.target == np.where(first.train.target == 0, VOID, first.train.target - 1)).all()
    save(small / "train/masks/1.png", np.zeros((24, 24), dtype=np.uint8))
    os.utime(small / "train/masks/1.png", (1, 1))
    assert not folder(small, **keys).load().train.target[1].any()


def test_skip_leaves_out_and_counts(small, capsys):
    write(small, "train", *shapes(8, seed=4))
    (small / "train/masks/1.png").write_bytes(b"no picture")
    (small / "train/images/2.png").write_bytes(b"")
    save(small / "train/masks/3.png", np.zeros((24, 25), dtype=np.uint8))
    (small / "train/masks/4.png").unlink()
    (small / "train/images/5.png").unlink()
    loaded = folder(small, on_error="skip").load()
    assert list(loaded.train.names) == [f"train/images/{k}.png" for k in (0, 6, 7)]
    assert (loaded.train.target == shapes(8, seed=4)[1][[0, 6, 7]]).all()
    assert loaded.dropped == 5
    assert "5 pictures or masks" in capsys.readouterr().err


def _unlink(name):
    return lambda root: (root / name).unlink()


def test_the_mask_with_the_rarest_label_is_named(small):
    for i in range(3):
        save(small / f"train/masks/{i}.png", np.where(np.eye(24) > 0, 255, 128 * (i == 1)).astype(np.uint8))
    with pytest.raises(UserError, match=r"hold 0, 128, 255 \(128 as in .*/train/masks/1\.png\): is 255 void"):
        folder(small).load()


def _put(name, value):
    return lambda root: save(root / name, value)


def _text(name, text):
    return lambda root: (root / name).write_text(text)


MANIFEST = {"images": "train/images", "masks": "train/masks", "manifest": "m.csv"}
MISTAKES = [
    (_unlink("train/masks/1.png"), {}, r"train/images/1\.png has no mask train/masks/1\.\*"),
    (_unlink("test/images/0.png"), {}, r"test/masks/0\.png has no picture test/images/0"),
    (_put("train/masks/1.png", GREY[:, 1:]), {}, r"mask .*train/masks/1\.png has 23x24 pixels, its picture .* 24x24"),
    (
        _put("test/masks/1.png", GREY + 7),
        {},
        r"test/masks/1\.png has the label 7; allowed are 0, 1, 2; .*dataset\.void",
    ),
    (
        _put("train/masks/1.png", GREY + 255),
        {"void": 11},
        r"hold 0, 1, 2, 255 \(255 as in .*train/masks/1\.png\): is 255 void \(dataset\.void=255\) or a class",
    ),
    (_text("train/masks/1.png", "no"), {}, r"train/masks/1\.png cannot be read"),
    (
        _put("train/masks/1.png", shapes(1, 0)[0][0]),
        {},
        r"train/masks/1\.png cannot be read as a mask \(it has colours",
    ),
    (lambda root: save(root / "train/masks/1.jpg", GREY), {}, "differ only in their suffix"),
    (None, {"images": "SPLIT/masks/"}, r"dataset\.images and dataset\.masks are both SPLIT/masks/; masks must be in"),
    (
        _put("train/masks/1.png", np.dstack([np.zeros((24, 24, 3), np.uint8), np.eye(24, dtype=np.uint8) * 255])),
        {},
        r"train/masks/1\.png cannot be read as a mask \(it is drawn in its alpha channel",
    ),
    (None, {"images": "pictures/SPLIT"}, r"has no folder pictures/train; dataset\.images=FOLDER"),
    (None, {"masks": "masks"}, "must both contain SPLIT"),
    (None, {"manifest": "m.csv"}, "both set the splits"),
    (None, {"classes": "names.txt"}, r"dataset\.classes=names\.txt: .* cannot be read"),
    (None, {"binary": True, "classes": ["a"]}, "has two classes, dataset.classes names 1"),
    (None, {"binary": True, "void": 0}, "cannot be in dataset.void"),
    (None, {"void": -1}, r"dataset\.void=-1 must be null, a label"),
    (None, {"image_size": [3]}, r"dataset\.image_size=\[3\] must be null, N or \[height, width\]"),
    (None, {"image_size": 0}, r"dataset\.image_size=.* must be"),
    (None, {"on_error": "stop"}, r"dataset\.on_error=stop must be one of raise, skip"),
    (None, {"channels": 2}, r"dataset\.channels=2 must be"),
    (None, MANIFEST, r"dataset\.manifest=m\.csv: .* does not exist"),
    (
        _text("m.csv", "name,split\n0,train"),
        MANIFEST,
        r"dataset\.id_column=id is not a column of .*m\.csv; it has name, split",
    ),
    (_text("m.csv", "id,split\n0,train\n0,val"), MANIFEST, "line 3: 0 is already in line 2; each id must have one row"),
    (
        _text("m.csv", "id,split\n0,other"),
        MANIFEST,
        "line 2: split must be one of train, training, val, .*, found other",
    ),
    (_text("m.csv", "id,split\n0,train"), MANIFEST, r"train/images/1\.png is not in m\.csv"),
    (_text("m.csv", "id,split\n0,train\n1,val\n2,val\n3,val"), MANIFEST, "m.csv names 3, which is not in"),
    (_text("m.csv", "id,split\n0,val\n1,val\n2,val"), MANIFEST, "no row whose split is train"),
]


@pytest.mark.parametrize(("spoil", "keys", "message"), MISTAKES, ids=[m for _, _, m in MISTAKES])
def test_mistakes_get_one_sentence(small, spoil, keys, message):
    if spoil:
        spoil(small)
    with pytest.raises(UserError, match=message) as caught:
        folder(small, **keys).load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("root", [None, "", "???"])
def test_a_folder_is_needed(root):
    with pytest.raises(UserError, match=r"dataset\.root has no value"):
        SegmentationFolder(root=root)


def test_jpeg_masks_are_refused(tmp_path):
    pictures, masks = shapes(1, seed=0)
    save(tmp_path / "train/images/a.png", pictures[0])
    save(tmp_path / "train/masks/a.jpg", masks[0])
    with pytest.raises(UserError, match=r"a\.jpg cannot be read as a mask \(JPEG changes labels; save masks as PNG\)"):
        folder(tmp_path).load()


# ---- known sets -----------------------------------------------------------------------------------------------------


def known(name: str, root: Path, **keys):
    return TorchvisionMasks(name, str(root), **{"download": False, "cache": False, **keys})


def test_voc(tmp_path):
    home = tmp_path / "VOCdevkit/VOC2012"
    pictures, masks = shapes(4, seed=0)
    masks[:, 0] = 255
    for number in range(4):
        save(home / "JPEGImages" / f"{number}.jpg", pictures[number])
        save(home / "SegmentationClass" / f"{number}.png", masks[number])
    (home / "ImageSets/Segmentation").mkdir(parents=True)
    (home / "ImageSets/Segmentation/train.txt").write_text("0\n2\n3\n")
    (home / "ImageSets/Segmentation/val.txt").write_text("1\n")
    loaded = known("voc", tmp_path).load()
    assert len(loaded.kind.names) == 21
    assert (loaded.train.target == masks[[0, 2, 3]]).all()
    assert (loaded.test.target == masks[[1]]).all()
    assert loaded.val is None
    (home / "SegmentationClass/2.png").unlink()
    with pytest.raises(UserError, match=r"dataset\.root=.* lacks .*2\.png"):
        known("voc", tmp_path).load()


def test_oxford_pets(tmp_path):
    home = tmp_path / "oxford-iiit-pet"
    pictures, masks = shapes(3, seed=0)
    for number in range(3):
        save(home / "images" / f"cat_{number}.jpg", pictures[number])
        save(home / "annotations/trimaps" / f"cat_{number}.png", masks[number] + 1)
    (home / "annotations/trainval.txt").write_text("cat_0 1 1 1\ncat_2 1 1 1\n")
    (home / "annotations/test.txt").write_text("cat_1 1 1 1\n")
    loaded = known("oxford_pets", tmp_path, image_size=12).load()
    assert loaded.kind.names == ("background", "pet")
    assert loaded.train.target.shape == (2, 12, 12)
    whole = known("oxford_pets", tmp_path).load()
    expected = np.array([1, 0, VOID], dtype=np.uint8)[masks]  # 1 the animal, 2 the background, 3 the border
    assert (whole.train.target == expected[[0, 2]]).all()
    assert (whole.test.target == expected[[1]]).all()


def test_cityscapes(tmp_path):
    pictures, masks = shapes(2, seed=0)
    labels = np.array([7, 26, 4], dtype=np.uint8)[masks]  # road, car, static
    for number, split in enumerate(("train", "val")):
        save(tmp_path / "leftImg8bit" / split / "ulm" / "ulm_0_leftImg8bit.png", pictures[number])
        save(tmp_path / "gtFine" / split / "ulm" / "ulm_0_gtFine_labelIds.png", labels[number])
    loaded = known("cityscapes", tmp_path).load()
    assert len(loaded.kind.names) == 19
    assert (loaded.kind.names[0], loaded.kind.names[13]) == ("road", "car")
    assert (loaded.train.target == np.array([0, 13, VOID], dtype=np.uint8)[masks[:1]]).all()
    assert (loaded.test.target == np.array([0, 13, VOID], dtype=np.uint8)[masks[1:]]).all()


@pytest.mark.parametrize(
    ("name", "remedy"), [("voc", "dataset.download=true"), ("oxford_pets", "dataset.download=true"),
                         ("cityscapes", "by hand")],
)  # fmt: skip
def test_sets_without_their_files_say_so(tmp_path, name, remedy):
    with pytest.raises(UserError, match=r"dataset\.root=DIR") as caught:
        known(name, tmp_path / "none").load()
    assert remedy in str(caught.value)
    assert not (tmp_path / "none").exists()


def test_palettes_that_give_a_label_two_colours_are_refused(tmp_path):
    """As a mask of one colour becomes, where a program makes a palette for each file."""
    red, blue = [255, 0, 0], [0, 0, 255]
    for number, palette in enumerate(([*red, *blue], [*red, *blue, 9, 9, 9], [*blue, *red])):
        save(tmp_path / f"train/images/{number}.png", np.zeros((4, 4, 3), np.uint8))
        mask = Image.fromarray(np.eye(4, dtype=np.uint8) * (number < 2))
        mask.putpalette(palette)
        (tmp_path / "train/masks").mkdir(exist_ok=True)
        mask.save(tmp_path / f"train/masks/{number}.png")
    with pytest.raises(
        UserError,
        match=r"label 0 has the colour \(0, 0, 255\) in the palette of .*/2\.png, and \(255, 0, 0\) in .*/0\.png",
    ):
        folder(tmp_path).load()
    for part in ("images", "masks"):
        (tmp_path / f"train/{part}/2.png").unlink()
    assert (folder(tmp_path).load().train.target == np.eye(4)).all()  # entries that no pixel uses may differ


@pytest.mark.parametrize(("most", "said"), [(255, True), (254, False)])
def test_values_between_0_and_255_are_foreground_with_a_word(tmp_path, capsys, most, said):
    edge = np.full((4, 4), most, np.uint8)
    edge[0], edge[1] = 0, 3
    write(tmp_path, "train", np.zeros((2, 4, 4, 3), np.uint8), np.stack([edge, edge]))
    assert folder(tmp_path, binary=True).load().train.target[0].mean() == 0.75
    assert ("hold 255 and 3: all are the foreground, soft edges too" in capsys.readouterr().err) == said


def test_255_among_larger_labels_is_not_void(tmp_path):
    mask = np.arange(0, 400, 16, dtype=np.uint16).reshape(5, 5)
    mask[1, 1] = VOID
    write(tmp_path, "train", np.zeros((1, 5, 5, 3), np.uint8), mask[None])
    assert f"class {VOID}" in folder(tmp_path).load().kind.names


@pytest.mark.parametrize(("count", "said"), [(21, True), (20, False)])
def test_many_labels_without_names_may_be_instances(tmp_path, capsys, count, said):
    mask = np.arange(25, dtype=np.uint8).reshape(5, 5) % count
    write(tmp_path, "train", np.zeros((1, 5, 5, 3), np.uint8), mask[None])
    assert len(folder(tmp_path).load().kind.names) == count
    assert (": 21 classes; dataset.binary=true suits maps of instances" in capsys.readouterr().err) == said
