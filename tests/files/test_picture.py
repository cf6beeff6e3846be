"""Pictures whose values need a scale, that are turned by their EXIF orientation, or that are too large."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mixup_lab.files.masks import decode_mask
from mixup_lab.files.picture import STORED, UPRIGHT, decode, read_header, scale_of
from mixup_lab.sources.image_folder import ImageFolder
from mixup_lab.sources.segmentation_folder import SegmentationFolder
from mixup_lab.types import UserError

# ---- values of more than 8 bits -------------------------------------------------------------------------------------

WHOLE_FLOATS = np.array([[0, 77.9, 255]], np.float32)
DEEP = {  # name -> values, what they become, and the range that is said
    "floats up to 1": (np.array([[0, 0.25, 0.8]], np.float32), [0, 64, 204], "0..1"),
    "floats up to 255": (WHOLE_FLOATS, [0, 77, 255], None),
    "floats of any sign": (np.array([[-1, 0, 3]], np.float32), [0, 64, 255], "-1..3"),
    "10 bits": (np.array([[0, 512, 1023]], np.uint16), [0, 128, 255], "0..1023"),
    "12 bits": (np.array([[16, 2048, 4095]], np.uint16), [1, 128, 255], "0..4095"),
    "14 bits": (np.array([[64, 8192, 16000]], np.uint16), [1, 128, 250], "0..16383"),
    "16 bits": (np.array([[255, 256, 65535]], np.uint16), [0, 1, 255], None),
    "8 bits in 16": (np.array([[0, 100, 255]], np.uint16), [0, 100, 255], "0..255"),
    "negative whole numbers": (np.array([[-1000, 0, 3000]], np.int32), [0, 64, 255], "-1000..3000"),
    "32 bits": (np.array([[0, 10**6, 4 * 10**6]], np.int32), [0, 64, 255], "0..4e+06"),
}


@pytest.mark.parametrize("name", DEEP)
def test_values_are_scaled_by_the_range_of_the_set(tmp_path, capsys, name):
    values, expected, said = DEEP[name]
    low = np.full_like(values, values[0, 1])  # a picture of one value, which its own range would make black or white
    for label, pixels in (("a", values), ("b", low)):
        (tmp_path / "train" / label).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / f"train/{label}/1.tif")
    loaded = ImageFolder(str(tmp_path), cache_dir=str(tmp_path / "cache")).load()
    assert loaded.train.load().numpy()[:, 0, 0].tolist() == [expected, [expected[1]] * 3]
    assert loaded.train.read(0).numpy()[0, 0].tolist() == expected
    assert loaded.new([tmp_path / "train/a/1.tif"]).pool.read(0).numpy()[0, 0].tolist() == expected
    err = capsys.readouterr().err
    assert err.count("becomes 0..255 in all of them") == (said is not None)
    assert said is None or f": {said} becomes" in err
    again = ImageFolder(str(tmp_path), cache_dir=str(tmp_path / "cache")).load()  # ranges come from the cache
    assert again.train.load().numpy()[0, 0, 0].tolist() == expected


def test_the_scale_of_16_bits_and_of_bytes_is_the_usual_one():
    assert scale_of(0, 65535, 1) == ((1, 2**-8, 0), None)
    assert scale_of(3, 254.5, 2) == ((2, 1, 0), None)


def test_values_that_are_not_finite_are_refused(tmp_path):
    Image.fromarray(np.array([[0, np.nan]], np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(UserError, match=r"x\.tif cannot be read as a picture \(it holds values that are not finite\)"):
        read_header(str(tmp_path / "x.tif"))


# ---- pages and files that are something else -------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["tif", "gif", "webp", "png"])
def test_pages_after_the_first_are_said(tmp_path, capsys, suffix):
    shown, others = (Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (200, 9))
    root = tmp_path / "in"
    for label in "ab":
        (root / label).mkdir(parents=True)
        shown.save(root / label / f"1.{suffix}", lossless=True)
    shown.save(root / f"b/2.{suffix}", save_all=True, append_images=[others, shown], lossless=True)
    for _ in range(2):  # the second time from the cache
        loaded = ImageFolder(str(root), cache_dir=str(tmp_path / "cache")).load()
        err = capsys.readouterr().err
        said = f"1 pictures in {root} have several pages or frames, such as b/2.{suffix} with 3: only the first"
        assert said in err
    assert (loaded.train.load().numpy() == 200).all()


def test_masks_have_one_page(tmp_path):
    page = Image.fromarray(np.zeros((4, 4), np.uint8))
    for i in range(2):
        save(tmp_path / f"train/images/{i}.png", np.asarray(page))
        save(tmp_path / f"train/masks/{i}.tif", np.asarray(page))
    page.save(tmp_path / "train/masks/1.tif", save_all=True, append_images=[page])
    with pytest.raises(UserError, match=r"the mask .*/train/masks/1\.tif has 2 pages, must have one; .*=skip"):
        SegmentationFolder(root=str(tmp_path), cache=False).load()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"<html>\n<p>", "cannot identify image file; it is a text that begins with '<html> <p>'"),
        ("zu groß".encode(), "cannot identify image file; it is a text that begins with 'zu groß'"),
        (b"\x89PNG\0\0", "cannot identify image file"),
        (None, "it does not exist"),
    ],
)
def test_files_that_are_not_pictures(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_header(str(tmp_path / "x.png"))
    assert str(caught.value).startswith(f"{tmp_path}/x.png cannot be read as a picture ({reason});")


# ---- EXIF -----------------------------------------------------------------------------------------------------------

BLOCKS = np.kron(np.array([[0, 60, 120], [180, 220, 250]], np.uint8), np.ones((8, 8), np.uint8))  # 16 x 24
UNDONE = {  # EXIF orientation -> how the stored pixels are displayed, in numpy
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.T,
    6: lambda a: a.T[:, ::-1], 7: lambda a: a[::-1, ::-1].T, 8: lambda a: a.T[::-1],
}  # fmt: skip


def save(path: Path, pixels: np.ndarray, orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, **({"exif": exif} if orientation != 1 else {}))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", UNDONE)
def test_every_orientation_upright_and_as_stored(tmp_path, orientation, suffix):
    path = tmp_path / f"x.{suffix}"
    save(path, BLOCKS, orientation)
    header = read_header(str(path))
    assert header.orientation == orientation
    for upright, shown in ((True, UNDONE[orientation](BLOCKS)), (False, BLOCKS)):
        high, wide = shown.shape
        assert header.size(upright) == (wide, high)
        assert (decode(str(path), (1, high, wide), upright=upright)[0] == shown).all()
        assert (decode_mask(str(path), high, wide, upright) == shown).all()
    fits = {(24, 16): STORED | (UPRIGHT if orientation < 5 else 0), (16, 24): UPRIGHT if orientation > 4 else 0}
    assert {size: header.fits(size) for size in fits} == fits


@pytest.mark.parametrize("orientation", list(UNDONE)[1:])
def test_pictures_and_masks_are_turned_together_or_not_at_all(tmp_path, capsys, orientation):
    """Masks of the stored pixels, of the turned ones, and of the stored ones with an orientation of their own."""
    shown = UNDONE[orientation](BLOCKS)
    masks = {"stored": (BLOCKS, 1), "turned": (shown, 1), "both": (BLOCKS, orientation)}
    for name, (mask, own) in masks.items():
        for i in range(2):
            save(tmp_path / name / f"train/images/{i}.png", BLOCKS, orientation)
            save(tmp_path / name / f"train/masks/{i}.png", mask // 50, own)
        loaded = SegmentationFolder(root=str(tmp_path / name), cache=False).load()
        upright = name == "turned" and orientation > 4
        expected = shown if upright else BLOCKS
        assert (loaded.train.load().numpy()[0, 0] == expected).all()
        assert (loaded.train.target[0] == (mask // 50 if upright or name != "turned" else shown // 50)).all()
        said = "2 pictures in" in (err := capsys.readouterr().err) and "EXIF orientation: they are taken as" in err
        assert said == (not upright)


def test_labels_of_both_ways_are_refused(tmp_path):
    for i, mask in enumerate((BLOCKS, BLOCKS.T)):
        save(tmp_path / f"train/images/{i}.png", BLOCKS, 6)
        save(tmp_path / f"train/masks/{i}.png", mask // 50)
    with pytest.raises(UserError, match="pictures with an EXIF orientation whose labels are of the turned picture"):
        SegmentationFolder(root=str(tmp_path), cache=False).load()
    save(tmp_path / "train/masks/1.png", BLOCKS[:, 1:] // 50)
    with pytest.raises(UserError, match=r"23x16 pixels, its picture .* 16x24, turned by its EXIF orientation 6"):
        SegmentationFolder(root=str(tmp_path), cache=False).load()


# ---- size -----------------------------------------------------------------------------------------------------------


def test_a_picture_over_the_limit_names_the_key(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # that of Pillow does not count
    save(tmp_path / "train/a/1.png", BLOCKS)
    save(tmp_path / "train/b/1.png", BLOCKS[:12])
    with pytest.raises(UserError, match=r"a/1\.png .*24x16 pixels; dataset\.max_pixels=384 allows them.*on_error=skip"):
        ImageFolder(str(tmp_path), cache=False, max_pixels=383).load()
    loaded = ImageFolder(str(tmp_path), cache=False, max_pixels=384, image_size=4).load()
    assert loaded.train.load().shape == (2, 1, 4, 4)
    save(tmp_path / "new.png", np.zeros((20, 20), np.uint8))
    with pytest.raises(UserError, match=r"new\.png .*dataset\.max_pixels=400 allows them\)$"):
        loaded.new([tmp_path / "new.png"]).pool.read(0)
    with pytest.raises(UserError, match=r"dataset\.max_pixels=0 must be at least 1"):
        ImageFolder(str(tmp_path), max_pixels=0)


# ---- new pictures for a model ---------------------------------------------------------------------------------------


def folder_of(root, values):
    """Two classes with a picture of these values each, as ImageFolder loads them."""
    for label in "ab":
        (root / label).mkdir(parents=True)
        Image.fromarray(values).save(root / label / "1.tif")
    return ImageFolder(str(root), cache=False).load()


def test_new_pictures_of_more_than_8_bits_have_their_own_scale_if_the_model_knows_none(tmp_path, capsys):
    loaded = folder_of(tmp_path / "train", np.zeros((1, 3), np.uint8))
    (tmp_path / "new").mkdir()
    Image.fromarray(np.array([[16, 2048, 4095]], np.uint16)).save(tmp_path / "new/1.png")
    Image.fromarray(np.array([[16, 16, 1000]], np.uint16)).save(tmp_path / "new/2.png")
    Image.fromarray(np.array([[1, 2, 3]], np.uint8)).save(tmp_path / "new/3.png")
    pool = loaded.new([tmp_path / "new"]).pool
    assert [pool.read(i).numpy()[0, 0].tolist() for i in range(3)] == [[1, 128, 255], [1, 1, 62], [1, 2, 3]]
    assert f"pictures in {tmp_path}/new hold values from 16 to 4095: 0..4095 becomes" in capsys.readouterr().err
    Image.fromarray(np.array([[0, 0.5, 1]], np.float32)).save(tmp_path / "f.tif")
    assert loaded.new([tmp_path / "f.tif"]).pool.read(0).numpy()[0, 0].tolist() == [0, 128, 255]
    with pytest.raises(UserError, match=r"1\.png holds whole numbers of more than 8 bits, other pictures .* floating"):
        loaded.new([tmp_path / "new", tmp_path / "f.tif"])


def test_new_pictures_outside_the_range_that_the_model_knows_are_said(tmp_path, capsys):
    loaded = folder_of(tmp_path / "train", np.array([[0, 300, 1023]], np.uint16))
    Image.fromarray(np.array([[0, 512, 1024]], np.uint16)).save(tmp_path / "1.png")
    assert loaded.new([tmp_path / "1.png"]).pool.read(0).numpy()[0, 0].tolist() == [0, 128, 255]
    assert "such as " + str(tmp_path / "1.png") + " from 0 to 1024: they are cut off" in capsys.readouterr().err
    assert loaded.new([tmp_path / "train/a"]).pool.read(0).numpy()[0, 0].tolist() == [0, 75, 255]
    Image.fromarray(np.array([[0, 0.5, 1]], np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(UserError, match=r"f\.tif holds floating-point numbers of more than 8 bits, other .* whole"):
        loaded.new([tmp_path / "f.tif"])
    assert "cut off" not in capsys.readouterr().err


@pytest.mark.parametrize(("name", "options", "said"), [("x.tif", {}, True), ("x.jpg", {"format": "MPO"}, False)])
def test_pages_of_new_pictures_are_said_but_not_those_of_phones(tmp_path, capsys, name, options, said):
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("black", "white"))
    first.save(tmp_path / name, save_all=True, append_images=[second], **options)
    loaded = folder_of(tmp_path / "train", np.zeros((8, 8), np.uint8))
    with Image.open(tmp_path / name) as image:
        assert image.n_frames == 2
    assert not loaded.new([tmp_path / name]).pool.read(0).numpy().any()
    assert ("x.tif with 2: only the first of each is read" in capsys.readouterr().err) == said


def test_a_strip_that_would_become_a_billion_pixels_is_scaled_in_part(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, 30000).astype(np.uint8)
    Image.fromarray(rows[:, None]).save(tmp_path / "x.png")
    found = decode(str(tmp_path / "x.png"), (1, 200, 200))[0]
    assert (found == found[:, :1]).all()
    # 200 of 6,000,000 rows: the middle of the strip, where two rows meet.
    low, high = sorted(rows[14999:15001].astype(int).tolist())
    assert found.min() >= low - 1
    assert found.max() <= high + 1
    assert abs(int(found[100, 0]) - (low + high) / 2) <= 2
