"""The training of one run: `Fit.run` is the loop, to be read from top to bottom."""

import math
import shlex
import time
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mixup_lab.mixing.mixer import at_step
from mixup_lab.runs.log import RunLog
from mixup_lab.runs.progress import Pace
from mixup_lab.seeding import stream, torch_seed
from mixup_lab.training.average import MovingAverage
from mixup_lab.training.batches import Batches, EpochPlan, Plans, Prepared
from mixup_lab.training.checkpoint import Checkpoint, State
from mixup_lab.training.device import Precision, limits, memory_scalars
from mixup_lab.training.evaluate import Evaluator
from mixup_lab.training.ingredients import Ingredients
from mixup_lab.training.pictures import mistakes_sheet, mixed_sheet
from mixup_lab.training.recorded import Done, Recorded, set_lr
from mixup_lab.training.references import reference_scalars
from mixup_lab.training.schedules import Schedule
from mixup_lab.training.settings import AUTOMATIC
from mixup_lab.training.step import train_step
from mixup_lab.training.stop import Pruned, StopRequest, withdraw
from mixup_lab.training.tally import Tally
from mixup_lab.types import Interrupted, Mixed, RunFailed, UserError

MISTAKES = 9  # examples of val that are shown at the end
NAMED = 256  # examples of val that the names of metrics are found with: some metrics need two classes
TRAIN_CLEAN = 2000  # examples of the training split, at most, that are evaluated without mixing


@dataclass(frozen=True)
class Parts(Ingredients):
    """The objects that one run is made of."""

    optimizer: torch.optim.Optimizer
    schedule: Schedule
    fingerprint: str
    accelerate: str  # none, compile or graph


class Clock:
    """Seconds of an epoch, which also count towards those of the whole run."""

    def __init__(self, state: State) -> None:
        self._state, self._before, self._started = state, state.elapsed, time.perf_counter()

    def read(self) -> float:
        """Seconds since the epoch began, or was resumed; the run's own time is brought up to date."""
        seconds = time.perf_counter() - self._started
        self._state.elapsed = self._before + seconds
        return seconds


class Fit:
    """The training of one run: make it from its parts, then call `run`.

    Raises:
        UserError: if the training split is smaller than one batch.
    """

    def __init__(self, parts: Parts, run_dir: Path) -> None:
        settings, train = parts.settings, parts.data.train
        self.parts, self.run_dir = parts, run_dir
        self.batches = Batches(parts)
        self.steps: int = self.batches.steps  # of an epoch
        self.plans = Plans(self.batches, settings.epochs, ahead=parts.device.type != "cpu")
        self.length = {key: getattr(settings, key) for key in AUTOMATIC}
        self.precision = Precision(settings.precision, parts.device)
        self.evaluator = Evaluator(parts.task, parts.encoded, self.precision, settings.eval_batch_size)
        self.ema = MovingAverage(parts.model, settings.ema_decay) if settings.ema_decay else None
        self.checkpoint = Checkpoint(
            parts.model,
            self.ema,
            parts.optimizer,
            self.precision,
            parts.fingerprint,
            parts.data.digest,
            parts.device,
            self.length,
        )
        chosen = stream(parts.seed, "train_clean").permutation(len(train))
        self.train_clean = np.sort(chosen[:TRAIN_CLEAN])
        self.state = State()
        for group in parts.optimizer.param_groups:
            group["peak_lr"] = group["lr"]
        torch.manual_seed(torch_seed(parts.seed, "dropout"))

    def resume(self, shorter: Collection[str] = ()) -> None:
        """Continue from the checkpoint in the run directory.

        Args:
            shorter: fingerprints of this run with fewer epochs, whose checkpoint may be there.

        Raises:
            UserError: if the checkpoint cannot be loaded, or the longer training would have been another one so far.
        """
        self.state = self.checkpoint.load(self.run_dir, self.steps, shorter)
        if self.longer:
            self._check_longer(self.state.planned)

    def _check_longer(self, epochs: int) -> None:
        """Raise UserError unless a training of `epochs` epochs has done what this one would have done so far."""
        parts, every, state = self.parts, self.parts.settings.eval_every, self.state
        now, why = parts.settings.epochs, ""
        lengths = [self.steps * length for length in (epochs, now)]
        for step in range(self.done_steps):
            gaps = state.gaps[: step // self.steps // every]
            rates = {parts.schedule(step, length, self.steps) for length in lengths}
            factors = {parts.mix_schedule(step, length, self.steps, gaps) for length in lengths}
            changed = [*["scheduler"] * (len(rates) > 1), *["mix_schedule"] * (len(factors) > 1)]
            if changed:
                at = step // self.steps + 1
                why = f"{' and '.join(changed)} would have been another one from epoch {at} on"
                break
        if state.stopped is not None:
            why = f"{state.stopped} has ended it in epoch {state.epoch}"
        elif state.epoch == epochs and epochs % every:
            why = f"its last epoch was evaluated out of turn (trainer.eval_every={every})"
        if why:
            raise UserError(
                f"{self.run_dir} was trained for {epochs} epochs and cannot go on to trainer.epochs={now}: {why};"
                f" from=RUN_DIR trainer.epochs={now} trains it from the beginning"
            )

    def metric_names(self) -> list[str]:
        """The names of the metrics, from some examples of val; nothing is trained, and no chance is used up."""
        positions = np.arange(min(NAMED, len(self.parts.data.val)))
        with torch.random.fork_rng(devices=[]):
            return list(self.evaluator.metrics(self.evaluator.observe(self.evaluated, self.parts.data.val, positions)))

    def run(self, log: RunLog, stop: StopRequest) -> dict[str, float]:
        """Train to the end, test once, and return the final scalars.

        Args:
            log: takes everything that is recorded and shown.
            stop: checked between two steps.

        Raises:
            RunFailed: if a loss is not finite, the memory of the device is too small, or an algorithm is missing.
            Interrupted: after a signal; a checkpoint is saved first.
            Pruned: after an epoch, if the run directory has a file `stop`; a checkpoint is saved first.
        """
        settings, state = self.parts.settings, self.state
        withdraw(self.run_dir)  # a request from before this run was resumed
        self.parts.model.train()
        saved = time.monotonic()
        with closing(self.plans), limits(self.parts.device):
            while not self.trained:
                self._train_epoch(log, stop)
                due = settings.checkpoint_every and state.epoch % settings.checkpoint_every == 0
                if self.trained or (due and time.monotonic() - saved >= settings.checkpoint_seconds):
                    self.checkpoint.save(self.run_dir, state)
                    saved = time.monotonic()
                self._check_pruned()
            return self._finish(log)

    def _train_epoch(self, log: RunLog, stop: StopRequest) -> None:
        parts, settings, state = self.parts, self.parts.settings, self.state
        plan = self.plans.get(state.epoch, state.gaps)
        tally, clock, pace, first = Tally(parts.task, parts.device, state.tally), Clock(state), Pace(), state.step

        batches = self.batches.prepared if parts.accelerate == "graph" else self.batches.mixed
        for step, batch in batches(plan, first):
            self._check_stop(stop, tally)
            mixed = self.train_batch(batch, step, tally)
            if self.done_steps == 0:
                log.picture("mix/batch", self._picture(mixed, plan), step=0)
            state.step = step + 1
            seconds = clock.read()
            if pace.due():
                log.step(state.epoch, state.step, (state.step - first) * settings.batch_size / seconds)
            if settings.max_seconds is not None and state.elapsed >= settings.max_seconds:
                state.stopped = "max_seconds"
                break

        sums, seconds = tally.read(), clock.read()
        self._check_finite(sums["losses"])
        scalars = self._train_scalars(sums, float(plan.factor[state.step - 1]))
        if state.step > first:
            scalars["time/samples_per_second"] = (state.step - first) * settings.batch_size / seconds
        if (state.epoch + 1) % settings.eval_every == 0 or state.epoch + 1 == settings.epochs or state.stopped:
            scalars |= self._evaluate()
        scalars["time/epoch_seconds"] = clock.read()
        scalars |= memory_scalars(parts.device)
        state.scalars |= scalars
        lam, mass = sums["lam"].numpy(), sums.get("label_mass")
        shares = None if mass is None else (mass / mass.sum()).numpy()
        samples = state.step * settings.batch_size
        log.epoch(state.epoch + 1, self.done_steps, samples, state.elapsed, scalars, lam, shares)
        state.epoch, state.step, state.tally = state.epoch + 1, 0, {}

    def train_batch(self, batch: Any, step: int, tally: Tally) -> Mixed:
        """Train on batch number `step` of the epoch: `Mixed`, or `Prepared` if steps are recorded as CUDA graphs."""
        recorded = self.recorded
        for group in self.parts.optimizer.param_groups:
            set_lr(group, self._lr(group, self.state.epoch * self.steps + step))
        done = self.update(batch) if recorded is None else recorded(batch, self._mix_and_update)
        tally.add(*done)
        return done.mixed

    def update(self, mixed: Mixed) -> Done:
        """One step of the weights, and of their moving average."""
        parts, settings = self.parts, self.parts.settings
        options = settings.accumulate, settings.clip_grad_norm
        loss, output = train_step(parts.model, parts.task, parts.optimizer, mixed, self.precision, *options)
        if self.ema is not None:
            self.ema.update(parts.model)
        return Done(loss, output, mixed)

    def _mix_and_update(self, batch: Prepared) -> Done:
        return self.update(self.batches.mix(batch))

    @cached_property
    def recorded(self) -> Recorded | None:
        """Replays steps as CUDA graphs, from the first step after a resume; None: operations run one by one."""
        if self.parts.accelerate != "graph":
            return None
        return Recorded(self.parts.optimizer, self.parts.device)

    # ---- where the run stands ---------------------------------------------------------------------------------------

    @property
    def done_steps(self) -> int:
        """Steps done since the start of the training."""
        return self.state.epoch * self.steps + self.state.step

    @property
    def longer(self) -> bool:
        """Whether it was loaded from a checkpoint of the same run with fewer epochs."""
        return bool(0 < self.state.planned < self.parts.settings.epochs)

    @property
    def trained(self) -> bool:
        """Whether training is over; the test may still be to come."""
        return self.state.epoch >= self.parts.settings.epochs or self.state.stopped is not None

    @property
    def evaluated(self) -> nn.Module:
        """The model that is evaluated: the moving average of the weights if there is one."""
        return self.ema.module if self.ema is not None else self.parts.model

    def _check_stop(self, stop: StopRequest, tally: Tally) -> None:
        if stop.signum is None:
            return
        self.state.tally = tally.state()
        self.checkpoint.save(self.run_dir, self.state)
        resume = shlex.quote(f"resume={self.run_dir.absolute()}")
        where = f"epoch {self.state.epoch + 1}, step {self.state.step} of {self.steps}"
        raise Interrupted(stop.signum, f"stopped in {where}", f"continue with: mixup-lab train {resume}")

    def _check_pruned(self) -> None:
        reason = None if self.trained else withdraw(self.run_dir)
        if reason is not None:
            self.checkpoint.save(self.run_dir, self.state)
            raise Pruned(f"ended after epoch {self.state.epoch} of {self.parts.settings.epochs}: {reason}")

    def _check_finite(self, losses: Tensor) -> None:
        bad = torch.nonzero(~torch.isfinite(losses))
        if len(bad):
            step, epoch = self.state.epoch * self.steps + int(bad[0]), self.state.epoch + 1
            lr = self._lr(self.parts.optimizer.param_groups[0], step)
            raise RunFailed(
                f"the loss is {float(losses[int(bad[0])])} at step {step + 1} (epoch {epoch}, learning rate {lr:g});"
                " try a smaller optimizer.lr, a warm-up or trainer.clip_grad_norm"
            )

    # ---- parts of an epoch ------------------------------------------------------------------------------------------

    def _lr(self, group: dict[str, Any], step: int) -> float:
        """The learning rate of a group of the optimizer at a step of the run."""
        factor = self.parts.schedule(step, self.steps * self.parts.settings.epochs, self.steps)
        return float(group["peak_lr"] * factor)

    def _picture(self, mixed: Mixed, plan: EpochPlan) -> np.ndarray:
        data, perm = self.parts.data, at_step(plan.mixing, 0).get("perm")
        partners = mixed.inputs[perm] if data.encode.tokens and perm is not None else None  # mixed inside the model
        return mixed_sheet(mixed, data.encode, data.kind, partners=partners)

    def _train_scalars(self, sums: dict[str, Tensor], factor: float) -> dict[str, float]:
        parts, scales = self.parts, self.parts.mix_schedule.scales
        return {
            "train/loss": float(sums["losses"].double().mean()),
            **parts.task.train_scalars(sums),
            "mix/alpha": parts.mixer.alpha * (factor if scales == "alpha" else 1.0),
            "mix/prob": parts.mixer.prob * (factor if scales == "prob" else 1.0),
            "mix/lam_mean": float(sums["lam"].double().mean()),
            "optim/lr": self._lr(parts.optimizer.param_groups[0], self.done_steps - 1),
        }

    def _evaluate(self) -> dict[str, float]:
        """Metrics of clean training examples and of val; the best weights on val are kept."""
        data, task, state = self.parts.data, self.parts.task, self.state
        scalars: dict[str, float] = {}
        splits = [("train_clean", data.clean, self.train_clean), ("val", data.val, None)]
        if data.clean is not data.train:  # the same examples, with the labels that it is trained on
            splits.append(("train_corrupted", data.train, self.train_clean))
        for name, split, positions in splits:
            metrics = self.evaluator.metrics(self.evaluator.observe(self.evaluated, split, positions))
            scalars |= {f"{name}/{key}": value for key, value in metrics.items()}
        value = scalars[f"val/{task.primary}"]
        gap = scalars[f"train_clean/{task.primary}"] - value
        state.gaps.append(gap if task.maximize else -gap)
        if state.best is None or (value > state.best["value"] if task.maximize else value < state.best["value"]):
            state.best, state.stale = {"value": value, "epoch": state.epoch + 1, "model": _copy(self.evaluated)}, 0
        else:
            state.stale += 1
            if self.parts.settings.early_stopping is not None and state.stale >= self.parts.settings.early_stopping:
                state.stopped = state.stopped or "early_stopping"
        return scalars

    # ---- the end ----------------------------------------------------------------------------------------------------

    def _finish(self, log: RunLog) -> dict[str, float]:
        """Test the last weights, which are the headline, and also the weights that were best on val."""
        data, task, state, evaluator = self.parts.data, self.parts.task, self.state, self.evaluator
        assert state.best is not None
        arrays: dict[str, np.ndarray] = {}
        for split in (data.val, data.test):
            kept = evaluator.observe(self.evaluated, split)
            arrays |= {f"{split.name}_{key}": values.cpu().numpy() for key, values in kept.items()}
            arrays[f"{split.name}_id"] = split.ids
            if split is data.test and split.groups is not None:
                arrays["test_group"] = split.groups
            state.scalars |= {f"{split.name}/{key}": value for key, value in evaluator.metrics(kept).items()}
            mistakes = task.mistakes(kept, data.kind.names, MISTAKES) if split is data.val else []
            if mistakes:
                answers = evaluator.answers(self.evaluated, split, np.array([i for i, _ in mistakes]))
                sheet = mistakes_sheet(split, mistakes, data.encode, data.kind, answers)
                log.picture("val/mistakes", sheet, self.done_steps)
        state.scalars |= {
            "val_best/epoch": float(state.best["epoch"]),
            f"val_best/val_{task.primary}": state.best["value"],
            f"val_best/test_{task.primary}": self._test_of_best(state.best),
        }
        state.scalars |= reference_scalars(self.parts)
        if self.parts.settings.save_predictions:
            log.predictions(arrays)
        for name, value in state.scalars.items():
            if not math.isfinite(value):
                raise RunFailed(f"{name} of the last weights is {value}")
        return state.scalars

    def _test_of_best(self, best: dict[str, Any]) -> float:
        """The primary metric on test of the weights that were best on val."""
        primary = self.parts.task.primary
        if best["epoch"] == self.state.epoch:
            return self.state.scalars[f"test/{primary}"]
        last = _copy(self.evaluated)
        self.evaluated.load_state_dict(best["model"])
        value = self.evaluator.metrics(self.evaluator.observe(self.evaluated, self.parts.data.test))[primary]
        self.evaluated.load_state_dict(last)
        return value


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
