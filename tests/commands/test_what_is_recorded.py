"""What the record of a run says of its data: groups, copies, splits that the seed carved, and notes about them."""

import json

import numpy as np
import pytest
from helpers.command_line import in_this_process

from mixup_lab.runs.record import read_events

QUIET = ("trainer.epochs=1", "trainer.batch_size=8", "trainer.device=cpu", "trainer.progress=none", "model=mlp")


@pytest.fixture
def line(monkeypatch, capsys, tmp_path):
    return in_this_process(monkeypatch, capsys, tmp_path)


def write(path, count=120, copies=0, first=0):
    """Rows of patients from number `first` on, four of each; the last rows are copies of the first ones."""
    rng = np.random.default_rng(first)
    rows = [f"{rng.normal():.4f},{rng.normal():.4f},p{first + i // 4:02},{'ab'[i % 2]}" for i in range(count)]
    rows[count - copies :] = rows[:copies]
    path.write_text("\n".join(["x,z,patient,y", *rows]) + "\n")


def recorded(folder):
    (start,) = read_events(folder, "start")
    return start["data"], [event["text"] for event in read_events(folder, "note")]


def test_a_table_with_groups(tmp_path, line):
    write(tmp_path / "rows.csv")
    words = ("train", "dataset=table", "dataset.root=rows.csv", "dataset.target=y", *QUIET, "hydra.run.dir=run")
    code, _, err = line(*words, "dataset.group_column=patient")
    assert (code, "belong together" in err) == (0, False)
    data, notes = recorded(tmp_path / "run")
    with np.load(tmp_path / "run" / "predictions.npz") as saved:
        groups, ids = saved["test_group"], saved["test_id"]
    assert (groups.dtype, groups.tolist()) == (np.int64, (ids // 4).tolist())
    assert data["groups"] == {"train": 30 - 6 - data["groups"]["val"], "val": data["groups"]["val"], "test": 6}
    assert data["groups"]["test"] == len(set(groups.tolist()))
    assert (data["carved"], data["duplicates"], notes) == (["val", "test"], {"val": 0, "test": 0}, [])
    scalars = json.loads((tmp_path / "run" / "summary.json").read_text())["scalars"]
    assert scalars["trivial/accuracy"] == pytest.approx(0.5, abs=0.1)
    assert "linear/accuracy" in scalars


def test_groups_of_given_splits_and_copies_in_them(tmp_path, line):
    (tmp_path / "data").mkdir()
    files = {split: tmp_path / "data" / f"{split}.csv" for split in ("train", "val", "test")}
    for (_, path), count, first in zip(files.items(), (80, 20, 40), (15, 10, 0), strict=True):
        write(path, count, first=first)
    lines = files["test"].read_text().splitlines()
    lines[7] = ",".join([*files["train"].read_text().splitlines()[3].split(",")[:2], *lines[7].split(",")[2:]])
    files["test"].write_text("\n".join(lines) + "\n")
    words = ("train", "dataset=table", "dataset.root=data", "dataset.target=y", *QUIET, "hydra.run.dir=run")
    code, _, err = line(*words, "dataset.group_column=patient")
    assert code == 0
    data, notes = recorded(tmp_path / "run")
    assert data["groups"] == {"train": 20, "val": 5, "test": 10}
    assert (data["carved"], data["duplicates"]) == ([], {"val": 0, "test": 1})
    assert notes == ["1 of 40 test examples occurs in train too: it flatters every arm"]
    assert err.splitlines()[-1] == notes[0]
    with np.load(tmp_path / "run" / "predictions.npz") as saved:
        assert len(saved["test_group"]) == 40
        assert len(set(saved["test_group"].tolist())) == 10


def test_a_column_that_nobody_named_is_named(tmp_path, line):
    write(tmp_path / "rows.csv", copies=12)
    words = ("train", "dataset=table", "dataset.root=rows.csv", "dataset.target=y", *QUIET)
    hint = (
        "column patient of rows.csv has 27 different values in 120 rows; if rows with the same value belong together,"
        " such as those of one patient, set dataset.group_column=patient"
    )
    code, _, err = line(*words, "hydra.run.dir=run")
    assert (code, err.count(hint)) == (0, 1)
    data, notes = recorded(tmp_path / "run")
    assert notes[0] == hint
    assert notes[1:] == [
        "copies of other examples: 12 of 120; those in val or test whose other is in train flatter every arm"
    ]
    assert "groups" not in data
    with np.load(tmp_path / "run" / "predictions.npz") as saved:
        assert "test_group" not in saved.files
    assert hint in line(*words, "dataset.drop=[patient]", "hydra.run.dir=other")[2]
    data, _ = recorded(tmp_path / "other")
    assert line(*words, "dataset.split_seed=0", "dataset.drop=[patient]", "hydra.run.dir=fixed")[0] == 0
    assert recorded(tmp_path / "fixed")[0]["carved"] == []


def test_the_fold_of_a_cross_validation(tmp_path, line):
    assert line("train", "dataset=iris", *QUIET, "dataset.folds=5", "seed=7", "hydra.run.dir=run")[0] == 0
    data, _ = recorded(tmp_path / "run")
    assert data["fold"] == {"number": 2, "of": 5, "partition": 1}
    assert (data["train"], data["val"], data["test"]) == (108, 12, 30)
