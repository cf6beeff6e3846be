"""The mixed batches of a run, for the training loop and for preview.

All random numbers of an epoch are drawn before it begins, so a step draws none and never waits for the device. Every
array is a pure function of seed and epoch: a resumed epoch is drawn again and entered where it was left.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from mixup_lab.mixing.mixer import Draw, Request, at_step, at_steps, upload
from mixup_lab.seeding import stream
from mixup_lab.training.ingredients import Ingredients
from mixup_lab.types import Batch, Mixed, UserError

SORTED = 50  # batches that are sorted by length together
TOGETHER = 2**23  # input values, at most, that are transformed together for several steps


@dataclass(frozen=True)
class EpochPlan:
    """S steps of B examples: positions in the training split, and the draws of transform and mixing."""

    order: np.ndarray  # (S, B) int64; the n - S * B examples left over differ from epoch to epoch
    transform: dict[str, Any]  # (S, B, ...)
    mixing: dict[str, Any]  # (S, ...)
    factor: np.ndarray  # (S,) of alpha or prob, by the schedule of mixing

    def to(self, device: torch.device) -> EpochPlan:
        """The plan with its draws on the training device; numbers of mixing, (S,), stay on the host."""
        return replace(self, transform=upload(self.transform, device), mixing=upload(self.mixing, device))


class Prepared(NamedTuple):
    """A batch before it is encoded and mixed, and the draw that mixes it, on one device."""

    batch: Batch
    draw: Draw


class Batches:
    """Makes every batch of a run: order, transform, encoding, mixing.

    Args:
        parts: data, transform, mixer and its schedule, settings, device and seed.

    Raises:
        UserError: if the training split is smaller than one batch.
    """

    def __init__(self, parts: Ingredients) -> None:
        self.parts = parts
        self.size: int = parts.settings.batch_size
        count = len(parts.data.train)
        self.steps: int = count // self.size  # of an epoch
        if self.steps == 0:
            raise UserError(
                f"trainer.batch_size={self.size} is larger than the training split ({count} examples)"
                f"; try trainer.batch_size={2 ** (max(1, count // 3).bit_length() - 1)}"
            )

    def plan(self, epoch: int, gaps: Sequence[float] = ()) -> EpochPlan:
        """All random numbers of epoch number `epoch`, from 0, on the training device."""
        return self.draw(epoch, self.factor(epoch, gaps)).to(self.parts.device)

    def factor(self, epoch: int, gaps: Sequence[float] = ()) -> np.ndarray:
        """The factor (S,) of alpha or prob in an epoch; an adaptive schedule of mixing follows `gaps`."""
        num_steps, first = self.steps * self.parts.settings.epochs, self.steps * epoch
        return np.array([self.parts.mix_schedule(first + i, num_steps, self.steps, gaps) for i in range(self.steps)])

    def draw(self, epoch: int, factor: np.ndarray) -> EpochPlan:
        """The plan of an epoch with NumPy arrays: a function of the seed, the epoch and the factor alone."""
        parts, size = self.parts, self.size
        train, schedule = parts.data.train, parts.mix_schedule
        rng = stream(parts.seed, "order", epoch)
        order = rng.permutation(len(train))[: self.steps * size].reshape(self.steps, size)
        if train.lengths is not None:
            order = alike(order, train.lengths, rng)
        crops = parts.transform.draw(stream(parts.seed, "transform", epoch), self.steps, size)
        targets = train.target[order] if parts.mixer.needs_labels else None  # masks are large
        shape = parts.data.input_shape
        request = Request(self.steps, size, targets, shape, **{f"scale_{schedule.scales}": factor})
        mixing = parts.mixer.draw(stream(parts.seed, "mixing", epoch), request)
        return EpochPlan(order, crops, mixing, factor)

    def mixed(self, plan: EpochPlan, first: int = 0) -> Iterator[tuple[int, Mixed]]:
        """Number and mixed batch of each step of an epoch, from number `first` on."""
        mixer = self.parts.mixer
        if not (self.parts.data.encode.together and mixer.by_example):
            for step, prepared in self.prepared(plan, first):
                yield step, self.mix(prepared)
            return
        for step, batch in self._transformed(plan, first):  # rows of a table: also mixed several steps at a time
            steps = len(batch.target) // self.size
            mixed = mixer.apply(batch, at_steps(plan.mixing, step, step + steps))
            yield from enumerate(mixed.pieces(steps), step)

    def prepared(self, plan: EpochPlan, first: int = 0) -> Iterator[tuple[int, Prepared]]:
        """Number and batch of each step likewise: transformed, but neither encoded nor mixed."""
        for start, batch in self._transformed(plan, first):
            pairs = zip(torch.split(batch.inputs, self.size), torch.split(batch.target, self.size), strict=True)
            for step, (inputs, target) in enumerate(pairs, start):
                yield step, Prepared(Batch(inputs, target), at_step(plan.mixing, step))

    def encoded(self, batch: Batch) -> Batch:
        """A prepared batch, ready to be mixed."""
        return batch if self.parts.data.encode.together else Batch(self.parts.encoded(batch.inputs), batch.target)

    def mix(self, prepared: Prepared) -> Mixed:
        """Encode and mix: operations on the device alone."""
        return self.parts.mixer.apply(self.encoded(prepared.batch), prepared.draw)

    def stored(self, plan: EpochPlan, step: int) -> Batch:
        """The batch of one step as it is stored, before its transform."""
        (batch,) = self.parts.data.train.batches([plan.order[step]])
        return batch

    def _transformed(self, plan: EpochPlan, first: int) -> Iterator[tuple[int, Batch]]:
        """Several steps in one batch, with the number of the first: this saves many small operations.

        A transform looks at one example only, so the result is the same. Batches of different lengths come one by one.
        """
        data = self.parts.data
        several = max(1, TOGETHER // (self.size * math.prod(data.input_shape))) if data.train.lengths is None else 1
        starts = range(first, self.steps, several)
        stored = data.train.batches([plan.order[start : start + several].reshape(-1) for start in starts])
        for start, batch in zip(starts, stored, strict=True):
            draw = {name: values[start : start + several].flatten(0, 1) for name, values in plan.transform.items()}
            inputs, target = self.parts.transformed(batch, draw)
            yield start, Batch(self.parts.encoded(inputs) if data.encode.together else inputs, target)


class Plans:
    """The plans of a run. With `ahead` a thread draws that of the next epoch while this one trains.

    Drawing may take as long as some steps, which a GPU would spend waiting. Nothing is forked meanwhile on a CPU.
    """

    def __init__(self, batches: Batches, epochs: int, ahead: bool) -> None:
        self._batches, self._epochs = batches, epochs
        self._thread = ThreadPoolExecutor(1, "plan") if ahead else None
        self._next: tuple[int, Future[EpochPlan]] | None = None

    def get(self, epoch: int, gaps: Sequence[float]) -> EpochPlan:
        """The plan of an epoch, as `Batches.plan` makes it."""
        factor = self._batches.factor(epoch, gaps)
        drawn = self._next[1].result() if self._next is not None and self._next[0] == epoch else None
        if drawn is None or not np.array_equal(drawn.factor, factor):  # the gap has changed an adaptive schedule
            drawn = self._batches.draw(epoch, factor)
        if self._thread is not None and epoch + 1 < self._epochs:
            following = self._batches.factor(epoch + 1, gaps)
            self._next = epoch + 1, self._thread.submit(self._batches.draw, epoch + 1, following)
        return drawn.to(self._batches.parts.device)

    def close(self) -> None:
        """Draw no more; a run may end in the middle of an epoch."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)


def alike(order: np.ndarray, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Batches of similar lengths, each example once as before.

    Chunks of SORTED batches are sorted by length, cut into batches again, and all batches shuffled. So a batch needs
    little padding, and differs from epoch to epoch. Mixup mixes within a batch: partners have similar lengths too.

    Args:
        order: (S, B) positions in random order.
        lengths: (n,) of all positions.
        rng: shuffles the batches.
    """
    chunks = [order[start : start + SORTED].reshape(-1) for start in range(0, len(order), SORTED)]
    by_length = np.concatenate([chunk[np.argsort(lengths[chunk], kind="stable")] for chunk in chunks])
    return rng.permutation(by_length.reshape(order.shape))
