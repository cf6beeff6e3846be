"""Tables as people have them: how numbers, dates and classes are spelt, indices, quotation marks, encodings, advice."""

from __future__ import annotations

import datetime
import gzip
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.data_examples import picture, prepared
from hydra.core.override_parser.overrides_parser import OverridesParser

from mixup_lab.data.source import Loaded
from mixup_lab.files.columns import Column
from mixup_lab.files.labelled import one_spelling
from mixup_lab.files.values import Ambiguous, Notation, notation_of
from mixup_lab.pasting import word
from mixup_lab.sources.image_table import ImageTable
from mixup_lab.sources.table import Table
from mixup_lab.sources.text_table import TextTable
from mixup_lab.targets.classes import Classes
from mixup_lab.targets.numbers import Numbers
from mixup_lab.targets.tags import Tags
from mixup_lab.types import UserError
from mixup_lab.visible import look_alikes


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """Write a table and load it."""

    def loaded(text: str | bytes, target: Any = "y", name: str = "t.csv", **changes: Any) -> Loaded:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return Table(str(tmp_path / name), target, **{"cache": False, **changes}).load()

    return loaded


def table(columns: dict[str, list[Any]], delimiter: str = ",") -> str:
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    return "".join(delimiter.join(map(str, row)) + "\n" for row in rows)


def day(year: int, month: int, of_month: int) -> int:
    return datetime.date(year, month, of_month).toordinal() - datetime.date(1970, 1, 1).toordinal()


# ---- how numbers are spelt ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "numbers", "said"),
    [
        (["1,5", "2,25"], [1.5, 2.25], "decimal comma"),
        (["1.234,5", "-7", "1.234.567"], [1234.5, -7, 1234567], "decimal comma"),
        (["1,234.5", "7", "\u22121,000,000"], [1234.5, 7, -1e6], ""),
        (["1 234,5", "1\u00a0234", "1\u202f234"], [1234.5, 1234, 1234], "decimal comma"),
        (["1'234.5", "1\u2019234.5"], [1234.5, 1234.5], ""),
        (["5 %", "7.5%", "0"], [5, 7.5, 0], "in %"),
        (["$1,234.50", "-$5", "($2.00)", "$ (25.00)"], [1234.5, -5, -2, -25], "in $"),
        (["1.234,50 €", "2 €"], [1234.5, 2], "decimal comma in €"),
        (["1,5e3", "2,5"], [1500, 2.5], "decimal comma"),
        (["1e5", "2.5", ".5"], [1e5, 2.5, 0.5], ""),
        (["1.234", "2.345"], [1.234, 2.345], ""),  # may be thousands too: as ever
        (["True", "FALSE"], [1, 0], "True and False as 1 and 0"),
        (["2024-01-31", "1969-12-31"], [day(2024, 1, 31), -1], "dates in days"),
        (["2024-01-31T12:00", "2024-01-31 18:00+06:00"], [day(2024, 1, 31) + 0.5] * 2, "dates in days"),
        (["31.12.2024", "1.2.2024"], [day(2024, 12, 31), day(2024, 2, 1)], "dates in days"),
        (["12/31/2024", "1/2/2024"], [day(2024, 12, 31), day(2024, 1, 2)], "dates in days"),
        (["31/12/2024", "1/2/2024"], [day(2024, 12, 31), day(2024, 2, 1)], "dates in days"),
        (["2 Jan 2024 6:00 PM", "3 Feb 2024 6:00 AM"], [day(2024, 1, 2) + 0.75, day(2024, 2, 3) + 0.25],
         "dates in days"),
        (["March 5, 2024"], [day(2024, 3, 5)], "dates in days"),
        (["6:00", "30:00:00"], [0.25, 1.25], "times in days"),
    ],
)  # fmt: skip
def test_a_column_has_one_notation(texts: list[str], numbers: list[float], said: str) -> None:
    found = notation_of(texts)
    assert found is not None
    notation, count = found
    np.testing.assert_allclose([notation.read(text) for text in texts], numbers, rtol=1e-12)
    assert (notation.describe(), count) == (said, len(texts))
    column = Column("c", ["", "-"])
    values = ["-", *texts, "", f" {texts[0]} "]
    column.decide(values, None)
    np.testing.assert_allclose(column.convert(values)[0], [np.nan, *numbers, np.nan, numbers[0]], rtol=1e-12)


@pytest.mark.parametrize(
    "texts", [["a", "b"], ["1/2/2024", "3/4/2024"], ["12 kg", "13 kg"], ["1_000"], ["1,2,3"], ["007 123"]]
)
def test_other_texts_stay_texts(texts: list[str]) -> None:
    assert notation_of(texts) is None


def test_what_fits_both_marks_is_decided_by_other_columns_or_refused(load: Any) -> None:
    for text in ("1,234", "$1,234", "1,5"):
        with pytest.raises(Ambiguous, match="1,"):
            notation_of([text, "1.5"] if text == "1,5" else [text, "2"])
    german = load("a;b;y\n1,5;1.234;p\n2,5;2.000;q\n")
    assert german.train.load().tolist() == [[1.5, 1234], [2.5, 2000]]
    english = load('a,b,y\n1.5,"1,234",p\n2.5,"2,000",q\n')
    assert english.train.load().tolist() == [[1.5, 1234], [2.5, 2000]]
    both = 'b,y\n7,p\n"1,234",q\n'
    with pytest.raises(
        UserError, match=r"t\.csv, line 3: column b holds '1,234', whose comma may .* set .dataset\.decimal="
    ):
        load(both)
    assert load(both, decimal=".").train.load().tolist() == [[7], [1234]]
    np.testing.assert_allclose(load(both, decimal=",").train.load(), [[7], [1.234]], rtol=1e-6)
    assert load("a;y\n1.500;p\n2.000;q\n", decimal=",").train.load().tolist() == [[1500], [2000]]
    with pytest.raises(UserError, match=r"line 3: column b holds '2\.5', which is not read like the .*decimal comma"):
        load('b,y\n"7,5",p\n2.5,q\n"1,5",q\n')
    with pytest.raises(UserError, match=r"line 3: column b holds '€5', which is not read like .* \(in \$\)"):
        load("b,y\n$4,p\n€5,q\n$7,q\n")


def test_many_commas_are_read_like_points(load: Any) -> None:
    values = np.random.default_rng(0).normal(size=(40, 2)).round(3)
    columns = {"a": values[:, 0].tolist(), "b": values[:, 1].tolist(), "y": list("pq") * 20}
    text = table(columns, ";")
    np.testing.assert_array_equal(load(text.replace(".", ",")).train.load(), load(text).train.load())
    bare = "\n".join(text.replace(".", ",").splitlines()[1:])
    np.testing.assert_array_equal(load(bare, "c2", header=False).train.load(), load(text).train.load())


def test_targets(load: Any) -> None:
    rows = {"x": range(30), "y": [f"{k / 4:.2f}".replace(".", ",") for k in range(30)]}
    for task in ("auto", "regression"):
        loaded = load(table(rows, ";"), task=task)
        assert loaded.kind == Numbers(("y",))
        assert loaded.train.target[:, 0].tolist() == [k / 4 for k in range(30)]
    text = "x,rain,wind\n1,True,False\n2,False,True\n3,True,True\n"
    assert load(text, ["rain", "wind"]).kind == Tags(("rain", "wind"))
    assert load(text, "rain").kind == Classes(("False", "True"))
    assert load(text, "rain").train.load()[:, 1].tolist() == [0, 1, 1]
    with pytest.raises(UserError, match=r"target d has 30 different texts in 30 rows, such as '2024-01-01', "):
        load(table({"x": range(30), "d": [f"2024-01-{k:02}" for k in range(1, 31)]}), "d")
    with pytest.raises(UserError, match=r"target y lie near 1.7e.12 and differ by less than float32 can hold"):
        load("x,y\n" + "".join(f"{k},{1.7e12 + k}\n" for k in range(30)))


def test_one_hot_columns(load: Any, capsys: pytest.CaptureFixture[str]) -> None:
    text = "x,c:a,c:b,c:c\n1,0,1,0\n2,1.0,0,0\n3,0,0,1\n"
    loaded = load(text, "c:*", task="classification")
    assert loaded.kind == Classes(("c:a", "c:b", "c:c"))
    assert loaded.train.target.tolist() == [1, 0, 2]
    assert load(text, ["c:*"]).kind == Tags(("c:a", "c:b", "c:c"))
    assert "each row has exactly one of them (one-hot), and dataset.task=classification" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"a single 1 in each row, .*t\.csv, line 2: 1, 1, 0"):
        load(text.replace("0,1,0", "1,1,0"), "c:*", task="classification")
    assert load(text, "c:a", drop=["c:*"]).train.shape == (1,), "* leaves what is named elsewhere"
    with pytest.raises(UserError, match=r"dataset\.target=d\* matches no column; they are x, c:a"):
        load(text, "d*")


def test_missing_targets_name_their_text(load: Any) -> None:
    text = "x,y\n" + "".join(f"{k},{['None', 'Mild', 'NA'][k % 3]}\n" for k in range(9))
    with pytest.raises(
        UserError, match=r"line 2: the target y is 'None', which means a missing value; .* set "
    ) as error:
        load(text)
    (advice,) = shlex.split(str(error.value).partition("; if it is a class, set ")[2].partition("; ")[0])
    (key,) = OverridesParser.create().parse_overrides([advice])
    assert key.key_or_group == "dataset.missing"
    kept = [str(text) for text in key.value()]
    with pytest.raises(UserError, match="line 4: the target y is 'NA'"):
        load(text, missing=kept)
    assert load(text, missing=[""]).kind == Classes(("Mild", "NA", "None"))


# ---- float32 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["1e39", "-1e300", "1" + 40 * "0", "inf"])
@pytest.mark.parametrize("target", ["x", "y"])
def test_numbers_beyond_float32_are_refused(load: Any, value: str, target: str) -> None:
    with pytest.raises(UserError, match=rf"t\.csv, line 3: column x holds '{value}', which is "):
        load(f"x,y,z\n1,p,2\n{value},q,3\n", target, task="regression" if target == "x" else "auto")
    with pytest.raises(UserError, match=rf"t\.csv, line 3: column x holds '{value}', which is "):
        load(f"x,y,z\n1,2,2\n{value},4,3\n", target, task="regression")


def test_numbers_below_float32_are_refused(load: Any) -> None:
    with pytest.raises(UserError, match="column x holds '2e-40'"):
        load("x,y\n1e-40,p\n2e-40,q\n")
    loaded = load("x,y\n1e-29,p\n1.0000001e-29,q\n1e-29,p\n")
    assert loaded.fit is not None


def test_large_offsets_are_subtracted_before_float32(load: Any, tmp_path: Path) -> None:
    stamps = 1_700_000_000_000 + 1000 * np.arange(60) % 7000
    loaded = load(table({"stamp": stamps, "b": [0.5] * 60, "y": list("pq") * 30}))
    rows = np.arange(40)
    fit = loaded.fit(rows)
    exact = (stamps - stamps[rows].mean()) / stamps[rows].std()
    np.testing.assert_allclose(fit.encoder(fit.train.load())[:, 0], exact, rtol=1e-5, atol=1e-5)
    (about, plain) = fit.encoder.about()["columns"]
    assert about == {"name": "stamp", "categories": None, "offset": float(np.median(stamps))}
    assert plain == {"name": "b", "categories": None}
    (tmp_path / "new.csv").write_text(table({"b": [1], "stamp": [stamps[5]]}))
    new = loaded.new([tmp_path / "new.csv"]).pool.load()
    assert new[0, 0] == loaded.train.load()[5, 0] == stamps[5] - np.median(stamps)


# ---- columns that say nothing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
@pytest.mark.parametrize("order", [range(12), range(1, 13), [3, 1, 2, *range(20, 29)]])
def test_an_index_without_a_name_is_left_out(load: Any, capsys: Any, name: str, order: Any) -> None:
    loaded = load(table({name: order, "x": [k / 2 for k in range(12)], "y": list("pq") * 6}))
    assert loaded.train.load()[:, 0].tolist() == [k / 2 for k in range(12)]
    assert loaded.train.shape == (1,)
    assert f"column {name or 'c0'} (1) is left out: an index" in capsys.readouterr().err


def test_other_columns_without_a_name(load: Any, capsys: Any) -> None:
    loaded = load("x;y;;\n1;p;;\n2;q;;\n")
    assert loaded.train.load().tolist() == [[1], [2]]
    assert "column c3 (4) is left out: it has neither a name nor values" in capsys.readouterr().err
    with pytest.raises(
        UserError, match=r"column 1 has no name, like an index, but holds other values; leave it out with"
    ):
        load(table({"": ["u", "v"], "x": [1, 2], "y": ["p", "q"]}))
    for values in ([30, 8, 20, 21, 5, 77, 9, 120, 13, 500, 900, 100], range(1990, 2002), range(-1, 11), [1.5] * 12):
        with pytest.raises(UserError, match="column 1 has no name, like an index, but holds other values"):
            load(table({"": values, "x": range(12), "y": list("pq") * 6}))
    assert load(table({"": ["u", "v"], "x": [1, 2], "y": ["p", "q"]}), drop=["c0"]).train.shape == (1,)


def test_numbers_of_rows_and_texts_that_differ_are_named(load: Any) -> None:
    rows = {"row id": range(5, 45), "who": [f"person {k}" for k in range(40)], "x": [k % 7 for k in range(40)]}
    loaded = load(table(rows | {"y": list("pq") * 20}))
    assert loaded.train.shape == (3,), "they are inputs all the same"
    assert loaded.notes == (
        "column row id numbers the rows in their order; if it is an index, set \"dataset.drop=['row id']\"",
        "column who has 40 different texts in 40 rows, such as 'person 0', and each is an input of its own;"
        " 'dataset.drop=[who]' leaves it out",
    )
    assert load(table(rows | {"y": list("pq") * 20}), drop=["row id", "who"]).notes == ()


def test_dropped_columns_need_not_be_readable(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    content = {"x": [1, 2], "deep": [[1], [2]], "t": pa.array([1, 2], pa.time32("s")), "y": ["p", "q"]}
    parquet.write_table(pa.table(content), tmp_path / "t.parquet")
    source = {"root": str(tmp_path / "t.parquet"), "target": "y", "cache": False}
    with pytest.raises(UserError, match="column deep has the type"):
        Table(**source).load()
    loaded = Table(**source, drop=["deep"]).load()
    np.testing.assert_allclose(loaded.train.load()[:, 0], [1, 2])


# ---- files ----------------------------------------------------------------------------------------------------------

PLAIN = "a,b,y\n1,u,p\n2,v,q\n3,u,p\n"


@pytest.mark.parametrize(
    "content",
    [
        "sep=;\n" + PLAIN.replace(",", ";"),
        '"sep=|"\n' + PLAIN.replace(",", "|"),
        "# measured 2024\n# unit: mm, kg\n\n" + PLAIN,
        "# one, two, three\n" + PLAIN,
        PLAIN.encode("utf-16"),
        ("\ufeff" + PLAIN).encode("utf-16-be"),
        PLAIN.replace("u", '"a ""u"""').replace('a ""u""', "u"),
    ],
)
def test_the_same_rows_however_the_file_begins(load: Any, content: Any) -> None:
    loaded, expected = load(content), load(PLAIN)
    np.testing.assert_array_equal(loaded.train.load(), expected.train.load())
    assert loaded.train.target.tolist() == expected.train.target.tolist()


def test_a_header_may_begin_with_a_mark_of_comments(load: Any) -> None:
    assert load("#a,b,y\n1,2,p\n3,4,q\n").train.load().tolist() == [[1, 2], [3, 4]]
    assert load("#a,b,y\nred,small,p\nblue,large,q\n", "y").train.load().tolist() == [[0, 0], [1, 1]]
    with pytest.raises(UserError, match=r"t\.csv, line 6: column #a holds 'x'"):
        load("# comment\n#\n#a,b,y\n1,2,p\n3,4,q\nx,4,q\n")


def test_encodings(load: Any) -> None:
    text = "größe;y\n1;p\n2;ä\n"
    with pytest.raises(UserError, match=r"line 1: byte 0xf6 is not UTF-8; .* dataset\.encoding=cp1252"):
        load(text.encode("cp1252"))
    assert load(text.encode("cp1252"), encoding="cp1252").kind == Classes(("p", "ä"))
    with pytest.raises(UserError, match=r"dataset\.encoding=latin9000 must be auto, or an encoding such as utf-8"):
        load(text, encoding="latin9000")
    with pytest.raises(UserError, match=r"UTF-16-LE without a byte order mark; dataset\.encoding=utf-16-le"):
        load(text.encode("utf-16-le"))
    assert load(text.encode("utf-16-le"), encoding="utf-16-le").kind == Classes(("p", "ä"))


@pytest.mark.parametrize(("opened", "said"), [((40, 43), "lines up to 45"), ((40,), "lines up to 121"), ((119,), "")])
def test_quotation_marks_left_open(load: Any, opened: tuple[int, ...], said: str) -> None:
    mark = '"'
    rows = [f"{mark * (k in opened)}small,{k},{'ab'[k % 2]}\n" for k in range(120)]
    expected = (
        rf"t\.csv, line {opened[0] + 2}: (a quotation mark is opened and not closed, .*{said}|1 value instead of 3)"
    )
    for skip in ("raise", *(["skip"] if said else [])):
        with pytest.raises(UserError, match=expected):
            load("size,x,y\n" + "".join(rows), on_error=skip)


def test_rows_over_several_lines_are_counted(load: Any, capsys: Any) -> None:
    loaded = load('a,y\n1,p\n2,"q\nr"\n3,p\n4,"q\nr"\n')
    assert len(loaded.train.target) == 4
    assert "rows over several lines: 2, the first from line 3 on" in capsys.readouterr().err


def test_a_title_is_not_a_header(load: Any) -> None:
    for title in ("Report", "Report, 2024"):
        with pytest.raises(
            UserError, match=rf"t\.csv, line 1: the header has \d values? \({title}\), and most lines below"
        ):
            load(f"{title}\n{PLAIN}")


# ---- what is said ---------------------------------------------------------------------------------------------------


def test_one_line_says_what_was_understood(load: Any, capsys: Any, tmp_path: Path) -> None:
    columns = {
        "n": [k / 3 for k in range(12)], "when": [f"2024-01-{k + 1:02}" for k in range(12)],
        "ok": ["True", "False"] * 6, "colour": ["red", "blue", "red"] * 4, "y": [*range(11), "None"],
    }  # fmt: skip
    loaded = load(table(columns), on_error="skip", task="regression")
    assert capsys.readouterr().err == (
        f"{tmp_path / 't.csv'}: 11 rows: 3 numbers (when: dates in days; ok: True and False as 1 and 0), 1 category"
        " (colour, 2 values), target y (1 number), 1 row without target left out\n"
    )
    assert loaded.dropped == 1


def test_a_kept_table_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("mixup_lab.sources.table.LARGE", 10)
    path = tmp_path / "t.csv"
    stamps = [str(1.7e12 + k) for k in range(20)]
    path.write_text(
        table({"s": stamps, "d": ["1,5", "2,5"] * 10, "w": ["5 kg", "7 kg"] * 10, "y": list("pq") * 10}, ";")
    )
    said, values = [], []
    for _ in range(2):
        loaded = Table(str(path), "y", cache_dir=str(tmp_path / "cache")).load()
        said.append(capsys.readouterr().err + "".join(loaded.notes))
        assert "line 2 holds '5 kg'" in said[-1]
        values.append(loaded.train.load().numpy())
        assert loaded.new.forms[0].offset == 1.7e12 + 9.5
        assert loaded.new.forms[1].notation == Notation(mark=",", shown=True)
    assert said[0] == said[1]
    for other in ({"decimal": ","}, {"encoding": "utf-8"}):
        assert len(list((tmp_path / "cache").glob("*/*"))) == len(said) - 1
        said.append(str(Table(str(path), "y", cache_dir=str(tmp_path / "cache"), **other).load()))
    np.testing.assert_array_equal(*values)


# ---- pictures and texts ---------------------------------------------------------------------------------------------


def pictures(root: Path, header: str, rows: list[str], **keys: Any) -> Loaded:
    for k in range(len(rows)):
        picture((4, 4), "L", seed=k).save(root / f"{k}.png")
    lines = [f"{k}.png;{row}" for k, row in enumerate(rows)]
    (root / "labels.csv").write_text("\n".join([f"path;{header}", *lines]) + "\n")
    return ImageTable(str(root), "labels.csv", cache=False, **keys).load()


def test_labels_of_pictures(tmp_path: Path, capsys: Any) -> None:
    assert pictures(tmp_path, "label", ["1", "2.0", "1.0", "2"]).kind == Classes(("1", "2"))
    with pytest.raises(
        UserError, match=r"line 2: label is 'None', which means a missing label; if it is a class, set "
    ):
        pictures(tmp_path, "label", ["None", "dent", "None"])
    kept = pictures(tmp_path, "label", ["None", "dent", "None"], missing=[""])
    assert kept.kind == Classes(("None", "dent"))
    assert kept.train.target.tolist() == [0, 1, 0]
    capsys.readouterr()
    pictures(tmp_path, "age", ["1.000", "2.500", "3"], target="age", task="regression")
    assert "column age: 1.000 is read as 1; " in capsys.readouterr().err
    ages = pictures(tmp_path, "age", ["1,5", "2,25", "3"], target="age", task="regression")
    assert ages.train.target.tolist() == [[1.5], [2.25], [3]]
    tags = pictures(tmp_path, "t:a;t:b", ["True;False", "False;False"], target="t:*")
    assert (tags.kind, tags.train.target.tolist()) == (Tags(("t:a", "t:b")), [[1, 0], [0, 0]])
    hot = pictures(tmp_path, "a;b", ["1;0", "0;1.0"], target=["a", "b"], task="classification")
    assert (hot.kind, hot.train.target.tolist()) == (Classes(("a", "b")), [0, 1])


def test_labels_of_texts(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(
        ("text;label\n" + "".join(f"größe, {k};{[1, '1.0', 2][k % 3]}\n" for k in range(9))).encode("cp1252")
    )
    with pytest.raises(UserError, match=r"dataset\.encoding=cp1252"):
        TextTable(str(path)).load()
    assert TextTable(str(path), encoding="cp1252").load().kind == Classes(("1", "2"))
    assert one_spelling(["1", "1.0", "x"]) == {"1": "1", "1.0": "1.0", "x": "x"}
    assert one_spelling(["01", "2"]) == {"01": "01", "2": "2"}


# ---- advice ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["a"],
        ["Full name (legal)", "b"],
        ["it's"],
        ['say "hi"'],
        ["$HOME", "`x`"],
        ["null", "1", ""],
        ["a,b", "c]"],
        ["ü\\"],
        ["\\N", "#N/A"],
    ],
)
def test_advice_can_be_pasted(names: list[str]) -> None:
    (typed,) = shlex.split(word("dataset.drop", names))
    (override,) = OverridesParser.create().parse_overrides([typed])
    assert (override.key_or_group, [str(name) for name in override.value()]) == ("dataset.drop", names)
    (typed,) = shlex.split(word("dataset.root", names[0]))
    (override,) = OverridesParser.create().parse_overrides([typed])
    assert override.value() == names[0]


def test_a_whole_preparation(tmp_path: Path) -> None:
    rows = {"when": [f"{k % 28 + 1}.3.2024" for k in range(60)], "p": [f"{k % 9},5 %" for k in range(60)]}
    (tmp_path / "t.csv").write_text(table(rows | {"y": list("ab") * 30}, ";"))
    data = prepared(Table(str(tmp_path / "t.csv"), "y"))
    assert data.input_shape == (2,)


# ---- names of splits, codes and headers -----------------------------------------------------------------------------


def test_files_and_rows_of_splits_have_their_usual_names(tmp_path, capsys):
    for name, rows in (("Train.csv", "1,p\n2,q\n3,p\n"), ("dev.CSV", "9,p\n"), ("testing.csv", "8,q\n7,p\n")):
        (tmp_path / name).write_text("a,y\n" + rows)
    (tmp_path / "holdout.csv").write_text("a,y\n5,p\n")
    loaded = Table(root=str(tmp_path), target="y", cache=False).load()
    assert [len(pool.target) for pool in (loaded.train, loaded.val, loaded.test)] == [3, 1, 2]
    assert "are not used: holdout.csv; those of splits are called train, training, val," in capsys.readouterr().err
    (tmp_path / "valid.csv").write_text("a,y\n5,p\n")
    with pytest.raises(UserError, match=r"has both valid\.csv and dev\.CSV"):
        Table(root=str(tmp_path), target="y", cache=False).load()

    (tmp_path / "one.csv").write_text("a,s,y\n1,Train,p\n2,training,q\n3,validation,p\n4,DEV,q\n5,test,q\n")
    loaded = Table(root=str(tmp_path / "one.csv"), target="y", split_column="s", cache=False).load()
    assert [len(pool.target) for pool in (loaded.train, loaded.val, loaded.test)] == [2, 2, 1]


def test_a_header_over_several_lines(tmp_path):
    (tmp_path / "x.csv").write_text('"size\nin m",y\n1,p\n2,q\n3,p\n')
    loaded = Table(root=str(tmp_path / "x.csv"), target="y", cache=False).load()
    assert loaded.train.inputs.shape == (3, 1)
    (tmp_path / "x.csv").write_text('"size\nin m",z,y\n1,1,p\n2,5,q\n3,8,p\n')
    assert Table(
        root=str(tmp_path / "x.csv"), target="y", drop=["size in m"], cache=False
    ).load().train.inputs.shape == (3, 1)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["1", "1.0", "2"], {"1", "2"}),
        (["0.0", "-1.", "0", "-1"], {"0", "-1"}),
        (["01", "1"], {"01", "1"}),
        (["1.1", "1.10"], {"1.1", "1.10"}),
        (["5E1", "50"], {"5E1", "50"}),
        (["9007199254740993", "9007199254740992"], {"9007199254740993", "9007199254740992"}),
        (["1", "1.0", "b"], {"1", "1.0", "b"}),
        (["True", "false", "TRUE", "False"], {"True", "false"}),
        (["True", "TRUE", "maybe"], {"True", "TRUE", "maybe"}),
    ],
)
def test_one_spelling_joins_whole_numbers_alone(labels, names):
    assert set(one_spelling(labels).values()) == names


def test_codes_are_classes_as_they_are_written(tmp_path):
    def classes(*labels):
        rows = "".join(f"{k};{label}\n" for k, label in enumerate(labels * 4))
        (tmp_path / "x.csv").write_text("a;y\n" + rows)
        loaded = Table(root=str(tmp_path / "x.csv"), target="y", task="classification", cache=False).load()
        return set(loaded.kind.names)

    assert classes("01234", "1234", "10115") == {"01234", "1234", "10115"}
    assert classes("9007199254740993", "9007199254740992") == {"9007199254740993", "9007199254740992"}
    assert classes("1", "1.0", "2") == {"1", "2"}
    (tmp_path / "x.csv").write_text("a;y\n1;1\n2;2\n3;A\n")
    with pytest.raises(UserError, match=r"line 4: column y holds 'A', .* for classes set dataset\.task=classification"):
        Table(root=str(tmp_path / "x.csv"), target="y", cache=False).load()


def test_groups_are_joined_as_classes_are(tmp_path):
    groups = ["1", "1.0", "2", "01", "2.0"]
    (tmp_path / "x.csv").write_text(
        "a,y,g,n\n" + "".join(f"{k},{'pq'[k % 2]},{g},t{g}\n" for k, g in enumerate(groups))
    )
    found = Table(root=str(tmp_path / "x.csv"), target="y", group_column="g", drop=["n"], cache=False).load()
    assert found.train.groups.tolist() == [0, 0, 1, 2, 1]
    found = Table(root=str(tmp_path / "x.csv"), target="y", group_column="n", drop=["g"], cache=False).load()
    assert found.train.groups.tolist() == [0, 1, 2, 3, 4]


# ---- what may have been misunderstood -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "codes"),
    [
        (["01234", "1234", "10115"], True),
        (["9007199254740993", "9007199254740992", "5"], True),
        (["-07", "-7", "7"], True),
        (["9007199254740993.0", "9007199254740992.0", "5"], True),
        (["1.5", "0.25", "100"], False),
        (["9007199254740992", "0", "3"], False),
        (["1e-05", "0.00", "7"], False),
    ],
)
@pytest.mark.parametrize("kind", ["table", "list", "late"])
def test_codes_stay_as_they_are_written(
    load: Any, tmp_path: Path, monkeypatch: Any, labels: list[str], codes: bool, kind: str
) -> None:
    if kind == "list":
        loaded = pictures(tmp_path, "label", labels)
    elif kind == "table":
        loaded = load(table({"x": range(9), "y": labels * 3}))
    else:  # after the first piece, which numpy reads
        monkeypatch.setattr("mixup_lab.files.table.CELLS", 8)
        text = table({"x": range(9), "y": [*"212121", *labels]})
        if codes:
            with pytest.raises(UserError, match=rf"t\.csv, line (8|9): column y holds '{labels[0]}', which is a code"):
                load(text)
        loaded = load(text, task="classification" if codes else "auto")
    assert isinstance(loaded.kind, Classes) or not codes
    if isinstance(loaded.kind, Classes):
        assert set(loaded.kind.names) >= set(labels)


def test_numbers_that_float32_joins_are_named(load: Any) -> None:
    ids = [*range(123_456_780, 123_456_799), 3]
    loaded = load(table({"id": ids, "y": list("pq") * 10}))
    assert loaded.notes == ()
    fit = loaded.fit(np.arange(20))
    assert len(np.unique(fit.encoder(fit.train.load())[:, 0])) == 20, "subtracted before they are rounded"
    far = load(table({"id": [*ids[:-1], 10**15], "y": list("pq") * 10}))
    assert len(far.notes) == 1
    assert re.match(
        r"column id: 123456780 \(.*t\.csv, line 2\) and 123456781 \(.*t\.csv, line 3\) are one number in float32; if"
        r" they are names .*'dataset\.drop=\[id\]' leaves the column out, 'dataset\.categorical=\[id\]' keeps",
        far.notes[0],
    )
    names = load(table({"id": [*ids[:-1], 10**15], "y": list("pq") * 10}), categorical=["id"])
    assert not any("float32" in note for note in names.notes)
    same = load(table({"id": [2**60, 2**60 + 1] * 10, "y": list("pq") * 10}))
    assert f"column id: {2**60} (" in same.notes[0], "float64 alone joins them"
    assert load(table({"id": [2**60, 3] * 10, "y": list("pq") * 10})).notes == ()


def test_times_beyond_float64_are_named(load: Any) -> None:
    stamps = [1_700_000_000_000_000_000 + k for k in range(6)]
    rows = {"x": [3, 1, 4, 1, 5, 9], "s": stamps, "y": list("pqpqpq")}
    (note,) = load(table(rows), time_column="s").notes
    assert re.match(rf"column s: {stamps[0]} \(.*line 2\) and {stamps[1]} \(.*line 3\) are one number in float64", note)
    rows["s"] = ["12/31/24", "1/2/24", "1/15/24", "2/1/24", "3/1/24", "4/1/24"]
    loaded = load(table(rows), time_column="s")
    assert loaded.times.tolist()[:2] == [86_400 * day(2024, 12, 31), 86_400 * day(2024, 1, 2)]
    with pytest.raises(
        UserError, match=r"line 2: column s holds '01/02/24', which is neither a number nor a date that"
    ):
        load(table(rows | {"s": ["01/02/24"] * 6}), time_column="s")


@pytest.mark.parametrize(
    ("texts", "odd"),
    [
        (["5 kg", "3 kg", "7 kg"], "5 kg"),
        (["7kg", "5kg"], "7kg"),
        (["1,23,456", "12,34,567", "999"], "1,23,456"),
        (["$12", "5 kg", "€3"], "5 kg"),
        (["$12", "€12", "£5"], "$12"),
        (["0x10", "0x11", "3"], "0x10"),
        (["1/2", "3/4", "1/4"], "1/2"),
        (["01/02/2024", "03/04/2024"], "01/02/2024"),
        (["01-02-2024", "03-04-2024"], "01-02-2024"),
        (["2024-12-31", "31.12.2024", "12/31/2024"], "2024-12-31"),
        (["1.5", "-", "-", "-"], "-"),
        (["-5 °C", "+7 °C", "$3"], "-5 °C"),
        (["<=50K", ">50K"], None),
        (["12345-6789", "10115-0001"], None),
        (["3A7", "4B1", "0F0"], None),
        (["A12", "B7"], None),
        (["small", "large", "2XL"], None),
        (["1-2", "one", "two"], None),
    ],
)
def test_categories_that_begin_like_numbers_are_named(load: Any, texts: list[str], odd: str | None) -> None:
    text = table({"c": texts * 4, "y": (list("pq") * 8)[: 4 * len(texts)]}, ";")
    notes = [note for note in load(text).notes if note.startswith("column c ")]
    assert len(notes) == (odd is not None)
    if odd is not None:
        line = 2 + texts.index(odd)
        assert re.search(rf"t\.csv, line {line} holds {re.escape(repr(odd))}, .*'dataset\.drop=\[c\]'", notes[0])
    assert load(text, categorical=["c"]).notes == ()


def test_targets_that_begin_like_numbers_are_named(load: Any, tmp_path: Path, capsys: Any) -> None:
    load(table({"x": range(6), "y": ["5 kg", "7 kg"] * 3}))
    assert re.search(r"begin like numbers or dates \(.*t\.csv, line 2: '5 kg'\)", capsys.readouterr().err)
    load(table({"x": range(6), "y": ["2024-01-31", "2024-02-29"] * 3}))
    assert "line 2: '2024-01-31'), so dataset.task=classification (set it" in capsys.readouterr().err
    load(table({"x": range(6), "y": ["5 kg", "7 kg"] * 3}), task="classification")
    assert "begin like" not in capsys.readouterr().err
    pictures(tmp_path, "label", ["5 kg", "7 kg"])
    assert re.search(r"labels\.csv, line 2: '5 kg'", capsys.readouterr().err)
    with pytest.raises(
        UserError, match=r"t\.csv, line 2: b is 'Y'; dataset\.target=\[a,b\] must be columns of 0 and 1"
    ):
        load("x,a,b\n1,0,Y\n2,1,N\n", ["a", "b"])


def test_a_decimal_mark_is_never_ignored(load: Any) -> None:
    (note,) = load("a;y\n1.5;p\n2.25;q\n", decimal=",").notes
    assert "line 2 holds '1.5', and no single way to read them with \"dataset.decimal=','\" fits" in note
    text = "a;y\n1.000;p\n7;q\n"
    (note,) = load(text).notes
    assert note.startswith("column a: 1.000 is read as 1; \"dataset.decimal=','\" reads it as 1000")
    for numbers in ("1.000;1\n7;2\n", "2;1\n2.500;2\n-3.125;3\n"):  # which numpy reads
        assert len(load("a;y\n" + numbers).notes) == 1
    (note,) = load("a;b;c;y\n1.000;2.500;3;p\n7;3;4;q\n").notes
    assert note.startswith("columns a, b: 1.000 is read as 1; ")
    for other in (
        text.replace("a;y", "a;b;y").replace(";p", ";1.5;p").replace(";q", ";2.5;q"),
        "a;y\n1.0;p\n7;q\n",
        "a;y\n1.000;1\n.5;2\n",
    ):
        assert load(other).notes == ()
    assert load(text, decimal=".").notes == ()
    with pytest.raises(UserError, match=r"line 2: column y holds '0\.5', which is not read like .*\(decimal comma\)"):
        load(table({"x": range(9), "y": [k + 0.5 for k in range(9)]}), decimal=",", task="regression")


def test_a_thousand_may_come_with_later_rows(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a;y\n1;p\n2;q\n")
    for rows, said in (("1.000;p\n", 1), ("1.000;p\n1.5;q\n", 0)):
        (tmp_path / "val.csv").write_text("a;y\n" + rows)
        assert len(Table(str(tmp_path), "y", cache=False).load().notes) == said


def test_numbers_with_zeros_before_them_are_named_if_they_are_others_too(load: Any) -> None:
    rows = {"zip": ["01234", "1234", "10115"] * 2, "month": ["01", "02", "12"] * 2, "y": list("pqpqpq")}
    (note,) = load(table(rows)).notes
    assert re.match(r"column zip: 01234 \(.*t\.csv, line 2\) and 1234 \(.*t\.csv, line 3\) are one number; ", note)
    assert load(table(rows), categorical=["zip"]).notes == ()


def test_columns_without_anything_to_learn_from_are_named(load: Any) -> None:
    rows = {"none": [""] * 4, "one": [7] * 4, "word": ["k"] * 4, "some": ["", 1, 1, ""], "x": [1, 2, 4, 3]}
    (note,) = load(table(rows | {"y": list("pqpq")})).notes
    assert note.startswith("nothing can be learnt from none (no value), one (one value), word (one value): ")


def test_lines_that_are_not_rows(load: Any, capsys: Any) -> None:
    for text in ("a,y\nu,p\nv,q\na,y\nu,p\n", "a,y\n1,p\n2,q\na,y\n3,p\n", "a , y\nu,p\nv,q\nA,Y\nu,p\n"):
        with pytest.raises(UserError, match=r"t\.csv, line 4: the header again; dataset\.on_error=skip leaves it out"):
            load(text)
        assert load(text, on_error="skip").dropped == 1
    assert len(load("0,1,y\n0,1,p\n2,3,q\n0,1,p\n").train.target) == 3
    assert len(load("0,1,2\n0,1,2\n2,3,4\n0,1,2\n", "2").train.target) == 3, "a row of numbers is not a header"
    for title in ("Report 2024,,", ",,"):
        with pytest.raises(
            UserError, match=r"t\.csv, line 1: the header has \d values? .*, and most lines below have 3"
        ):
            load(f"{title}\n{PLAIN}")
    for end in (",", ",,"):
        loaded = load(f"a,y\n1,p{end}\n2,q{end}\n3,p{end}\n")
        assert loaded.train.load().tolist() == [[1], [2], [3]]
    assert "column c2 (3) is left out: it has neither a name nor values" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"line 1: the header has 2 values \(a, y\), and most lines below have 3"):
        load("a,y\n1,2,p\n2,3,q\n")


def test_durations(load: Any, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    spans = [datetime.timedelta(hours=k - 30, microseconds=k) for k in range(60)]
    expected = [span.total_seconds() / 86_400 for span in spans]
    for unit in ("us", "ns"):
        column = pa.array(spans, pa.duration(unit))
        parquet.write_table(pa.table({"d": column, "y": list("pq") * 30}), tmp_path / "t.parquet")
        loaded = Table(str(tmp_path / "t.parquet"), "y", cache=False).load()
        np.testing.assert_allclose(loaded.train.load()[:, 0], expected, rtol=1e-6)
        assert loaded.new.forms[0].notation.describe() == "times in days"
    texts = [f"{span.days} days {datetime.timedelta(seconds=span.seconds)}" for span in spans]
    loaded = load(table({"d": texts, "y": list("pq") * 30}))
    np.testing.assert_allclose(loaded.train.load()[:, 0], expected, atol=1e-8)


def test_whole_numbers_of_parquet_keep_their_digits(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    large = pa.array([2**53 + 1, 2**53] * 3)
    columns = {"x": range(6), "y": large, "g": large, "d": large.cast(pa.decimal128(20, 0))}
    parquet.write_table(pa.table({name: pa.array(list(c)) for name, c in columns.items()}), tmp_path / "t.parquet")
    for target in ("y", "d"):
        loaded = Table(str(tmp_path / "t.parquet"), target, group_column="g", drop=["x*"], cache=False).load()
        assert loaded.kind == Classes((str(2**53), str(2**53 + 1)))
        assert loaded.train.groups.tolist() == [0, 1] * 3


@pytest.mark.parametrize(
    ("one", "two", "said"),
    [
        ("q", "q\u200b", r"'q' and 'q\u200b'"),
        ("\u00e9", "e\u0301", r"'e\u0301' and '\xe9'"),
        ("Cat", "cat", "'Cat' and 'cat'"),
        ("'q'", "q", "\"'q'\" and 'q'"),
        ("New  York", "New York", "'New  York' and 'New York'"),
        ("a-b", "a\u2013b", "'a-b' and 'a\u2013b'"),
        ("cat", "cats", None),
        ("a-b", "ab", None),
    ],
)
def test_classes_that_look_alike_are_named(load: Any, one: str, two: str, said: str | None) -> None:
    loaded = load(table({"x": range(6), "y": [one, two, "z"] * 2}))
    assert len(loaded.kind.names) == 3
    assert look_alikes(loaded.kind.names) == (tuple(said.split(" and ")) if said else None)  # `prepare` says it
    notes = load(table({"c": [one, two, "z"] * 2, "y": list("pqpqpq")})).notes
    assert len(notes) == (said is not None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04" + bytes(99), "is a zip archive, as .xlsx"),
        (gzip.compress(PLAIN.encode(), mtime=0), "is compressed with gzip"),
        (PLAIN.encode("utf-16-be"), "is UTF-16-BE without .* dataset.encoding=utf-16-be reads it"),
        (PLAIN.encode("utf-32-le"), "is UTF-32-LE without .* dataset.encoding=utf-32-le reads it"),
        (b"a,y\n1,p\n3,\0q\n", "line 3: a byte of value 0: the line is damaged, or this is not a table"),
        (b'[{"a": 1, "y": "p"}]', "is JSON"),
        (b'["a", "y"]\n[1, "p"]\n', "is JSON"),
        (b'{"a": 1, "y": "p"}\n{"a": 2, "y": "q"}\n', "is JSON"),
        (b"<!DOCTYPE html><html>", "is HTML or XML"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # the bytes of gzip have the time
)
def test_files_that_are_not_tables_are_named(load: Any, content: bytes, said: str) -> None:
    with pytest.raises(UserError, match=rf"t\.csv,? {said}"):
        load(content)


def test_utf_32_with_a_mark_is_read(load: Any) -> None:
    assert load(PLAIN.encode("utf-32")).train.load().tolist() == load(PLAIN).train.load().tolist()


def test_files_of_splits_with_other_endings_are_named(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "train.csv").write_text(PLAIN)
    (tmp_path / "test.csv.gz").write_bytes(b"")
    Table(str(tmp_path), "y", cache=False).load()
    assert re.search(r"are not used: test\.csv\.gz; .*, and end in \.csv \.tsv", capsys.readouterr().err)


# ---- what would be lost in silence ----------------------------------------------------------------------------------


def said_of(load: Any, capsys: Any, *args: Any, **changes: Any) -> tuple[Loaded, str]:
    """A table, and all that is said and noted of it in one line."""
    loaded = load(*args, **changes)
    return loaded, " ".join([*capsys.readouterr().err.split(), *loaded.notes])


@pytest.mark.parametrize(
    ("text", "target", "values"),
    [
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n6.2,3.6,virginica\n", "setosa", True),
        ("1,0,5\n2,1,5\n0,0,6\n", "5", True),
        ("2,1\n1,2\n4,0\n", "2", True),
        ("country,2019,2020,y\na,5,2100,p\nb,6,2000,q\n", "y", False),
        ("0,1,2\n0,3,1\n1,0,0\n", "2", False),
        ("400.5,399.5,y\n0.1,0.2,p\n0.3,0.4,q\n", "y", False),
        ("a,nan,y\n0.1,0.2,p\n0.3,0.4,q\n", "y", False),
    ],
)
def test_a_header_that_may_be_a_row_is_named(load: Any, capsys: Any, text: str, target: str, values: bool) -> None:
    _, said = said_of(load, capsys, text, target)
    assert ("looks like a row of values; if it is one, set dataset.header=false" in said) == values
    with pytest.raises(
        UserError, match=r"two columns named 0 .*; if line 1 is a row of values, set dataset.header=false"
    ):
        load("0,0,5\n1,0,6\n", "5")


def test_a_first_line_that_may_be_a_header_is_named(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "t.tsv").write_text("label\ttext\n" + "p\tone\nq\ttwo\n" * 3)
    TextTable(str(tmp_path / "t.tsv"), text_column=1, label_column=0, header=False).load()
    assert "t.tsv, line 1: no other row has the label 'label'; if this line names" in capsys.readouterr().err
    TextTable(str(tmp_path / "t.tsv")).load()
    assert "no other row" not in capsys.readouterr().err


@pytest.mark.parametrize("text", ["#N/A", "<NA>", "NaT", "\\N"])
def test_spellings_of_missing_values_of_other_programs(load: Any, capsys: Any, text: str) -> None:
    loaded, said = said_of(load, capsys, f"a,b,y\n1,u,p\n2,{text},q\n{text},v,p\n")
    assert f"1 category (b, 2 values and {text} as missing)" in said
    assert loaded.train.load().isnan().tolist() == [[False, False], [False, True], [True, False]]
    with pytest.raises(UserError, match=re.escape(f"line 2: the target y is {text!r}, which means a missing value")):
        load(f"a,y\n1,{text}\n2,q\n")


def test_groups_that_look_alike_are_named(load: Any, capsys: Any) -> None:
    table = "a,g,y\n1,P1,p\n2,p1,q\n3,P2,q\n"
    said = said_of(load, capsys, table, group_column="g")[1]
    assert "column g: the groups 'P1' and 'p1' look alike, and are two" in said


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ('1,"say \\"hi, you\\" now",p\n2,"and ""hi""",q\n', ['say "hi, you" now', 'and "hi"']),
        ('1,"C:\\dir\\",p\n2,"D:\\x",q\n', ["C:\\dir\\", "D:\\x"]),
    ],
)
def test_quotation_marks_after_a_backslash(load: Any, capsys: Any, text: str, texts: list[str]) -> None:
    loaded, said = said_of(load, capsys, f"a,b,y\n{text}")
    assert loaded.new.forms[1].texts == texts
    assert ("before a quotation mark" in said) == ("hi" in text)


def test_lines_that_draw_a_table_are_refused(load: Any) -> None:
    for rule, values in (("|---|:--:|---|", "|u|v|p|"), ("----|---|-", "u|v|p")):
        header = "|a|b|y|" if rule[0] == "|" else "a|b|y"
        with pytest.raises(UserError, match=r"line 2: a line below the header; dataset\.on_error=skip leaves it out"):
            load("\n".join([header, rule, values, values.replace("p", "q")]) + "\n")
    assert len(load("a,b,y\n-,--,p\n--,-,q\n").train.load()) == 2


@pytest.mark.parametrize(
    ("values", "number"),
    [
        ([1.5, -999, 7, -999], "-999"),
        ([0, 8, 99, 99], "99"),
        ([3, 9999999, 9999999, 8], "9999999"),
        ([1.5, -999, 7], None),  # once
        ([999, 4999, 9999, 9999], None),  # not far
        ([0, 99, 0, 99], None),
        ([1.5, 500, 7, 500], None),
    ],
)
def test_numbers_that_may_mean_missing_values_are_named(load: Any, values: list[float], number: str | None) -> None:
    rows = "".join(f"{value},{'pq'[k % 2]}\n" for k, value in enumerate(values))
    notes = [note for note in load("a,y\n" + rows).notes if "far from all other values" in note]
    assert len(notes) == (number is not None)
    if number:
        assert f"column a: {number} in 2 rows is far" in notes[0]
        kept = OverridesParser.create().parse_overrides(shlex.split(notes[0].rpartition(" set ")[2]))[0].value()
        missing = [str(text) for text in kept]
        assert load("a,y\n" + rows, missing=missing).train.load().isnan().sum() == 2


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (["x|z", "x", "z"], "such as 'x|z' seem to be several, joined by '|'"),
        (["a; b", "a; c", "b; c", "c"], "such as 'a; b' seem to be several, joined by ';'"),
        (["Paris; France", "Lyon; France", "Berlin; Germany"], None),
        ([";", "|"], None),
    ],
)
def test_classes_that_may_be_tags_are_named(load: Any, capsys: Any, classes: list[str], told: str | None) -> None:
    loaded, said = said_of(load, capsys, "a,y\n" + "".join(f"1,{name}\n2,{name}\n" for name in classes))
    assert loaded.kind == Classes(tuple(sorted(classes)))
    assert (told or "") in said
    assert ("seem to be several" in said) == (told is not None)


def test_long_values_are_shortened_in_sentences(load: Any) -> None:
    with pytest.raises(UserError, match=r"line 2: column b holds 'x{80}\.\.\.', which is not a finite number") as error:
        load("a,b,y\n1," + "x" * 10**6 + ",p\n1,2,q\n1,3,p\n")
    assert len(str(error.value)) < 500


def test_small_things(load: Any, capsys: Any, tmp_path: Path) -> None:
    _, said = said_of(load, capsys, "Unnamed: 0.1,Unnamed: 0,a,y\n0,0,5,p\n1,1,6,q\n2,2,6,q\n")
    assert said.count("is left out: an index") == 2
    assert "1 row: 1 number" in said_of(load, capsys, "a,y\n1,p\n")[1]
    days = "".join(f"2024-03-{k + 1:02},{'pq'[k % 2]}\n" for k in range(20))
    assert "numbers the rows" not in said_of(load, capsys, "a,y\n" + days)[1]
    many = "".join(f"{k} kg,{'pq'[k % 2]}\n" for k in range(30))
    assert len(load("a,y\n" + many).notes) == 1
    assert load("a,y\n1,-0\n2,0\n3,1\n").kind == Classes(("0", "1"))
    (tmp_path / "train.csv").write_text("a,b,y\n1,2,p\n2,3,q\n")
    (tmp_path / "test.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        UserError, match=r"test\.csv has no column y, .*dataset\.root=.*train\.csv.* uses this file alone"
    ):
        Table(str(tmp_path), "y", cache=False).load()


def test_nanoseconds_of_parquet(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    exact = 1_700_000_000_123_456_789
    times = pa.array([exact, exact + 86_400 * 10**9], pa.timestamp("ns"))
    clock = pa.array([1, 43_200 * 10**9 + 1], pa.time64("ns"))
    parquet.write_table(pa.table({"a": times, "b": clock, "y": ["p", "q"]}), tmp_path / "t.parquet")
    read = Table(str(tmp_path / "t.parquet"), "y", cache=False).load().train.load()
    assert np.allclose(read.numpy() - read.numpy()[0], [[0, 0], [1, 0.5]], atol=1e-6)
    parquet.write_table(pa.table({"a": [1.5, float("inf")], "y": ["p", "q"]}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match="row 2: column a holds 'inf'"):
        Table(str(tmp_path / "t.parquet"), "y", cache=False).load()
