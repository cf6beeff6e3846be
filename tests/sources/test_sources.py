from __future__ import annotations

import gzip
import os
import struct
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.data_examples import prepared

from mixup_lab.data.source import ArrayPool
from mixup_lab.sources.digits import STEP, Digits
from mixup_lab.sources.fake import FakeImages
from mixup_lab.sources.torchvision import KNOWN, TorchvisionSet
from mixup_lab.types import UserError


def test_digits_are_those_of_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    expected = datasets.load_digits()
    pool = Digits().load().train
    assert pool.shape == (1, 8, 8)
    np.testing.assert_array_equal(pool.load().numpy()[:, 0] / STEP, expected.images)
    np.testing.assert_array_equal(pool.target, expected.target)


def test_digits_are_carved_into_three() -> None:
    data = prepared(Digits())
    assert [len(split) for split in (data.train, data.val, data.test)] == [1294, 144, 359]
    assert data.kind.names == tuple("0123456789")


def test_fake_images_are_deterministic() -> None:
    first, again, other = (FakeImages(seed=seed).load() for seed in (0, 0, 1))
    assert first.val is None
    assert first.test is not None
    assert (len(first.train.target), len(first.test.target), first.train.shape) == (256, 64, (3, 16, 16))
    assert first.train.load().equal(again.train.load())
    assert not first.train.load().equal(other.train.load())
    assert np.bincount(first.train.target).tolist() == [64, 64, 64, 64]


@pytest.mark.parametrize(("noise", "low", "high"), [(0.0, 1.0, 1.0), (1.0, 0.95, 1.0), (10.0, 0.4, 0.9)])
def test_fake_images_can_be_told_apart_as_far_as_noise_allows(noise: float, low: float, high: float) -> None:
    loaded = FakeImages(noise=noise, test=400).load()
    assert loaded.test is not None
    train, test = (pool.load().flatten(1).double() for pool in (loaded.train, loaded.test))
    means = np.stack([train[loaded.train.target == k].mean(0) for k in range(4)])
    distances = ((test.numpy()[:, None] - means) ** 2).sum(-1)
    accuracy = (distances.argmin(1) == loaded.test.target).mean()
    assert low <= accuracy <= high


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"num_classes": 1}, r"dataset\.num_classes=1 must be at least 2"),
        ({"train": 3}, r"dataset\.train=3 must be at least num_classes \(4\)"),
        ({"shape": [3, 16]}, r"dataset\.shape=\[3, 16\] must be \[channels, height, width\], each at least 1"),
        ({"noise": -1.0}, r"dataset\.noise=-1.0 must be 0 or more"),
        ({"seed": -1}, r"dataset\.seed=-1 must be 0 or more"),
    ],
)
def test_fake_images_refuse(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        FakeImages(**arguments)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx_files(folder: Path, zipped: bool = False) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    arrays = {}
    for stem, count in (("train", 40), ("t10k", 20)):
        arrays[f"{stem}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{stem}-labels-idx1-ubyte"] = (np.arange(count) % 10).astype(np.uint8)
    for name, array in arrays.items():
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return arrays


@pytest.mark.parametrize(("inner", "zipped"), [("FashionMNIST/raw", False), ("raw", False), (".", False), (".", True)])
def test_mnist_files_are_found_and_read(tmp_path: Path, inner: str, zipped: bool) -> None:
    root = tmp_path / "root"
    arrays = write_idx_files(root / inner, zipped)
    loaded = TorchvisionSet("fashion_mnist", str(root), download=False).load()
    assert loaded.val is None
    assert loaded.test is not None
    np.testing.assert_array_equal(loaded.train.load().numpy()[:, 0], arrays["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(loaded.test.target, arrays["t10k-labels-idx1-ubyte"])
    assert (loaded.train.shape, loaded.kind.names[9]) == ((1, 28, 28), "Ankle boot")


def test_mnist_files_are_read_as_torchvision_reads_them(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    write_idx_files(tmp_path / "MNIST" / "raw")
    expected = torchvision.datasets.MNIST(str(tmp_path), train=True)
    pool = TorchvisionSet("mnist", str(tmp_path), download=False).load().train
    assert pool.load()[:, 0].equal(expected.data)
    assert pool.target.tolist() == expected.targets.tolist()


def test_root_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx_files(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(TorchvisionSet("mnist", "~/here").load().train.target) == 40


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08\x03", idx(np.zeros((3, 2, 2), np.uint8))[:-1], idx(np.zeros(3, np.uint8))]
)
def test_damaged_mnist_file(tmp_path: Path, content: bytes) -> None:
    write_idx_files(tmp_path / "raw")
    (tmp_path / "raw" / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte is damaged \(.+\); delete it"):
        TorchvisionSet("mnist", str(tmp_path)).load()


def test_more_pictures_than_labels(tmp_path: Path) -> None:
    write_idx_files(tmp_path / "raw")
    (tmp_path / "raw" / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(39, np.uint8)))
    with pytest.raises(UserError, match="holds 40 pictures for train, but 39 labels"):
        TorchvisionSet("mnist", str(tmp_path)).load()


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_missing_data_that_must_not_be_fetched(tmp_path: Path, name: str) -> None:
    if name == "svhn":
        pytest.importorskip("scipy")
    sentence = rf"^dataset={name}: no data in {tmp_path}; set dataset\.root=DIR, or dataset\.download=true to fetch it$"
    with pytest.raises(UserError, match=sentence):
        TorchvisionSet(name, str(tmp_path), download=False).load()


def test_root_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UserError, match=r"^dataset=cifar10: not in .*file/data and the download failed \(.+\); set dataset"
    ):
        TorchvisionSet("cifar10", str(tmp_path / "file" / "data")).load()


def test_download_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers the proxies of whoever came first
    for name in ("mnist", "cifar10"):
        with pytest.raises(
            UserError, match=rf"^dataset={name}: not in {tmp_path} and the download failed \(.*refused.*\)"
        ):
            TorchvisionSet(name, str(tmp_path)).load()


def test_unknown_name() -> None:
    with pytest.raises(UserError, match=r"dataset\.name=imagenet must be one of mnist, .*, svhn"):
        TorchvisionSet("imagenet")


@pytest.mark.parametrize("arguments", [{"inputs": np.zeros(2, np.uint8)}, {"target": np.zeros(3, np.int64)}])
def test_array_pool_refuses(arguments: dict[str, np.ndarray]) -> None:
    with pytest.raises(UserError, match=r"^a pool needs inputs \(N, \.\.\.\), .* for the same N examples; got \("):
        ArrayPool(**{"inputs": np.zeros((2, 1, 3, 3), np.uint8), "target": np.zeros(2, np.int64), **arguments})


@pytest.mark.skipif("MIXUP_LAB_DATA" not in os.environ, reason="MIXUP_LAB_DATA names no folder with FashionMNIST/raw")
def test_known_moments_of_fashion_mnist() -> None:
    root = Path(os.environ["MIXUP_LAB_DATA"])
    if not (root / "FashionMNIST").is_dir():
        pytest.skip("no FashionMNIST/raw there")
    pixels = TorchvisionSet("fashion_mnist", str(root), download=False).load().train.load().numpy() / 255
    assert KNOWN["fashion_mnist"].mean == (pytest.approx(pixels.mean(), abs=5e-5),)
    assert KNOWN["fashion_mnist"].std == (pytest.approx(pixels.std(), abs=5e-5),)
