"""The results of a study, as plain values. The analysis makes them; table, page, JSON and TensorBoard show them.

Differences are `arm - baseline` of the same seed, in the metric's own unit (a fraction for accuracy). Intervals are
(low, high) at 95 %. None: these runs do not show it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mixup_lab.runs.findings import Surface

Interval = tuple[float, float]


@dataclass(frozen=True)
class Metric:
    """The score that decides."""

    name: str  # as in the records, without the split: "accuracy"
    maximize: bool | None  # None, for scores of lenses alone: neither more nor less is better
    percent: bool  # a fraction: shown in percent, differences in points
    split: str = "test"  # "" for a score of a lens, which says itself what it is measured on

    @property
    def label(self) -> str:
        """Its name with the split: "test accuracy"."""
        return f"{self.split} {self.name}".lstrip()


@dataclass(frozen=True)
class Cell:
    """One run of the study, or a place where one is missing."""

    arm: str  # id of its arm
    seed: int
    status: str  # "ok", "failed", "interrupted" (cut, or still running), "missing"
    val: float | None  # the metric at the end, if the run is finished
    test: float | None
    best_test: float | None  # test of the weights that were best on val
    path: str | None  # run directory, relative to the study if it is inside
    error: str | None  # one sentence, if it failed
    log: str | None  # file with the whole error
    scalars: dict[str, float]  # all final scalars


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation over the finished seeds of an arm."""

    n: int
    mean: float | None
    sd: float | None  # None for less than two seeds


@dataclass(frozen=True)
class Comparison:
    """An arm against its baseline on the test split, paired by seed."""

    seeds: tuple[int, ...]  # of the complete pairs, ascending
    differences: tuple[float, ...]
    mean: float | None
    sd: float | None
    retraining: Interval | None  # over seeds: another training; the same test examples, unless each seed carves its own
    new_data: Interval | None  # over seeds and test examples: another training and other data
    test_examples: int | None  # number of different ones in the interval for new data
    p: float | None  # exact sign-flip test, two-sided
    p_holm: float | None  # after Holm over the arms
    smallest_p: float  # the smallest p_holm that this number of seeds and arms can reach
    # "helps", "hurts", "helps_here", "hurts_here", "no_difference", "cannot_tell", "no_verdict"
    code: str
    words: str  # the verdict, in words fixed in advance
    more_seeds: int | None  # about how many more would settle it; None: none, or seeds alone do not
    test_groups: int | None = None  # of the test examples, where groups are the units of the interval for new data
    look: int = 1  # at this arm
    level: float = 0.04  # that p must reach at this look
    counts: bool = True  # whether this look could have found anything, so that it spends a part of the level
    folds: int | None = None  # of a cross-validation, whose interval for new data allows for their overlap


@dataclass(frozen=True)
class Arm:
    """A configuration, whatever its seed."""

    id: str
    name: str  # unique in the study, short: "mixup-a0.4"
    baseline: str | None  # id of the arm that it is compared with; None: it is a baseline
    alpha: float | None  # 0 for a baseline; None if not recorded
    settings: dict[str, Any]  # what differs between arms: axis -> value here
    cells: tuple[Cell, ...]  # by ascending seed, missing ones included
    val: Moments
    test: Moments
    comparison: Comparison | None  # None for a baseline
    seconds_per_epoch: float | None  # median over seeds and epochs
    cost_ratio: float | None  # seconds_per_epoch over that of its baseline
    device_seconds: float  # sum over all its runs
    trials: int  # configurations tried with mixing if it mixes, else without


@dataclass(frozen=True)
class Curve:
    """A scalar over the epochs, over the seeds of one arm. Band: 95 % interval of the mean (t); equal to the mean for
    one seed."""

    arm: str
    tag: str  # "train_clean/loss", "val/accuracy", ...
    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class ClassDifference:
    """Recall of one class on test: the chosen arm of a block minus its baseline, over seeds."""

    arm: str  # id of the chosen arm
    name: str
    mean: float
    interval: Interval | None
    support: float  # test examples of the class, mean over the runs


@dataclass(frozen=True)
class Reference:
    """An answer that needs no network, to compare a baseline with."""

    baseline: str  # id of the arm whose runs recorded it
    key: str  # "trivial" or "linear"
    name: str  # "always the largest class"
    test: Moments


@dataclass(frozen=True)
class Honest:
    """The test difference of a chosen arm without the luck of choosing it; see `statistics.honest_estimate`."""

    mean: float
    retraining: Interval
    new_data: Interval | None


@dataclass(frozen=True)
class Choice:
    """The best arm on val in one block, and how much choosing flatters it. A block is a baseline and the arms that are
    compared with it: all that are equal in everything but the mixing."""

    arm: str  # id
    baseline: str  # id
    block: str  # the settings of the block: "dataset.train_size=200"; "" in a study of one block
    candidates: int  # arms that were chosen from
    best_epoch: float | None  # test at the best epoch on val minus test at the last one
    best_of_arms: float | None  # val of the chosen arm minus val that had no part in the choice
    honest: Honest | None = None  # None for a single candidate


@dataclass(frozen=True)
class TrendLine:
    """Arms that differ in the setting of a trend alone."""

    name: str  # "mixup-a0.4"
    arms: tuple[str | None, ...]  # ids, by the values of the trend; None where the study has no such arm


@dataclass(frozen=True)
class Trend:
    """The answer over a numeric setting that is not about mixing; each value has a baseline of its own."""

    axis: str  # "dataset.label_noise"
    values: tuple[float, ...]  # ascending
    lines: tuple[TrendLine, ...]  # that of the baselines first
    sentences: tuple[str, ...]  # for each other line: at which values it helps, by its verdicts


@dataclass(frozen=True)
class LensScore:
    """A score of a lens: the arms of the study, compared by it."""

    metric: Metric
    about: str  # what it is, in one sentence; "" if its name says it
    min_effect: float  # smallest difference of interest, in the score's own unit
    means: dict[str, Moments]  # by id of the arm; those that were looked at
    comparisons: dict[str, Comparison]  # likewise, without the baselines


@dataclass(frozen=True)
class LensCurve:
    """A curve of an arm: the mean over its seeds, with the band of `Curve`; or one seed, where x does not agree."""

    arm: str
    name: str  # of the picture
    x_label: str
    y_label: str
    x: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class LensMap:
    """The map of an arm: of one seed, with test examples, or the mean over seeds, without."""

    arm: str
    seed: int | None  # None: the mean
    surface: Surface


@dataclass(frozen=True)
class LensSection:
    """What a lens found in the runs of a study."""

    lens: str  # its option: "calibration"
    title: str
    about: str
    settings: dict[str, Any]
    sentence: str  # the verdict by its headline; "" without scores
    scores: tuple[LensScore, ...]  # the first one is the headline
    curves: tuple[LensCurve, ...]
    notes: tuple[str, ...]  # runs without a finding first, then what the lens said about single runs
    maps: tuple[LensMap, ...] = field(default=(), metadata={"json": False})  # too large for report.json


@dataclass(frozen=True)
class Answer:
    """Everything that a report shows, in its order."""

    study: str  # name
    metric: Metric
    min_effect: float  # smallest difference of interest, in the metric's own unit
    sentence: str  # the answer
    details: tuple[str, ...]  # further sentences
    arms: tuple[Arm, ...]  # baselines first, then as swept
    axes: dict[str, tuple[Any, ...]]  # what differs between arms -> its values in order
    choices: tuple[Choice, ...]  # one for each block that has an arm with a result
    confirmed: Answer | None  # the verdicts from fresh seeds alone
    curves: tuple[Curve, ...]
    classes: tuple[ClassDifference, ...]
    problems: tuple[str, ...]  # failures first, then missing pairs and other limits of the answer
    settings: dict[str, Any]  # flat, the same in all arms: "trainer.epochs" -> 20
    facts: dict[str, str]  # data, device, versions
    commands: dict[str, str]  # purpose -> command line: "repeat", "extend", "confirm", "report", "look"
    carved: bool = False  # whether each seed has test examples of its own, carved from the same data
    references: tuple[Reference, ...] = ()
    obstacles: dict[str, str] = field(default_factory=dict)  # id of a baseline -> why its block has no verdict
    lenses: tuple[LensSection, ...] = ()
    trend: Trend | None = None  # of a study whose blocks differ in one numeric setting
