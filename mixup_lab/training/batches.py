"""The mixed batches of a run, for the training loop and for preview.

All random numbers of an epoch are drawn before it begins, so a step draws none and never waits for the device. Every
array is a pure function of seed and epoch: a resumed epoch is drawn again and entered where it was left.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.mixer import Request, at_step, at_steps, upload
from mixup_lab.seeding import stream
from mixup_lab.training.ingredients import Ingredients
from mixup_lab.types import Batch, Mixed, UserError

SORTED = 50  # batches that are sorted by length together
TOGETHER = 2**23  # input values, at most, that are transformed together for several steps


@dataclass(frozen=True)
class EpochPlan:
    """S steps of B examples: positions in the training split, and the draws of transform and mixing."""

    order: np.ndarray  # (S, B) int64; the n - S * B examples left over differ from epoch to epoch
    transform: dict[str, Tensor]  # (S, B, ...), on the training device
    mixing: dict[str, Any]  # (S, B, ...) on the training device, (S,) on the host
    factor: np.ndarray  # (S,) of alpha or prob, by the schedule of mixing


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
        """All random numbers of epoch number `epoch`, from 0; an adaptive schedule of mixing follows `gaps`."""
        parts, size = self.parts, self.size
        train, schedule = parts.data.train, parts.mix_schedule
        rng = stream(parts.seed, "order", epoch)
        order = rng.permutation(len(train))[: self.steps * size].reshape(self.steps, size)
        if train.lengths is not None:
            order = alike(order, train.lengths, rng)
        crops = parts.transform.draw(stream(parts.seed, "transform", epoch), self.steps, size)
        num_steps, first = self.steps * parts.settings.epochs, self.steps * epoch
        factor = np.array([schedule(first + i, num_steps, self.steps, gaps) for i in range(self.steps)])
        targets = train.target[order] if parts.mixer.needs_labels else None  # masks are large
        shape = parts.data.input_shape
        request = Request(self.steps, size, targets, shape, **{f"scale_{schedule.scales}": factor})
        mixing = parts.mixer.draw(stream(parts.seed, "mixing", epoch), request)
        return EpochPlan(order, upload(crops, parts.device), upload(mixing, parts.device), factor)

    def mixed(self, plan: EpochPlan, first: int = 0) -> Iterator[tuple[int, Mixed]]:
        """Number and mixed batch of each step of an epoch, from number `first` on."""
        mixer = self.parts.mixer
        if not (self.parts.data.encode.together and mixer.by_example):
            for step, batch in self.ready(plan, first):
                yield step, mixer.apply(batch, at_step(plan.mixing, step))
            return
        for step, batch in self._transformed(plan, first):  # rows of a table: also mixed several steps at a time
            steps = len(batch.target) // self.size
            mixed = mixer.apply(batch, at_steps(plan.mixing, step, step + steps))
            yield from enumerate(mixed.pieces(steps), step)

    def ready(self, plan: EpochPlan, first: int = 0) -> Iterator[tuple[int, Batch]]:
        """Number and batch of each step likewise: transformed and encoded, ready to be mixed."""
        together = self.parts.data.encode.together
        for start, batch in self._transformed(plan, first):
            pairs = zip(torch.split(batch.inputs, self.size), torch.split(batch.target, self.size), strict=True)
            for step, (inputs, target) in enumerate(pairs, start):
                yield step, Batch(inputs if together else self.parts.encoded(inputs), target)

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
