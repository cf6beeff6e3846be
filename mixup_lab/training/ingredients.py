"""The objects that mixed batches are made of: a run without what learns from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mixup_lab.data.prepare import Data
from mixup_lab.mixing.mixer import Mixer
from mixup_lab.mixing.schedules import MixSchedule
from mixup_lab.targets.kinds import Boxes, Pixels
from mixup_lab.targets.task import Task
from mixup_lab.training.settings import TrainerSettings
from mixup_lab.transforms.transform import Transform
from mixup_lab.types import Batch


@dataclass(frozen=True)
class Ingredients:
    """Enough to make every batch of a run; the model is here because some methods of mixing ask it."""

    data: Data
    task: Task
    model: nn.Module
    transform: Transform
    mixer: Mixer
    mix_schedule: MixSchedule
    settings: TrainerSettings
    device: torch.device
    seed: int

    def transformed(self, stored: Batch, draw: dict[str, Tensor]) -> Batch:
        """A stored batch after the transform, which moves masks and boxes as it moves their pictures."""
        target = stored.target
        if isinstance(self.data.kind, Pixels):
            target = self.transform.apply_mask(target, draw)  # type: ignore[attr-defined]  # asked for in `assemble`
        elif isinstance(self.data.kind, Boxes):
            target = self.transform.apply_boxes(target, draw, self.data.input_shape)  # type: ignore[attr-defined]
        return Batch(self.transform.apply(stored.inputs, draw), target)
