"""Mixing over the course of a training: the factor of alpha, or of prob, at every step.

A schedule is a pure function of the step, the length of the training and the gaps measured so far (which the checkpoint
keeps), so that a resumed run continues exactly where it stopped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mixup_lab.mixing.mixer import at_least_zero

SCALES = ("alpha", "prob")


@dataclass(frozen=True, kw_only=True)
class MixSchedule:
    """One option of the group `mix_schedule`: a factor in [0, 1] of `aug.alpha` or `aug.prob`.

    Args:
        scales: `alpha` or `prob`. A law of lam without alpha (`uniform`, `fixed`) follows only the factor 0.
        warmup_epochs: epochs at the start without mixing, >= 0; a fraction is rounded to whole steps.
        off_epochs: epochs at the end without mixing, >= 0; a fraction is rounded too.

    Raises:
        ValueError: if an argument is outside its range.
    """

    scales: str = "alpha"
    warmup_epochs: float = 0.0
    off_epochs: float = 0.0

    def __post_init__(self) -> None:
        if self.scales not in SCALES:
            raise ValueError(f"scales must be one of {', '.join(SCALES)}, got {self.scales}")
        at_least_zero(warmup_epochs=self.warmup_epochs, off_epochs=self.off_epochs)

    def __call__(self, step: int, num_steps: int, steps_per_epoch: int, gaps: Sequence[float]) -> float:
        """The factor at `step`, counted from 0 over all `num_steps`.

        Args:
            step: index of the step.
            num_steps: steps of the whole training.
            steps_per_epoch: steps of one epoch.
            gaps: train_clean minus val in the primary metric (positive: val is worse), of every evaluation so far.
        """
        first = round(self.warmup_epochs * steps_per_epoch)
        last = num_steps - round(self.off_epochs * steps_per_epoch)
        if step < first or step >= last:
            return 0.0
        # The last step before the end has the progress 1.
        return self.factor((step - first) / max(1, last - 1 - first), (step - first) / steps_per_epoch, gaps)

    @property
    def constant(self) -> bool:
        """Whether the factor is 1 at every step. Default: no."""
        return False

    def factor(self, progress: float, epochs: float, gaps: Sequence[float]) -> float:
        """The factor, at `progress` in [0, 1] and `epochs` >= 0 since the end of the warm-up. Default: 1."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Constant(MixSchedule):
    """Always 1, except for the epochs without mixing."""

    @property
    def constant(self) -> bool:
        return not (self.warmup_epochs or self.off_epochs)


def _in_unit(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {value}")


@dataclass(frozen=True, kw_only=True)
class Linear(MixSchedule):
    """From the factor `start` straight to `end`, both in [0, 1]."""

    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _in_unit(start=self.start, end=self.end)

    def factor(self, progress: float, epochs: float, gaps: Sequence[float]) -> float:
        return self.start + (self.end - self.start) * progress


@dataclass(frozen=True, kw_only=True)
class Cosine(Linear):
    """From `start` to `end` along half a cosine."""

    def factor(self, progress: float, epochs: float, gaps: Sequence[float]) -> float:
        return super().factor((1 - math.cos(math.pi * progress)) / 2, epochs, gaps)


@dataclass(frozen=True, kw_only=True)
class Step(MixSchedule):
    """Factor `factors[k]` from `milestones[k - 1]` to `milestones[k]`, shares of the training in (0, 1), ascending."""

    milestones: Sequence[float] = (0.5, 0.75)
    factors: Sequence[float] = (1.0, 0.5, 0.1)

    def __post_init__(self) -> None:
        super().__post_init__()
        places = list(self.milestones)
        if places != sorted(set(places)) or not all(0 < place < 1 for place in places):
            raise ValueError(f"milestones must be ascending shares of the training in (0, 1), got {places}")
        if len(self.factors) != len(places) + 1:
            raise ValueError(f"factors must be {len(places) + 1} numbers, one more than milestones")
        for factor in self.factors:
            _in_unit(factors=factor)

    def factor(self, progress: float, epochs: float, gaps: Sequence[float]) -> float:
        return float(self.factors[sum(progress >= place for place in self.milestones)])


@dataclass(frozen=True, kw_only=True)
class Cyclic(MixSchedule):
    """Cosine waves between `low` and 1: 1 at the start of each period of `period_epochs` > 0, `low` in its middle."""

    period_epochs: float = 10.0
    low: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _in_unit(low=self.low)
        if not self.period_epochs > 0:
            raise ValueError(f"period_epochs must be greater than 0, got {self.period_epochs}")

    def factor(self, progress: float, epochs: float, gaps: Sequence[float]) -> float:
        return self.low + (1 - self.low) * (1 + math.cos(2 * math.pi * epochs / self.period_epochs)) / 2


@dataclass(frozen=True, kw_only=True)
class Adaptive(MixSchedule):
    """Mix more if the model overfits more: the factor follows the gap between train_clean and val.

    After every evaluation the gap g (of the primary metric, not below 0) enters a moving average,
    m <- (1 - memory) * g + memory * m, and the factor is min(1, m / full_gap); it is `start` before the first one.
    If a factor f changes the gap to g0 - k * f at once, m is a linear iteration of slope memory - (1 - memory) * k /
    full_gap with the fixed point g0 / (1 + k / full_gap): it does not oscillate if memory >= k / (k + full_gap), and
    the oscillations die out if memory > (k - full_gap) / (k + full_gap).

    Args:
        full_gap: the gap, > 0, at which mixing has its full strength: 0.1 is 10 points of accuracy.
        memory: in [0, 1): weight of the past; larger values are slower and steadier.
        start: the factor before the first evaluation, in [0, 1].
    """

    full_gap: float = 0.1
    memory: float = 0.7
    start: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _in_unit(start=self.start)
        if not self.full_gap > 0:
            raise ValueError(f"full_gap must be greater than 0, got {self.full_gap}")
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory must be in [0, 1), got {self.memory}")

    def factor(self, progress: float, epochs: float, gaps: Sequence[float]) -> float:
        average = self.start * self.full_gap
        for gap in gaps:
            average = (1 - self.memory) * max(0.0, gap) + self.memory * average
        return min(1.0, average / self.full_gap)
