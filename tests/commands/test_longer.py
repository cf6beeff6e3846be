"""`resume=RUN trainer.epochs=N`: it becomes the training that was to be longer from the beginning."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.cases import each
from helpers.command_line import in_this_process
from helpers.trainings import TINY, StopAfter, Training, assert_same, config_of, state, without_time

from mixup_lab import cli
from mixup_lab.config.schema import RunConfig
from mixup_lab.runs.record import read_epochs, read_events
from mixup_lab.study.reading import read_run
from mixup_lab.types import Interrupted, UserError

LEAN = ("model=mlp", "dataset.workers=0", "aug=mixup", "aug.alpha=1")
WORDS = ("dataset=fake", "model=mlp", "trainer.device=cpu", "trainer.progress=none", "trainer.malloc=default")


def lasting(config: RunConfig, epochs: int) -> RunConfig:
    return replace(config, trainer=replace(config.trainer, epochs=epochs))


@each(
    "words, stop_after",
    [
        (("scheduler=constant", "scheduler.warmup_epochs=1"), None),
        (("scheduler=multistep", "scheduler.milestones=[1,3]", "mix_schedule=adaptive"), None),
        (("scheduler=wsd", "scheduler.decay_fraction=0.25"), 6),  # of 4 epochs of 4 steps: before the decay
    ],
)
def test_a_longer_training_is_the_long_one_bit_for_bit(tmp_path: Path, words: tuple[str, ...], stop_after: int) -> None:
    folder, six = tmp_path / words[0], config_of(*TINY, *LEAN, *words, "trainer.epochs=6")
    whole = Training(folder / "whole", config=six)
    scalars = whole.run()
    short = Training(folder / "short", config=lasting(six, 4))
    if stop_after is None:
        short.run()
    else:
        with pytest.raises(Interrupted):
            short.run(StopAfter(stop_after))
    torch.manual_seed(12345)
    longer = Training(folder / "short", config=six, resume=True, shorter=("fingerprint",))
    assert longer.fit.done_steps == (stop_after or 4 * longer.fit.steps)
    assert without_time(longer.run()) == without_time(scalars)
    assert_same(state(whole), state(longer))
    for a, b in zip(read_epochs(whole.run_dir), read_epochs(short.run_dir), strict=True):
        assert without_time(a["scalars"]) == without_time(b["scalars"])


@each(
    "words, sentence",
    [
        (("scheduler=cosine",), "scheduler would have been another one from epoch 1 on; from=RUN_DIR trainer.epochs=6"),
        (("scheduler=wsd", "scheduler.decay_fraction=0.5"), "scheduler would have been another one from epoch 2 on"),
        (("scheduler=constant", "mix_schedule.off_epochs=1"), "mix_schedule would .* from epoch 2 on"),
        (("scheduler=constant", "trainer.eval_every=3"), "last epoch was evaluated out of turn"),
        (("scheduler=constant", "trainer.max_seconds=1e-9"), "max_seconds has ended it in epoch 1"),
    ],
)
def test_what_would_have_been_another_training_is_refused(
    tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    folder, two = tmp_path / "-".join(words), config_of(*TINY, *LEAN, *words, "trainer.epochs=2")
    Training(folder, config=two).run()
    with pytest.raises(UserError, match=f"was trained for 2 epochs and cannot go on to trainer.epochs=6: .*{sentence}"):
        Training(folder, config=lasting(two, 6), resume=True, shorter=("fingerprint",))


@pytest.fixture(scope="module")
def run_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs."""
    folder = tmp_path_factory.mktemp("two")
    words = (*WORDS, "scheduler=constant", "trainer.epochs=2", "trainer.batch_size=32")
    assert cli.main(["train", *words, f"hydra.run.dir={folder / 'run'}"]) == 0
    return folder / "run"


def test_the_line_makes_a_finished_run_longer(
    run_of_two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = in_this_process(monkeypatch, capsys, tmp_path)
    shutil.copytree(run_of_two, tmp_path / "run")
    words = (*WORDS, "scheduler=constant", "trainer.batch_size=32", "hydra.run.dir=whole")
    assert line("train", "resume=run", "trainer.epochs=3")[0] == 0
    assert line("train", *words, "trainer.epochs=3")[0] == 0

    made, whole = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("run", "whole"))
    before = json.loads((run_of_two / "summary.json").read_text())
    assert made["fingerprint"] == whole["fingerprint"] != before["fingerprint"]
    assert made["arm"] == whole["arm"]
    assert without_time(made["scalars"]) == without_time(whole["scalars"])
    assert (tmp_path / "run/config.yaml").read_text() == (tmp_path / "whole/config.yaml").read_text()
    assert [start["epochs"] for start in read_events(tmp_path / "run", "start")] == [2, 3]
    assert [note["text"] for note in read_events(tmp_path / "run", "note")] == [
        "after 2 epochs the training went on to 3"
    ]
    run = read_run(tmp_path / "run")
    assert run is not None
    assert (run.arm, run.start["epochs"], len(run.epochs)) == (whole["arm"], 3, 3)
    assert run.settings()["trainer.epochs"] == 3

    code, out, _ = line("train", "resume=run")
    assert (code, "run is finished:  val accuracy" in out) == (0, True)
    for epochs, sentence in ((2, "is not more than the 3 epochs of"), ("auto", "is not more than")):
        code, _, err = line("train", "resume=run", f"trainer.epochs={epochs}")
        assert (code, sentence in err) == (2, True)


def test_a_kill_at_any_moment_of_the_change_loses_nothing(
    run_of_two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without its summary, with the new settings, and with the new start but the old checkpoint, it still goes on."""
    line = in_this_process(monkeypatch, capsys, tmp_path)
    shutil.copytree(run_of_two, tmp_path / "run")
    (tmp_path / "run/summary.json").unlink()
    config = tmp_path / "run/config.yaml"
    config.write_text(config.read_text().replace("epochs: 2", "epochs: 3"))
    checkpoint = (tmp_path / "run/checkpoint.pt").read_bytes()
    assert line("train", "resume=run")[0] == 0
    (tmp_path / "run/summary.json").unlink()
    (tmp_path / "run/checkpoint.pt").write_bytes(checkpoint)
    assert line("train", "resume=run")[0] == 0
    with np.load(tmp_path / "run/predictions.npz") as saved:
        assert np.isfinite(saved["test_logits"]).all()
    assert len(read_epochs(tmp_path / "run")) == 3


def test_a_run_of_a_study_keeps_its_length(
    run_of_two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = in_this_process(monkeypatch, capsys, tmp_path)
    run = tmp_path / "study" / "mixup-a1" / "seed=0"
    shutil.copytree(run_of_two, run)
    (tmp_path / "study/study.json").write_text("{}")
    code, _, err = line("train", f"resume={run}", "trainer.epochs=3")
    assert (code, err.count("\n")) == (2, 1)
    assert "is a run of the study study, whose arms keep their number of epochs; copy the folder" in err
