"""All chance of one epoch, drawn before it begins, so that the step itself draws nothing and never waits.

Every array is a pure function of seed and epoch: a resumed epoch is drawn again and entered where it was left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixup_lab.data.transforms import Transform
from mixup_lab.mixing.mixer import Mixer
from mixup_lab.seeding import stream


@dataclass(frozen=True)
class EpochPlan:
    """S steps of B examples: positions in the training split, and the draws of transform and mixing."""

    order: np.ndarray  # (S, B) int64; the n - S * B examples left over are others in every epoch
    transform: dict[str, Tensor]  # (S, B, ...), on the training device
    mixing: dict[str, Tensor]  # (S, ...), on the training device

    @classmethod
    def draw(
        cls, seed: int, epoch: int, n: int, batch_size: int, transform: Transform, mixer: Mixer, device: torch.device
    ) -> EpochPlan:
        """Draw epoch number `epoch` (from 0) over `n` examples."""
        steps = n // batch_size
        order = stream(seed, "order", epoch).permutation(n)[: steps * batch_size].reshape(steps, batch_size)
        crops = transform.draw(stream(seed, "transform", epoch), steps, batch_size)
        mixing = mixer.draw(stream(seed, "mixing", epoch), steps, batch_size)
        return cls(order, _upload(crops, device), _upload(mixing, device))


def _upload(draws: dict[str, np.ndarray], device: torch.device) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array).to(device) for name, array in draws.items()}


def at_step(draws: dict[str, Tensor], step: int) -> dict[str, Tensor]:
    """The draws of one step: views, nothing is copied."""
    return {name: values[step] for name, values in draws.items()}
