"""Tables: reading, what is refused, what is learnt from train alone, encoder, pictures, models, whole trainings."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.cases import each
from helpers.data_examples import Given, prepared
from helpers.trainings import config_of
from PIL import Image
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mixup_lab.config.assemble import assemble, ingredients
from mixup_lab.data.prepare import Data
from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.files import columns as table_rows
from mixup_lab.files import table as table_read
from mixup_lab.inputs.coordinates import BAR, LINE, draw_rows
from mixup_lab.mixing import Mixup
from mixup_lab.models.ft_transformer import FTTransformer, Tokens
from mixup_lab.models.resmlp import ResMLP
from mixup_lab.preview import shares
from mixup_lab.preview.sheet import Title, draw_sheet
from mixup_lab.runs.log import RunLog
from mixup_lab.runs.progress import ProgressView
from mixup_lab.runs.record import Record
from mixup_lab.runs.tensorboard import TensorBoardView
from mixup_lab.sources.embedded_table import EmbeddedTable
from mixup_lab.sources.new_rows import Form
from mixup_lab.sources.table import Table, with_encoder
from mixup_lab.targets.classes import Classes
from mixup_lab.targets.numbers import Numbers
from mixup_lab.targets.tags import Tags
from mixup_lab.training.fit import Fit
from mixup_lab.training.stop import StopRequest
from mixup_lab.types import UserError

ROWS = "age,job,town,y\n31,cook,Ulm,yes\n?,nurse,Ulm,no\n52.5,cook,,yes\n40,driver,Bonn,no\n"


@pytest.fixture
def file(tmp_path: Path) -> Any:
    """Write a file and give its path."""

    def write(text: str | bytes, name: str = "table.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def load(path: Path, target: Any = "y", **changes: Any) -> Loaded:
    return Table(str(path), target, **{"cache": False, **changes}).load()


def encoded(loaded: Loaded) -> np.ndarray:
    """All rows of train, with an encoder that was learnt from all of them."""
    assert loaded.fit is not None
    fit = loaded.fit(np.arange(len(loaded.train.target)))
    assert fit.encoder is not None
    return fit.encoder(fit.train.load()).numpy()


# ---- reading --------------------------------------------------------------------------------------------------------


def test_a_table_of_numbers_and_categories(file: Any) -> None:
    loaded = load(file(ROWS))
    assert loaded.kind == Classes(("no", "yes"))
    assert loaded.train.target.tolist() == [1, 0, 1, 0]
    assert loaded.train.target.dtype == np.int64
    assert loaded.train.load().dtype == torch.float32
    rows = encoded(loaded)
    age = np.array([31, 40, 52.5, 40])  # the median of the known ones in place of the missing one
    expected = np.column_stack([
        (age - age.mean()) / age.std(), [0, 1, 0, 0],
        [1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0],  # cook, driver, nurse, other
        [0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 0],  # Bonn, Ulm, other
    ])  # fmt: skip
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    fit = loaded.fit(np.arange(4))
    assert fit.encoder.blocks == (1, 1, 4, 3)
    assert fit.encoder.shape == (9,)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + ROWS,
        ROWS.replace("\n", "\r\n"),
        ROWS.replace(",", ";"),
        ROWS.replace(",", "\t"),
        ROWS.replace(",", ", "),
        ROWS.replace("\n", "\n\n"),
        "\n" + ROWS,
        ROWS.rstrip("\n"),
        '"age","job","town","y"\n31,"cook","Ulm",yes\n"?",nurse,"Ulm",no\n52.5,cook,"",yes\n40,driver,Bonn,no\n',
        ROWS.replace("cook", '"co\nok"').replace("co\nok", "cook"),
    ],
)
def test_the_same_table_however_it_is_written(file: Any, text: str) -> None:
    expected = load(file(ROWS, "plain.csv"))
    loaded = load(file(text))
    np.testing.assert_array_equal(encoded(loaded), encoded(expected))
    np.testing.assert_array_equal(loaded.train.target, expected.train.target)


def test_a_byte_order_mark_is_no_part_of_a_name(file: Any) -> None:
    assert load(file("\ufeffy,a\np,1\nq,2\n")).train.load().tolist() == [[1], [2]]


def test_quoted_separators_and_lines(file: Any) -> None:
    text = 'a,b,y\n1,"x, y",p\n2,"say ""hi""",q\n3,"two\nlines",p\n4,"x, y",q\n'
    loaded = load(file(text))
    assert encoded(loaded).shape == (4, 1 + 4)
    with pytest.raises(UserError, match=r"table\.csv, line 8: column a holds 'oh', which is not a finite number"):
        load(file(text + "5,z,q\noh,z,q\n"))


def test_spaces_and_tabs_that_are_asked_for(file: Any) -> None:
    text = "  5.1   3.5  a \n4.9 3.0      b\n 6   1 a\n"
    for delimiter in (None, "space", " "):
        loaded = load(file(text, "x.data"), "c2", header=False, delimiter=delimiter)
        np.testing.assert_allclose(loaded.train.load().numpy(), [[5.1, 3.5], [4.9, 3], [6, 1]], rtol=1e-6)
    text = "a b\ty\n1\tp\n2\tq\n"
    for delimiter in (None, "tab", "\\t", "\t"):
        assert load(file(text), delimiter=delimiter).train.load().tolist() == [[1], [2]]


def test_without_a_header(file: Any) -> None:
    loaded = load(file("1,2,a\n3,4,b\n"), "c2", header=False)
    assert loaded.train.load().tolist() == [[1, 2], [3, 4]]


def test_numbers_alone_are_read_by_numpy_and_equal(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 5)).round(3)
    text = "a,b,c,d,y\n" + "\n".join(",".join(map(str, row)) for row in rows.tolist()) + "\n"
    monkeypatch.setattr(table_read, "CELLS", 5 * 64)  # many pieces
    fast = load(file(text))
    np.testing.assert_array_equal(fast.train.load().numpy(), rows[:, :4].astype(np.float32))
    monkeypatch.setattr(table_read.TextFile, "_numbers", lambda *_: None)
    np.testing.assert_array_equal(load(file(text)).train.load().numpy(), fast.train.load().numpy())
    monkeypatch.undo()
    monkeypatch.setattr(table_read, "CELLS", 5 * 64)
    lines = text.splitlines(keepends=True)
    lines[300:301] = ['1,?,3,"4",5\n', "\n"]  # from here on numpy cannot
    some = load(file("".join(lines))).train.load().numpy()
    assert np.isnan(some[299]).tolist() == [False, True, False, False]
    np.testing.assert_array_equal(np.delete(some, 299, 0), np.delete(fast.train.load().numpy(), 299, 0))


def test_missing_values_are_what_they_are_said_to_be(file: Any) -> None:
    text = "a,b,y\n1,u,p\n-999,-,q\n3, - ,p\nnan,u,q\n"
    values = load(file(text), missing=["-999", "-"]).train.load().numpy()
    np.testing.assert_array_equal(values, [[1, 0], [np.nan, np.nan], [3, np.nan], [np.nan, 0]])
    text = "a,y\n1,2.5\n-999,3.5\n3,4.5\n"
    np.testing.assert_array_equal(load(file(text), missing=["-999"]).train.load()[:, 0], [1, np.nan, 3])


def test_a_column_can_be_forced_and_another_left_out(file: Any) -> None:
    loaded = load(file("id,code,x,y\n7,1,0.5,a\n8,2,1.5,b\n9,1,2.5,a\n"), categorical=["code"], drop=["id"])
    assert encoded(loaded)[:, 1:].tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]


def test_underscores_make_no_number(file: Any) -> None:
    loaded = load(file("a,y\n1_0,p\n2_0,q\n"))
    assert encoded(loaded).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_given_files_by_the_names_of_their_columns(file: Any, tmp_path: Path) -> None:
    file("a,b,y\n1,u,p\n2,v,q\n3,u,p\n", "train.csv")
    file("y,b,a\nq,w,5\np,u,6\n", "test.csv")
    loaded = load(tmp_path)
    assert loaded.val is None
    assert loaded.test is not None
    assert loaded.test.target.tolist() == [1, 0]
    encoder = loaded.fit(np.arange(3)).encoder
    test = encoder(loaded.test.load())
    assert test[:, 1:].tolist() == [[0, 0, 1], [1, 0, 0]], "w, unseen in train, is other"
    np.testing.assert_allclose(test[:, 0], (np.array([5, 6]) - 2) / np.std([1, 2, 3]), rtol=1e-6)


def test_a_column_gives_the_splits(file: Any) -> None:
    loaded = load(file("a,s,y\n1,train,p\n2,test,q\n3,train,q\n4,test,p\n"), split_column="s")
    assert loaded.train.load().tolist() == [[1], [3]]
    assert loaded.test.load().tolist() == [[2], [4]]
    assert loaded.val is None


def test_groups_and_times(file: Any) -> None:
    text = (
        "a,g,t,y\n1,ann,2024-01-31,p\n2,bob,2024-02-01T06:00,q\n3,ann,2024-01-31,q\n4,cy,2023-12-01T00:00:00+01:00,p\n"
    )
    loaded = load(file(text), group_column="g", time_column="t")
    assert loaded.train.shape == (1,)
    assert loaded.train.groups.tolist() == [0, 1, 0, 2]
    assert (loaded.times - loaded.times[0]).tolist() == [0, 30 * 3600, 0, -61 * 86400 - 3600]
    for k, time in enumerate(("2024-01-31", "2024-02-01T06:00", "2023-12-01T00:00:00+01:00")):
        text = text.replace(time, str(7 + 2.5 * k))
    numbers = load(file(text), time_column="t", drop=["g"])
    assert numbers.times[:3].tolist() == [7, 9.5, 7]


def test_parquet(tmp_path: Path, file: Any) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table({
        "age": pa.array([31, None, 52.5, 40]), "job": pa.array(["cook", "nurse", "cook", "driver"]).dictionary_encode(),
        "town": pa.array(["Ulm", "Ulm", None, "Bonn"]), "y": ["yes", "no", "yes", "no"],
        "when": pa.array([4, 3, 2, 1]).cast(pa.timestamp("s")), "fit": [True, False, True, True],
    })  # fmt: skip
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    loaded = load(tmp_path / "t.parquet", time_column="when", drop=["fit"])
    np.testing.assert_array_equal(encoded(loaded), encoded(load(file(ROWS))))
    assert loaded.times.tolist() == [4, 3, 2, 1]
    tags = load(tmp_path / "t.parquet", "fit", drop=["when"])
    assert tags.kind == Classes(("0", "1"))
    with pytest.raises(UserError, match=r"t\.parquet, row 2: the target age is missing"):
        load(tmp_path / "t.parquet", "age", drop=["when"])
    with pytest.raises(UserError, match=r"u\.parquet cannot be read as a parquet file"):
        load(file("a,b\n", "u.parquet"))


# ---- targets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "task", "kind", "said"),
    [
        ("bab", "auto", Classes(("a", "b")), "dataset.target=y: texts, so dataset.task=classification\n"),
        (
            ["10", "9", "10.0"],
            "auto",
            Classes(("9", "10")),
            "whole numbers, 2 different, so dataset.task=classification",
        ),
        (["1.5", "2", "3"], "auto", Numbers(("y",)), "numbers, 3 different, so dataset.task=regression"),
        (list(map(str, range(21))), "auto", Numbers(("y",)), "whole numbers, 21 different, so dataset.task=regression"),
        (["1", "2", "1"], "regression", Numbers(("y",)), ""),
        (["1.0", "2", "1"], "classification", Classes(("1", "2")), ""),
        (["a1", "2", "3"], "classification", Classes(("2", "3", "a1")), ""),
        (["0", "1", "1"], "multilabel", Tags(("y",)), ""),
    ],
)
def test_the_task_follows_from_the_target(
    file: Any, capsys: pytest.CaptureFixture[str], values: Any, task: str, kind: Any, said: str
) -> None:
    loaded = load(file("x,y\n" + "".join(f"{k},{value}\n" for k, value in enumerate(values))), task=task)
    assert loaded.kind == kind
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == bool(said) + 1  # and what was understood


def test_several_targets(file: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = file("x,p,q,z\n1,0,1,0.5\n2,1,1,1.5\n3,0,0,2.5\n")
    tags = load(path, ["p", "q"])
    assert tags.kind == Tags(("p", "q"))
    assert tags.train.target.tolist() == [[0, 1], [1, 1], [0, 0]]
    assert tags.train.target.dtype == np.float32
    assert load(path, ["z", "p"]).kind == Numbers(("z", "p"))
    assert capsys.readouterr().err.splitlines()[::2] == [
        "targets p,q: tags (0 and 1), so dataset.task=multilabel", "targets z,p: numbers, so dataset.task=regression"
    ]  # fmt: skip


# ---- bad input ------------------------------------------------------------------------------------------------------

BAD = [
    ("", {}, r"table\.csv is empty"),
    ("a,y\n", {}, r"table\.csv has no rows"),
    ("a,y\n1,p\n", {"target": None}, r"dataset\.target has no value; .*table\.csv has the columns a, y"),
    ("a,y\n1,p\n", {"target": "z"}, r"dataset\.target=z is not a column of .*table\.csv; it has a, y"),
    ("a,y\n1,p\n", {"drop": ["q"]}, r"dataset\.drop=q is not a column"),
    ("a,y\n1,p\n", {"group_column": "q"}, r"dataset\.group_column=q is not a column"),
    ("a,y\n1,p\n", {"drop": ["y"]}, r"column y is named in dataset\.target and in dataset\.drop; a column has one use"),
    ("a,y\n1,p\n", {"target": ["y", "y"]}, r"column y is named in dataset\.target twice"),
    ("a,a,y\n1,2,p\n", {}, r"table\.csv has two columns named a \(1 and 2\)"),
    (",a,y\n0.5,1,p\n1,2,q\n", {}, r"column 1 has no name.*'dataset\.drop=\[c0\]'"),
    ("a\n1\n2\n", {}, r"only one column; dataset\.delimiter"),
    ("a,y\n1,p\n2\n", {}, r"table\.csv, line 3: 1 value instead of 2; dataset\.on_error=skip"),
    ("a,y\n1,2,3\n4,5,6\n", {}, r"table\.csv, line 1: the header has 2 values \(a, y\), and most lines below have 3"),
    ("a,y\n1,2\n\n3,4\n5,x\n", {"task": "regression"}, r"table\.csv, line 5: column y holds 'x'"),
    ("a,y\n1,p\n2,q\n\n3,q,7\n", {}, r"table\.csv, line 5: 3 values"),
    ("a,y\n1,p\noops,q\n3,q\n", {}, r"table\.csv, line 3: column a holds 'oops', .* 'dataset\.categorical=\[a\]"),
    ("a,y\n1,p\ninf,q\n", {}, r"line 3: column a holds 'inf', which is not a finite number"),
    ("a,y\n1,p\n2,\n", {}, r"table\.csv, line 3: the target y is missing; dataset\.on_error=skip"),
    ("a,y\n1,2.5\n2,nan\n", {}, r"table\.csv, line 3: the target y is missing"),
    ("a,y\n1,p\n2,q\n", {"task": "regression"}, r"line 2: column y holds 'p', which is not a finite number"),
    ("a,g,y\n1,u,p\n2,,q\n", {"group_column": "g"}, r"line 3: the value of column g is missing"),
    ("a,t,y\n1,1/2/24,p\n", {"time_column": "t"}, r"line 2: column t holds '1/2/24', which is neither a number nor"),
    ("a,s,y\n1,train,p\n2,old,q\n", {"split_column": "s"}, r"line 3: column s .* holds .old.; allowed are train, tr"),
    ("a,s,y\n1,test,p\n", {"split_column": "s"}, r"dataset\.split_column=s: .* has no row of train"),
    ("a,s,y\n1,train,p\n1,train,q\n2,test,r\n", {"split_column": "s"}, r"csv, line 4: train has no example .* y is r"),
    ("a,y\n1,2\n2,3\n", {"task": "multilabel"}, r"table\.csv, line 2: the tag y must be 0 or 1, found 2"),
    ("a,p,q\n1,x,0\n2,y,1\n", {"target": ["p", "q"]}, r"dataset\.target=\[p,q\] must be columns of 0 and 1"),
    ("a,p,q\n1,0,0\n2,1,1\n", {"target": ["p", "q"], "task": "classification"}, "takes one target column, got p, q"),
    ("y,s\n1,train\n", {"split_column": "s"}, r"has no column besides the target"),
    ("a,y\n1,p\n2,q\n", {"delimiter": "ab"}, r"dataset\.delimiter=ab must be auto, one character, tab or space"),
    ("a,y\n1,p\n2,q\n", {"task": "both"}, r"dataset\.task=.* must be one of auto, classification"),
    ("a,y\n1,p\n2,q\n", {"on_error": "stop"}, r"dataset\.on_error=stop must be one of raise, skip"),
    ("a,y\n1,\xe4\n".encode("latin-1"), {}, r"table\.csv, line 2: byte 0xe4 is not UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "changes", "said"), BAD)
def test_bad_input_gets_one_sentence(file: Any, text: Any, changes: dict[str, Any], said: str) -> None:
    path = file(text)
    with pytest.raises(UserError, match=said) as caught:
        load(path, **changes)
    assert "\n" not in str(caught.value)


def test_a_target_of_one_class_or_one_number(file: Any) -> None:
    with pytest.raises(UserError, match="the dataset has 1 class, at least 2 are needed"):
        prepared(Given(load(file("a,y\n" + "1,p\n" * 20))))
    with pytest.raises(UserError, match=r"the target y is 2\.5 in all of train"):
        prepared(Given(load(file("a,y\n" + "1,2.5\n" * 20))))


def test_bad_folders(tmp_path: Path, file: Any) -> None:
    with pytest.raises(UserError, match=r"dataset\.root=.*none does not exist"):
        load(tmp_path / "none")
    with pytest.raises(UserError, match=r"has no train file \(train\.csv"):
        load(tmp_path)
    for name in ("train.csv", "test.csv"):
        file("a,s,y\n1,train,p\n2,train,q\n", name)
    with pytest.raises(UserError, match=r"dataset\.split_column is for one file"):
        load(tmp_path, split_column="s")
    file("a,y\n1,p\n", "test.csv")
    with pytest.raises(UserError, match=r"test\.csv has no column s, which .*train\.csv has"):
        load(tmp_path)
    file("a,s,z,y\n1,train,1,p\n", "test.csv")
    with pytest.raises(UserError, match=r"train\.csv has no column z, which .*test\.csv has"):
        load(tmp_path)
    file("a,s,y\n1,train,p\n", "train.tsv")
    with pytest.raises(UserError, match=r"has both train\.csv and train\.tsv"):
        load(tmp_path)


def test_too_many_categories(file: Any) -> None:
    text = "name,y\n" + "".join(f"n{k},{'pq'[k % 2]}\n" for k in range(1001))
    loaded = load(file(text))
    with pytest.raises(
        UserError, match=r"column name has 1,001 categories .* leave it out with 'dataset\.drop=\[name\]'"
    ):
        encoded(loaded)
    assert loaded.fit(np.arange(1000)).encoder.shape == (1001,)


def test_what_is_skipped_is_counted_and_said(file: Any, capsys: pytest.CaptureFixture[str]) -> None:
    text = "a,b,y\n1,u,p\nx,u,q\n3,u\n4,v,q\n5,v,\n6,u,q,8\n7,v,?\n8,,p\n"
    loaded = load(file(text), on_error="skip", task="classification")
    assert loaded.train.load()[:, 0].tolist() == [1, 4, 8]
    assert loaded.dropped == 5
    assert "3 rows: 1 number, 1 category (b, 2 values)," in (err := capsys.readouterr().err)
    assert "2 rows without target and 3 rows that cannot be read left out" in err
    assert (
        prepared(Given(load(file(text * 1 + "9,u,p\n1,u,q\n" * 9), on_error="skip", task="classification"))).dropped
        == 5
    )
    with pytest.raises(UserError, match="has no rows: 2 rows without target left out"):
        load(file("a,y\n1,\n2,\n"), on_error="skip")


# ---- what is learnt from train --------------------------------------------------------------------------------------


def poisoned(rows: list[list[str]], which: set[int], target: bool) -> list[list[str]]:
    """Other values, other categories, other holes in some rows."""
    worse = []
    for k, (a, b, c, y) in enumerate(rows):
        bad = [f"{1e6 * k}", "" if k % 2 else "-5e7", f"poison{k}", "9.75" if target else y]
        worse.append(bad if k in which else [a, b, c, y])
    return worse


def some_rows(n: int = 80) -> list[list[str]]:
    rng = np.random.default_rng(0)
    return [
        [f"{rng.normal():.3f}", "" if rng.random() < 0.2 else f"{rng.normal(5, 2):.3f}", "uvw"[k % 3], f"{k % 7}.5"]
        for k in range(n)
    ]  # fmt: skip


def write(path: Path, rows: list[list[str]]) -> None:
    with open(path, "w", newline="") as out:
        csv.writer(out).writerows([["a", "b", "c", "y"], *rows])


def trained_on(data: Data) -> list[torch.Tensor]:
    order = [np.arange(len(data.train))]
    return [part for batch in data.train.batches(order) for part in (data.encode(batch.inputs), batch.target)]


def test_poison_in_val_and_test_changes_nothing_of_train(tmp_path: Path) -> None:
    rows = some_rows()
    write(tmp_path / "one.csv", rows)
    data = prepared(Table(str(tmp_path / "one.csv"), "y"))
    elsewhere = {*data.val.ids.tolist(), *data.test.ids.tolist()}
    write(tmp_path / "two.csv", poisoned(rows, elsewhere, target=False))
    worse = prepared(Table(str(tmp_path / "two.csv"), "y"))
    assert worse.encode.offers()["blocks"] == data.encode.offers()["blocks"] == (1, 1, 1, 4)
    assert all(torch.equal(a, b) for a, b in zip(trained_on(data), trained_on(worse), strict=True))
    test = worse.encode(next(worse.test.batches([np.arange(len(worse.test))])).inputs)
    assert (test[:, -1] == 1).all(), "what train does not have is other"


def test_poison_in_given_files_changes_nothing_of_train(tmp_path: Path) -> None:
    rows = some_rows()
    for name in ("clean", "poison"):
        (tmp_path / name).mkdir()
        for part, some in (("train", rows[:50]), ("val", rows[50:60]), ("test", rows[60:])):
            bad = name == "poison" and part != "train"
            write(tmp_path / name / f"{part}.csv", poisoned(some, set(range(len(some))), True) if bad else some)
    clean, poison = (prepared(Table(str(tmp_path / name), "y")) for name in ("clean", "poison"))
    assert clean.encode.offers()["blocks"] == poison.encode.offers()["blocks"]
    assert all(torch.equal(a, b) for a, b in zip(trained_on(clean), trained_on(poison), strict=True))
    assert clean.digest != poison.digest


# ---- the encoder ----------------------------------------------------------------------------------------------------


def holed(n: int = 200) -> tuple[np.ndarray, list[Any]]:
    """Three numbers (the second never missing, the third constant), and two categories of 3 and 5 codes."""
    rng = np.random.default_rng(0)
    values = np.column_stack([
        rng.normal(1e4, 3, n), rng.integers(0, 3, n), rng.exponential(size=n), np.full(n, 0.1), rng.integers(0, 5, n)
    ]).astype(np.float32)  # fmt: skip
    for column in (0, 1, 4):
        values[rng.random(n) < 0.15, column] = np.nan
    return values, [None, list("cab"), None, None, list("vwxyz")]


def encoder_of(values: np.ndarray, texts: list[Any], rows: np.ndarray) -> Any:
    loaded = Loaded(ArrayPool(values, np.zeros(len(values), np.int64)), None, None, Classes(("a", "b")))
    return with_encoder(loaded, [Form(*pair) for pair in zip("pqrst", texts, strict=False)], rows).encoder


def test_encoder_equals_scikit_learn() -> None:
    values, texts = holed()
    rows = np.arange(120)
    values[values[:, 4] == 3, 4] = np.where(np.flatnonzero(values[:, 4] == 3) < 120, 2, 3)  # y is not in train
    encoder = encoder_of(values, texts, rows)
    numbers = values[:, [0, 2, 3]].astype(np.float64)
    imputer = SimpleImputer(strategy="median").fit(numbers[rows])
    scaler = StandardScaler().fit(imputer.transform(numbers[rows]))
    expected = [scaler.transform(imputer.transform(numbers)), np.isnan(values[:, :1])]
    expected[0][:, 2] = 0  # constant; in scikit-learn rounding may be left of it
    for column, names in ((1, texts[1]), (4, texts[4])):
        words = np.array(["-" if np.isnan(v) else names[int(v)] for v in values[:, column]])[:, None]
        known = sorted(set(words[rows, 0]) - {"-"})
        one_hot = OneHotEncoder(categories=[known], handle_unknown="ignore", sparse_output=False).fit(words[rows])
        hot = one_hot.transform(words)
        expected += [hot, 1 - hot.sum(1, keepdims=True)]
    found = encoder(torch.from_numpy(values))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), np.hstack(expected), atol=2e-4)  # of 1e4 float32 keeps 1e-3
    assert encoder.blocks == (1, 1, 1, 1, 4, 5)
    assert encoder.shape == (sum(encoder.blocks),) == found.shape[1:]


def test_values_that_are_missing_in_test_alone_are_imputed_too() -> None:
    values = np.array([[1, 0], [2, 1], [6, 0], [np.nan, np.nan]], np.float32)
    encoder = encoder_of(values, [None, ["a", "b"]], np.arange(3))
    assert encoder.blocks == (1, 3)
    row = encoder(torch.from_numpy(values))[3]
    torch.testing.assert_close(row, torch.tensor([(2 - 3) / np.std([1, 2, 6]), 0, 0, 1], dtype=torch.float32))


def test_a_column_that_is_empty_in_train_says_nothing() -> None:
    values = np.array([[np.nan, 1], [np.nan, 2], [5, 3]], np.float32)
    found = encoder_of(values, [None, None], np.arange(2))(torch.from_numpy(values))
    assert found[:, 0].tolist() == [0, 0, 0]
    assert found[:, 2].tolist() == [1, 1, 0]


def test_any_batch_is_encoded_row_by_row() -> None:
    values, texts = holed()
    encoder = encoder_of(values, texts, np.arange(200)).to(torch.device("cpu"))
    inputs = torch.from_numpy(values)
    whole = encoder(inputs)
    assert torch.equal(torch.cat([encoder(inputs[k : k + 1]) for k in range(200)]), whole)
    assert torch.equal(inputs.nan_to_num(-7), torch.from_numpy(values).nan_to_num(-7)), "not changed in place"


def test_mixing_one_hot_vectors_is_mixing_embeddings() -> None:
    values, texts = holed()
    encoder = encoder_of(values, texts, np.arange(200))
    rows = encoder(torch.from_numpy(values))
    mixed = Mixup(1.0, seed=3)(rows, torch.zeros(200, dtype=torch.int64))
    torch.manual_seed(0)
    tokens = Tokens(encoder.blocks, 6)
    own, found = tokens(rows), tokens(mixed.inputs)
    lam = mixed.lam[:, None, None]
    partner = (mixed.inputs - mixed.lam[:, None] * rows) / (1 - mixed.lam[:, None])
    torch.testing.assert_close(found, lam * own + (1 - lam) * tokens(partner), atol=1e-4, rtol=1e-4)
    codes = torch.from_numpy(values[:, 1]).nan_to_num(3).long()
    places = torch.tensor([2, 0, 1, 3])[codes]  # c, a, b, missing
    embedding = torch.nn.Embedding.from_pretrained(tokens.weight[4:8].detach())
    torch.testing.assert_close(own[:, 5], embedding(places) + tokens.bias[4])


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_tiles_show_what_the_row_is() -> None:
    row = np.array([[0, 3, -3, 99, 1, 0.25, 0.75, 0]], np.float32)
    (tile,) = draw_rows(row, 4, (1, 3), box=120)
    assert tile.shape == (120, 120, 3)
    width = 120 // 12  # a number takes the room of two bars
    line = (tile == LINE).all(-1)
    heights = [np.flatnonzero(line[:, (2 * k + 1) * width]).mean() for k in range(4)]
    middle, edge = 59.5, 59.5 * 0.12
    np.testing.assert_allclose(heights, [middle, edge, 119 - edge, edge], atol=1.5)
    bars = (tile == BAR).all(-1).sum(0)
    found = [bars[(8 + k) * width + 5] for k in range(4)]
    full = found[0]
    assert full > 90
    np.testing.assert_allclose(found, [full, full / 4, 3 * full / 4, 0], atol=1.5)


@pytest.mark.parametrize("shape", [(1, 1, ()), (3, 0, (4,)), (2, 500, ()), (2, 3, (700,)), (1, 400, (1, 300))])
def test_tiles_of_any_table(shape: tuple[int, int, tuple[int, ...]]) -> None:
    n, numbers, bars = shape
    rows = np.random.default_rng(0).normal(size=(n, numbers + sum(bars))).astype(np.float32)
    tiles = draw_rows(rows, numbers, bars, box=64)
    assert tiles.shape == (n, 64, 64, 3)
    assert tiles.dtype == np.uint8
    assert tiles.std() > 5


@pytest.mark.parametrize("words", [("dataset=iris", "aug=mixup"), ("dataset=diabetes", "aug=manifold_mixup")])
def test_preview(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "DRAWS", 128)
    parts = ingredients(config_of(*words, "trainer.batch_size=16", "trainer.device=cpu"))
    png, size = draw_sheet(parts, Title("A title", "What it is", (("seed", "0"),)))
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.size == size
        assert np.asarray(picture).std() > 20


# ---- tables of this package -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "iris", "diabetes"])
def test_embedded_tables_are_those_of_scikit_learn(name: str) -> None:
    from sklearn import datasets

    theirs = getattr(datasets, f"load_{name}")(**({"scaled": False} if name == "diabetes" else {}))
    ours = EmbeddedTable(name).load()
    np.testing.assert_array_equal(ours.train.load().numpy(), theirs.data.astype(np.float32))
    np.testing.assert_array_equal(ours.train.target.reshape(-1), theirs.target)
    if name != "diabetes":
        assert ours.kind == Classes(tuple(map(str, theirs.target_names)))
    data = prepared(EmbeddedTable(name))
    (rows, _) = trained_on(data)
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(rows.std(0, correction=0), 1, atol=1e-4)


# ---- large tables ---------------------------------------------------------------------------------------------------


def test_a_large_table_is_kept_and_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = some_rows()
    rows[4] = ["1", "2", "u"]
    write(tmp_path / "t.csv", rows)
    settings: dict[str, Any] = {"on_error": "skip", "cache_dir": str(tmp_path / "cache")}
    expected = Table(str(tmp_path / "t.csv"), "y", **settings).load()
    assert not (tmp_path / "cache").exists(), "a small one is read faster than it is found"
    monkeypatch.setattr("mixup_lab.sources.table.LARGE", 100)
    monkeypatch.setattr(table_rows, "LARGE", 100)
    monkeypatch.setattr(table_read, "CELLS", 40)
    first = Table(str(tmp_path / "t.csv"), "y", **settings).load()
    assert f"reading {tmp_path / 't.csv'}" in capsys.readouterr().err
    monkeypatch.setattr(table_read.TextFile, "pieces", None)  # now it cannot be read again
    second = Table(str(tmp_path / "t.csv"), "y", **settings).load()
    for loaded in (first, second):
        assert isinstance(loaded.train, ArrayPool)
        assert not loaded.train.inputs.flags.owndata
        assert loaded.dropped == 1
        np.testing.assert_array_equal(loaded.train.target, expected.train.target)
        np.testing.assert_array_equal(encoded(loaded), encoded(expected))
        resident, streaming = (prepared(Given(loaded), storage=kind) for kind in ("resident", "streaming"))
        assert all(torch.equal(a, b) for a, b in zip(trained_on(resident), trained_on(streaming), strict=True))
    monkeypatch.undo()
    monkeypatch.setattr("mixup_lab.sources.table.LARGE", 100)
    (shelf,) = (tmp_path / "cache").iterdir()
    (place,) = shelf.iterdir()
    with open(place / "train-values", "r+b") as out:
        out.seek(40)
        out.write(b"\1\2\3\4")
    again = Table(str(tmp_path / "t.csv"), "y", **settings).load()
    assert "cannot be used (its checksum is wrong); it will be rebuilt" in capsys.readouterr().err
    np.testing.assert_array_equal(encoded(again), encoded(expected))
    Table(str(tmp_path / "t.csv"), "y", drop=["a"], **settings).load()
    assert len(list(shelf.iterdir())) == 2, "another way to read the same file"
    write(tmp_path / "t.csv", some_rows(90))
    assert len(Table(str(tmp_path / "t.csv"), "y", **settings).load().train.target) == 90
    assert len(list(shelf.iterdir())) == 1, "of the file as it was nothing is left"
    assert json.loads(next(shelf.glob("*/table.json")).read_text())["splits"]["train"]["values"]["shape"] == [90, 3]


def test_a_cache_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mixup_lab.sources.table.LARGE", 100)
    write(tmp_path / "t.csv", some_rows())
    (tmp_path / "cache").write_text("a file")
    loaded = Table(str(tmp_path / "t.csv"), "y", cache_dir=str(tmp_path / "cache")).load()
    assert len(loaded.train.target) == 80
    assert "decoded data are not kept in " in capsys.readouterr().err


# ---- models ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [None, (1, 1, 1, 4, 5), (1,) * 12, (4, 1, 1, 6)])
def test_ft_transformer(blocks: tuple[int, ...] | None) -> None:
    torch.manual_seed(0)
    model = FTTransformer(input_shape=(12,), num_outputs=3, blocks=blocks, width=16, heads=4, depth=2)
    features = 12 if blocks is None else len(blocks)
    inputs = torch.randn(7, 12)
    model(inputs).square().sum().backward()
    assert model(inputs).shape == (7, 3)
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert model.tokens(inputs).shape == (7, 1 + features, 16)
    inner = int(16 * 4 / 3)
    layer = 3 * 17 * 16 + 17 * 16 + 2 * 16 + 17 * 2 * inner + (inner + 1) * 16
    expected = 12 * 16 + features * 16 + 16 + 2 * layer + 2 * 16 + 2 * 16 + 17 * 3  # the second layer has a first norm
    assert sum(p.numel() for p in model.parameters()) == expected
    modules = dict(model.named_modules())
    for name in model.mixup_layers:
        out: list[Any] = []
        modules[name].register_forward_hook(lambda module, args, output, out=out: out.append(output.shape))
        model(inputs)
        assert out == [(7, 1 + features, 16)]
    model.eval()
    torch.testing.assert_close(torch.cat([model(row[None]) for row in inputs]), model(inputs))


def test_attention_of_ft_transformer_is_that_of_torch() -> None:
    torch.manual_seed(0)
    model = FTTransformer(input_shape=(5,), num_outputs=2, width=8, heads=2, depth=1).eval()
    layer, tokens = model.layers[0], model.tokens(torch.randn(3, 5))
    attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    attention.load_state_dict({
        "in_proj_weight": layer.qkv.weight, "in_proj_bias": layer.qkv.bias,
        "out_proj.weight": layer.out.weight, "out_proj.bias": layer.out.bias,
    })  # fmt: skip
    torch.testing.assert_close(layer._attend(tokens), attention(tokens, tokens, tokens)[0])


def test_resmlp() -> None:
    torch.manual_seed(0)
    model = ResMLP(input_shape=(12,), num_outputs=3, width=16, depth=2, expansion=2.5)
    block = 2 * 16 + 17 * 40 + 41 * 16
    assert sum(p.numel() for p in model.parameters()) == 13 * 16 + 2 * block + 2 * 16 + 17 * 3
    assert set(model.mixup_layers) < {name for name, _ in model.named_modules()}
    model.eval()
    inputs = torch.randn(5, 12)
    hidden = model.stem(inputs)
    for part in model.blocks:
        norm, first, _, _, second, _ = part.residual
        scaled = hidden / (1 + norm.eps) ** 0.5  # as BatchNorm begins
        hidden = hidden + second(first(scaled).clamp(min=0))
    torch.testing.assert_close(model(inputs), model.head(hidden))


@each(
    "family, arguments, said",
    [
        (FTTransformer, {"input_shape": (1, 8, 8)}, r"takes the rows of a table \(F,\), got input_shape=\(1, 8, 8\)"),
        (FTTransformer, {"blocks": (1, 2)}, r"blocks must be numbers >= 1 that sum to 4, got \(1, 2\)"),
        (FTTransformer, {"width": 10}, r"width must be a multiple of heads \(8\), got 10"),
        (FTTransformer, {"depth": 0}, "depth must be >= 1, got 0"),
        (FTTransformer, {"ffn_factor": 0.0}, "ffn_factor must leave at least one unit"),
        (FTTransformer, {"ffn_dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        (ResMLP, {"width": 0}, "width must be >= 1, got 0"),
        (ResMLP, {"expansion": 0.0}, "expansion must leave at least one unit"),
        (ResMLP, {"input_shape": ()}, r"takes a shape of positive sizes, got input_shape=\(\)"),
    ],
)
def test_bad_arguments_of_models(family: Any, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        family(**({"input_shape": (4,), "num_outputs": 2} | arguments))


# ---- whole trainings ------------------------------------------------------------------------------------------------

FAST = ("dataset=table", "model.hidden=[32]", "optimizer=adam", "optimizer.lr=0.02", "trainer.epochs=12",
        "trainer.eval_every=6", "trainer.batch_size=32", "trainer.progress=none", "trainer.malloc=default",
        "trainer.device=cpu")  # fmt: skip


def scores(run_dir: Path, *overrides: str) -> dict[str, float]:
    """Final scalars of a training."""
    fit = Fit(assemble(config_of(*FAST, *overrides), "fingerprint"), run_dir)
    log = RunLog(Record(run_dir, resume=False), TensorBoardView(run_dir), ProgressView())
    try:
        log.record.event("start", arm="arm", seed=0)
        return fit.run(log, StopRequest())
    finally:
        log.board.close()
        log.record.close()


def learnable(path: Path, target: Any, shuffled: bool, n: int = 500) -> None:
    """Numbers, one with holes, and a category, all of which count."""
    rng = np.random.default_rng(0)
    x, kind = rng.normal(size=(n, 3)), rng.integers(0, 3, n)
    answers = target(x, np.array([-1.5, 0, 1.5])[kind])
    answers = answers[rng.permutation(n)] if shuffled else answers
    hole = rng.random(n) < 0.1
    with open(path, "w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["a", "b", "c", "kind", *(f"y{k}" for k in range(answers.shape[1]))])
        for row, missing, k, answer in zip(x.round(4).tolist(), hole, kind, answers.tolist(), strict=True):
            rows.writerow([*row[:2], "" if missing else row[2] * 100 + 7, ["red", "blue", "green"][k], *answer])


TASKS = {
    "classification": (lambda x, k: np.array(["low", "mid", "high"])[np.digitize(x[:, :1] + k[:, None], [-0.8, 0.8])],
                       "test/accuracy", lambda good: good > 0.85, lambda bad: bad < 0.55),
    "regression": (lambda x, k: (3 * x[:, :1] - x[:, 1:2] ** 2 + 2 * k[:, None]).round(4),
                   "test/r2", lambda good: good > 0.85, lambda bad: bad < 0.1),
    "multilabel": (lambda x, k: np.column_stack([x[:, 0] + k > 0, x[:, 1] > 0.5, x[:, 0] - x[:, 1] > 0]).astype(int),
                   "test/map", lambda good: good > 0.9, lambda bad: bad < 0.65),
}  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_a_training_learns_and_of_mixed_up_targets_it_does_not(tmp_path: Path, task: str) -> None:
    make, name, good, bad = TASKS[task]
    found = {}
    for shuffled in (False, True):
        path = tmp_path / f"{shuffled}.csv"
        learnable(path, make, shuffled)
        words = f"dataset.root={path}", f"dataset.target={'[y0,y1,y2]' if task == 'multilabel' else 'y0'}"
        found[shuffled] = scores(tmp_path / f"run{shuffled}", *words, "aug=mixup", "aug.alpha=0.2")[name]
    assert good(found[False]), found
    assert bad(found[True]), found


@pytest.mark.parametrize("model", ["resmlp", "ft_transformer"])
def test_models_know_the_blocks_and_learn(tmp_path: Path, model: str) -> None:
    make, name, _, _ = TASKS["classification"]
    learnable(tmp_path / "t.csv", make, shuffled=False)
    words = (f"dataset.root={tmp_path / 't.csv'}", "dataset.target=y0", f"model={model}", "model.width=16",
             "optimizer.lr=0.01", "trainer.epochs=6", "aug=manifold_mixup")  # fmt: skip
    fit = Fit(assemble(config_of(*FAST[:1], *FAST[2:], *words), "fingerprint"), tmp_path)
    if model == "ft_transformer":
        assert fit.parts.data.encode.offers()["blocks"] == (1, 1, 1, 1, 4)
        assert fit.parts.model.tokens.bias.shape == (5, 16)
    log = RunLog(Record(tmp_path, resume=False), TensorBoardView(tmp_path), ProgressView())
    log.record.event("start", arm="arm", seed=0)
    assert fit.run(log, StopRequest())[name] > 0.7
    log.board.close()
    log.record.close()


@each("aug", ["cutmix", "fmix", "gridmix", "resizemix", "smoothmix", "saliencymix", "mixup_cutmix"])
def test_methods_of_pictures_are_refused(aug: str) -> None:
    with pytest.raises(UserError, match=r"aug: \w+ needs pictures \(channels x height x width\), the examples are 4"):
        assemble(config_of("dataset=iris", f"aug={aug}", "trainer.batch_size=16", "trainer.device=cpu"), "")


@each(
    "words, said",
    [
        (("dataset=iris", "model=small_cnn"), r"model: SmallCNN takes pictures \(C, H, W\), got input_shape=\(4,\)"),
        (("dataset=iris", "model=preact_resnet18"), r"model: PreActResNet takes pictures"),
        (("dataset=digits", "model=ft_transformer"), r"model: FTTransformer takes the rows of a table"),
        (
            ("dataset=iris", "transform=crop_flip"),
            "transform: CropFlip changes pictures, and the examples are rows of a table; use",
        ),
        (("dataset=iris", "dataset.mean=[0.5]"), r"dataset\.mean and dataset\.std are for pictures"),
        (("dataset=diabetes", "trainer.label_smoothing=0.1"), r"trainer\.label_smoothing=0\.1 is for classes"),
        (("dataset=diabetes", "aug=mixup", "aug.partner=same_class"), "partner=same_class needs one class"),
        (("dataset=iris", "dataset.name=roses"), r"dataset\.name=.* must be one of breast_cancer, wine"),
    ],
)
def test_what_does_not_go_with_a_table(words: tuple[str, ...], said: str) -> None:
    def start() -> None:
        Fit(
            assemble(config_of(*words, "trainer.batch_size=16", "trainer.device=cpu"), ""), Path("unused")
        ).batches.plan(0)

    with pytest.raises((UserError, ValueError), match=said):
        start()


def test_rows_in_memory_are_encoded_ahead_and_streamed_ones_batch_by_batch(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        "a,b,y\n" + "".join(f"{i % 7 if i % 5 else ''},{'uvw'[i % 3]},{'no' if i % 2 else 'yes'}\n" for i in range(90))
    )
    source = Table(str(path), "y")
    ahead, streamed = (prepared(source, storage=kind) for kind in ("resident", "streaming"))
    order = [np.arange(10), np.arange(10, 35)]
    for ours, theirs in zip(ahead.train.batches(order), streamed.train.batches(order), strict=True):
        assert torch.equal(ours.inputs, streamed.encode(theirs.inputs))
        assert ahead.encode(ours.inputs) is ours.inputs
        assert (ahead.encode.draw(ours.inputs, 32) == streamed.encode.draw(ours.inputs, 32)).all()
    assert ahead.encode.offers()["blocks"] == streamed.encode.offers()["blocks"] == (1, 1, 4)
    assert ahead.input_shape == streamed.input_shape == (6,)
