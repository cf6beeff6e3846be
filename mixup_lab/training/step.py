"""The training step: one mixed batch, one formula, one update. Static shapes, no wait for the device."""

import torch
from torch import Tensor, nn

from mixup_lab.targets.target import Task
from mixup_lab.training.device import Precision
from mixup_lab.types import Mixed, like


def train_step(
    model: nn.Module,
    task: Task,
    optimizer: torch.optim.Optimizer,
    mixed: Mixed,
    precision: Precision,
    accumulate: int = 1,
    clip_grad_norm: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Forward, loss, backward, update; the same for every method, since the baseline is lam = 1.

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
        scores = task.normalize(output)  # the part that the losses of both labels share, such as the softmax
        own = task.element_loss(scores, piece.target)  # L(output, own): (B,), or (B, H, W) with a label for each pixel
        partner = task.element_loss(scores, piece.partner)  # L(output, partner)
        each = torch.lerp(partner, own, like(piece.lam, own))  # lam * L(output, own) + (1 - lam) * L(output, partner)
        loss = piece.weighted(each).mean()
        if accumulate > 1:
            loss = loss * (len(piece.lam) / len(mixed.lam))
        precision.scale(loss).backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
        outputs.append(output.detach())
    precision.step(optimizer, model, clip_grad_norm)
    if accumulate == 1:
        return losses[0], outputs[0]
    return torch.stack(losses).sum(), torch.cat(outputs)
