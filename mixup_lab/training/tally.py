"""What is summed over the steps of an epoch: on the device, read once at its end."""

from __future__ import annotations

import torch
from torch import Tensor

from mixup_lab.tasks.classification import Classification
from mixup_lab.types import Mixed


class Tally:
    """Loss of every step, lam of every example, and the task's sums.

    Args:
        task: says what is summed.
        steps, batch_size: of the whole epoch.
        device: where the sums are kept.
        sums: those of the part of the epoch that was trained before a resume.
    """

    def __init__(
        self, task: Classification, steps: int, batch_size: int, device: torch.device, sums: dict[str, Tensor]
    ) -> None:
        self.task = task
        self.sums = {name: value.to(device) for name, value in sums.items()}
        self.sums.setdefault("losses", torch.zeros(steps, device=device))
        self.sums.setdefault("lam", torch.ones(steps, batch_size, device=device))

    def add(self, step: int, loss: Tensor, output: Tensor, mixed: Mixed) -> None:
        """Count step number `step` of the epoch."""
        self.sums["losses"][step] = loss
        self.sums["lam"][step] = mixed.lam if mixed.lam.dim() == 1 else mixed.lam.flatten(1).mean(1)
        for name, value in self.task.train_sums(output, mixed).items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def read(self, steps: int) -> dict[str, Tensor]:
        """The sums of the first `steps` steps on the CPU: the one synchronisation of an epoch."""
        read = {name: value.cpu() for name, value in self.sums.items()}
        return read | {"losses": read["losses"][:steps], "lam": read["lam"][:steps]}
