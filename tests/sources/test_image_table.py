"""Pictures with a table of labels: classes, tags and numbers, splits and groups, bad tables, and small trainings."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.data_examples import COMMON, picture, prepared
from helpers.trainings import config_of, trained
from PIL import Image

from mixup_lab.config.build import build
from mixup_lab.data.prepare import prepare
from mixup_lab.sources.image_table import ImageTable
from mixup_lab.study.scores import scores
from mixup_lab.targets.classes import Classes
from mixup_lab.targets.numbers import Numbers
from mixup_lab.targets.tags import Tags
from mixup_lab.types import UserError


def write_table(root: Path, header: list[str], rows: list[list[object]], name: str = "labels.csv") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    with (root / name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([header, *rows])
    return root


def pictures(root: Path, count: int, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> list[str]:
    (root / "images").mkdir(parents=True, exist_ok=True)
    names = [f"images/{i}.png" for i in range(count)]
    for i, name in enumerate(names):
        picture(size, mode, seed=i).save(root / name)
    return names


@pytest.fixture
def table(tmp_path):
    """`table(labels, header)` writes a picture for each row of labels and gives the folder."""

    def make(labels: list[list[object]], header: list[str]) -> Path:
        names = pictures(tmp_path, len(labels))
        return write_table(tmp_path, ["path", *header], [[n, *row] for n, row in zip(names, labels, strict=True)])

    return make


def source(root: Path, **keys) -> ImageTable:
    return ImageTable(root=str(root), csv="labels.csv", cache=False, **keys)


ANIMALS = [["cat"], ["dog"], ["cat"], ["eel"], ["dog"], ["eel"], ["cat"], ["dog"], ["eel"], ["cat"]]


# ---- what is read ---------------------------------------------------------------------------------------------------


def test_classes_and_pixels(table):
    root = table(ANIMALS, ["label"])
    loaded = source(root).load()
    assert loaded.kind == Classes(("cat", "dog", "eel"))
    assert loaded.train.target.dtype == np.int64
    assert loaded.train.target.tolist() == [0, 1, 0, 2, 1, 2, 0, 1, 2, 0]
    assert list(loaded.train.names) == [f"images/{i}.png" for i in range(10)]
    assert (loaded.val, loaded.test, loaded.train.groups, loaded.dropped) == (None, None, None, 0)
    stored = loaded.train.load()
    assert stored.shape == (10, 3, 5, 6)
    for i in range(10):
        with Image.open(root / f"images/{i}.png") as image:
            assert torch.equal(stored[i], torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1))
        assert torch.equal(loaded.train.read(i), stored[i])


def test_paths_without_ending_with_backslashes_or_relative_to_the_table(table, tmp_path):
    root = table(ANIMALS, ["label"])
    expected = source(root).load().train.load()
    paths = [f"images\\{i}.png" if i % 2 else f"images/{i}" for i in range(10)]
    (root / "images/labels.csv").write_text(
        "path,label\n" + "".join(f"{path if i > 2 else i},{ANIMALS[i][0]}\n" for i, path in enumerate(paths))
    )
    loaded = ImageTable(root=str(root), csv="images/labels.csv", cache=False).load()
    assert list(loaded.train.names) == [f"images/{i}.png" for i in range(10)]
    assert torch.equal(loaded.train.load(), expected)


def test_number_codes_are_classes_in_their_order(table, capsys):
    loaded = source(table([[k] for k in (10, 9, 2, 10, 9, 2)], ["grade"]), target="grade").load()
    assert loaded.kind == Classes(("2", "9", "10"))
    assert loaded.train.target.tolist() == [2, 1, 0, 2, 1, 0]
    assert "dataset.target=grade: whole numbers, 3 different, so dataset.task=classification" in capsys.readouterr().err
    numbers = source(table([[k] for k in (10, 9, 2)], ["grade"]), target="grade", task="regression").load()
    assert isinstance(numbers.kind, Numbers)


@pytest.mark.parametrize("target", ["age", ["age", "height"]])
def test_numbers(table, target):
    rows = [[30.5 + i, 1.7 - i / 10] for i in range(6)]
    loaded = source(table(rows, ["age", "height"]), target=target).load()
    names = ("age",) if target == "age" else ("age", "height")
    assert loaded.kind == Numbers(names)
    assert loaded.train.target.dtype == np.float32
    np.testing.assert_allclose(loaded.train.target, np.array(rows)[:, : len(names)], rtol=1e-6)


def test_columns_of_zeros_and_ones_are_tags(table):
    loaded = source(table([[1, 0], [0, "1.0"], [1, 1], [0, 0]], ["day", "sea"]), target=["day", "sea"]).load()
    assert loaded.kind == Tags(("day", "sea"))
    assert loaded.train.target.dtype == np.float32
    assert loaded.train.target.tolist() == [[1, 0], [0, 1], [1, 1], [0, 0]]


def test_joined_tags_may_be_none(table):
    loaded = source(table([["sea|day"], [""], ["day"], [" sea "]], ["tags"]), target="tags", separator="|").load()
    assert loaded.kind == Tags(("day", "sea"))
    assert loaded.train.target.tolist() == [[1, 1], [0, 0], [1, 0], [0, 1]]


def test_lists_of_tags_as_pandas_writes_them(table, capsys):
    loaded = source(
        table([["['sea', 'day']"], ["[]"], ['["day"]'], [""]], ["tags"]), target="tags", separator=","
    ).load()
    assert loaded.kind == Tags(("day", "sea"))
    assert loaded.train.target.tolist() == [[1, 1], [0, 0], [1, 0], [0, 0]]
    assert "lists such as ['sea', 'day'], whose brackets and quotation marks do not count" in capsys.readouterr().err


def test_texts_that_may_be_tags_get_a_hint(table, capsys):
    assert source(table([["sea|day"], ["sea"]], ["label"])).load().kind == Classes(("sea", "sea|day"))
    assert "(set dataset.separator='|' if texts such as 'sea|day' are several tags)" in capsys.readouterr().err


def test_a_column_of_splits_that_nobody_named_is_named(table):
    root = table(
        [["cat", "Train", "x"], ["dog", "Train", "train"], ["cat", "valid", "train"]], ["label", "set", "fold"]
    )
    said = f"column set of {root}/labels.csv holds Train, valid; if these are the splits, set dataset.split_column=set"
    assert source(root).load().notes == (said,)
    assert source(root, split_column="set").load().notes == ()


def test_splits_and_groups_of_the_table(table, capsys):
    splits = ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    rows = [[*label, split, f"p{i // 2}"] for i, (label, split) in enumerate(zip(ANIMALS, splits, strict=True))]
    loaded = source(table(rows, ["label", "split", "patient"]), split_column="split", group_column="patient").load()
    assert [len(pool.target) for pool in (loaded.train, loaded.val, loaded.test)] == [6, 2, 2]
    assert loaded.val.target.tolist() == [0, 1]
    assert list(loaded.test.names) == ["images/8.png", "images/9.png"]
    groups = [pool.groups.tolist() for pool in (loaded.train, loaded.val, loaded.test)]
    assert groups == [[0, 0, 1, 1, 2, 2], [3, 3], [4, 4]]
    assert "flatter" not in capsys.readouterr().err
    rows[6][2] = "p0"
    prepared(source(table(rows, ["label", "split", "patient"]), split_column="split", group_column="patient"))
    assert "1 group has examples in train and in val: they flatter every arm" in capsys.readouterr().err


def test_a_pattern_finds_groups_in_paths(table):
    rows = [["ab"[i % 2]] for i in range(48)]
    data = prepared(source(table(rows, ["label"]), group_pattern=r"(\d)\.png$"))
    found = [{i % 10 for i in split.ids.tolist()} for split in data.splits]
    assert sum(map(len, found)) == 10
    assert [set(split.groups.tolist()) for split in data.splits] == found
    with pytest.raises(UserError, match=r"dataset\.group_column and dataset\.group_pattern both set the groups"):
        source(table(rows, ["label"]), group_pattern="(a)", group_column="label")


def test_groups_stay_together(table):
    rows = [["ab"[i % 2], f"patient {i // 4}"] for i in range(48)]
    loaded = source(table(rows, ["label", "patient"]), group_column="patient").load()
    data = prepared(source(table(rows, ["label", "patient"]), group_column="patient"))
    found = [set(loaded.train.groups[split.ids]) for split in (data.train, data.val, data.test)]
    assert sum(map(len, found)) == 12, "each in one split"
    assert all(found)


def test_paths_may_be_whole_and_the_table_elsewhere(tmp_path):
    names = pictures(tmp_path / "a", 4)
    rows = [[str(tmp_path / "a" / names[0]), "x"], [names[1], "y"], [names[2], "x"], [names[3], "y"]]
    write_table(tmp_path / "b", ["file", "label"], rows)
    given = ImageTable(str(tmp_path / "a"), str(tmp_path / "b" / "labels.csv"), path_column="file", cache=False)
    assert given.load().train.load().shape == (4, 3, 5, 6)


def test_sizes_channels_and_cache_are_those_of_a_folder(tmp_path, capsys):
    names = pictures(tmp_path, 4, mode="L")
    picture((20, 11), "L", seed=9).save(tmp_path / names[0])
    write_table(tmp_path, ["path", "label"], [[name, "ab"[i % 2]] for i, name in enumerate(names)])
    keys = {"root": str(tmp_path), "csv": "labels.csv", "cache_dir": str(tmp_path / "cache")}
    first = ImageTable(**keys).load()
    assert first.train.shape == (1, 5, 5)
    assert "unequal sizes (6 to 20 wide, 5 to 11 high)" in capsys.readouterr().err
    pixels = first.train.load()
    capsys.readouterr()
    again = ImageTable(**keys).load()
    assert torch.equal(again.train.load(), pixels)
    said = capsys.readouterr().err
    assert "looking at" not in said, "nothing is decoded twice"
    assert "decoding" not in said
    assert ImageTable(**keys, image_size=3, channels=3).load().train.shape == (3, 3, 3)
    picture((20, 11), "L", seed=10).save(tmp_path / names[0])
    assert not torch.equal(ImageTable(**keys).load().train.load()[0], pixels[0]), "a file that changed is read again"


def test_mean_and_std_are_of_train_alone(tmp_path):
    """Poisoned val and test change nothing."""
    names = pictures(tmp_path, 30)
    splits = ["train"] * 18 + ["val"] * 6 + ["test"] * 6
    rows = [[n, "ab"[i % 2], split] for i, (n, split) in enumerate(zip(names, splits, strict=True))]
    write_table(tmp_path, ["path", "label", "split"], rows)
    before = prepared(source(tmp_path, split_column="split"))
    pixels = np.stack([np.asarray(Image.open(tmp_path / name)) for name in names[:18]]) / 255
    np.testing.assert_allclose(before.encode.mean, pixels.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(before.encode.std, pixels.std((0, 1, 2)), rtol=1e-6)
    for name in names[18:]:
        Image.new("RGB", (6, 5), "white").save(tmp_path / name)
    after = prepared(source(tmp_path, split_column="split"))
    assert (after.encode.mean, after.encode.std) == (before.encode.mean, before.encode.std)
    assert after.test.feed.inputs.min() == 255
    for name in names[:18]:
        Image.new("RGB", (6, 5), "white").save(tmp_path / name)
    assert prepared(source(tmp_path, split_column="split")).encode.mean != before.encode.mean


# ---- bad tables -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"root": None}, "dataset.root has no value; set dataset.root=DIR to the folder of the pictures"),
        ({"csv": "???"}, "dataset.csv has no value; set dataset.csv=FILE to the table of paths and labels"),
        ({"root": "nowhere"}, "dataset.root=nowhere does not exist"),
        ({"csv": "other.csv"}, "other.csv does not exist"),
        ({"task": "guess"}, "dataset.task=guess must be one of auto, classification, regression, multilabel"),
        ({"target": []}, r"dataset.target=\[\] must be a column, or several as \[a,b\]"),
        ({"separator": "|", "target": ["a", "b"]}, r"dataset.separator=.* for one target \(2 given\)"),
        ({"on_error": "ignore"}, "dataset.on_error=ignore must be one of raise, skip"),
        ({"image_size": 0}, r"dataset.image_size=0 must be null, N or \[height, width\]"),
        ({"channels": 2}, r"dataset.channels=2 must be null, 1 \(grey\) or 3 \(RGB\)"),
        ({"path_column": "file"}, "dataset.path_column=file is not a column of .*labels.csv; it has path, label"),
        ({"target": "kind"}, r"dataset.target=kind is not a column of .*labels.csv; it has path, label, split"),
        ({"group_column": "who"}, "dataset.group_column=who is not a column of .*labels.csv; it has"),
        ({"split_column": "part"}, "dataset.split_column=part is not a column of .*labels.csv; it has"),
        ({"target": "path"}, "dataset.path_column and dataset.target both name the column path"),
        ({"target": ["label", "label"]}, "dataset.target and dataset.target both name the column label"),
        ({"task": "multilabel"}, "dataset.task=multilabel needs several columns of 0 and 1, or one and"),
        ({"task": "regression"}, r"labels.csv, line 2: label must be a number, found cat"),
        ({"task": "classification", "separator": "|"}, r"dataset.separator=\| is for tags; dataset.task is class"),
        ({"target": ["label", "split"], "task": "classification"}, "takes one target column, got label, split"),
        ({"split_column": "path"}, "dataset.path_column and dataset.split_column both name the column path"),
    ],
)  # fmt: skip
def test_bad_settings(table, tmp_path, monkeypatch, keys, sentence):
    monkeypatch.chdir(tmp_path)
    root = table([[*label, "train"] for label in ANIMALS], ["label", "split"])
    with pytest.raises(UserError, match=sentence):
        ImageTable(**{"root": str(root), "csv": "labels.csv", "cache": False, **keys}).load()


def broken(rows, change):
    rows = [list(row) for row in rows]
    change(rows)
    return rows


def test_pictures_without_a_row_are_counted(tmp_path, capsys):
    names = pictures(tmp_path, 5)
    source(write_table(tmp_path, ["path", "label"], [[name, "ab"[i % 2]] for i, name in enumerate(names[:3])])).load()
    said = f"2 pictures of {tmp_path} are not used, such as images/3.png: nothing that is read lists them\n"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "keys", "sentence"),
    [
        (lambda r: r[3].__setitem__(0, "images/no.png"), {}, r"line 5: .*images/no.png does not exist"),
        (lambda r: r[3].__setitem__(0, ""), {}, "line 5: path is empty; dataset.on_error=skip leaves it out"),
        (lambda r: r[3].__setitem__(0, "images/1.png"), {}, "line 5: images/1.png is already in line 3"),
        (lambda r: r[3].__setitem__(0, "./images/1.png"), {}, "line 5: ./images/1.png is already in line 3"),
        (lambda r: r[3].__setitem__(1, " "), {}, "line 5: label is empty; dataset.on_error=skip leaves it out"),
        (lambda r: r[3].__setitem__(2, "holdout"), {"split_column": "split"},
         "line 5: split must be one of train, training, val, valid, validation, dev, eval, test, testing, found hold"),
        (lambda r: r[3].__setitem__(2, ""), {"split_column": "split"}, "line 5: split is empty"),
        (lambda r: r[3].__setitem__(2, ""), {"group_column": "split"}, "line 5: split is empty; dataset.on_error=skip"),
        (lambda r: r[9].__setitem__(1, "fox"), {"split_column": "split"},
         "line 11: train has no example whose label is fox"),
        (lambda r: [row.__setitem__(2, "val") for row in r], {"split_column": "split"}, "no row whose split is train"),
        (lambda r: r[3].append("more"), {}, "line 5: 4 values instead of 3"),
        (lambda r: r.clear(), {}, "has no rows"),
    ],
)  # fmt: skip
def test_bad_rows(tmp_path, change, keys, sentence):
    rows = [[name, *label, "train" if i < 8 else "test"]
            for i, (name, label) in enumerate(zip(pictures(tmp_path, 10), ANIMALS, strict=True))]  # fmt: skip
    write_table(tmp_path, ["path", "label", "split"], broken(rows, change))
    with pytest.raises(UserError, match=sentence):
        source(tmp_path, **keys).load()


def test_bad_tags_and_numbers(table):
    with pytest.raises(UserError, match="line 3: the tag b must be 0 or 1, found 2"):
        source(table([[1, 0], [0, 2]], ["a", "b"]), target=["a", "b"], task="multilabel").load()
    with pytest.raises(UserError, match="line 3: b must be a number, found x"):
        source(table([[1, 0.5], [0, "x"]], ["a", "b"]), target=["a", "b"], task="regression").load()
    with pytest.raises(
        UserError, match=r"line 3: b is 'nan', which means a missing label; if it is a class, set .dataset\.missing="
    ):
        source(table([[1, 0.5], [0, "nan"]], ["a", "b"]), target=["a", "b"]).load()
    rows = [["a|b", "train"], ["b", "train"], ["c", "test"]]
    with pytest.raises(UserError, match="line 4: train has no example with the tag c"):
        source(table(rows, ["tags", "split"]), target="tags", separator="|", split_column="split").load()


def test_the_whole_way_finds_what_is_wrong_with_the_labels(table):
    """Checks of the kinds: one class, a tag that all have, a number that never changes."""
    for rows, sentence in (
        ([["cat"]] * 8, "the dataset has 1 class, at least 2 are needed"),
        ([[f"a|{'b' * (i % 2)}"] for i in range(8)], "the tag a is 1 in all of train"),
    ):
        with pytest.raises(UserError, match=sentence):
            prepared(source(table(rows, ["label"]), separator="|" if "|" in rows[0][0] else None))
    with pytest.raises(UserError, match=r"the target label is 1\.5 in all of train"):
        prepared(source(table([[1.5]] * 8, ["label"]), task="regression"))


def test_an_empty_table_and_columns_of_one_name(tmp_path):
    pictures(tmp_path, 2)
    (tmp_path / "labels.csv").write_text("")
    with pytest.raises(UserError, match=r"labels\.csv is empty"):
        source(tmp_path).load()
    write_table(tmp_path, ["path", "label", "label"], [["images/0.png", "a", "b"]])
    with pytest.raises(UserError, match="two columns named label"):
        source(tmp_path).load()


def test_unreadable_pictures_and_missing_labels_are_named_or_counted(table, capsys):
    rows = [[*label] for label in ANIMALS]
    rows[2][0] = ""
    root = table(rows, ["label"])
    (root / "images/4.png").write_bytes(b"no picture")
    (root / "images/7.png").unlink()
    with pytest.raises(UserError, match="line 4: label is empty"):
        source(root).load()
    loaded = source(root, on_error="skip").load()
    assert loaded.dropped == 3
    assert [name.removeprefix("images/") for name in loaded.train.names] == [f"{i}.png" for i in (0, 1, 3, 5, 6, 8, 9)]
    assert loaded.train.target.tolist() == [0, 1, 2, 2, 0, 2, 0]
    said = capsys.readouterr().err
    assert "1 of 10 rows of" in said
    assert "2 of 9 pictures in" in said
    assert loaded.train.load().shape[0] == 7
    table(ANIMALS, ["label"])
    (root / "images/4.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"images/4.png cannot be read as a picture"):
        source(root).load()


def test_what_is_kept_on_disk_follows_the_rows(tmp_path):
    """Another order of the rows is another order of the pictures."""
    names = pictures(tmp_path, 6)
    keys = {"root": str(tmp_path), "csv": "labels.csv", "cache_dir": str(tmp_path / "cache")}
    write_table(tmp_path, ["path", "label"], [[name, "ab"[i % 2]] for i, name in enumerate(names)])
    first = ImageTable(**keys).load().train.load().clone()
    write_table(tmp_path, ["path", "label"], [[name, "ab"[i % 2]] for i, name in reversed(list(enumerate(names)))])
    assert torch.equal(ImageTable(**keys).load().train.load(), first.flip(0))


def test_the_option_builds_and_streams(table):
    root = table(ANIMALS * 3, ["label"])
    config = config_of("dataset=image_table", f"dataset.root={root}", "dataset.csv=labels.csv", "dataset.cache=false")
    made = build("dataset", config.source)
    streamed, resident = (prepare(made, **{**COMMON, "storage": storage}) for storage in ("streaming", "resident"))
    order = [np.arange(5), np.array([7, 2])]
    for one, other in zip(streamed.train.batches(order), resident.train.batches(order), strict=True):
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.target, other.target)


# ---- trainings ------------------------------------------------------------------------------------------------------


def marks(root: Path, count: int = 240, shuffled: bool = False) -> Path:
    """Which of three marks are in a picture: a bar at the left, a bar at the top, a bright corner. Noise besides."""
    rng = np.random.default_rng(0)
    present = rng.random((count, 3)) < 0.4
    (root / "images").mkdir(parents=True)
    for i, (bar, top, corner) in enumerate(present):
        image = rng.integers(0, 90, (8, 8, 3))
        image[:, 1] += 120 * bar
        image[1] += 120 * top
        image[5:, 5:, 2] += 120 * corner
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / f"images/{i}.png")
    present = present[rng.permutation(count)] if shuffled else present
    names = np.array(["bar", "top", "corner"])
    rows = [[f"images/{i}.png", "+".join(names[row])] for i, row in enumerate(present)]
    return write_table(root, ["path", "marks"], rows)


def learnt(tmp_path: Path, *words: str, shuffled: bool = False) -> dict[str, float]:
    root = marks(tmp_path / "data", shuffled=shuffled)
    return trained(
        tmp_path / "run", "dataset=image_table", f"dataset.root={root}", "dataset.csv=labels.csv",
        "dataset.target=marks", "dataset.separator=+", "dataset.cache=false", "model=small_cnn", "model.width=8",
        "trainer.epochs=12", "trainer.eval_every=12", "trainer.batch_size=16", "optimizer.lr=0.1", *words,
    )  # fmt: skip


@pytest.mark.parametrize("words", [(), ("aug=mixup", "aug.alpha=0.2")])
def test_tags_of_pictures_are_learnt(tmp_path, words):
    scalars = learnt(tmp_path, *words)
    assert scalars["test/map"] > 0.9
    assert scalars["test/micro_f1"] > 0.75
    # What the run keeps gives scores of single examples with the recorded mean.
    with np.load(tmp_path / "run" / "predictions.npz") as kept:
        arrays = {name: kept[f"test_{name}"] for name in ("logits", "target")}
    for metric in ("loss", "map", "micro_f1", "macro_f1", "subset_accuracy"):
        assert scores("tags", metric, arrays).mean() == pytest.approx(scalars[f"test/{metric}"], abs=1e-6)


def test_shuffled_tags_are_not(tmp_path):
    assert learnt(tmp_path, shuffled=True)["test/map"] < 0.65  # about 0.4 of the pictures have a mark
