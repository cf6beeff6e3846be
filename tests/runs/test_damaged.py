"""Files of runs and studies that are damaged, or made at random: a result comes back, or one sentence."""

import io
import json
import os
import random
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from helpers.studies import write_study

from mixup_lab.commands import report
from mixup_lab.disk import clear_leftovers
from mixup_lab.files.cache import Damaged as DamagedCache
from mixup_lab.files.cache import _read as read_cached
from mixup_lab.npz import read_npz
from mixup_lab.runs import store
from mixup_lab.runs.findings import read_finding
from mixup_lab.runs.predictions import read_predictions
from mixup_lab.runs.record import SCHEMA, Record, in_use, read_events, read_record, read_result
from mixup_lab.runs.shapes import Damaged, misfit, read_json
from mixup_lab.study.analysis import Options
from mixup_lab.study.reading import read_run
from mixup_lab.study.tables import table_runs
from mixup_lab.types import UserError

START = {
    "event": "start", "time": 1.0, "schema": SCHEMA, "arm": "a", "name": "mixup-a1", "seed": 0, "fingerprint": "f",
    "mixes": True, "primary": "accuracy", "choices": {}, "data": {"kind": "classes", "digest": "d", "class_names": []},
}  # fmt: skip
EPOCH = {"event": "epoch", "epoch": 1, "step": 3, "scalars": {"val/accuracy": 0.5}}
SUMMARY = {"status": "ok", "arm": "a", "name": "mixup-a1", "seed": 0, "fingerprint": "f", "primary": "accuracy",
           "scalars": {"val/accuracy": 0.5, "test/accuracy": 0.5}}  # fmt: skip
STUDY = {"schema": store.SCHEMA, "settings": {"x": 1}, "axes": ["seed"], "roots": {"d": None}, "arms": {"a": "b"}}
STRANGE = (None, True, -1, 10**30, 1e308, float("inf"), float("nan"), "nan", "hello", "", [], [[1]], {}, {"x": {}})


def write_run(folder, *, record=None, summary=SUMMARY):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [START, EPOCH] if record is None else record
    (folder / "record.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


# ---- nothing is lost ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"x" + json.dumps(START).encode()[1:] + b"\n{}\n", bytes(300), b"\xff\xfe\n"])
def test_a_damaged_record_is_set_aside_and_said(tmp_path, capsys, content):
    path = tmp_path / "record.jsonl"
    for number in (1, 2):
        path.write_bytes(content)
        record = Record(tmp_path, resume=True)
        assert not record.begun
        record.event("start", **{key: value for key, value in START.items() if key != "event"})
        record.close()
        assert (tmp_path / f"record.jsonl.damaged-{number}").read_bytes() == content
        assert "record.jsonl is damaged: it has no readable start; it is kept as" in capsys.readouterr().err
        assert [event["event"] for event in read_events(tmp_path)] == ["start"]


@pytest.mark.parametrize(
    "text", ["", "{}", '{"status": "o', "\0" * 80, "[1]", "[" * 100_000, '{"status": "ok", "scalars": [1]}']
)
def test_a_damaged_summary_names_its_run_and_is_set_aside(tmp_path, capsys, text):
    folder = write_run(tmp_path / "mixup-a1" / "seed=0")
    (folder / "summary.json").write_text(text)
    run = read_run(folder)
    assert (run.status, run.seed, run.scalars) == ("failed", 0, {})
    assert run.error.startswith(f"{folder / 'summary.json'} is damaged: ")
    assert read_result(folder) is None
    Record(folder, resume=True).close()
    assert (folder / "summary.json.damaged-1").read_text() == text
    assert "is damaged" in capsys.readouterr().err


def test_a_finished_run_with_a_damaged_record_is_named_and_made_again(tmp_path):
    folder = write_run(tmp_path / "mixup-a1" / "seed=0", record=[{"event": 3}])
    run = read_run(folder)
    assert (run.name, run.seed, run.status) == ("mixup-a1", 0, "failed")
    assert "record.jsonl is damaged: it has no readable start" in run.error
    assert read_result(folder) is None, "compare must not count it as finished"
    Record(folder, resume=True).close()
    assert json.loads((folder / "summary.json.damaged-1").read_text()) == SUMMARY


def test_the_others_count(tmp_path):
    write_study(tmp_path, {0.0: np.ones((3, 40), bool), 0.4: np.ones((3, 40), bool)})
    (tmp_path / "mixup-a0.4" / "seed=1" / "summary.json").write_text("")
    (tmp_path / "baseline" / "seed=2" / "record.jsonl").write_text("\0" * 100)
    (tmp_path / "baseline" / "seed=0" / "config.yaml").write_text("[" * 5000)
    answer = report.answer_of([tmp_path], Options())
    assert answer.arms[1].comparison.seeds == (0,)
    shown = "\n".join(answer.problems)
    assert "seed=1/summary.json is damaged" in shown
    assert "seed=2/record.jsonl is damaged" in shown


def test_lines_that_are_left_out_are_counted(tmp_path):
    folder = write_run(tmp_path, record=[START, {**EPOCH, "scalars": {"val/accuracy": "hello"}}, EPOCH])
    run = read_run(folder)
    assert [epoch["epoch"] for epoch in run.epochs] == [1]
    assert run.notes == (f"{folder / 'record.jsonl'}: 1 line is damaged and left out",)


def test_half_written_files_of_dead_processes_are_swept_and_those_of_the_living_stay(tmp_path):
    for name in ("study.json.99999999.part", f"report.html.{os.getpid()}.part", "x.part"):
        (tmp_path / name).touch()
    clear_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"report.html.{os.getpid()}.part", "x.part"}
    clear_leftovers(tmp_path, alone=True)
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_being_written_is_in_use(tmp_path):
    assert not in_use(tmp_path)
    record = Record(tmp_path)
    assert in_use(tmp_path)
    record.close()
    assert not in_use(tmp_path)


# ---- values that do not belong -----------------------------------------------------------------------------------


def test_shapes():
    shape = {"a": int, "b?": {str: float}, "c?": [(str, None)]}
    good = [{"a": 0}, {"a": 1, "b": {"x": "nan", "y": 1, "z": float("inf")}, "c": ["", None], "d": []}]
    assert [misfit(value, shape) for value in good] == [None, None]
    bad = {
        "it must be an object": [], "a is missing": {}, "a must be a whole number, 0 or more": {"a": True},
        "b.x must be a number": {"a": 1, "b": {"x": 1e308}}, "c.1 must be a text": {"a": 1, "c": ["x", 1]},
    }  # fmt: skip
    assert {misfit(value, shape) for value in bad.values()} == set(bad)
    assert misfit(json.loads("[" * 40 + "]" * 40), object) == "it must be a plain value"


def test_a_long_line_is_passed_over_at_once(tmp_path):
    write_run(tmp_path, record=[START])
    with (tmp_path / "record.jsonl").open("ab") as file:
        file.write(b'{"event": "epoch", "epoch": ' + b"9" * (40 << 20) + b"}\n" + json.dumps(EPOCH).encode() + b"\n")
    began = time.process_time()
    events, damaged = read_record(tmp_path)
    assert ([event["event"] for event in events], damaged) == (["start", "epoch"], 1)
    assert time.process_time() - began < 2


def npz_with(header: bytes, data: bytes = b"", **changes) -> bytes:
    """An npz file whose one array has this header."""
    raw = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", changes.get("compression", zipfile.ZIP_STORED)) as archive:
        archive.writestr("x.npy", raw)
    return content.getvalue()


CENTRAL = b"PK\x01\x02\x14\x03\x14\x00"  # of a member in the directory of an archive; its flags follow
HEADER = "{{'descr': '{}', 'fortran_order': False, 'shape': {}}}\n"


@pytest.mark.parametrize(
    "content",
    [
        npz_with(HEADER.format("<f8", (10**12,)).encode()),
        npz_with(HEADER.format("<f8", (-1,)).encode()),
        npz_with(HEADER.format("|O", (1,)).encode(), bytes(8)),
        npz_with(b"{'descr': '<f8', "),
        npz_with(b"(" * 9000),
        npz_with(HEADER.format("<f8", (1,)).encode(), bytes(8), compression=zipfile.ZIP_LZMA),
        npz_with(HEADER.format("<f8", (1,)).encode(), bytes(8)).replace(CENTRAL + b"\x00", CENTRAL + b"\x01"),
        b"hello",
    ],
    ids=["huge", "negative", "objects", "cut", "deep", "lzma", "encrypted", "text"],
)  # fmt: skip
def test_a_foreign_npz_is_one_sentence(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"^\S+x\.npz cannot be read as an npz file: .+$"):
        read_npz(tmp_path / "x.npz")


def test_an_npz_that_promises_more_than_it_holds_takes_no_memory(tmp_path):
    (tmp_path / "x.npz").write_bytes(npz_with(HEADER.format("<f8", (10**8,)).encode(), bytes(800)))
    tracemalloc.start()
    with pytest.raises(UserError, match="does not have the size of float64"):
        read_npz(tmp_path / "x.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize(
    "change",
    [
        {"test_id": np.arange(3)}, {"test_id": np.array(list("abcd"))}, {"test_target": np.array([0, 1, 2, 0])},
        {"test_target": np.array([0, -1, 0, 0])}, {"test_target": np.zeros((4, 2), int)}, {"test_logits": np.zeros(4)},
        {"test_logits": np.zeros((4, 2), complex)}, {"test_group": np.zeros((4, 1), int)},
    ],
)  # fmt: skip
def test_predictions_that_do_not_go_together_are_not_used(tmp_path, change):
    folder = write_run(tmp_path, summary={**SUMMARY, "scalars": {"val/accuracy": 0.5, "test/accuracy": 0.75}})
    whole = {"test_id": np.arange(4), "test_target": np.array([0, 1, 0, 0]), "test_logits": np.eye(4, 2)}
    np.savez(folder / "predictions.npz", **whole)
    assert read_run(folder).recalls()[1].tolist() == [1, 1, 1, 1]
    np.savez(folder / "predictions.npz", **{**whole, **change})
    run = read_run(folder)
    assert (run.predictions(), run.scores("accuracy"), run.recalls()) == (None, None, None)
    with pytest.raises(UserError, match=r"predictions\.npz is damaged: test_\w+ (cannot be|must be)"):
        read_predictions(folder, "classes")


@pytest.mark.parametrize(
    "change",
    [
        {"test_pixel_target": np.full((4, 5), 2, np.uint8)}, {"test_pixel_target": np.zeros((4, 4), np.uint8)},
        {"test_pixel_target": np.zeros((4, 5))}, {"test_pixel_logits": np.zeros((4, 5))},
        {"test_pixel_logits": np.zeros((3, 5, 2))},
    ],
)  # fmt: skip
def test_pixels_that_do_not_go_together_are_not_used(tmp_path, change):
    target = np.array([0, 1, 0, 255, 255], np.uint8)[None].repeat(4, 0)
    whole = {"test_id": np.arange(4), "test_pixel_target": target, "test_pixel_logits": np.zeros((4, 5, 2), np.float16)}
    np.savez(tmp_path / "predictions.npz", **whole)
    assert set(read_predictions(tmp_path, "masks")) == set(whole)
    np.savez(tmp_path / "predictions.npz", **{**whole, **change})
    with pytest.raises(UserError, match=r"predictions\.npz is damaged: test_pixel_\w+ (cannot be|must be)"):
        read_predictions(tmp_path, "masks")


@pytest.mark.parametrize("key", ["arm", "name", "seed", "fingerprint", "mixes", "choices", "data"])
def test_a_start_that_lacks_what_a_run_needs_names_the_run(tmp_path, key):
    folder = write_run(tmp_path / "mixup-a1" / "seed=0", record=[{k: v for k, v in START.items() if k != key}, EPOCH])
    run = read_run(folder)
    assert (run.status, run.seed, run.error) == (
        "failed",
        0,
        f"{folder} is not a run of mixup-lab: in its record, {key} is missing",
    )


def test_an_npz_of_numpy_is_read_as_numpy_reads_it(tmp_path):
    arrays = {
        "a": np.arange(6).reshape(2, 3),
        "b": np.asfortranarray(np.ones((3, 4), np.float32)),
        "c": np.array(["x"]),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **arrays)
        read = read_npz(tmp_path / "x.npz")
        assert list(read) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(read[name], array)
    assert list(read_npz(tmp_path / "x.npz", lambda name: name == "b")) == ["b"]


@pytest.mark.parametrize(
    "change", [{"shape": [10**14]}, {"dtype": "O"}, {"block": 0}, {"crc32": 1}, {"shape": "x"}, {"shape": [-1]}]
)
def test_a_foreign_header_of_the_cache_takes_no_memory(tmp_path, change):  # fmt: skip
    header = {"version": 1, "dtype": "<f8", "shape": [1], "block": 4, "crc32": [0, 0]} | change
    (tmp_path / "x").write_bytes(json.dumps(header).encode() + b"\n" + bytes(8))
    with pytest.raises(DamagedCache):
        read_cached(tmp_path / "x")


# ---- at random ---------------------------------------------------------------------------------------------------


def read_everything(folder, files):
    """Write these files into a study of one run, and give them to every reader; only UserError may come back."""
    run = folder / "b" / "seed=0"
    (run / "lens").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    readers = (
        lambda: read_run(run), lambda: run.joinpath("record.jsonl").exists() and read_record(run),
        lambda: store.read_error(run), lambda: read_result(run), lambda: store.read_manifest(folder),
        lambda: read_finding(run, "x"), lambda: table_runs(folder / "t.csv"), lambda: table_runs(folder / "t.jsonl"),
        lambda: (found := read_run(run)) and (found.settings(), found.scores("accuracy"), found.recalls()),
        lambda: report.answer_of([folder], Options()),
    )  # fmt: skip
    for reader in readers:
        try:
            reader()
        except UserError:
            continue


def whole_files():
    content = io.BytesIO()
    np.savez(content, test_id=np.arange(4), test_target=np.arange(4) % 2, test_logits=np.eye(4, 2))
    finding = {
        "format": 1, "lens": "x", "title": "X", "about": "", "settings": {"n": 1}, "fingerprint": "f", "notes": [],
        "companions": [], "scores": {"s": {"value": 1.0, "maximize": None, "percent": False, "about": ""}},
        "lines": [{"name": "l", "x_label": "x", "y_label": "y", "x": [1.0], "y": ["nan"]}],
    }  # fmt: skip
    record = [START, EPOCH, {"event": "note", "text": "n"}, {"event": "end", "status": "ok", "scalars": {}}]
    return {
        "study.json": STUDY, "b/seed=0/record.jsonl": record, "b/seed=0/summary.json": SUMMARY,
        "b/seed=0/lens/x.json": finding, "b/seed=0/config.yaml": {"aug": {"alpha": 1, "l": [[1]]}, "seed": 0},
        "b/seed=0/predictions.npz": content.getvalue(), "t.csv": b"arm,seed,accuracy\na,0,0.5\nbaseline,0,0.4\n",
        "t.jsonl": [{"arm": "a", "seed": 0, "accuracy": 0.5}, {"arm": "baseline", "seed": 0, "accuracy": 0.4}],
    }  # fmt: skip


def as_bytes(name, content):
    if isinstance(content, bytes):
        return content
    return b"".join(json.dumps(c).encode() + b"\n" for c in (content if name.endswith("jsonl") else [content]))


def other_value(value, chance):
    """The same value with one of its parts exchanged for one that does not belong."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        changed = {k: other_value(v, chance) if k == key else v for k, v in value.items()}
        return changed if chance.random() < 0.9 else {k: v for k, v in value.items() if k != key}
    if isinstance(value, list) and value and chance.random() < 0.9:
        k = chance.randrange(len(value))
        return [*value[:k], other_value(value[k], chance), *value[k + 1 :]]
    return chance.choice(STRANGE)


def other_bytes(content, chance):
    """Cut, zeroed, flipped, nested, or foreign."""
    k, m = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    return chance.choice([
        content[:k], content[:k] + bytes(m - k) + content[m:], content[:k] + content[m:],
        content[:k] + bytes(b ^ 1 << chance.randrange(8) for b in content[k : k + 3]) + content[k + 3 :],
        content[:k] + b"[" * 3000 + content[k:], chance.randbytes(50), b"", content.replace(b"1", b"9" * 5000),
    ])  # fmt: skip


def test_files_changed_at_random_get_a_sentence_or_are_read(tmp_path):
    chance = random.Random(0)
    whole = whole_files()
    sound = {name: as_bytes(name, content) for name, content in whole.items()}
    read_everything(tmp_path, sound)
    assert read_run(tmp_path / "b" / "seed=0").recalls() is not None, "what is whole is read"
    for _ in range(60):
        name = chance.choice(list(whole))
        value = whole[name]
        if isinstance(value, bytes) or chance.random() < 0.4:
            changed = other_bytes(sound[name], chance)
        else:
            changed = as_bytes(name, other_value(value, chance))
        read_everything(tmp_path, {**sound, name: changed})


def test_whatever_hypothesis_makes_gets_a_sentence_or_is_read(tmp_path_factory):
    hypothesis = pytest.importorskip("hypothesis")
    from hypothesis import strategies as st

    scalar = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    anything = st.recursive(
        scalar, lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(max_size=8), s, max_size=3)
    )
    folder = tmp_path_factory.mktemp("made")
    sound = {name: as_bytes(name, content) for name, content in whole_files().items()}

    def like(value):
        """Objects with the keys of this one, with its values or any others."""
        if not isinstance(value, dict):
            return st.just(value) | anything
        return st.fixed_dictionaries({}, optional={key: like(item) for key, item in value.items()}) | anything

    @hypothesis.settings(
        max_examples=40,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(like(START), like(EPOCH), like(SUMMARY), like(STUDY), anything, st.text(max_size=60))
    def read_them(start, epoch, summary, study, config, table):
        made = {
            "b/seed=0/record.jsonl": [start, epoch], "b/seed=0/summary.json": summary, "study.json": study,
            "b/seed=0/config.yaml": config, "t.jsonl": [config, start], "t.csv": table.encode("utf-8", "replace"),
        }  # fmt: skip
        read_everything(folder, sound | {name: as_bytes(name, content) for name, content in made.items()})

    read_them()


def test_a_file_that_cannot_be_read_is_damaged(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(Damaged, match="is damaged: it is not a file"):
        read_json(tmp_path / "folder", {})
    assert read_json(tmp_path / "missing", {}) is None
