"""The objects that mixed batches are made of: a run without what learns from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from mixup_lab.data.prepare import Data
from mixup_lab.data.transforms import Transform
from mixup_lab.mixing.mixer import Mixer
from mixup_lab.mixing.schedules import MixSchedule
from mixup_lab.tasks.task import Task
from mixup_lab.training.settings import TrainerSettings


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
