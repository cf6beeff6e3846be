"""MedMNIST files: classes, tags, grey and RGB, names, copies between splits, bad files, and a small training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.data_examples import prepared
from helpers.trainings import trained

from mixup_lab.sources.medmnist import MedMNIST
from mixup_lab.targets.classes import Classes
from mixup_lab.targets.tags import Tags
from mixup_lab.types import UserError

COUNTS = {"train": 40, "val": 12, "test": 16}


def arrays_of(shape=(28, 28), labels=1, classes=2, counts=COUNTS, seed=0):
    rng = np.random.default_rng(seed)
    arrays = {}
    for split, count in counts.items():
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        target = np.arange(count)[:, None] % classes if labels == 1 else rng.random((count, labels)) < 0.5
        arrays[f"{split}_labels"] = np.asarray(target, dtype=np.uint8 if labels == 1 else np.int64)
    return arrays


def write(path: Path, arrays=None, **shape) -> Path:
    np.savez_compressed(path, **(arrays_of(**shape) if arrays is None else arrays))
    return path


@pytest.mark.parametrize(
    ("shape", "stored"),
    [((28, 28), (1, 28, 28)), ((28, 28, 3), (3, 28, 28)), ((64, 64), (1, 64, 64)), ((28, 28, 28), None)],
)
def test_grey_rgb_larger_and_volumes(tmp_path, shape, stored):
    arrays = arrays_of(shape)
    path = write(tmp_path / "x.npz", arrays)
    if stored is None:
        with pytest.raises(
            UserError, match=r"train_images must be uint8 .* found uint8 \(40, 28, 28, 28\); sets of vol"
        ):
            MedMNIST(str(path)).load()
        return
    loaded = MedMNIST(str(path)).load()
    for split, pool in (("train", loaded.train), ("val", loaded.val), ("test", loaded.test)):
        images = pool.load()
        assert images.shape == (COUNTS[split], *stored)
        expected = torch.from_numpy(arrays[f"{split}_images"]).reshape(COUNTS[split], *shape[:2], -1)
        assert torch.equal(images.permute(0, 2, 3, 1), expected)
        assert torch.equal(pool.read(3), images[3])
        assert pool.target.tolist() == arrays[f"{split}_labels"][:, 0].tolist()
        assert pool.target.dtype == np.int64


@pytest.mark.parametrize(
    ("name", "count", "names"),
    [
        ("pneumoniamnist", 2, ("normal", "pneumonia")),
        ("PneumoniaMNIST_64", 2, ("normal", "pneumonia")),
        ("pneumoniamnist_other", 3, ("class 0", "class 1", "class 2")),
        ("retinamnist", 5, ("grade 0", "grade 1", "grade 2", "grade 3", "grade 4")),
        ("mine", 2, ("class 0", "class 1")),
    ],
)
def test_names_of_classes(tmp_path, name, count, names):
    path = write(tmp_path / f"{name}.npz", classes=count)
    assert MedMNIST(str(path)).load().kind == Classes(names)


def test_several_labels_are_tags(tmp_path):
    arrays = arrays_of(labels=14)
    loaded = MedMNIST(str(write(tmp_path / "chestmnist.npz", arrays))).load()
    assert isinstance(loaded.kind, Tags)
    assert loaded.kind.names[:2] == ("atelectasis", "cardiomegaly")
    assert len(loaded.kind.names) == 14
    assert loaded.train.target.dtype == np.float32
    np.testing.assert_array_equal(loaded.test.target, arrays["test_labels"])
    assert MedMNIST(str(write(tmp_path / "mine.npz", labels=2))).load().kind == Tags(("tag 0", "tag 1"))
    prepared(MedMNIST(str(tmp_path / "chestmnist.npz")))


def test_the_file_in_a_folder(tmp_path):
    write(tmp_path / "one.npz")
    assert MedMNIST(str(tmp_path)).load().kind == Classes(("class 0", "class 1"))
    write(tmp_path / "pneumoniamnist.npz")
    assert MedMNIST(str(tmp_path), name="pneumoniamnist").load().kind.names == ("normal", "pneumonia")
    with pytest.raises(UserError, match=r"dataset\.name must choose .*dataset\.name may be: one, pneumoniamnist"):
        MedMNIST(str(tmp_path)).load()
    with pytest.raises(UserError, match=r"has no two\.npz; dataset\.name may be: one, pneumoniamnist"):
        MedMNIST(str(tmp_path), name="two").load()
    renamed = MedMNIST(str(tmp_path / "one.npz"), name="breastmnist").load()
    assert renamed.kind.names == ("malignant", "normal or benign")


def test_copies_of_train_are_told(tmp_path, capsys):
    arrays = arrays_of()
    path = write(tmp_path / "x.npz", arrays)
    assert prepared(MedMNIST(str(path))).duplicates == {"val": 0, "test": 0}
    assert capsys.readouterr().err == ""
    arrays["val_images"][[1, 5]] = arrays["train_images"][[7, 7]]
    arrays["test_images"][0] = arrays["train_images"][3]
    data = prepared(MedMNIST(str(write(path, arrays))))
    said = "2 of {val} val examples and 1 of {test} test examples occur in train too: they flatter every arm"
    assert capsys.readouterr().err == f"{said.format(**COUNTS)}\n"
    assert (data.duplicates, data.carved) == ({"val": 2, "test": 1}, ())


def test_splits_are_those_of_the_file_and_moments_those_of_train(tmp_path):
    arrays = arrays_of((28, 28, 3))
    before = prepared(MedMNIST(str(write(tmp_path / "x.npz", arrays))))
    np.testing.assert_allclose(before.encode.mean, arrays["train_images"].mean((0, 1, 2)) / 255, rtol=1e-6)
    np.testing.assert_allclose(before.encode.std, arrays["train_images"].std((0, 1, 2)) / 255, rtol=1e-6)
    assert [len(split) for split in (before.train, before.val, before.test)] == list(COUNTS.values())
    arrays["val_images"][:], arrays["test_images"][:] = 255, 0  # poison
    after = prepared(MedMNIST(str(write(tmp_path / "x.npz", arrays))))
    assert (after.encode.mean, after.encode.std) == (before.encode.mean, before.encode.std)
    other_seed = prepared(MedMNIST(str(tmp_path / "x.npz")), seed=5)
    assert np.array_equal(other_seed.train.ids, after.train.ids)


def change(**changes):
    return arrays_of() | changes


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"a": np.zeros(3)}, "has no train_images, so it is not a MedMNIST file; it holds a"),
        ({k: v for k, v in arrays_of().items() if k != "test_labels"}, "has no test_labels"),
        (change(val_images=np.zeros((12, 28, 28))), r"val_images must be uint8 .* found float64 \(12, 28, 28\)"),
        (change(val_images=np.zeros((12, 28), np.uint8)), r"val_images must be uint8 .* found uint8 \(12, 28\)"),
        (
            change(val_images=np.zeros((12, 30, 28), np.uint8)),
            r"pictures of val have shape \(1, 30, 28\), those of train",
        ),
        (change(test_labels=np.zeros((15, 1), np.int64)), r"one row for each of 16 pictures, found int64 \(15, 1\)"),
        (change(test_labels=np.zeros((16, 1))), r"test_labels must be whole numbers, .* found float64"),
        (change(test_labels=np.full((16, 1), 7)), "test has the class 7, but the classes of train are 0 to 1"),
        (change(test_labels=np.zeros((16, 3), np.int64)), "train, val and test must have labels of equal width"),
    ],
)
def test_files_that_are_not_so(tmp_path, arrays, sentence):
    with pytest.raises(UserError, match=sentence):
        MedMNIST(str(write(tmp_path / "x.npz", arrays))).load()


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"dataset\.root has no value"):
        MedMNIST()
    with pytest.raises(UserError, match=r"dataset\.root=.*nowhere does not exist"):
        MedMNIST(str(tmp_path / "nowhere")).load()
    with pytest.raises(UserError, match="it holds no npz file"):
        MedMNIST(str(tmp_path)).load()
    whole = write(tmp_path / "x.npz").read_bytes()
    for content in (b"", b"no zip", whole[: len(whole) // 2], whole[:3000] + b"?" * 200 + whole[3200:]):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"x\.npz cannot be read as an npz file: ."):
            MedMNIST(str(tmp_path / "x.npz")).load()
    np.save(tmp_path / "y.npy", np.zeros(3))
    (tmp_path / "y.npy").rename(tmp_path / "y.npz")
    with pytest.raises(UserError, match=r"y\.npz cannot be read as an npz file"):
        MedMNIST(str(tmp_path / "y.npz")).load()


def test_no_examples(tmp_path):
    with pytest.raises(UserError, match="the dataset has no examples for val"):
        prepared(MedMNIST(str(write(tmp_path / "x.npz", counts={**COUNTS, "val": 0}))))


@pytest.mark.parametrize("broken", [False, True])
def test_a_small_training(tmp_path, broken):
    """Bright blobs at one side or the other; with labels of other pictures nothing is to be learnt."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in {"train": 160, "val": 40, "test": 100}.items():
        side = rng.integers(0, 2, count)
        images = rng.integers(0, 100, (count, 8, 8, 3))
        for i, right in enumerate(side):
            images[i, 2:6, 4 * right : 4 * right + 4, 1] += 60
        arrays[f"{split}_images"] = images.astype(np.uint8)
        arrays[f"{split}_labels"] = (rng.permutation(side) if broken else side)[:, None]
    path = write(tmp_path / "x.npz", arrays)
    scalars = trained(
        tmp_path / "run", "dataset=medmnist", f"dataset.root={path}", "model=small_cnn", "model.width=8",
        "trainer.epochs=8", "trainer.eval_every=8", "trainer.batch_size=16", "aug=mixup", "aug.alpha=0.2",
    )  # fmt: skip
    if broken:
        assert scalars["test/auroc"] < 0.7
    else:
        assert scalars["test/auroc"] > 0.97
        assert scalars["test/macro_recall"] > 0.9


def test_one_channel_may_have_its_axis(tmp_path):
    arrays = arrays_of((28, 28, 1))
    loaded = MedMNIST(str(write(tmp_path / "x.npz", arrays))).load()
    assert (loaded.train.load().numpy()[:, 0] == arrays["train_images"][..., 0]).all()


def test_one_hot_labels_are_said(tmp_path, capsys):
    arrays = arrays_of(labels=3)
    MedMNIST(str(write(tmp_path / "x.npz", arrays))).load()
    assert capsys.readouterr().err == ""
    arrays |= {key: np.eye(3, dtype=int)[np.arange(len(value)) % 3] for key, value in arrays.items() if "labels" in key}
    MedMNIST(str(write(tmp_path / "x.npz", arrays))).load()
    said = "x: each row of train_labels has a single 1 (one-hot) and is read as 3 tags; to have classes"
    assert capsys.readouterr().err.startswith(said)


def test_numbers_of_classes_have_a_limit(tmp_path):
    arrays = arrays_of()
    arrays["train_labels"] = arrays["train_labels"].astype(np.int64) * 10**9
    with pytest.raises(UserError, match=r"x: train_labels has the class 1000000000; .* at most 65535"):
        MedMNIST(str(write(tmp_path / "x.npz", arrays))).load()
