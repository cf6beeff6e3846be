"""Mixing over time: every schedule against values by hand, the adaptive one in closed loop, and both in real runs."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from helpers.cases import each
from helpers.options import component, options
from helpers.trainings import TINY, StopAfter, Training, assert_same, config_of, state, without_time

from mixup_lab.config.assemble import ingredients
from mixup_lab.config.build import build
from mixup_lab.mixing import Bound, Labels, Mixer, NoMixing, Request
from mixup_lab.mixing.schedules import Adaptive, Constant, Cosine, Cyclic, Linear, Step
from mixup_lab.models.small_cnn import SmallCNN
from mixup_lab.runs.record import read_epochs
from mixup_lab.seeding import stream
from mixup_lab.types import Interrupted, UserError

SPE = 10  # steps in an epoch; the trainings below have 5 epochs, 50 steps


def factors(schedule, num_steps=50, steps_per_epoch=SPE, gaps=()):
    return [schedule(step, num_steps, steps_per_epoch, gaps) for step in range(num_steps)]


# schedule -> {step: factor by hand}
TABLE = [
    (Constant(), {0: 1, 25: 1, 49: 1}),
    (Constant(warmup_epochs=1, off_epochs=2), {0: 0, 9: 0, 10: 1, 29: 1, 30: 0, 49: 0}),
    (Constant(warmup_epochs=0.25, off_epochs=0.31), {0: 0, 1: 0, 2: 1, 46: 1, 47: 0}),  # 2.5 and 3.1 steps: 2 and 3
    (Constant(warmup_epochs=9), {0: 0, 49: 0}),
    (Constant(warmup_epochs=3, off_epochs=3), {0: 0, 20: 0, 25: 0, 49: 0}),
    (Linear(), {0: 0, 7: 7 / 49, 49: 1}),
    (Linear(start=1, end=0.02), {0: 1, 1: 1 - 0.98 / 49, 49: 0.02}),
    (Linear(warmup_epochs=1, off_epochs=1), {9: 0, 10: 0, 11: 1 / 29, 38: 28 / 29, 39: 1, 40: 0}),
    (Linear(start=0.5, end=0.5), {0: 0.5, 31: 0.5, 49: 0.5}),
    (Linear(start=0.25, end=0.75, warmup_epochs=4.9), {48: 0, 49: 0.25}),  # a single step is the first
    (Cosine(start=1, end=0), {0: 1, 49: 0, 7: (1 + math.cos(math.pi / 7)) / 2}),
    (Cosine(start=0.2, end=1, off_epochs=1), {0: 0.2, 13: 0.2 + 0.8 * (1 - math.cos(math.pi / 3)) / 2, 39: 1, 40: 0}),
    (Step(), {0: 1, 24: 1, 25: 0.5, 36: 0.5, 37: 0.1, 49: 0.1}),  # 0.5 * 49 = 24.5, 0.75 * 49 = 36.75
    (Step(milestones=(), factors=(0.3,)), {0: 0.3, 49: 0.3}),
    (Step(milestones=(0.1,), factors=(0, 1), warmup_epochs=1), {0: 0, 10: 0, 13: 0, 14: 1, 49: 1}),  # 10 + 3.9
    (Cyclic(period_epochs=2), {0: 1, 5: 0.5, 10: 0, 15: 0.5, 20: 1, 49: (1 + math.cos(4.9 * math.pi)) / 2}),
    (Cyclic(period_epochs=4, low=0.5, warmup_epochs=1), {9: 0, 10: 1, 20: 0.75, 30: 0.5, 40: 0.75}),
    (Adaptive(start=0.3), {0: 0.3, 49: 0.3}),
    (Adaptive(start=0.3, warmup_epochs=1), {9: 0, 10: 0.3}),
]  # fmt: skip


@each("schedule, table", TABLE)
def test_factors_by_hand(schedule, table):
    found = factors(schedule)
    assert {step: found[step] for step in table} == pytest.approx(table, abs=1e-12)
    assert all(0 <= factor <= 1 for factor in found)


@each("off", [0.0, 0.05, 0.33, 1.0, 4.97])
@each("warmup", [0.0, 0.1, 0.05, 2.9999, 4.95])
def test_every_fraction_of_an_epoch_stays_in_range(warmup, off):
    """A progress beyond 1 would make alpha negative or a probability larger than 1."""
    for spe in (1, 3, 10):
        for schedule in (Linear(start=1, end=0), Linear(start=0, end=1), Cosine(start=0, end=1), Step()):
            schedule = type(schedule)(**{**vars(schedule), "warmup_epochs": warmup, "off_epochs": off})
            found = factors(schedule, 5 * spe, spe)
            assert all(0 <= factor <= 1 for factor in found)
            first, last = round(warmup * spe), 5 * spe - round(off * spe)
            assert all(factor == 0 for factor in [*found[:first], *found[last:]])
            if last - first > 1 and not isinstance(schedule, Step):
                assert (found[first], found[last - 1]) == (schedule.start, schedule.end)


@each(
    "make, sentence",
    [
        (lambda: Constant(scales="lam"), "scales must be one of alpha, prob, got lam"),
        (lambda: Constant(warmup_epochs=-1), "warmup_epochs must be a finite number >= 0, got -1"),
        (lambda: Constant(off_epochs=math.inf), "off_epochs must be a finite number >= 0, got inf"),
        (lambda: Linear(start=1.5), r"start must be in \[0, 1\], got 1.5"),
        (lambda: Cosine(end=math.nan), r"end must be in \[0, 1\], got nan"),
        (
            lambda: Step(milestones=(0.5, 0.5), factors=(1, 1, 1)),
            r"milestones must be ascending shares .* \[0.5, 0.5\]",
        ),
        (lambda: Step(milestones=(1.0,), factors=(1, 1)), "milestones must be ascending shares of the training in"),
        (lambda: Step(factors=(1.0, 0.5)), "factors must be 3 numbers, one more than milestones"),
        (lambda: Step(factors=(1.0, 0.5, 2.0)), r"factors must be in \[0, 1\], got 2.0"),
        (lambda: Cyclic(period_epochs=0), "period_epochs must be greater than 0, got 0"),
        (lambda: Cyclic(low=-0.1), r"low must be in \[0, 1\], got -0.1"),
        (lambda: Adaptive(full_gap=0), "full_gap must be greater than 0, got 0"),
        (lambda: Adaptive(memory=1.0), r"memory must be in \[0, 1\), got 1.0"),
    ],
)
def test_arguments_out_of_range(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


# ---- adaptive -------------------------------------------------------------------------------------------------------


def test_adaptive_by_hand():
    schedule = Adaptive(full_gap=0.2, memory=0.5, start=0.4)
    # m: 0.08 -> 0.5 * 0.1 + 0.04 = 0.09 -> 0.5 * 0 + 0.045 -> 0.5 * 0.5 + 0.0225 = 0.2725
    for gaps, factor in (((), 0.4), ((0.1,), 0.45), ((0.1, -0.3), 0.225), ((0.1, -0.3, 0.5), 1.0)):
        assert schedule(3, 50, SPE, gaps) == pytest.approx(factor)
    assert Adaptive(full_gap=0.1, memory=0.0)(0, 50, SPE, (0.5, 0.03)) == pytest.approx(0.3)


def closed_loop(schedule, g0, k, epochs=60, noise=0.0):
    """The factors of a training whose gap is g0 - k * factor in every epoch, plus noise."""
    chance = np.random.default_rng(0)
    gaps, found = [], []
    for epoch in range(epochs):
        found.append(schedule(epoch * SPE, epochs * SPE, SPE, gaps))
        gaps.append(g0 - k * found[-1] + noise * chance.normal())
    return np.array(found)


def swings(found):
    """How often the factor turns round, of changes that can be seen."""
    steps = np.diff(found)
    steps = np.sign(steps[abs(steps) > 1e-9])
    return int((steps[1:] != steps[:-1]).sum())


GAPS = [(0.1, 0.05), (0.1, 0.1), (0.1, 0.4), (0.05, 0.15)]  # full_gap, k


@pytest.mark.parametrize("start", [0.0, 1.0])
@pytest.mark.parametrize(("full_gap", "k"), GAPS)
def test_adaptive_comes_to_rest_without_swinging_where_it_says_so(full_gap, k, start):
    least = k / (k + full_gap)
    for memory in (least, (1 + least) / 2):
        found = closed_loop(Adaptive(full_gap=full_gap, memory=memory, start=start), 0.1, k)
        assert found[-1] == pytest.approx(0.1 / (full_gap + k), abs=1e-4)
        assert swings(found) == 0


@pytest.mark.parametrize(("full_gap", "k"), GAPS)
def test_adaptive_swings_below_and_for_ever_below_that(full_gap, k):
    least, stable = k / (k + full_gap), (k - full_gap) / (k + full_gap)
    damped = closed_loop(Adaptive(full_gap=full_gap, memory=max(0.0, (least + stable) / 2)), 0.05, k)
    assert swings(damped) > 3
    assert damped[-1] == pytest.approx(0.05 / (full_gap + k), abs=1e-4)
    if stable > 0:
        wild = closed_loop(Adaptive(full_gap=full_gap, memory=stable / 2), 0.05, k)
        assert swings(wild) > 50
        assert np.ptp(wild[-10:]) > 0.1


def test_memory_calms_what_noise_stirs():
    spread = {}
    for memory in (0.0, 0.5, 0.9):
        found = closed_loop(Adaptive(full_gap=0.1, memory=memory), 0.1, 0.08, epochs=400, noise=0.01)[100:]
        assert found.mean() == pytest.approx(0.1 / 0.18, abs=0.03)
        # m is an autoregression of order 1 with this slope.
        slope = memory - (1 - memory) * 0.8
        expected = (1 - memory) * 0.1 / math.sqrt(1 - slope**2)
        assert found.std() == pytest.approx(expected, rel=0.2)
        spread[memory] = found.std()
    assert spread[0.9] < spread[0.5] < spread[0.0]


# ---- in runs --------------------------------------------------------------------------------------------------------

LINE = ("aug=mixup", "aug.alpha=0.8", "aug.lam_per=sample", "model=mlp", "optimizer.lr=0.02")
SCHEDULES = {
    "linear": ("mix_schedule=linear", "mix_schedule.off_epochs=0.5"),
    "adaptive": ("mix_schedule=adaptive", "mix_schedule.full_gap=0.2", "mix_schedule.start=0.5"),
    "prob": ("mix_schedule=cosine", "mix_schedule.scales=prob", "aug.prob=0.6"),
}


@pytest.mark.parametrize("stop_after", [14, 17], ids=["between epochs", "within an epoch"])
@pytest.mark.parametrize("name", ["linear", "adaptive"])
def test_two_and_two_epochs_are_four(tmp_path, train, name, stop_after):
    line = (*LINE, *SCHEDULES[name])
    whole = train(*line, name="whole")
    first = Training(tmp_path / "cut", *line)
    with pytest.raises(Interrupted):
        first.run(StopAfter(stop_after))
    second = Training(tmp_path / "cut", *line, resume=True)
    scalars = second.run()
    assert_same(state(whole), state(second))
    assert without_time(whole.scalars) == without_time(scalars)
    assert whole.fit.state.gaps == second.fit.state.gaps
    curves = [[without_time(e["scalars"]) for e in read_epochs(t.run_dir)] for t in (whole, second)]
    assert curves[0] == curves[1]


@pytest.mark.parametrize("name", SCHEDULES)
def test_what_is_logged_is_the_formula(train, name):
    training = train(*LINE, *SCHEDULES[name])
    schedule, steps = training.fit.parts.mix_schedule, training.fit.steps
    epochs = [e["scalars"] for e in read_epochs(training.run_dir)]
    gaps = [e["train_clean/accuracy"] - e["val/accuracy"] for e in epochs]
    for i, epoch in enumerate(epochs):
        factor = schedule((i + 1) * steps - 1, 4 * steps, steps, gaps[:i])  # at the last step of the epoch
        alpha, prob = (0.8 * factor, 1.0) if name != "prob" else (0.8, 0.6 * factor)
        assert epoch["mix/alpha"] == pytest.approx(alpha)
        assert epoch["mix/prob"] == pytest.approx(prob)
    if name == "adaptive":
        assert len({round(e["mix/alpha"], 6) for e in epochs}) > 1, "the gap moved it"
    if name == "linear":
        assert epochs[-1]["mix/alpha"] == 0


def test_epochs_without_mixing_are_the_baselines(train):
    """After a warm-up of all epochs nothing has been mixed: the weights equal the baseline's bit for bit."""
    off = train("aug=mixup", "model=mlp", "mix_schedule.warmup_epochs=4")
    baseline = train("aug=none", "model=mlp")
    assert_same(state(off)["model"], state(baseline)["model"])
    assert off.scalars["mix/lam_mean"] == 1


def test_options_of_conf():
    assert build("mix_schedule", component("mix_schedule", "cosine")) == Cosine(start=1.0, end=0.0)
    assert build("mix_schedule", component("mix_schedule", "linear")) == Linear()
    for option in (Cyclic, Adaptive, Constant, Step):
        made = build("mix_schedule", component("mix_schedule", option.__name__.lower()))
        assert factors(made) == factors(option())
    with pytest.raises(UserError, match=r"mix_schedule\.memory must be in"):
        build("mix_schedule", component("mix_schedule", "adaptive", "mix_schedule.memory=2"))


@dataclass
class Steady(Mixer):
    """A method of one's own that draws nothing, and so follows no schedule."""

    alpha: float = 1.0

    def apply(self, batch, draw):
        return NoMixing().apply(batch, draw)


@pytest.mark.parametrize("option", options("aug"))
def test_methods_that_claim_to_follow_a_schedule_do(option):
    """With the factor 0 nothing is mixed: what is drawn differs from what is drawn with the factor 1, or is nothing."""
    mixer = build("aug", component("aug", option))
    mixer.bind(Bound(SmallCNN(input_shape=(3, 8, 8), num_outputs=2, width=2), None, (3, 8, 8), Labels(2)))
    assert mixer.scheduled
    targets = np.zeros((4, 6), dtype=np.int64)
    off, on = (
        mixer.draw(stream(0, "mixing"), Request(4, 6, targets, (3, 8, 8), scale_prob=factor))
        for factor in (np.zeros(4), 1.0)
    )
    assert option == "none" or any(not np.array_equal(off[name], on[name]) for name in on)


STEADY = f"aug._target_={__name__}.Steady"


@pytest.mark.parametrize(
    "words", [("mix_schedule=linear",), ("mix_schedule.warmup_epochs=1",), ("mix_schedule.off_epochs=0.5",)]
)
def test_a_schedule_is_refused_where_a_method_would_not_follow_it(words):
    line = (*TINY, "aug=noise", "~aug.sigma", STEADY, f"trust=[{__name__}]", "model=mlp")
    refused = r"mix_schedule: Steady mixes alike in every epoch .*; set mix_schedule=constant, with warmup_epochs and"
    with pytest.raises(UserError, match=refused):
        ingredients(config_of(*line, *words))
    ingredients(config_of(*line))
    ingredients(config_of(*line, "+aug.alpha=0", *words))  # nothing is mixed at all
