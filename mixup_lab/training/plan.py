"""All chance of one epoch, drawn before it begins, so that the step itself draws nothing and never waits.

Every array is a pure function of seed and epoch: a resumed epoch is drawn again and entered where it was left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.mixer import Mixer, upload
from mixup_lab.seeding import stream
from mixup_lab.transforms.transform import Transform

SORTED = 50  # batches that are sorted by length together


@dataclass(frozen=True)
class EpochPlan:
    """S steps of B examples: positions in the training split, and the draws of transform and mixing."""

    order: np.ndarray  # (S, B) int64; the n - S * B examples left over are others in every epoch
    transform: dict[str, Tensor]  # (S, B, ...), on the training device
    mixing: dict[str, Any]  # (S, B, ...) on the training device, (S,) on the host
    factor: np.ndarray  # (S,) of alpha or prob, by the schedule of mixing

    @classmethod
    def draw(
        cls,
        seed: int,
        epoch: int,
        targets: np.ndarray,
        batch_size: int,
        transform: Transform,
        mixer: Mixer,
        schedule: Callable[[int], float],
        scales: str,
        device: torch.device,
        lengths: np.ndarray | None = None,
    ) -> EpochPlan:
        """Draw one epoch.

        Args:
            seed: of the run.
            epoch: its number, from 0.
            targets: (n, ...) of all training examples.
            batch_size: B.
            transform: draws for each example.
            mixer: draws for each batch.
            schedule: the factor of mixing at a step of the training, counted from 0.
            scales: what it multiplies, `alpha` or `prob`.
            device: where the draws are to be.
            lengths: (n,) of all training examples, where they have some: batches are of similar lengths.
        """
        n = len(targets)
        steps = n // batch_size
        chance = stream(seed, "order", epoch)
        order = chance.permutation(n)[: steps * batch_size].reshape(steps, batch_size)
        if lengths is not None:
            order = alike(order, lengths, chance)
        crops = transform.draw(stream(seed, "transform", epoch), steps, batch_size)
        factor = np.array([schedule(epoch * steps + i) for i in range(steps)])
        chance = stream(seed, "mixing", epoch)
        known = targets[order] if mixer.needs_labels else None  # masks are large
        mixing = mixer.draw(chance, steps, batch_size, targets=known, **{f"scale_{scales}": factor})
        return cls(order, upload(crops, device), upload(mixing, device), factor)


def alike(order: np.ndarray, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Batches of similar lengths, each example once as before.

    Chunks of SORTED batches are sorted by length, cut into batches again, and all batches shuffled. So a batch needs
    little padding, and is another one in each epoch. Mixup mixes within a batch: partners have similar lengths too.

    Args:
        order: (S, B) positions in random order.
        lengths: (n,) of all positions.
        rng: shuffles the batches.
    """
    chunks = [order[start : start + SORTED].reshape(-1) for start in range(0, len(order), SORTED)]
    by_length = np.concatenate([chunk[np.argsort(lengths[chunk], kind="stable")] for chunk in chunks])
    return rng.permutation(by_length.reshape(order.shape))
