"""Sums over the steps of an epoch: kept on the device, read once at its end."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mixup_lab.targets.target import Task
from mixup_lab.types import Mixed

STEPS = 128  # summed together, at most: many small operations would be slow
ELEMENTS = 2**20  # outputs summed together, at most, unless one step has more


class Tally:
    """Loss of every step, lam of every example, and the task's sums.

    Steps are summed in groups whose borders depend on the size of the outputs alone, so that an epoch that was cut and
    resumed adds up the same numbers in the same order.

    Args:
        task: defines the sums.
        device: where the sums are kept.
        state: from `state()`, for the part of the epoch that was trained before a resume; else empty.
    """

    def __init__(self, task: Task, device: torch.device, state: dict[str, Any]) -> None:
        self.task = task
        self.sums: dict[str, Tensor] = {name: value.to(device) for name, value in state.get("sums", {}).items()}
        self.kept: dict[str, list[Tensor]] = {  # values that are not summed, in parts
            name: [value.to(device) for value in parts] for name, parts in state.get("kept", {}).items()
        }
        self.pending: list[tuple[Tensor, ...]] = [
            tuple(tensor.to(device) for tensor in step) for step in state.get("pending", [])
        ]

    @staticmethod
    def check(state: dict[str, Any], steps: int) -> None:
        """Raise ValueError unless this is a state after so many steps, {} after none."""
        kept, pending = state.get("kept", {}), state.get("pending", [])
        tensors = [*state.get("sums", {}).values(), *(part for parts in kept.values() for part in parts)]
        tensors += [tensor for step in pending for tensor in step]
        if not all(isinstance(tensor, Tensor) for tensor in tensors):
            raise ValueError("tally must hold tensors")
        counted = sum(len(part) for part in kept.get("losses", [])) + len(pending)
        if counted != steps or any(len(step) != 5 for step in pending):
            raise ValueError(f"tally counts {counted} steps instead of {steps}")

    def add(self, loss: Tensor, output: Tensor, mixed: Mixed) -> None:
        """Count one step."""
        self.pending.append((loss, output, mixed.target, mixed.partner, mixed.lam))
        if len(self.pending) >= min(STEPS, max(1, ELEMENTS // output.numel())):
            self._sum_up()

    def state(self) -> dict[str, Any]:
        """The state that a checkpoint keeps, so that counting can continue."""
        return {"sums": self.sums, "kept": self.kept, "pending": self.pending}

    def read(self) -> dict[str, Tensor]:
        """All sums on the CPU: the one synchronisation of an epoch."""
        self._sum_up()
        read = self.sums | {name: torch.cat(parts) for name, parts in self.kept.items()}
        return {name: value.cpu() for name, value in read.items()}

    def _sum_up(self) -> None:
        if not self.pending:
            return
        losses, *parts, lams = zip(*self.pending, strict=True)
        # A single part, which may be large, is not copied.
        joined = (part[0] if len(part) == 1 else torch.cat(list(part)) for part in (*parts, _alike(lams)))
        output, target, partner, lam = joined
        self.pending = []
        shares = lam if lam.dim() == 1 else lam.flatten(1).mean(1)
        for name, values in (("losses", torch.stack(losses)), ("lam", shares)):
            self.kept.setdefault(name, []).append(values)
        for name, value in self.task.train_sums(output, target, partner, lam).items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value


def _alike(lams: Sequence[Tensor]) -> list[Tensor]:
    """If some steps have a lam for each pixel, repeat the lam of the other steps for each pixel."""
    pixels = max((lam.shape[1:] for lam in lams), key=len)
    return [lam if lam.shape[1:] == pixels else lam.reshape(-1, *[1] * len(pixels)).expand(-1, *pixels) for lam in lams]
