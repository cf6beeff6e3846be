"""What is written of a run: never overwritten, whole or not there, strict JSON; and checkpoints that load as data."""

import json
import math
import pickle
import resource
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.processes import FAKE, files_of, lines_of, mixup_lab, summary_of
from torch import nn

from mixup_lab.disk import write_atomically
from mixup_lab.runs.log import RunLog
from mixup_lab.runs.progress import ProgressView
from mixup_lab.runs.record import Record, read_epochs, read_events, read_summary
from mixup_lab.runs.tensorboard import TensorBoardView
from mixup_lab.training.average import MovingAverage
from mixup_lab.training.checkpoint import Checkpoint, State, read_checkpoint
from mixup_lab.training.device import Precision
from mixup_lab.types import UserError

START = {"arm": "arm", "name": "mixup-a0.4", "seed": 3, "fingerprint": "f", "primary": "accuracy"}


def record(run_dir: Path, *, resume: bool = False) -> Record:
    made = Record(run_dir, resume=resume)
    made.event("start", **START)
    return made


@contextmanager
def full_disk(limit: int):
    """No file of this process can grow beyond `limit` bytes: the kernel refuses to write more, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))  # Python ignores the signal that comes with it
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# ---- the record ---------------------------------------------------------------------------------------------------


def test_a_directory_with_a_run_is_refused_and_stays_as_it_is(tmp_path):
    with_run = tmp_path / "run"
    first = record(with_run)
    first.end("ok", {"val/accuracy": 1.0})
    first.close()
    before = files_of(with_run)
    with pytest.raises(UserError, match=r"run holds a run already; continue it with resume=.*/run, or choose another"):
        Record(with_run)
    assert files_of(with_run) == before


def test_a_directory_in_which_no_run_ever_started_is_taken_over(tmp_path):
    """A process that was killed before its first event leaves nothing to go on with, and nothing to lose."""
    for left in (b"", b'{"event": "start", "arm": "a'):
        (tmp_path / "record.jsonl").write_bytes(left)
        record(tmp_path).close()
        assert [event["event"] for event in lines_of(tmp_path)] == ["start"]
        (tmp_path / "record.jsonl").unlink()


def test_two_processes_do_not_write_one_run(tmp_path):
    script = (
        "import sys; from pathlib import Path; from mixup_lab.runs.record import Record\n"
        "Record(Path(sys.argv[1]), resume=sys.argv[2] == 'resume')"
    )
    for state, how in (("empty", "fresh"), ("started", "resume")):
        ours = Record(tmp_path / state)
        if state == "started":
            ours.event("start", **START)
        line = (str(tmp_path / state), how)
        other = mixup_lab(*line, cwd=tmp_path, script=script)
        assert f"{tmp_path / state} is being written by another process" in other.stderr
        ours.close()
        assert mixup_lab(*line, cwd=tmp_path, script=script).returncode == 0


def test_resume_appends(tmp_path):
    record(tmp_path).close()
    before = (tmp_path / "record.jsonl").read_bytes()
    record(tmp_path, resume=True).close()
    after = (tmp_path / "record.jsonl").read_bytes()
    assert after.startswith(before)
    assert [event["event"] for event in lines_of(tmp_path)] == ["start", "start"]


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_line_cut_short_is_passed_over_and_closed_on_resume(tmp_path, cut):
    first = record(tmp_path)
    first.event("epoch", epoch=1, step=7, scalars={"val/loss": 0.25}, label_mass=[0.5, 0.5], text="äöü")
    first.close()
    path = tmp_path / "record.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert [event["event"] for event in read_events(tmp_path)] == (["start", "epoch"] if cut == 1 else ["start"])
    again = Record(tmp_path, resume=True)
    again.event("epoch", epoch=2)
    again.close()
    assert path.read_bytes().startswith(whole[:-cut] + b"\n")
    assert [event["epoch"] for event in read_epochs(tmp_path)] == ([1, 2] if cut == 1 else [2])


def test_a_character_cut_in_two_is_passed_over(tmp_path):
    record(tmp_path).close()
    with (tmp_path / "record.jsonl").open("ab") as file:
        file.write('{"event": "note", "text": "ä'.encode()[:-1])
    assert [event["event"] for event in read_events(tmp_path)] == ["start"]


def test_json_is_strict(tmp_path):
    made = record(tmp_path)
    made.event("epoch", epoch=1, scalars={"a": math.nan, "b": math.inf}, c=[-math.inf, 1.5])
    made.end("failed", {"train/loss": math.nan}, error="x")
    made.close()

    def refuse(text):
        raise AssertionError(f"{text} is not JSON")

    for line in (tmp_path / "record.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)
    json.loads((tmp_path / "summary.json").read_text(), parse_constant=refuse)
    assert read_epochs(tmp_path)[0]["scalars"] == {"a": "nan", "b": "inf"}
    assert read_epochs(tmp_path)[0]["c"] == ["-inf", 1.5]
    assert summary_of(tmp_path)["scalars"] == {"train/loss": "nan"}


def test_read_epochs_takes_the_last_event_of_an_epoch_in_order(tmp_path):
    made = record(tmp_path)
    for epoch, value in ((1, 0.1), (2, 0.2), (10, 1.0), (2, 0.25), (3, 0.3)):
        made.event("epoch", epoch=epoch, scalars={"x": value})
    made.close()
    read = [(event["epoch"], event["scalars"]["x"]) for event in read_epochs(tmp_path)]
    assert read == [(1, 0.1), (2, 0.25), (3, 0.3), (10, 1.0)]


def test_summary_is_written_last_and_leaves_nothing_beside_it(tmp_path):
    made = record(tmp_path)
    assert read_summary(tmp_path) is None
    made.end("ok", {"val/accuracy": 0.5}, stopped=None)
    made.close()
    assert sorted(files_of(tmp_path)) == ["record.jsonl", "summary.json"]
    last = lines_of(tmp_path)[-1]
    assert (last["event"], last["status"]) == ("end", "ok")
    assert summary_of(tmp_path) == {"status": "ok", **START, "scalars": {"val/accuracy": 0.5}, "stopped": None}
    assert (tmp_path / "record.jsonl").stat().st_mtime_ns <= (tmp_path / "summary.json").stat().st_mtime_ns


def test_without_an_end_event_there_is_no_summary(tmp_path):
    made = record(tmp_path)
    with full_disk((tmp_path / "record.jsonl").stat().st_size), pytest.raises(UserError, match="cannot write"):
        made.end("ok", {"val/accuracy": 1.0})
    made.close()
    assert read_summary(tmp_path) is None


def test_files_left_by_a_killed_process_are_cleared_on_resume(tmp_path):
    record(tmp_path).close()
    (tmp_path / "checkpoint.pt.4711.part").write_bytes(b"half")
    Record(tmp_path, resume=True).close()
    assert sorted(files_of(tmp_path)) == ["record.jsonl"]


# ---- files that are whole or not there ----------------------------------------------------------------------------


def test_write_atomically_replaces(tmp_path):
    path = tmp_path / "file"
    for content in (b"old", b"new"):
        write_atomically(path, lambda file, content=content: file.write(content))
    assert files_of(tmp_path) == {"file": b"new"}


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write(file):
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"

    write_atomically(path, write)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ZeroDivisionError()])
def test_whatever_stops_the_writing_the_old_file_stands_alone(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write(file):
        file.write(b"new")
        raise error

    with pytest.raises(UserError if isinstance(error, OSError) else type(error)):
        write_atomically(path, write)
    assert files_of(tmp_path) == {"file": b"old"}


def test_a_full_disk_while_the_record_is_written(tmp_path):
    made = record(tmp_path)
    size = (tmp_path / "record.jsonl").stat().st_size
    with (
        full_disk(size + 100),
        pytest.raises(UserError, match=r"^cannot write .*/record\.jsonl: File too large$"),
    ):
        made.event("epoch", epoch=1, scalars={str(i): 0.5 for i in range(50)})
    assert [event["event"] for event in read_events(tmp_path)] == ["start"]
    made.event("note", text="there is room again")
    made.close()
    assert [event["event"] for event in read_events(tmp_path)][-1] == "note"


def test_a_record_that_cannot_be_written_is_closed_without_a_traceback(tmp_path):
    """What is left in a buffer must not come up as another error when the file is closed."""
    made = record(tmp_path)
    with full_disk((tmp_path / "record.jsonl").stat().st_size):
        with pytest.raises(UserError, match="cannot write"):
            made.event("note", text="x")
        made.close()
        made.close()


def test_a_full_disk_while_predictions_are_written(tmp_path):
    log = RunLog(record(tmp_path), TensorBoardView(tmp_path), ProgressView())
    log.predictions({"val_logits": np.zeros(3)})
    before = (tmp_path / "predictions.npz").read_bytes()
    noise = np.random.default_rng(0).random(100_000)
    with full_disk(50_000), pytest.raises(UserError, match=r"^cannot write .*/predictions\.npz: File too large$"):
        log.predictions({"val_logits": noise})
    assert (tmp_path / "predictions.npz").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))
    log.board.close()
    log.record.close()


def test_huge_predictions_are_left_out_and_noted(tmp_path):
    log = RunLog(record(tmp_path), TensorBoardView(tmp_path), ProgressView())
    log.predictions({"val_logits": np.broadcast_to(np.float32(0), (300, 2**20))})  # 1200 MiB that take no memory
    assert not (tmp_path / "predictions.npz").exists()
    assert next(read_events(tmp_path, "note"))["text"] == "predictions.npz is left out: 1200 MiB"
    log.board.close()
    log.record.close()


FULL = """
import resource, sys
from mixup_lab.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("limit", "name"),
    [(60_000, "checkpoint.pt"), (4_000, "events.out.tfevents.")],
    ids=["checkpoint", "tensorboard"],
)
def test_a_full_disk_ends_a_run_with_one_sentence(tmp_path, limit, name):
    size = "model.hidden=[200]" if name == "checkpoint.pt" else "model.hidden=[1]"
    line = [str(limit), "train", *FAKE, size, "trainer.epochs=2", "hydra.run.dir=run"]
    done = mixup_lab(*line, cwd=tmp_path, script=FULL)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"mixup-lab train: cannot write {tmp_path / 'run' / name}")
    assert done.stderr.endswith(": File too large\n")
    assert done.stderr.count("\n") == 1
    assert summary_of(tmp_path / "run")["status"] == lines_of(tmp_path / "run")[-1]["status"] == "failed"
    assert not list((tmp_path / "run").glob("*.part"))


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^cannot write .*/file/run/record\.jsonl: Not a directory$"):
        Record(tmp_path / "file" / "run")


# ---- checkpoints --------------------------------------------------------------------------------------------------


STEPS = 4  # of an epoch


def checkpoint(**changes) -> Checkpoint:
    model = nn.Linear(100, 20)
    parts = {
        "model": model,
        "ema": None,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "precision": Precision("fp32", torch.device("cpu")),
        "fingerprint": "fingerprint",
        "digest": "digest",
        "device": torch.device("cpu"),
    }
    return Checkpoint(**(parts | changes))


def test_a_checkpoint_puts_everything_back(tmp_path):
    saved = checkpoint()
    saved.model(torch.ones(1, 100)).sum().backward()
    saved.optimizer.step()
    torch.manual_seed(7)
    best = {"value": 0.5, "epoch": 2, "model": saved.model.state_dict()}
    state = State(epoch=3, step=2, elapsed=1.5, best=best, tally={"kept": {"losses": [torch.ones(2)]}})
    saved.save(tmp_path, state)
    expected = torch.rand(3)

    other = checkpoint()
    assert not torch.equal(other.model.weight, saved.model.weight)
    torch.manual_seed(8)
    loaded = other.load(tmp_path, STEPS)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(other.model.weight, saved.model.weight)
    momentum = [group["momentum_buffer"] for group in other.optimizer.state_dict()["state"].values()]
    assert len(momentum) == 2
    assert torch.equal(momentum[0], torch.ones(20, 100))
    assert (loaded.epoch, loaded.step, loaded.elapsed, loaded.best["value"]) == (3, 2, 1.5, 0.5)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path):
    made = checkpoint()
    made.save(tmp_path, State(epoch=1))
    with full_disk(5_000), pytest.raises(UserError, match=r"^cannot write .*/checkpoint\.pt: File too large$"):
        made.save(tmp_path, State(epoch=2))
    assert sorted(files_of(tmp_path)) == ["checkpoint.pt"]
    assert checkpoint().load(tmp_path, STEPS).epoch == 1


def test_an_error_of_the_device_while_saving_is_not_taken_for_a_full_disk(tmp_path):
    def fail(file):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match=r"^CUDA error"):
        write_atomically(tmp_path / "x", fail)
    assert not list(tmp_path.iterdir())


class Malicious:
    """Unpickled carelessly, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def _truncated(path: Path) -> None:
    checkpoint().save(path.parent, State())
    path.write_bytes(path.read_bytes()[:-200])


def _one_bit_flipped(path: Path) -> None:
    """In the middle of the weights: still a whole archive, still a tensor, but another number."""
    saved = checkpoint()
    weights = next(iter(saved.model.parameters())).detach().numpy().tobytes()
    saved.save(path.parent, State())
    content = bytearray(path.read_bytes())
    content[content.index(weights) + len(weights) // 2] ^= 1
    path.write_bytes(content)


def _other_format(path: Path) -> None:
    checkpoint().save(path.parent, State())
    torch.save({**read_checkpoint(path), "format": 2}, path)


def _keys_missing(path: Path) -> None:
    checkpoint().save(path.parent, State())
    content = read_checkpoint(path)
    torch.save({key: value for key, value in content.items() if key not in ("random", "state")}, path)


def _field_renamed(path: Path) -> None:
    checkpoint().save(path.parent, State())
    content = read_checkpoint(path)
    torch.save({**content, "state": {**content["state"], "new": 1}}, path)


def _state(**changes):
    def write(path: Path) -> None:
        made = checkpoint()
        best = {"value": 0.5, "epoch": 1, "model": made.model.state_dict()}
        made.save(path.parent, State(**{"epoch": 2, "best": best, **changes}))

    return write


def _compressed(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10**6)


def _without(key: str):
    def write(path: Path) -> None:
        checkpoint().save(path.parent, State())
        content = read_checkpoint(path)
        del content[key]
        torch.save(content, path)

    return write


DAMAGED = "is damaged or not a checkpoint"
FOREIGN = {
    "missing": (lambda path: None, "checkpoint.pt does not exist"),
    "empty": (lambda path: path.write_bytes(b""), DAMAGED),
    "random": (lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)), DAMAGED),
    "text": (lambda path: path.write_text("hello\n"), DAMAGED),
    "pickled": (lambda path: path.write_bytes(pickle.dumps({"format": 1})), "."),
    "code": (lambda path: path.write_bytes(pickle.dumps(Malicious(path.parent / "ran"))), DAMAGED),
    "code of torch": (lambda path: torch.save({"format": 1, "x": Malicious(path.parent / "ran")}, path), DAMAGED),
    "module": (lambda path: torch.save(nn.Linear(2, 2), path), DAMAGED),
    "tensor": (lambda path: torch.save(torch.ones(2), path), r"is not a checkpoint of this program \(format 1\)"),
    "weights": (lambda path: torch.save(nn.Linear(2, 2).state_dict(), path), "is not a checkpoint of this program"),
    "truncated": (_truncated, DAMAGED),
    "one bit flipped": (_one_bit_flipped, DAMAGED),
    "format": (_other_format, r"is not a checkpoint of this program \(format 1\)"),
    "keys missing": (_keys_missing, "does not fit this run"),
    "no fingerprint": (_without("fingerprint"), "belongs to a run with other settings"),
    "no random": (_without("random"), "does not fit this run"),
    "field": (_field_renamed, "does not fit this run"),
    "directory": (lambda path: path.mkdir(), DAMAGED),
    "compressed": (_compressed, DAMAGED),
    "epoch as text": (_state(epoch="3"), "epoch must be a whole number from 0 to"),
    "negative epoch": (_state(epoch=-1), "epoch must be a whole number from 0 to"),
    "step beyond the epoch": (_state(step=9999), "step must be a whole number from 0 to 4, it is 9999"),
    "steps not counted": (_state(step=2), "tally counts 0 steps instead of 2"),
    "best in the future": (_state(best={"value": 0.5, "epoch": 99, "model": {}}), "best must have a value"),
    "best of another model": (_state(best={"value": 0.5, "epoch": 1, "model": {}}), "does not fit this run"),
    "stopped without a best": (_state(best=None, stopped="max_seconds"), "must have best weights"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_checkpoint_gets_one_sentence_and_runs_no_code(tmp_path, kind):
    write, sentence = FOREIGN[kind]
    path = tmp_path / "checkpoint.pt"
    write(path)
    with pytest.raises(UserError, match=sentence) as error:
        checkpoint().load(tmp_path, STEPS)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_the_malicious_file_is_one(tmp_path):
    pickle.loads(pickle.dumps(Malicious(tmp_path / "ran"))).close()
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fingerprint": "other"}, r"checkpoint\.pt belongs to a run with other settings than .*config\.yaml"),
        (
            {"digest": "other"},
            r"checkpoint\.pt was trained on other data: examples, labels or classes in dataset\.root",
        ),
        ({"model": nn.Linear(100, 21)}, r"checkpoint\.pt does not fit this run"),
        ({"ema": MovingAverage(nn.Linear(100, 20), 0.9)}, r"checkpoint\.pt does not fit this run"),
    ],
    ids=["fingerprint", "data", "model", "ema"],
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, change, sentence):
    checkpoint().save(tmp_path, State())
    with pytest.raises(UserError, match=sentence) as error:
        checkpoint(**change).load(tmp_path, STEPS)
    assert "\n" not in str(error.value)
