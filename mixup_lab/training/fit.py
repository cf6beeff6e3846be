"""The training loop: read it from top to bottom."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mixup_lab.mixing.mixer import at_step, at_steps
from mixup_lab.runs.log import RunLog
from mixup_lab.runs.progress import Pace
from mixup_lab.seeding import stream, torch_seed
from mixup_lab.training.checkpoint import Checkpoint, State
from mixup_lab.training.device import Precision
from mixup_lab.training.evaluate import Evaluator
from mixup_lab.training.ingredients import Ingredients
from mixup_lab.training.pictures import mistakes_sheet, mixed_sheet
from mixup_lab.training.plan import EpochPlan
from mixup_lab.training.schedules import Schedule
from mixup_lab.training.step import train_step
from mixup_lab.training.stop import Pruned, StopRequest, withdraw
from mixup_lab.training.tally import Tally
from mixup_lab.types import Batch, Interrupted, Mixed, RunFailed, UserError

PREPARED = 2**23  # input values, at most, that are prepared together for several steps
MISTAKES = 9  # examples of val that are shown at the end
TRAIN_CLEAN = 2000  # examples of the training split, at most, that are evaluated as they are


@dataclass(frozen=True)
class Parts(Ingredients):
    """The objects that one run is made of."""

    optimizer: torch.optim.Optimizer
    schedule: Schedule
    fingerprint: str


class Fit:
    """One training: made from its parts, then `run`."""

    def __init__(self, parts: Parts, run_dir: Path) -> None:
        self.parts, self.run_dir = parts, run_dir
        settings, data, device = parts.settings, parts.data, parts.device
        self.steps = len(data.train.ids) // settings.batch_size
        if self.steps == 0:
            count = len(data.train.ids)
            raise UserError(
                f"trainer.batch_size={settings.batch_size} is larger than the training split ({count} examples)"
                f"; try trainer.batch_size={2 ** (max(1, count // 3).bit_length() - 1)}"
            )
        self.layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        self.precision = Precision(settings.precision, device)
        self.evaluator = Evaluator(parts.task, self.prepared, self.precision, settings.eval_batch_size)
        self.ema = (
            AveragedModel(
                parts.model,
                multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay),  # type: ignore[no-untyped-call]
                use_buffers=True,
            )
            if settings.ema_decay is not None
            else None
        )
        self.checkpoint = Checkpoint(
            parts.model, self.ema, parts.optimizer, self.precision, parts.fingerprint, data.digest, device
        )
        count = min(len(data.train.ids), TRAIN_CLEAN)
        self.train_clean = np.sort(stream(parts.seed, "train_clean").permutation(len(data.train.ids))[:count])
        self.state = State()
        torch.manual_seed(torch_seed(parts.seed, "dropout"))

    @property
    def evaluated(self) -> nn.Module:
        """The model that is evaluated: the moving average of the weights if there is one."""
        return self.ema.module if self.ema is not None else self.parts.model

    @property
    def trained(self) -> bool:
        """Whether training is over; the test may still be to come."""
        return self.state.epoch >= self.parts.settings.epochs or self.state.stopped is not None

    @property
    def done_steps(self) -> int:
        """Steps done since the start of the training."""
        return self.state.epoch * self.steps + self.state.step

    def resume(self) -> None:
        """Go on from the checkpoint in the run directory."""
        self.state = self.checkpoint.load(self.run_dir)

    def run(self, log: RunLog, stop: StopRequest) -> dict[str, float]:
        """Train to the end, test once, and return the final scalars.

        Args:
            log: is told everything.
            stop: is looked at between two steps.

        Raises:
            RunFailed: when a loss is not finite.
            Interrupted: after a signal; a checkpoint is saved first.
            Pruned: after an epoch, if the run directory has a file `stop`; a checkpoint is saved first.
        """
        settings, state = self.parts.settings, self.state
        withdraw(self.run_dir)  # it was meant for the run before it was resumed
        self.parts.model.train()
        while not self.trained:
            self._train_epoch(log, stop)
            if self.trained or (settings.checkpoint_every and state.epoch % settings.checkpoint_every == 0):
                self.checkpoint.save(self.run_dir, state)
            self._check_pruned()
        return self._finish(log)

    def _train_epoch(self, log: RunLog, stop: StopRequest) -> None:
        parts, settings, state = self.parts, self.parts.settings, self.state
        data, epoch = parts.data, state.epoch
        plan = self.plan(epoch)
        tally = Tally(parts.task, parts.device, state.tally)
        first, started, before, pace = state.step, time.perf_counter(), state.elapsed, Pace()

        for i, mixed in self.mixed(plan, first):
            self._check_stop(stop, tally)
            self.train_batch(mixed, i, tally)
            if epoch == 0 and i == 0:
                perm = at_step(plan.mixing, i).get("perm")
                partners = mixed.inputs[perm] if data.tokens and perm is not None else None  # mixed inside the model
                log.picture("mix/batch", mixed_sheet(mixed, data.encode, data.kind, partners=partners), step=0)

            state.step = i + 1
            seconds = time.perf_counter() - started
            state.elapsed = before + seconds
            if pace.due():
                log.step(epoch, i + 1, (i + 1 - first) * settings.batch_size / seconds)
            if settings.max_seconds is not None and state.elapsed >= settings.max_seconds:
                state.stopped = "max_seconds"
                break

        sums = tally.read()
        seconds = time.perf_counter() - started
        self._check_finite(sums["losses"], epoch)
        scalars = self._train_scalars(sums, float(plan.factor[state.step - 1]))
        if (state.step - first) > 0:
            scalars["time/samples_per_second"] = (state.step - first) * settings.batch_size / seconds
        if (epoch + 1) % settings.eval_every == 0 or epoch + 1 == settings.epochs or state.stopped:
            scalars |= self._evaluate(epoch)
        scalars["time/epoch_seconds"] = time.perf_counter() - started
        state.elapsed = before + scalars["time/epoch_seconds"]
        state.scalars |= scalars
        log.epoch(
            epoch + 1, epoch * self.steps + state.step, state.step * settings.batch_size, state.elapsed, scalars,
            lam=sums["lam"].numpy(),
            label_mass=(sums["label_mass"] / sums["label_mass"].sum()).numpy() if "label_mass" in sums else None,
        )  # fmt: skip
        state.epoch, state.step, state.tally = epoch + 1, 0, {}

    def plan(self, epoch: int) -> EpochPlan:
        """All chance of an epoch, from seed, epoch, and the gaps measured before it."""
        parts, gaps = self.parts, tuple(self.state.gaps)
        num_steps = self.steps * parts.settings.epochs
        return EpochPlan.draw(
            parts.seed,
            epoch,
            parts.data.train.target,
            parts.settings.batch_size,
            parts.transform,
            parts.mixer,
            lambda step: parts.mix_schedule(step, num_steps, self.steps, gaps),
            parts.mix_schedule.scales,
            parts.device,
            parts.data.train.lengths,
        )

    def batches(self, plan: EpochPlan, first: int) -> Iterator[tuple[int, Batch]]:
        """Number and batch of each step of an epoch from number `first` on, transformed, ready to be mixed."""
        size = self.parts.settings.batch_size
        for start, batch in self._prepared_together(plan, first):
            pairs = zip(torch.split(batch.inputs, size), torch.split(batch.target, size), strict=True)
            for i, (inputs, target) in enumerate(pairs, start):
                yield i, Batch(inputs if inputs.dim() == 2 else self.prepared(inputs), target)

    def mixed(self, plan: EpochPlan, first: int) -> Iterator[tuple[int, Mixed]]:
        """Number and mixed batch of each step, likewise. Rows of a table are mixed several steps at a time, too."""
        mixer, size = self.parts.mixer, self.parts.settings.batch_size
        if len(self.parts.data.input_shape) > 1 or not mixer.by_example:
            for i, batch in self.batches(plan, first):
                yield i, mixer.apply(batch, at_step(plan.mixing, i))
            return
        for start, batch in self._prepared_together(plan, first):
            steps = len(batch.target) // size
            mixed = mixer.apply(batch, at_steps(plan.mixing, start, start + steps))
            yield from enumerate(mixed.pieces(steps), start)

    def _prepared_together(self, plan: EpochPlan, first: int) -> Iterator[tuple[int, Batch]]:
        """Batches of several steps in one, which spares the fixed cost of many small operations; number of the first.

        Transforms look at one example only, so the batches are the same. Batches of their own length come one by one.
        """
        data, size = self.parts.data, self.parts.settings.batch_size
        several = max(1, PREPARED // (size * math.prod(data.input_shape)))
        group = several if data.train.lengths is None else 1
        starts = range(first, self.steps, group)
        raws = data.train.batches([plan.order[start : start + group].reshape(-1) for start in starts])
        for start, raw in zip(starts, raws, strict=True):
            draw = {name: values[start : start + group].flatten(0, 1) for name, values in plan.transform.items()}
            inputs, target = self.parts.transformed(raw, draw)
            yield start, Batch(self.prepared(inputs) if inputs.dim() == 2 else inputs, target)

    def train_batch(self, mixed: Mixed, i: int, tally: Tally) -> None:
        """Train on mixed batch number `i` of the epoch."""
        parts, settings = self.parts, self.parts.settings
        self._set_lr(self.state.epoch * self.steps + i)
        loss, output = train_step(
            parts.model,
            parts.task,
            parts.optimizer,
            mixed,
            self.precision,
            settings.accumulate,
            settings.clip_grad_norm,
        )
        if self.ema is not None:
            self.ema.update_parameters(parts.model)
        tally.add(loss, output, mixed)

    def prepared(self, inputs: Tensor) -> Tensor:
        """From a stored batch to what the model takes. Arithmetic by channel is faster before the new layout."""
        inputs = self.parts.data.encode(inputs)
        return inputs.contiguous(memory_format=self.layout) if inputs.dim() == 4 else inputs

    def _set_lr(self, step: int) -> float:
        factor = self.parts.schedule(step, self.steps * self.parts.settings.epochs, self.steps)
        for group in self.parts.optimizer.param_groups:
            group["lr"] = group.setdefault("peak_lr", group["lr"]) * factor
        return float(self.parts.optimizer.param_groups[0]["lr"])

    def _check_stop(self, stop: StopRequest, tally: Tally) -> None:
        if stop.signum is None:
            return
        self.state.tally = tally.state()
        self.checkpoint.save(self.run_dir, self.state)
        resume = shlex.quote(f"resume={self.run_dir}")
        where = f"epoch {self.state.epoch + 1}, step {self.state.step} of {self.steps}"
        raise Interrupted(stop.signum, f"stopped in {where}; go on with: mixup-lab train {resume}")

    def _check_pruned(self) -> None:
        reason = None if self.trained else withdraw(self.run_dir)
        if reason is not None:
            self.checkpoint.save(self.run_dir, self.state)
            raise Pruned(f"ended after epoch {self.state.epoch} of {self.parts.settings.epochs}: {reason}")

    def _check_finite(self, losses: Tensor, epoch: int) -> None:
        bad = torch.nonzero(~torch.isfinite(losses))
        if len(bad):
            step = epoch * self.steps + int(bad[0])
            lr = self._set_lr(step)
            raise RunFailed(
                f"the loss is {float(losses[int(bad[0])])} at step {step + 1} (epoch {epoch + 1}, learning rate {lr:g})"
                "; try a smaller optimizer.lr, a warm-up or trainer.clip_grad_norm"
            )

    def _train_scalars(self, sums: dict[str, Tensor], factor: float) -> dict[str, float]:
        parts, scales = self.parts, self.parts.mix_schedule.scales
        return {
            "train/loss": float(sums["losses"].double().mean()),
            **parts.task.train_scalars(sums),
            "mix/alpha": parts.mixer.alpha * (factor if scales == "alpha" else 1.0),
            "mix/prob": getattr(parts.mixer, "prob", 1.0) * (factor if scales == "prob" else 1.0),
            "mix/lam_mean": float(sums["lam"].double().mean()),
            "optim/lr": float(parts.optimizer.param_groups[0]["lr"]),
        }

    def _evaluate(self, epoch: int) -> dict[str, float]:
        data, task, state = self.parts.data, self.parts.task, self.state
        scalars: dict[str, float] = {}
        for name, split, positions in (("train_clean", data.train, self.train_clean), ("val", data.val, None)):
            metrics = self.evaluator.metrics(self.evaluator.observe(self.evaluated, split, positions))
            scalars |= {f"{name}/{key}": value for key, value in metrics.items()}
        value = scalars[f"val/{task.primary}"]
        gap = scalars[f"train_clean/{task.primary}"] - value
        state.gaps.append(gap if task.maximize else -gap)
        if state.best is None or (value > state.best["value"] if task.maximize else value < state.best["value"]):
            weights = {name: tensor.clone() for name, tensor in self.evaluated.state_dict().items()}
            state.best, state.stale = {"value": value, "epoch": epoch + 1, "model": weights}, 0
        else:
            state.stale += 1
            if self.parts.settings.early_stopping is not None and state.stale >= self.parts.settings.early_stopping:
                state.stopped = state.stopped or "early_stopping"
        return scalars

    def _finish(self, log: RunLog) -> dict[str, float]:
        """Test the last weights, which are the headline, and the weights that were best on val beside them."""
        data, task, state, evaluator = self.parts.data, self.parts.task, self.state, self.evaluator
        assert state.best is not None
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        for name, split in (("val", data.val), ("test", data.test)):
            kept = evaluator.observe(self.evaluated, split)
            arrays |= {f"{name}_{key}": values.cpu().numpy() for key, values in kept.items()}
            arrays[f"{name}_id"] = split.ids
            metrics = evaluator.metrics(kept)
            if name == "val" and (found := task.mistakes(kept, data.class_names, MISTAKES)):
                said = evaluator.said(self.evaluated, split, np.array([i for i, _ in found]))
                log.picture("val/mistakes", mistakes_sheet(split, found, data.encode, data.kind, said), self.done_steps)
            state.scalars |= {f"{name}/{key}": value for key, value in metrics.items()}
        best_test = state.scalars[f"test/{task.primary}"]
        if state.best["epoch"] != state.epoch:
            last = {name: tensor.clone() for name, tensor in self.evaluated.state_dict().items()}
            self.evaluated.load_state_dict(state.best["model"])
            best_test = evaluator.metrics(evaluator.observe(self.evaluated, data.test))[task.primary]
            self.evaluated.load_state_dict(last)
        state.scalars |= {
            "val_best/epoch": float(state.best["epoch"]),
            f"val_best/val_{task.primary}": state.best["value"],
            f"val_best/test_{task.primary}": best_test,
        }
        if self.parts.settings.save_predictions:
            log.predictions(arrays)
        for name, value in state.scalars.items():
            if not math.isfinite(value):
                raise RunFailed(f"{name} of the last weights is {value}")
        return state.scalars
