"""The loop: what arms share, what resumes, what stops, and a curve that must not change."""

import gc
import json
import math
import platform
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.trainings import TINY, StopAfter, Training, assert_same, config_of, state, without_time
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mixup_lab.config.assemble import assemble
from mixup_lab.runs.record import read_epochs, read_events
from mixup_lab.training.checkpoint import read_checkpoint
from mixup_lab.training.fit import Fit
from mixup_lab.training.stop import StopRequest
from mixup_lab.types import Interrupted, RunFailed, UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "mixup_small_cnn.txt"


@pytest.mark.parametrize("extra", [(), ("aug.lam_per=sample",), ("trainer.precision=bf16", "transform=crop_flip")])
def test_alpha_zero_is_the_baseline_bit_for_bit(train, extra):
    plain = [word for word in extra if not word.startswith("aug.")]
    baseline, zero = train("aug=none", *plain), train("aug=mixup", "aug.alpha=0", *extra)
    assert_same(state(baseline), state(zero))
    assert without_time(baseline.scalars) == without_time(zero.scalars)


def test_arms_of_one_seed_share_all_chance_but_the_mixing():
    arms = [Fit(assemble(config_of(*TINY, *words), "f"), Path()) for words in (["aug=none"], ["aug=mixup"])]
    for name in ("train", "val", "test"):
        assert (getattr(arms[0].parts.data, name).ids == getattr(arms[1].parts.data, name).ids).all()
    assert_same(arms[0].parts.model.state_dict(), arms[1].parts.model.state_dict())
    plans = [fit.batches.plan(3) for fit in arms]
    assert (plans[0].order == plans[1].order).all()
    other = Fit(assemble(config_of(*TINY, "seed=1"), "f"), Path())
    assert not torch.equal(next(other.parts.model.parameters()), next(arms[0].parts.model.parameters()))


@pytest.mark.parametrize("stop_after", [14, 17], ids=["between epochs", "within an epoch"])
@pytest.mark.parametrize(
    "extra",
    [
        ("optimizer=sgd", "scheduler=multistep", "scheduler.milestones=[1,3]", "trainer.ema_decay=0.9"),
        ("optimizer=adamw", "scheduler=cosine", "model.dropout=0.3", "trainer.precision=bf16"),
        ("optimizer=adam", "scheduler=one_cycle", "trainer.precision=fp16", "trainer.clip_grad_norm=1"),
    ],
    ids=["sgd-ema", "adamw-bf16-dropout", "adam-fp16-clip"],
)
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, train, extra, stop_after):
    extra = ("aug=mixup", "transform=crop_flip", *extra)
    whole = train(*extra, name="whole")
    expected = state(whole)

    first = Training(tmp_path / "cut", *extra)
    with pytest.raises(
        Interrupted, match=r"stopped in epoch \d, step \d of \d; continue with: mixup-lab train resume="
    ):
        first.run(StopAfter(stop_after))
    torch.manual_seed(12345)  # the process that resumes has another state
    second = Training(tmp_path / "cut", *extra, resume=True)
    assert second.fit.done_steps == stop_after
    scalars = second.run()

    assert_same(expected, state(second))
    assert without_time(whole.scalars) == without_time(scalars)
    for a, b in zip(read_epochs(whole.run_dir), read_epochs(second.run_dir), strict=True):
        assert without_time(a["scalars"]) == without_time(b["scalars"])
        assert a["label_mass"] == b["label_mass"]


class Slow(StopRequest):
    """Takes a moment before every step, and notes the last checkpoint: {epoch: (its epoch, time of the file)}."""

    def __init__(self, training: Training) -> None:
        super().__init__()
        self.training, self.seen = training, {}

    @property
    def signum(self):
        time.sleep(0.02)
        path = self.training.run_dir / "checkpoint.pt"
        if path.exists():
            last = read_checkpoint(path)["state"]["epoch"], path.stat().st_mtime
            self.seen[self.training.fit.state.epoch] = last
        return None

    @signum.setter
    def signum(self, value):
        pass


def test_checkpoints_are_written_once_in_a_while_and_at_the_end(tmp_path):
    seen = {}
    for words in ("seconds=0", "seconds=60", "seconds=0.25", "every=0"):
        every = ("model=mlp", "trainer.epochs=6", "trainer.checkpoint_seconds=0", f"trainer.checkpoint_{words}")
        training = Training(tmp_path / words, *every)
        training.run(slow := Slow(training))
        assert read_checkpoint(training.run_dir / "checkpoint.pt")["state"]["epoch"] == 6
        seen[words] = slow.seen
    assert {epoch: saved for epoch, (saved, _) in seen["seconds=0"].items()} == {k: k for k in range(1, 6)}
    assert seen["seconds=60"] == seen["every=0"] == {}
    times = sorted({at for _, at in seen["seconds=0.25"].values()})
    assert len(times) >= 2
    assert min(np.diff(times)) > 0.24


def test_golden_curve(train):
    """The losses of a small training, from the command in the file's first line; a refactoring must not change them.

    Where the second line names this machine, nothing but the last digits may differ; others round otherwise.
    """
    command, machine, *lines = GOLDEN.read_text().splitlines()
    training = train(*command.removeprefix("# ").split())
    losses = [(e["scalars"]["train/loss"], e["scalars"]["val/loss"]) for e in read_epochs(training.run_dir)]
    expected = [tuple(map(float, line.split())) for line in lines]
    here = f"# torch {torch.__version__} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    np.testing.assert_allclose(losses, expected, rtol=1e-6 if machine == here else 1e-3, err_msg=here)


def test_it_learns(train):
    scalars = train("aug=mixup", "aug.alpha=0.4", "trainer.epochs=6").scalars
    assert scalars["test/accuracy"] > 0.9
    assert scalars["test/loss"] < 0.6


def test_resident_and_streaming_train_alike(train):
    a = train("aug=mixup", "transform=crop_flip", "dataset.storage=resident")
    b = train("aug=mixup", "transform=crop_flip", "dataset.storage=streaming", "dataset.workers=0")
    assert without_time(a.scalars) == without_time(b.scalars)


def test_accumulation_mixes_before_the_split(train):
    """Without batch norm the gradient does not depend on how the mixed batch is cut."""
    common = ("model=mlp", "aug=mixup", "trainer.epochs=2", "optimizer.lr=0.01")
    whole, cut = train(*common), train(*common, "trainer.accumulate=4")
    for key in ("train/loss", "val/loss", "train/accuracy_mixed"):
        assert whole.scalars[key] == pytest.approx(cut.scalars[key], rel=1e-4)


METRICS = ("loss", "accuracy", "macro_recall", "macro_f1", "auroc", "ece")


def test_scalars_are_named_and_recorded(train):
    training = train("aug=mixup", "aug.alpha=0.4")
    epochs = read_epochs(training.run_dir)
    assert [e["epoch"] for e in epochs] == [1, 2, 3, 4]
    assert [e["step"] for e in epochs] == [training.fit.steps * k for k in (1, 2, 3, 4)]
    names = set(epochs[-1]["scalars"])
    assert names == {
        "train/loss", "train/accuracy_mixed", "mix/alpha", "mix/prob", "mix/lam_mean", "mix/label_shift",
        "optim/lr", "time/samples_per_second", "time/epoch_seconds",
        *(f"{split}/{metric}" for split in ("train_clean", "val") for metric in METRICS),
    }  # fmt: skip
    assert set(training.scalars) - names == {
        *(f"{prefix}/{metric}" for prefix in ("test", "trivial") for metric in METRICS),
        "val_best/epoch", "val_best/val_accuracy", "val_best/test_accuracy",
    }  # fmt: skip
    summary = json.loads((training.run_dir / "summary.json").read_text())
    assert summary["status"] == "ok"
    assert summary["scalars"] == training.scalars


def test_predictions_reproduce_the_summary(train):
    training = train()
    with np.load(training.run_dir / "predictions.npz") as saved:
        for split in ("val", "test"):
            logits, target = saved[f"{split}_logits"], saved[f"{split}_target"]
            assert (logits.argmax(1) == target).mean() == pytest.approx(training.scalars[f"{split}/accuracy"])
            assert (saved[f"{split}_id"] == getattr(training.fit.parts.data, split).ids).all()


def test_val_best_is_the_best_epoch_on_val(train):
    # The rate rises fortyfold for the last epoch, which spoils what was learned.
    spoil = ("scheduler=multistep", "scheduler.milestones=[5]", "scheduler.gamma=40")
    training = train("optimizer.lr=0.05", *spoil, "trainer.epochs=6")
    values = [e["scalars"]["val/accuracy"] for e in read_epochs(training.run_dir)]
    assert training.scalars["val_best/val_accuracy"] == max(values)
    assert training.scalars["val_best/epoch"] == 1 + values.index(max(values)) < 6
    assert training.scalars["val_best/test_accuracy"] > training.scalars["test/accuracy"] + 0.1
    fit = training.fit
    fit.evaluated.load_state_dict(fit.state.best["model"])
    metrics = fit.evaluator.metrics(fit.evaluator.observe(fit.evaluated, fit.parts.data.test))
    assert training.scalars["val_best/test_accuracy"] == metrics["accuracy"]


def test_eval_every_and_early_stopping(train):
    training = train("trainer.eval_every=3", "trainer.epochs=5")
    assert ["val/loss" in e["scalars"] for e in read_epochs(training.run_dir)] == [False, False, True, False, True]
    stopped = train("trainer.early_stopping=2", "trainer.epochs=50", "optimizer.lr=1e-6")
    assert stopped.fit.state.stopped == "early_stopping"
    assert len(read_epochs(stopped.run_dir)) < 50


def test_wall_clock_budget_ends_the_run_in_order(train):
    training = train("trainer.max_seconds=1e-6", "trainer.epochs=1000")
    assert training.fit.state.stopped == "max_seconds"
    (only,) = read_epochs(training.run_dir)
    assert only["step"] == 1
    assert math.isfinite(only["scalars"]["train/loss"])
    assert "test/accuracy" in training.scalars


def test_non_finite_loss_names_step_and_rate(tmp_path):
    training = Training(tmp_path / "run", "optimizer.lr=1e20", "scheduler=constant", "model=mlp")
    with pytest.raises(RunFailed, match=r"the loss is (nan|inf) at step \d+ \(epoch 1, learning rate 1e\+20\)"):
        training.run()
    assert not list(read_events(tmp_path / "run", "epoch"))


def test_batch_larger_than_the_training_split(tmp_path):
    with pytest.raises(UserError, match=r"trainer.batch_size=999 is larger than the training split \(230 examples\)"):
        Training(tmp_path, "trainer.batch_size=999")


def test_early_and_late_ema_are_evaluated(train):
    training = train("trainer.ema_decay=0.9")
    weights = training.fit.parts.model.state_dict()
    assert any(not torch.equal(weights[name], value) for name, value in training.fit.evaluated.state_dict().items())


def test_ema_follows_its_recurrence(tmp_path):
    training = Training(tmp_path / "run", "trainer.ema_decay=0.8", "trainer.epochs=1", "model=mlp")
    fit, seen = training.fit, []
    step = fit.parts.optimizer.step
    fit.parts.optimizer.register_step_post_hook(
        lambda *_: seen.append([p.detach().clone() for p in fit.parts.model.parameters()])
    )
    assert step is not None
    training.run()
    average = seen[0]
    for weights in seen[1:]:
        average = [0.8 * a + 0.2 * w for a, w in zip(average, weights, strict=True)]
    for a, p in zip(average, fit.ema.module.parameters(), strict=True):
        torch.testing.assert_close(a, p.detach())


def test_what_the_model_gets_wrong_on_val_is_shown_at_the_end(train):
    training = train("dataset.noise=4", "trainer.epochs=1")
    assert training.scalars["val/accuracy"] < 1
    board = EventAccumulator(str(training.run_dir), size_guidance={"images": 0})
    (shown,) = board.Reload().Images("val/mistakes")
    assert shown.step == training.fit.done_steps
    wrong = round((1 - training.scalars["val/accuracy"]) * len(training.fit.parts.data.val))
    assert shown.width == 2 * min(3, wrong) * (128 + 8)  # three enlarged tiles in a row, with their margins


@pytest.mark.parametrize("aug", ["mixup", "manifold_mixup"])
def test_a_finished_training_is_freed_without_the_garbage_collector(tmp_path, aug):
    """Runs of one process follow each other: one that refers to itself would keep its data until Python cleans up."""
    training = Training(tmp_path, "trainer.epochs=1", f"aug={aug}")
    training.run()
    fit = weakref.ref(training.fit)
    gc.disable()
    try:
        del training
        assert fit() is None
    finally:
        gc.enable()
