"""From runs to an answer: arms are compared with their baselines, paired by seed."""

import math
import statistics as stats
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mixup_lab.study.arms import Grouping, group_arms
from mixup_lab.study.formats import finite
from mixup_lab.study.learning import obstacle, references, weaker_than_linear
from mixup_lab.study.metric import choose, least_effect, of, settled
from mixup_lab.study.pairs import Pairs, class_differences
from mixup_lab.study.problems import facts, problems_of
from mixup_lab.study.reading import Run
from mixup_lab.study.results import Answer, Arm, Cell, Choice, Comparison, Curve, Metric, Moments
from mixup_lab.study.sentences import say
from mixup_lab.study.statistics import Paired, compare_arms, honest_estimate, optimism_of_choosing, seed_interval
from mixup_lab.study.trend import trend_of
from mixup_lab.types import UserError

CURVES = ("train_clean/{}", "val/{}", "train_clean/loss", "val/loss")


@dataclass(frozen=True)
class Options:
    """The user's choices for an analysis; None is worked out from the runs."""

    metric: str | None = None  # without the split: "accuracy"
    maximize: bool | None = None
    baseline: str | None = None  # name of the arm that all others are compared with
    min_effect: float | None = None  # points for metrics in percent, else in the metric's own unit
    confirm: bool = False  # these are the fresh runs of a confirmation
    looks: tuple[int, ...] = ()  # numbers of seeds at which verdicts on this study were written before


def analyse(runs: Sequence[Run], study: str, options: Options, commands: Mapping[str, str]) -> Answer:
    """Everything that the report shows.

    Args:
        runs: of one study, in the order in which arms are to be shown.
        study: its name.
        options: the user's.
        commands: purpose -> command line, to be shown at the end.

    Raises:
        UserError: if the runs do not belong together, no arm is a baseline, or the metric is unknown.
    """
    if not runs:
        raise UserError(f"{study} has no runs")
    metric = choose(runs, options.metric, options.maximize)
    runs = [settled(run, metric) for run in runs]
    groups = group_arms(runs, options.baseline)
    seeds = sorted({run.seed for run in runs})
    cells = {arm: _cells(arm, groups.runs[arm], seeds, metric) for arm in groups.order}
    pairs = Pairs(metric)
    compared = {arm: base for arm in groups.order if (base := groups.baselines[arm]) is not None}
    paired = [pairs.of(groups.runs[arm], groups.runs[base], groups.names[arm]) for arm, base in compared.items()]
    base_scores = [cell.test for cell in cells[groups.order[0]] if cell.test is not None]
    min_effect, explained = least_effect(metric, options.min_effect, base_scores)
    comparisons = compare_arms(
        paired, min_effect, maximize=bool(metric.maximize), percent=metric.percent, counted=metric.percent,
        carved=pairs.carved, looks=options.looks, missing=pairs.missing,
    )  # fmt: skip
    obstacles = {base: why for base in groups.blocks if (why := _obstacle(groups, base, metric)) is not None}
    comparison_of = {
        arm: without_verdict(comparison) if base in obstacles else comparison
        for (arm, base), comparison in zip(compared.items(), comparisons, strict=True)
    }
    by_arm = dict(zip(compared, paired, strict=True))
    costs = {arm: _seconds_per_epoch(groups.runs[arm]) for arm in groups.order}
    arms = tuple(
        Arm(
            id=arm,
            name=groups.names[arm],
            baseline=groups.baselines[arm],
            alpha=groups.alphas[arm],
            settings={axis: values[arm] for axis, values in groups.axes.items()},
            cells=cells[arm],
            val=moments([cell.val for cell in cells[arm]]),
            test=moments([cell.test for cell in cells[arm]]),
            comparison=comparison_of.get(arm),
            seconds_per_epoch=costs[arm],
            cost_ratio=_ratio(costs[arm], costs[groups.baselines[arm] or arm]),
            device_seconds=sum(
                finite(float(run.epochs[-1].get("seconds", 0))) or 0.0 if run.epochs else 0.0
                for run in groups.runs[arm]
            ),
            trials=sum(unmixed == groups.unmixed[arm] for unmixed in groups.unmixed.values()),
        )
        for arm in groups.order
    )
    choices = tuple(
        choice
        for base, block in groups.blocks.items()
        if (choice := _choice([arm for arm in arms if arm.baseline == base], base, block, metric, by_arm)) is not None
    )
    answer = Answer(
        study=study,
        metric=metric,
        min_effect=min_effect,
        sentence="",
        details=(),
        arms=arms,
        carved=pairs.carved,
        axes={axis: tuple(dict.fromkeys(values[arm] for arm in groups.order)) for axis, values in groups.axes.items()},
        choices=choices,
        confirmed=None,
        references=tuple(
            reference for base in groups.blocks for reference in references(groups.runs[base], base, metric)
        ),
        obstacles=obstacles,
        curves=tuple(_curves(groups, metric)),
        classes=tuple(
            entry
            for choice in choices
            for entry in class_differences(groups.runs[choice.arm], groups.runs[choice.baseline])
        ),
        problems=tuple(dict.fromkeys(problems_of(runs, groups, seeds) + pairs.problems)),
        settings=groups.shared,
        facts=facts(runs, seeds),
        commands=dict(commands),
    )
    if not options.confirm:  # which trains some arms alone
        answer = replace(answer, trend=trend_of(answer))
    sentence, details = say(answer, groups.blocks, options.confirm)
    for base, block in groups.blocks.items():
        weak = weaker_than_linear(groups.runs[base], metric, min_effect)
        if weak is not None:
            details = (*details, f"With {block}: {weak[0].lower()}{weak[1:]}" if block else weak)
    if explained and details and not options.confirm:
        details = (*details, explained)
    return replace(answer, sentence=sentence, details=details)


def _obstacle(groups: Grouping, base: str, metric: Metric) -> str | None:
    others = [run for arm, other in groups.baselines.items() if other == base for run in groups.runs[arm]]
    return obstacle(groups.runs[base], others, metric)


def without_verdict(comparison: Comparison) -> Comparison:
    """The same numbers, for readers who must not conclude anything from them."""
    return replace(comparison, code="no_verdict", words="no verdict", more_seeds=None, counts=False)


def _cells(arm: str, members: Sequence[Run], seeds: Sequence[int], metric: Metric) -> tuple[Cell, ...]:
    by_seed = {run.seed: run for run in members}
    cells = []
    for seed in seeds:
        run = by_seed.get(seed)
        if run is None:
            cells.append(Cell(arm, seed, "missing", None, None, None, None, None, None, {}))
            continue
        best = run.scalars.get(f"val_best/test_{metric.name}")
        path, log = (str(place) if place else None for place in (run.path, run.log))
        val, test = of(run, metric.name, "val"), of(run, metric.name, "test")
        cells.append(Cell(arm, seed, run.status, val, test, best, path, run.error, log, run.scalars))
    return tuple(cells)


def moments(values: Sequence[float | None]) -> Moments:
    """Mean and standard deviation of the values that are known."""
    scores = [v for v in values if v is not None]
    mean, sd = (stats.fmean(scores) if scores else None), (stats.stdev(scores) if len(scores) > 1 else None)
    return Moments(len(scores), mean, sd)


def _seconds_per_epoch(members: Sequence[Run]) -> float | None:
    key = "time/epoch_seconds"
    scalars = [event.get("scalars", {}) for run in members for event in run.epochs]
    seconds = [value for entry in scalars if (value := finite(entry.get(key))) is not None]
    return stats.median(seconds) if seconds else None


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a is not None and b else None


def _choice(
    candidates: Sequence[Arm], base: str, block: str, metric: Metric, paired: Mapping[str, Paired]
) -> Choice | None:
    """The arm that is best on val, of those that are compared with one baseline; None if none has a result."""
    candidates = [arm for arm in candidates if arm.val.mean is not None]
    if not candidates:
        return None
    sign = 1 if metric.maximize else -1
    val = np.array([[math.nan if c.val is None else sign * c.val for c in arm.cells] for arm in candidates])
    optimism = optimism_of_choosing(val)
    chosen = candidates[optimism.chosen]
    epochs = [sign * (c.best_test - c.test) for c in chosen.cells if c.best_test is not None and c.test is not None]
    best_epoch = stats.fmean(epochs) if epochs else None
    honest = honest_estimate(
        val, [cell.seed for cell in chosen.cells], [paired[arm.id] for arm in candidates], counted=metric.percent
    )
    bias = optimism.bias if len(candidates) > 1 else 0.0
    return Choice(chosen.id, base, block, len(candidates), best_epoch, bias, honest)


def _curves(groups: Grouping, metric: Metric) -> Iterable[Curve]:
    for arm in groups.order:
        finished = [run for run in groups.runs[arm] if run.status == "ok"]
        for tag in (tag.format(metric.name) for tag in CURVES):
            points: dict[int, list[float]] = {}
            for event in (event for run in finished for event in run.epochs):
                value = finite(event["scalars"].get(tag))
                if value is not None:
                    points.setdefault(event["epoch"], []).append(value)
            if not points:
                continue
            means = [stats.fmean(values) for _, values in sorted(points.items())]
            bands = [seed_interval(values) for _, values in sorted(points.items())]
            lows, highs = zip(*(b or (m, m) for b, m in zip(bands, means, strict=True)), strict=True)
            yield Curve(arm, tag, tuple(sorted(points)), tuple(means), lows, highs)
