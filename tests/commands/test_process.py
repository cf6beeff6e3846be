"""Runs as processes: killed, interrupted, refused, failed; and what is left in their directories each time."""

import gc
import json
import os
import random
import shlex
import signal
import sys
import time
import weakref
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from helpers.command_line import in_this_process
from helpers.processes import (
    CHECKOUT,
    FAKE,
    Started,
    assert_board_agrees_with_record,
    begin,
    board_of,
    files_of,
    fresh,
    lines_of,
    mixup_lab,
    summary_of,
    without_time,
)
from PIL import Image
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

from mixup_lab import cli
from mixup_lab.data.feeds import Resident
from mixup_lab.runs.record import SCHEMA

KILLS = 10
KILL_EPOCHS = 40
LONG = (*FAKE, "trainer.epochs=150")  # seconds, so that a signal meets the run under way


@pytest.fixture
def line(monkeypatch, capsys, tmp_path):
    """Run a line in this process, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def run(*words: str) -> tuple[int, str, str]:
        code = cli.main(words)
        return (code, *capsys.readouterr())

    return run


def result_of(run_dir: Path) -> tuple[dict, list, dict]:
    """What has to be the same, however often the run was cut: final scalars, those of every epoch, the weights."""
    epochs = {event["epoch"]: event for event in lines_of_cut(run_dir) if event["event"] == "epoch"}
    curve = [(n, e["step"], without_time(e["scalars"]), e["label_mass"]) for n, e in sorted(epochs.items())]
    state = torch.load(run_dir / "checkpoint.pt", weights_only=True)
    weights = {"last": state["model"], "best": state["state"]["best"]["model"], "random": state["random"]}
    return without_time(summary_of(run_dir)["scalars"]), curve, weights


def lines_of_cut(run_dir: Path) -> list[dict]:
    """The record of a run that was killed: a line may be cut short."""
    events = []
    for text in (run_dir / "record.jsonl").read_text().splitlines():
        try:
            events.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return events


def assert_same_result(a: tuple, b: tuple) -> None:
    assert a[0] == b[0]
    assert a[1] == b[1]
    for part in a[2]:
        assert a[2][part].keys() == b[2][part].keys()
        assert all(torch.equal(a[2][part][name], b[2][part][name]) for name in a[2][part])


# ---- killed -------------------------------------------------------------------------------------------------------


def killed(words: Sequence[str], run_dir: Path, delay: float, writing: bool) -> int | None:
    """Run a line and kill it after `delay` seconds, or with `writing` when it is about to replace a file after that.

    Returns the exit code, which is -9 if it was killed.
    """
    started, began = begin("train", *words, cwd=run_dir.parent), time.monotonic()
    while (code := started.poll()) is None:
        late = time.monotonic() - began >= delay
        if late and (not writing or _is_writing(run_dir)):
            started.kill()
        time.sleep(0 if late and writing else 0.001)
    assert code in (0, -signal.SIGKILL), started.communicate()
    return code


def _is_writing(run_dir: Path) -> bool:
    return run_dir.is_dir() and any(name.endswith(".part") for name in os.listdir(run_dir))


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same_result(tmp_path):
    words = [*FAKE, f"trainer.epochs={KILL_EPOCHS}", "trainer.checkpoint_seconds=0", "trainer.progress=none"]
    whole, began = begin("train", *words, "hydra.run.dir=whole", cwd=tmp_path), time.monotonic()
    assert whole.wait(60) == 0
    duration = time.monotonic() - began
    expected = result_of(tmp_path / "whole")
    assert [epoch for epoch, *_ in expected[1]] == list(range(1, KILL_EPOCHS + 1))
    chance = random.Random(0)
    kills = inside = runs = 0
    while kills < KILLS or not (inside or kills > 5 * KILLS):  # the moments are random
        runs += 1
        run_dir, code = tmp_path / f"run{runs}", None
        while code != 0:
            record = run_dir / "record.jsonl"
            begun = record.exists() and b'"start"' in record.read_bytes()
            line = [f"resume={run_dir}"] if begun else [*words, f"hydra.run.dir={run_dir}"]
            code = killed(line, run_dir, chance.uniform(0, 0.9 * duration), chance.random() < 0.5)
            kills += code != 0
            inside += code != 0 and _is_writing(run_dir)
        assert summary_of(run_dir)["status"] == "ok"
        assert_same_result(result_of(run_dir), expected)
        assert_board_agrees_with_record(run_dir)
        assert not list(run_dir.glob("*.part"))
    assert inside >= 1, "some were killed while a file was being written"


def test_a_run_that_was_killed_while_it_ended_shows_its_final_scores_once(monkeypatch, capsys, tmp_path):
    line = in_this_process(monkeypatch, capsys, tmp_path)
    words = (*FAKE, "trainer.epochs=2")
    assert line("train", *words, "hydra.run.dir=run")[0] == 0
    run = tmp_path / "run"
    assert_board_agrees_with_record(run)
    (run / "summary.json").unlink()
    *before, end = (run / "record.jsonl").read_text().splitlines(keepends=True)
    assert json.loads(end)["event"] == "end"
    (run / "record.jsonl").write_text("".join(before))
    assert line("train", f"resume={run}")[0] == 0
    assert summary_of(run)["status"] == "ok"
    assert_board_agrees_with_record(run)


# ---- interrupted --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The long run, uninterrupted."""
    folder = tmp_path_factory.mktemp("whole")
    done = mixup_lab("train", *LONG, "hydra.run.dir=run", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "run"


def wait_for(condition, process: Started) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_signal_saves_and_the_printed_command_goes_on(tmp_path, whole, signum, code):
    # The checkpoint is the signal's own.
    started = begin("train", *LONG, "trainer.checkpoint_every=0", cwd=tmp_path)
    wait_for(lambda: any(b'"epoch": 3' in p.read_bytes() for p in tmp_path.rglob("record.jsonl")), started)
    started.send_signal(signum)
    _, err = started.communicate(timeout=60)
    (run_dir,) = [path.parent for path in tmp_path.rglob("record.jsonl")]
    assert started.returncode == code
    assert err.count("\n") == 1
    assert err.startswith("mixup-lab train: stopped in epoch ")
    last = lines_of(run_dir)[-1]
    assert (last["event"], last["status"]) == ("end", "interrupted")
    assert summary_of(run_dir)["status"] == "interrupted"
    saved = torch.load(run_dir / "checkpoint.pt", weights_only=True)["state"]
    assert 3 <= saved["epoch"] < 150

    command = shlex.split(err.strip().split("continue with: ")[1])
    assert command[:2] == ["mixup-lab", "train"]
    done = mixup_lab(*command[1:], cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.parent for path in tmp_path.rglob("record.jsonl")] == [run_dir]
    assert_same_result(result_of(run_dir), result_of(whole))
    assert_board_agrees_with_record(run_dir)
    starts = [event for event in lines_of(run_dir) if event["event"] == "start"]
    assert [event.get("resumed", False) for event in starts] == [False, True]
    content = board_of(run_dir).PluginTagToContent("hparams")["_hparams_/session_end_info"]
    end = plugin_data_pb2.HParamsPluginData.FromString(content).session_end_info
    assert end.status == api_pb2.STATUS_SUCCESS


LATE_SIGNAL = """
import os, signal
from mixup_lab.models.mlp import MLP

class Signals(MLP):
    '''Asks to stop when it is first evaluated after a step: after the last one of a run of one epoch.'''
    trained = sent = False
    def forward(self, inputs):
        self.trained = self.trained or self.training
        if self.trained and not self.training and not self.sent:
            os.kill(os.getpid(), signal.SIGTERM)
            self.sent = True
        return super().forward(inputs)
"""


@pytest.mark.slow
def test_a_signal_after_the_last_step_ends_a_sweep_but_not_the_run(tmp_path):
    (tmp_path / "late.py").write_text(LATE_SIGNAL)
    words = [*FAKE, "trust=[late]", "model._target_=late.Signals", "trainer.epochs=1", "hydra.sweep.dir=study"]
    done = mixup_lab("train", "-m", *words, "seed=0,1", cwd=tmp_path)
    assert done.returncode == 143
    assert done.stderr.count("\n") == 1
    (finished,) = tmp_path.rglob("summary.json")
    assert summary_of(finished.parent)["status"] == "ok"
    assert "stopped after " in done.stderr


# ---- resumed, or not ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A short run that is finished."""
    folder = tmp_path_factory.mktemp("finished")
    done = mixup_lab("train", *FAKE, "trainer.epochs=2", "hydra.run.dir=run", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "run"


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of it, with the name that it has in messages."""
    for name, content in files_of(finished).items():
        path = tmp_path / "run" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "run"


@pytest.fixture
def unfinished(copied):
    """A copy that looks as if it had been killed after its last checkpoint."""
    (copied / "summary.json").unlink()
    record = copied / "record.jsonl"
    record.write_text("".join(record.read_text().splitlines(keepends=True)[:-1]))
    return copied


def test_a_directory_that_holds_a_run_is_refused(line, finished):
    before = files_of(finished)
    code, out, err = line("train", *FAKE, "trainer.epochs=1", f"hydra.run.dir={finished}")
    assert (code, out) == (2, "")
    assert err == (
        f"mixup-lab train: {finished} holds a run already; continue it with resume={finished}, "
        "or choose another hydra.run.dir\n"
    )
    assert files_of(finished) == before


def test_resume_of_a_finished_run_says_so_and_changes_nothing(line, copied):
    before = files_of(copied)
    code, out, err = line("train", f"resume={copied}")
    assert (code, err) == (0, "")
    accuracy = summary_of(copied)["scalars"]["val/accuracy"]
    assert out.startswith(f"{copied} is finished:  val accuracy {accuracy:.4f}  test accuracy ")
    assert files_of(copied) == before


def test_resume_with_other_settings_of_the_machine(line, unfinished, finished):
    words = ["trainer.threads=1", "trainer.progress=plain", "dataset.storage=streaming", "dataset.workers=0"]
    code, out, err = line("train", f"resume={unfinished}", *words, "trust=[my_package]", "trainer.malloc='default'")
    assert code == 0, err
    assert "mixup-a1 seed=0" in out
    assert_same_result(result_of(unfinished), result_of(finished))


@pytest.mark.parametrize("word", ["optimizer.lr=1", "seed=1", "aug=none"])
def test_resume_with_another_setting_is_refused(line, unfinished, word):
    before = files_of(unfinished)
    code, out, err = line("train", f"resume={unfinished}", word)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{word.split('=')[0].lstrip('+')} cannot change when a run is resumed" in err
    assert "these may change: dataset.cache, " in err
    assert files_of(unfinished) == before


def _edit(name: str, old: str, new: str):
    def damage(run_dir: Path) -> None:
        text = (run_dir / name).read_text()
        assert old in text
        (run_dir / name).write_text(text.replace(old, new))

    return damage


DAMAGES = {
    "checkpoint": (
        lambda run: (run / "checkpoint.pt").write_bytes((run / "checkpoint.pt").read_bytes()[:1000]),
        "checkpoint.pt is damaged or not a checkpoint",
    ),
    "config edited": (_edit("config.yaml", "momentum: 0.9", "momentum: 0.8"), "config.yaml was changed after the run"),
    "config no yaml": (lambda run: (run / "config.yaml").write_text("a: [\n"), "config.yaml cannot be read"),
    "config no text": (lambda run: (run / "config.yaml").write_bytes(b"\xff\xfe\x00"), "config.yaml cannot be read"),
    "config empty": (lambda run: (run / "config.yaml").write_text(""), "config.yaml is not the configuration of a run"),
    "config of others": (lambda run: (run / "config.yaml").write_text("a: 1\n"), "is not the configuration of a run"),
    "no record": (lambda run: (run / "record.jsonl").unlink(), "record.jsonl has no start of a run to resume"),
    "empty record": (
        lambda run: (run / "record.jsonl").write_text("x\n"),
        "record.jsonl has no start of a run to resume",
    ),
    "another version": (
        _edit("record.jsonl", f'"schema": {SCHEMA}', '"schema": 1'),
        "was written by another version of mixup-lab",
    ),
    "no config": (lambda run: (run / "config.yaml").unlink(), "is not a run directory, it has no config.yaml"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_resume_of_a_damaged_directory_names_the_file(line, unfinished, kind):
    damage, sentence = DAMAGES[kind]
    damage(unfinished)
    before = files_of(unfinished)
    code, out, err = line("train", f"resume={unfinished}")
    assert sentence in err
    assert str(unfinished) in err
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert files_of(unfinished) == before


def test_resume_does_not_trust_what_the_directory_names(line, unfinished):
    """A run directory may come from somebody else: its `config.yaml` is no reason to run their code."""
    _edit("config.yaml", "_target_: mixup_lab.models.mlp.MLP", "_target_: evil.MLP")(unfinished)
    _edit("config.yaml", "trust: []", "trust: [evil]")(unfinished)
    first, *others = lines_of(unfinished)
    from omegaconf import OmegaConf

    from mixup_lab.config.identity import fingerprint

    resolved = OmegaConf.to_container(OmegaConf.load(unfinished / "config.yaml"))
    events = [{**first, "fingerprint": fingerprint(resolved, first["choices"])}, *others]
    (unfinished / "record.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (unfinished.parent / "evil.py").write_text("open('ran', 'w').close()\n")
    code, _, err = line("train", f"resume={unfinished}")
    assert code == 2
    assert "evil.MLP is not trusted" in err
    assert not (unfinished.parent / "ran").exists()


# ---- refused ------------------------------------------------------------------------------------------------------

BAD = [
    (["aug=mixup", "aug.alpha=-1"], "alpha must be a finite number >= 0, got -1"),
    (["dataset.val_fraction=2"], "dataset.val_fraction must be between 0 and 1, both excluded, got 2"),
    (["trainer.batch_size=100000"], "trainer.batch_size=100000 is larger than the training split"),
    (["aug._target_=os.system"], "aug._target_=os.system is not trusted"),
    (["aug._target_=torch.os.system"], "aug._target_=torch.os.system is not trusted"),
    (["optimizer.name=Nope"], "Nope"),
    (["trainer.epochs=0"], "trainer.epochs must be auto or a whole number, at least 1, got 0"),
    (["seed=-1"], "seed must be 0 or more, got -1"),
    pytest.param(
        ["trainer.device=cuda"],
        "trainer.device=cuda, but torch finds no CUDA device here",
        marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
    ),
]


@pytest.mark.parametrize(("words", "sentence"), BAD)
def test_bad_input_leaves_nothing_behind(line, tmp_path, words, sentence):
    code, out, err = line("train", *words)
    assert sentence in err
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert not any(tmp_path.iterdir())


def test_bad_input_to_a_real_process_leaves_nothing_behind(tmp_path):
    done = fresh("train", "trainer.batch_size=100000", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "trainer.batch_size=100000 is larger than the training split" in done.stderr
    assert not any(tmp_path.iterdir())


def test_bad_input_does_not_remove_what_was_there(line, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "notes.txt").write_text("mine")
    assert line("train", "seed=-1", "hydra.run.dir=kept")[0] == 2
    assert files_of(tmp_path) == {"kept/notes.txt": b"mine"}


# ---- failed -------------------------------------------------------------------------------------------------------


def test_a_run_that_diverges_is_recorded_as_failed(line, tmp_path):
    words = [*FAKE, "trainer.epochs=2", "optimizer.lr=1e30", "scheduler=constant", "hydra.run.dir=run"]
    code, _, err = line("train", *words)
    assert code == 1
    assert err.count("\n") == 1
    assert err.startswith("mixup-lab train: the loss is ")
    assert " at step 2 (epoch 1, learning rate 1e+30)" in err
    end = lines_of(tmp_path / "run")[-1]
    assert (end["event"], end["status"]) == ("end", "failed")
    assert end["error"].startswith("RunFailed: the loss is ")
    assert summary_of(tmp_path / "run")["status"] == "failed"


def test_in_a_sweep_the_others_finish_and_the_failed_one_is_named(line, tmp_path):
    words = [*FAKE, "trainer.epochs=1", "scheduler=constant", "optimizer.lr=0.1,1e30,0.01", "hydra.sweep.dir=study"]
    code, _, err = line("train", "-m", *words)
    assert code == 1
    first, *_, last = err.splitlines()
    assert first.startswith("mixup-lab train: run 1 (")
    assert "optimizer.lr=1e+30" in first or "optimizer.lr=1e30" in first
    assert "the loss is " in first
    assert last.startswith("mixup-lab train: 1 run of the sweep failed; the first: the loss is ")
    statuses = sorted(summary_of(path.parent)["status"] for path in (tmp_path / "study").rglob("summary.json"))
    assert statuses == ["failed", "ok", "ok"]
    assert os.listdir(tmp_path) == ["study"]


def test_the_runs_of_one_process_do_not_keep_their_pictures(line, monkeypatch):
    pictures = []
    of = Resident.of

    def noted(pool, device):
        feed = of(pool, device)
        pictures.append(weakref.ref(feed.inputs))
        return feed

    monkeypatch.setattr(Resident, "of", noted)
    words = [*FAKE, "trainer.epochs=1", "trainer.progress=none", "seed=0,1,2", "hydra/launcher=basic"]
    assert line("train", "-m", *words)[0] == 0
    gc.collect()
    assert len(pictures) >= 3
    assert [reference() for reference in pictures] == [None] * len(pictures)
    assert gc.isenabled()


def test_config_yaml_is_enough_to_run_it_again(line, tmp_path):
    assert line("train", *FAKE, "trainer.epochs=2", "hydra.run.dir=first")[0] == 0
    assert line("train", "--config-dir", "first", "--config-name", "config", "hydra.run.dir=second")[0] == 0
    first, second = result_of(tmp_path / "first"), result_of(tmp_path / "second")
    assert first[:2] == second[:2]
    for key in ("name", "seed"):
        assert summary_of(tmp_path / "first")[key] == summary_of(tmp_path / "second")[key]
    # The file does not hold the options of its groups, which are a part of the identity.
    assert summary_of(tmp_path / "first")["arm"] != summary_of(tmp_path / "second")["arm"]


def test_resume_may_name_another_root_than_the_default_dataset_knows(line, tmp_path):
    for k, value in enumerate((60, 190)):
        for split, count in (("train", 40), ("test", 8)):
            folder = tmp_path / "pictures" / split / f"class{k}"
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("L", (8, 8), value + i).save(folder / f"{i}.png")
    words = ("dataset=image_folder", "dataset.root=pictures", "dataset.cache=false", "trainer.batch_size=8")
    assert line("train", *words, "trainer.epochs=1", "hydra.run.dir=run")[0] == 0
    (tmp_path / "run" / "summary.json").unlink()
    (tmp_path / "pictures").rename(tmp_path / "moved")
    code, _, err = line("train", "resume=run", "dataset.root=moved")
    assert (code, err.count("dataset.root")) == (0, 0)
    assert summary_of(tmp_path / "run")["status"] == "ok"
