"""Schedules against torch's own and against hand-computed values."""

import pytest
import torch
from helpers.cases import each
from torch.optim import lr_scheduler

from mixup_lab.training.schedules import Constant, Cosine, MultiStep, OneCycle, WarmupStableDecay


def _torch_factors(make, steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    factors = []
    for _ in range(steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


@each(
    "ours, reference",
    [
        (Constant(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        (Cosine(), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=60)),
        (Cosine(min_factor=0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=60, eta_min=0.1)),
        (MultiStep([2, 5], 0.1), lambda o: lr_scheduler.MultiStepLR(o, [20, 50], gamma=0.1)),
        (OneCycle(), lambda o: lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=60, cycle_momentum=False)),
        (
            OneCycle(0.5, 10, 100),
            lambda o: lr_scheduler.OneCycleLR(
                o, max_lr=1.0, total_steps=60, pct_start=0.5, div_factor=10, final_div_factor=100, cycle_momentum=False
            ),
        ),
    ],
)
def test_equals_torch(ours, reference):
    expected = _torch_factors(reference, 60)
    assert [ours(step, 60, 10) for step in range(60)] == pytest.approx(expected, abs=1e-7)


def test_wsd():
    factors = [WarmupStableDecay(decay_fraction=0.25)(step, 40, 10) for step in range(40)]
    assert factors[:31] == [1.0] * 31
    assert factors[30:] == pytest.approx([1 - k / 10 for k in range(10)])


@pytest.mark.parametrize("schedule", [Constant(2), Cosine(warmup_epochs=2), MultiStep([9], warmup_epochs=2),
                                      WarmupStableDecay(warmup_epochs=2)])  # fmt: skip
def test_warm_up_rises_in_a_line_to_the_peak(schedule):
    factors = [schedule(step, 100, 5) for step in range(11)]
    assert factors[:10] == pytest.approx([(k + 1) / 11 for k in range(10)])
    assert factors[10] == pytest.approx(1.0)


@each("schedule", [Constant(1), Cosine(warmup_epochs=1), MultiStep([2]), OneCycle(),
                                      WarmupStableDecay(warmup_epochs=1)])  # fmt: skip
@each("steps", [1, 2, 3])
def test_tiny_trainings_stay_in_range(schedule, steps):
    assert all(0 <= schedule(step, steps, 1) <= 1 for step in range(steps))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1), "warmup_epochs must be 0 or more, got -1"),
        (lambda: Constant(float("inf")), "warmup_epochs must be a finite number, got inf"),
        (lambda: MultiStep([-1]), r"milestones must be numbers of epochs, 0 or more, got \[-1\]"),
        (lambda: Cosine(min_factor=float("nan")), "min_factor must be 0 or more, got nan"),
        (lambda: OneCycle(pct_start=0), r"pct_start must be in \(0, 1\), got 0"),
        (lambda: WarmupStableDecay(decay_fraction=2), r"decay_fraction must be in \[0, 1\], got 2"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
