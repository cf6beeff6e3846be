from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.data_examples import picture, prepared, small_folder, write_folder
from PIL import Image

from mixup_lab.data.source import Loaded
from mixup_lab.files.picture import decode
from mixup_lab.sources.image_folder import ImageFolder
from mixup_lab.types import UserError


def load(root: Path, **arguments: Any) -> Loaded:
    return ImageFolder(str(root), **{"cache": False, **arguments}).load()


def pixels(image: Image.Image) -> np.ndarray:
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def with_one_more(root: Path, image: Image.Image, name: str = "train/dog/x.png", **saving: Any) -> Path:
    """A folder of 6x5 pictures and one more, which stands last."""
    small_folder(root)
    image.save(root / name, **saving)
    return root


def test_pictures_of_one_size_stay_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load(small_folder(tmp_path, ("train", "val", "test")))
    assert loaded.kind.names == ("cat", "dog")
    assert loaded.train.names == [f"train/{c}/{i}.png" for c in ("cat", "dog") for i in range(4)]
    assert loaded.train.target.tolist() == [0] * 4 + [1] * 4
    assert loaded.train.shape == (3, 5, 6)
    for pool in (loaded.train, loaded.val, loaded.test):
        assert pool is not None
        assert pool.names is not None
        images = pool.load()
        assert images.dtype == torch.uint8
        for i, name in enumerate(pool.names):
            with Image.open(tmp_path / name) as image:
                np.testing.assert_array_equal(images[i].numpy(), pixels(image))
            assert torch.equal(pool.read(i), images[i])
    assert "unequal" not in capsys.readouterr().err


def test_streaming_a_folder_equals_keeping_it(tmp_path: Path) -> None:
    source = ImageFolder(str(small_folder(tmp_path, count=10)), cache=False)
    order = [np.array([3, 1, 0]), np.array([2, 5])]
    resident, streaming = (prepared(source, storage=kind, workers=2) for kind in ("resident", "streaming"))
    for a, b in zip(resident.train.batches(order), streaming.train.batches(order), strict=True):
        assert torch.equal(a.inputs, b.inputs)
    assert resident.train.ids.tolist() == streaming.train.ids.tolist()


def test_sub_folders_count_and_hidden_and_other_files_do_not(tmp_path: Path) -> None:
    write_folder(small_folder(tmp_path), {"train/cat/a/b/deep.PNG": picture(), "train/cat/.hidden.png": picture()})
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not a picture")
    (tmp_path / "train" / ".git").mkdir()
    (tmp_path / "train" / "cat" / "again").symlink_to("..")
    (tmp_path / "train" / "cat" / "linked").symlink_to(tmp_path / "elsewhere")
    write_folder(tmp_path, {"elsewhere/far.png": picture()})
    names = load(tmp_path).train.names
    assert names is not None
    assert names[4:6] == ["train/cat/a/b/deep.PNG", "train/cat/linked/far.png"]
    assert len(names) == 10


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "ppm", "jpg", "webp"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    pool = load(small_folder(tmp_path, suffix=suffix)).train
    with Image.open(tmp_path / "train" / "dog" / f"3.{suffix}") as image:
        np.testing.assert_array_equal(pool.read(7).numpy(), pixels(image.convert("RGB")))


def test_unequal_sizes_are_scaled_and_cropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide = picture((20, 8))
    pool = load(with_one_more(tmp_path, wide)).train
    assert pool.shape == (3, 5, 5)  # the median short side
    expected = wide.resize((round(20 * 5 / 8), 5), Image.Resampling.BILINEAR).crop((3, 0, 8, 5))
    np.testing.assert_array_equal(pool.load()[8].numpy(), pixels(expected))
    assert "have unequal sizes (6 to 20 wide, 5 to 8 high): short side scaled to 5" in capsys.readouterr().err


def test_large_unequal_sizes_are_reduced(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train/a/1.jpg": picture((500, 300)), "train/b/1.jpg": picture((300, 400))})
    assert load(tmp_path).train.shape == (3, 224, 224)


def test_image_size_is_for_all(tmp_path: Path) -> None:
    pool = load(small_folder(tmp_path), image_size=3).train
    expected = picture(seed=hash((0, 0, 0)) % 1000).resize((4, 3), Image.Resampling.BILINEAR).crop((0, 0, 3, 3))
    assert pool.shape == (3, 3, 3)
    np.testing.assert_array_equal(pool.read(0).numpy(), pixels(expected))
    assert load(tmp_path, image_size=40).train.load().shape == (8, 3, 40, 40)


def test_grey_pictures_have_one_channel(tmp_path: Path) -> None:
    grey = {f"train/{c}/{i}.png": picture(mode="L", seed=i) for c in "ab" for i in range(3)}
    pool = load(write_folder(tmp_path, grey)).train
    assert pool.shape == (1, 5, 6)
    np.testing.assert_array_equal(pool.read(1).numpy(), pixels(picture(mode="L", seed=1)))
    assert (
        load(tmp_path, channels=3).train.read(1).numpy().tolist() == [pixels(picture(mode="L", seed=1))[0].tolist()] * 3
    )
    picture().save(tmp_path / "train" / "a" / "colour.png")
    assert load(tmp_path).train.shape == (3, 5, 6)
    np.testing.assert_array_equal(load(tmp_path, channels=1).train.read(3).numpy(), pixels(picture().convert("L")))


def test_transparent_pixels_show_white(tmp_path: Path) -> None:
    image = picture(mode="RGBA")
    image.putalpha(Image.frombytes("L", (6, 5), bytes([255] * 15 + [0] * 15)))
    out = load(with_one_more(tmp_path, image)).train.read(8).numpy().reshape(3, -1)
    np.testing.assert_array_equal(out[:, :15], pixels(image)[:3].reshape(3, -1)[:, :15])
    assert (out[:, 15:] == 255).all()


def test_palettes_become_colours(tmp_path: Path) -> None:
    image = picture().quantize(8)
    out = load(with_one_more(tmp_path, image)).train.read(8).numpy()
    np.testing.assert_array_equal(out, pixels(image.convert("RGB")))


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.frombytes("P", (6, 5), bytes([0] * 15 + [1] * 15))
    image.putpalette([10, 20, 30, 40, 50, 60])
    out = load(with_one_more(tmp_path, image, transparency=1)).train.read(8).numpy().reshape(3, -1)
    assert out[:, 0].tolist() == [10, 20, 30]
    assert out[:, 29].tolist() == [255, 255, 255]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    image = picture(mode="CMYK")
    out = load(with_one_more(tmp_path, image, "train/dog/x.tif")).train.read(8).numpy()
    np.testing.assert_array_equal(out, pixels(image.convert("RGB")))


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 6), dtype=np.uint16)
    values[0, :2] = 0, 65535
    for name in ("train/a/1.png", "train/b/1.png", "train/b/2.tif"):
        write_folder(tmp_path, {name: Image.fromarray(values)})
    pool = load(tmp_path).train
    assert pool.shape == (1, 5, 6)
    for image in pool.load().numpy():
        np.testing.assert_array_equal(image[0], values // 256)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_exif_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = picture((32, 24)).resize((6, 5))
    turned = upright.transpose({3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    pool = load(with_one_more(tmp_path, turned, f"train/dog/x.{suffix}", exif=exif)).train
    assert pool.shape == (3, 5, 6)  # turned upright it is as large as the others
    difference = pool.read(8).numpy().astype(int) - pixels(upright)
    assert np.abs(difference).mean() < (20 if suffix == "jpg" else 1e-9)


def test_large_jpeg_is_reduced_while_decoding(tmp_path: Path) -> None:
    smooth = picture((8, 6)).resize((800, 600), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "x.jpg", quality=95)
    expected = smooth.resize((40, 30), Image.Resampling.BILINEAR).crop((5, 0, 35, 30))
    assert np.abs(decode(str(tmp_path / "x.jpg"), (3, 30, 30)).astype(int) - pixels(expected)).mean() < 3


def broken_folder(root: Path) -> Path:
    small_folder(root)
    (root / "train" / "cat" / "broken.png").write_bytes(b"no picture")
    whole = (root / "train" / "dog" / "1.png").read_bytes()
    (root / "train" / "dog" / "1.png").write_bytes(whole[:-40])
    (root / "train" / "dog" / "gone.jpg").symlink_to("nowhere")
    return root


def test_unreadable_picture_is_named(tmp_path: Path) -> None:
    broken_folder(tmp_path)
    sentence = (
        r"train/cat/broken\.png cannot be read as a picture \(cannot identify image file; it is a text that begins with"
        r" 'no picture'\); dataset\.on_error=skip"
    )
    with pytest.raises(UserError, match=sentence):
        load(tmp_path)


def test_picture_cut_short_is_named_when_it_is_decoded(tmp_path: Path) -> None:
    broken_folder(tmp_path)
    for name in ("cat/broken.png", "dog/gone.jpg"):
        (tmp_path / "train" / name).unlink()
    for kind in ("resident", "streaming"):
        with pytest.raises(UserError, match=r"train/dog/1\.png cannot be read as a picture \(.*truncated.*\)"):
            _read_everything(ImageFolder(str(tmp_path), cache=False), kind)


def _read_everything(source: ImageFolder, kind: str) -> None:
    data = prepared(source, storage=kind)
    for split in (data.train, data.val, data.test):
        list(split.batches([np.arange(len(split))]))


def test_unreadable_pictures_are_skipped_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load(broken_folder(tmp_path), on_error="skip")
    assert loaded.dropped == 3
    assert loaded.train.names == [
        f"train/{c}/{i}.png" for c, i in [("cat", i) for i in range(4)] + [("dog", i) for i in (0, 2, 3)]
    ]
    assert loaded.train.target.tolist() == [0] * 4 + [1] * 3
    assert loaded.train.load().shape == (7, 3, 5, 6)
    assert capsys.readouterr().err.count("3 of 10 pictures in") == 1


def test_class_of_which_nothing_can_be_read(tmp_path: Path) -> None:
    for path in (small_folder(tmp_path) / "train" / "dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="has no file of class dog in train that can be read"):
        load(tmp_path, on_error="skip")


def _remove(path: Path) -> None:
    for file in path.iterdir():
        file.unlink()


def test_layout_errors(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with pytest.raises(UserError, match=rf"^dataset\.root={root} does not exist$"):
        load(root)
    root.mkdir()
    with pytest.raises(UserError, match=rf"^dataset\.root={root} has no folder train"):
        load(root)
    (root / "train" / "cat").mkdir(parents=True)
    with pytest.raises(UserError, match="must have at least 2 class folders in train, found 1"):
        load(root)
    small_folder(root, ("train", "val"))
    (root / "val" / "cow").mkdir()
    with pytest.raises(UserError, match=r"val/cow is not a class of train \(cat, dog\)"):
        load(root)
    (root / "val" / "cow").rmdir()
    _remove(root / "val" / "dog")
    _remove(root / "val" / "cat")
    with pytest.raises(UserError, match=r"has no pictures in val \(\.jpg"):
        load(root)
    with pytest.raises(UserError, match="is not a folder"):
        load(root / "train" / "cat" / "0.png")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"root": None}, r"dataset\.root has no value"),
        ({"root": "???"}, r"dataset\.root has no value"),
        ({"image_size": 0}, r"dataset\.image_size=0 must be null, N or \[height, width\], each at least 1"),
        ({"channels": 2}, r"dataset\.channels=2 must be null, 1 \(grey\) or 3 \(RGB\)"),
        ({"on_error": "stop"}, r"dataset\.on_error=stop must be one of raise, skip"),
    ],
)
def test_values_out_of_range(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        ImageFolder(**{"root": ".", **arguments})


def test_relative_root_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_folder(tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for root in ("pictures", f"~{os.sep}pictures"):
        assert ImageFolder(root, cache=False).load().train.read(0).shape == (3, 5, 6)
