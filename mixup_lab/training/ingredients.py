"""The objects that mixed batches are made of: a run without its optimizer."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mixup_lab.data.prepare import Data
from mixup_lab.mixing.mixer import Mixer
from mixup_lab.mixing.schedules import MixSchedule
from mixup_lab.targets.target import Task
from mixup_lab.training.settings import TrainerSettings
from mixup_lab.transforms.transform import Transform
from mixup_lab.types import Batch


@dataclass(frozen=True)
class Ingredients:
    """Enough to make every batch of a run; the model is here because some mixing methods use it."""

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
        """A stored batch after the transform; targets with a place in the picture move with it."""
        target = self.data.kind.move(stored.target, self.transform, draw, self.data.input_shape)
        return Batch(self.transform.apply(stored.inputs, draw), target)

    def encoded(self, inputs: Tensor) -> Tensor:
        """Encode a stored batch for the model. Arithmetic by channel is faster before the layout changes."""
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        inputs = self.data.encode(inputs)
        return inputs.contiguous(memory_format=layout) if self.data.encode.planar else inputs
