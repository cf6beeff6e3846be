"""Learning rate as a function of the step.

A schedule returns the factor that multiplies the peak rate. It is a pure function of the step and the length of the
training, so there is no state to resume.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """One option of the group `scheduler`."""

    def __call__(self, step: int, num_steps: int, steps_per_epoch: int) -> float:
        """The factor, >= 0, of the peak rate at `step`, counted from 0 over all `num_steps`."""
        ...


def _at_least_zero(**values: float) -> None:
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} must be 0 or more, got {value}")
        if value == math.inf:
            raise ValueError(f"{name} must be a finite number, got {value}")


def _warm_up(step: int, warmup_steps: float) -> float:
    """Linear from near 0: the first step already moves, the step after the warm-up has the factor 1."""
    return min(1.0, (step + 1) / (warmup_steps + 1)) if warmup_steps > 0 else 1.0


def _progress(step: int, start: float, end: float) -> float:
    """How far the step is from start to end, in [0, 1]."""
    return min(1.0, max(0.0, (step - start) / max(1.0, end - start)))


@dataclass(frozen=True)
class Constant:
    """Factor 1 after the warm-up."""

    warmup_epochs: float = 0.0

    def __post_init__(self) -> None:
        _at_least_zero(warmup_epochs=self.warmup_epochs)

    def __call__(self, step: int, num_steps: int, steps_per_epoch: int) -> float:
        return _warm_up(step, self.warmup_epochs * steps_per_epoch)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 to `min_factor` (Loshchilov and Hutter, 2017, without restarts)."""

    min_factor: float = 0.0
    warmup_epochs: float = 0.0

    def __post_init__(self) -> None:
        _at_least_zero(min_factor=self.min_factor, warmup_epochs=self.warmup_epochs)

    def __call__(self, step: int, num_steps: int, steps_per_epoch: int) -> float:
        warmup = self.warmup_epochs * steps_per_epoch
        if step < warmup:
            return _warm_up(step, warmup)
        falling = 0.5 * (1 + math.cos(math.pi * _progress(step, warmup, num_steps)))
        return self.min_factor + (1 - self.min_factor) * falling


@dataclass(frozen=True)
class MultiStep:
    """Multiply by `gamma` after each milestone, in epochs; [100, 150] with 0.1 is the Mixup paper's on CIFAR."""

    milestones: Sequence[float] = (100, 150)
    gamma: float = 0.1
    warmup_epochs: float = 0.0

    def __post_init__(self) -> None:
        _at_least_zero(gamma=self.gamma, warmup_epochs=self.warmup_epochs)
        if not all(0 <= milestone < math.inf for milestone in self.milestones):
            raise ValueError(f"milestones must be numbers of epochs, 0 or more, got {list(self.milestones)}")

    def __call__(self, step: int, num_steps: int, steps_per_epoch: int) -> float:
        passed = sum(step >= milestone * steps_per_epoch for milestone in self.milestones)
        return float(self.gamma**passed) * _warm_up(step, self.warmup_epochs * steps_per_epoch)


@dataclass(frozen=True)
class OneCycle:
    """Cosine up over `pct_start` of the training, cosine down over the rest (Smith and Topin, 2019).

    The same curve as torch.optim.lr_scheduler.OneCycleLR with cosine annealing; momentum stays as it is.
    """

    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def __post_init__(self) -> None:
        if not 0 < self.pct_start < 1:
            raise ValueError(f"pct_start must be in (0, 1), got {self.pct_start}")
        if not (self.div_factor >= 1 and self.final_div_factor >= 1):
            raise ValueError(
                f"div_factor and final_div_factor must be at least 1, got {self.div_factor} and {self.final_div_factor}"
            )

    def __call__(self, step: int, num_steps: int, steps_per_epoch: int) -> float:
        start = 1 / self.div_factor
        peak = self.pct_start * num_steps - 1
        if step <= peak:
            return _between(start, 1.0, _progress(step, 0, peak))
        return _between(1.0, start / self.final_div_factor, _progress(step, peak, num_steps - 1))


def _between(first: float, last: float, progress: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class WarmupStableDecay:
    """Constant after the warm-up, then linear to `min_factor` over the last part (Hu et al., 2024, MiniCPM)."""

    decay_fraction: float = 0.2
    min_factor: float = 0.0
    warmup_epochs: float = 0.0

    def __post_init__(self) -> None:
        _at_least_zero(min_factor=self.min_factor, warmup_epochs=self.warmup_epochs)
        if not 0 <= self.decay_fraction <= 1:
            raise ValueError(f"decay_fraction must be in [0, 1], got {self.decay_fraction}")

    def __call__(self, step: int, num_steps: int, steps_per_epoch: int) -> float:
        falling = 1 - _progress(step, (1 - self.decay_fraction) * num_steps, num_steps)
        return _warm_up(step, self.warmup_epochs * steps_per_epoch) * (
            self.min_factor + (1 - self.min_factor) * falling
        )
