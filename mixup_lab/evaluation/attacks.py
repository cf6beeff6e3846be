"""Gradient attacks: small changes of the inputs that make a model wrong.

B: examples in a batch, `...`: the shape of one input, C: classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mixup_lab.evaluation.looks import Units
from mixup_lab.types import like

REACH = 2.5  # steps of PGD together, in radii (Madry et al., 2018, for L2): enough to cross the ball


@dataclass(frozen=True)
class Ball:
    """All changes (B, ...) whose norm is at most `eps`, in the units of the inputs as they are stored.

    Args:
        norm: `linf`, the largest change of one value; `l2`, the root of the sum of the squared changes.
        eps: the radius, >= 0.
    """

    norm: str
    eps: float

    def direction(self, gradient: Tensor) -> Tensor:
        """The change of norm 1 along which a linear function with this gradient (B, ...) increases most."""
        if self.norm == "linf":
            return gradient.sign()
        flat = gradient.flatten(1)
        # Divided by the largest value first: squares of tiny gradients would vanish.
        largest = flat.abs().amax(1)
        flat = flat / largest.where(largest > 0, 1.0).unsqueeze(1)
        length: Tensor = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
        return (flat / length.where(length > 0, 1.0)).view_as(gradient)

    def project(self, delta: Tensor) -> Tensor:
        """The nearest point of the ball."""
        if self.norm == "linf":
            return delta.clamp(-self.eps, self.eps)
        length = torch.linalg.vector_norm(delta.flatten(1), dim=1)
        return delta * like((self.eps / length.where(length > 0, 1.0)).clamp(max=1.0), delta)

    def draw(self, rng: np.random.Generator, like_inputs: Tensor) -> Tensor:
        """Uniform random points of the ball, one for each input (B, ...)."""
        shape = tuple(like_inputs.shape)
        if self.norm == "linf":
            points = rng.uniform(-1, 1, shape)
        else:
            points = rng.standard_normal(shape).reshape(shape[0], -1)
            radius = rng.random((shape[0], 1)) ** (1 / points.shape[1])
            points = (points / np.linalg.norm(points, axis=1, keepdims=True) * radius).reshape(shape)
        return torch.from_numpy(np.float32(self.eps) * points.astype(np.float32)).to(like_inputs.device)


class Attacked(NamedTuple):
    """The outcome for a batch."""

    right: Tensor  # (B,) bool: whether the model is right at every point that was tried, the example itself included
    delta: Tensor  # (B, ...) the change with the largest loss


def surplus(outputs: Tensor, target: Tensor) -> Tensor:
    """log((1 - p) / p) of the probability p of the true class, (B,), from logits (B, C).

    It increases with the cross-entropy, and its gradient has the same direction. But it does not vanish where a model
    is certain: there the gradient of the cross-entropy is rounded to 0, and the model would seem robust.
    """
    own = outputs.gather(1, target.unsqueeze(1)).squeeze(1)
    return outputs.scatter(1, target.unsqueeze(1), -torch.inf).logsumexp(1) - own


def attack(
    model: nn.Module, units: Units, inputs: Tensor, target: Tensor, ball: Ball, steps: int, starts: Iterable[Tensor]
) -> Attacked:
    """Projected gradient ascent of the loss (Madry et al., 2018); with one step from the example itself it is FGSM.

    Args:
        model: in evaluation mode; gives logits (B, C). Gradients of its parameters stay as they are.
        units: of the inputs.
        inputs: (B, ...) float32, as the model takes them.
        target: (B,) classes.
        ball: where the changes lie.
        steps: at least 1. One step is as long as the radius; more steps are `REACH` radii together.
        starts: changes (B, ...) from which the ascent begins, one after the other.
    """
    length = ball.eps * (1.0 if steps == 1 else REACH / steps)
    right = torch.ones_like(target, dtype=torch.bool)
    worst = torch.full(target.shape, -torch.inf, device=inputs.device)
    best = torch.zeros_like(inputs)
    for start in starts:
        delta = units.clipped(inputs, ball.project(start))
        for step in range(steps + 1):
            loss, hit, gradient = _look(model, units, inputs, target, delta, step < steps)
            right &= hit
            higher = loss > worst
            worst = torch.where(higher, loss, worst)
            best = torch.where(like(higher, inputs) > 0, delta, best)
            if gradient is not None:
                delta = units.clipped(inputs, ball.project(delta + length * ball.direction(gradient)))
    return Attacked(right, best)


def _look(
    model: nn.Module, units: Units, inputs: Tensor, target: Tensor, delta: Tensor, slope: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The loss (B,) after a change, whether the model is right, and the gradient by the change if it is needed."""
    with torch.set_grad_enabled(slope):
        delta = delta.detach().requires_grad_(slope)
        outputs = model(units.moved(inputs, delta)).float()
        loss = surplus(outputs, target)
        gradient = torch.autograd.grad(loss.sum(), delta)[0] if slope else None
    return loss.detach(), outputs.argmax(1) == target, gradient
