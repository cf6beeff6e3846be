"""The training step: one mixed batch, one formula, one update. Static shapes, no host synchronisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mixup_lab.targets.task import Task
from mixup_lab.training.device import Precision
from mixup_lab.types import Mixed


def train_step(
    model: nn.Module,
    task: Task,
    optimizer: torch.optim.Optimizer,
    mixed: Mixed,
    precision: Precision,
    accumulate: int = 1,
    clip_grad_norm: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Forward, loss, backward, update.

    The loss is mean(lam * L(output, own) + (1 - lam) * L(output, partner)) for every arm; the baseline has lam = 1.
    With `accumulate` the batch, mixed as a whole, is cut into pieces to save memory; the gradient is the same (batch
    norms see each piece alone).

    Returns:
        The loss that was optimized, () float32, and the outputs (B, ...), both detached and still on the device.
    """
    optimizer.zero_grad(set_to_none=True)
    losses, outputs = [], []
    for piece in mixed.pieces(accumulate) if accumulate > 1 else [mixed]:
        with precision.autocast():
            output = model(piece.inputs)
        output = output.float()
        each = piece.loss(*_criterion(task, output))  # (B,), or (B, H, W): every pixel counts alike
        loss = each.mean() if accumulate == 1 else each.mean() * (len(each) / len(mixed.lam))
        precision.scale(loss).backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
        outputs.append(output.detach())
    precision.step(optimizer, model, clip_grad_norm)
    if accumulate == 1:
        return losses[0], outputs[0]
    return torch.stack(losses).sum(), torch.cat(outputs)


def _criterion(task: Task, output: Tensor) -> tuple[Callable[[Tensor, Tensor], Tensor], Tensor]:
    """The loss, and what it is of."""
    if hasattr(task, "normalize") and hasattr(task, "normalized_loss"):
        return task.normalized_loss, task.normalize(output)
    return task.loss, output
