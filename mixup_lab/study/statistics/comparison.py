"""All arms of a study against their baselines: measured one by one, corrected and judged together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mixup_lab.study.results import Comparison, Interval
from mixup_lab.study.statistics.arguments import Examples, Floats, are_whole, sorted_examples, vector
from mixup_lab.study.statistics.folds import Folds, fold_interval
from mixup_lab.study.statistics.intervals import Crossed, crossed_interval, seed_interval
from mixup_lab.study.statistics.p_values import holm, look_level, look_number, sign_flip_p, smallest_p
from mixup_lab.study.statistics.verdicts import MISSING, PValues, equivalence_p, plain, verdict


class Paired(NamedTuple):
    """An arm and its baseline, on the seeds that both have finished."""

    seeds: Sequence[int]  # (n,), each once, in any order
    differences: ArrayLike  # (n,) arm - baseline, in the metric's unit
    # For each seed ids and differences of the scores of single test examples, or of groups of them, whose mean is the
    # difference; None where these are not known.
    examples: Examples | None = None
    size: int | None = None  # different test examples; None: as many as ids
    groups: int | None = None  # of test examples, if the ids are those of groups
    folds: Folds | None = None  # in a cross-validation: what each seed tested

    def at(self, places: Sequence[int]) -> Paired:
        """The pairs of some seeds."""
        return Paired(
            [self.seeds[k] for k in places],
            np.asarray(self.differences, np.float64)[list(places)],
            None if self.examples is None else [self.examples[k] for k in places],
            folds=None if self.folds is None else Folds(self.folds.of, [self.folds.tested[k] for k in places]),
        )


def joined(parts: Sequence[Paired]) -> Paired:
    """The pairs of all parts, which have different seeds and the same number of folds."""
    examples = [one for part in parts if part.examples is not None for one in part.examples]
    folds = [part.folds for part in parts if part.folds is not None]
    seeds = [seed for part in parts for seed in part.seeds]
    return Paired(
        seeds,
        np.concatenate([np.asarray(part.differences, np.float64) for part in parts]),
        examples if len(examples) == len(seeds) else None,
        folds=Folds(folds[0].of, [test for one in folds for test in one.tested]) if folds else None,
    )


class Measured(NamedTuple):
    """An arm, in the order of its seeds."""

    seeds: tuple[int, ...]
    differences: Floats
    retraining: Interval | None
    crossed: Crossed | None


def compare_arms(
    arms: Sequence[Paired],
    min_effect: float,
    *,
    maximize: bool = True,
    percent: bool = False,
    counted: bool = True,
    carved: bool = False,
    looks: Sequence[int] = (),
    missing: str = MISSING,
) -> list[Comparison]:
    """All arms of a study against their baselines, with Holm over the arms; one `Comparison` for each, in their order.

    Arms without a pair do not count in Holm. An arm that stopped after fewer seeds is judged as it was at that time:
    against what all arms showed up to its last seed, at the level of that look.

    Args:
        arms: the pairs of each; seeds may differ between arms.
        min_effect: the smallest difference of interest, >= 0, in the metric's unit; 0: equivalence is never concluded.
        maximize: whether more is better.
        percent: whether differences are written in points.
        counted: as in `crossed_interval`.
        carved: whether each seed has test examples of its own, carved from the same data.
        looks: the numbers of seeds at which verdicts were written before; this one does not have to be among them.
        missing: why an arm has no scores of single examples, as a part of a sentence.

    Raises:
        ValueError: for lengths that differ, a seed that comes twice, NaN, and means that do not agree.
    """
    measured = [measure(arm, counted) for arm in arms]
    ends = sorted({arm.seeds[-1] for arm in measured if arm.seeds})
    families = {end: _p_values([_until(*pair, end, counted) for pair in zip(arms, measured, strict=True)], min_effect)
                for end in ends}  # fmt: skip
    comparisons = []
    for k, (arm, one) in enumerate(zip(arms, measured, strict=True)):
        n = len(one.seeds)
        alone, corrected, family = families[one.seeds[-1]] if n else ([None] * len(arms), None, 1)
        p = corrected[k] if corrected else PValues(np.nan, np.nan, np.nan)
        look = look_number(n, looks)
        counts = smallest_p(n, family) <= look_level(look)  # else no verdict can come, and nothing is spent
        judged = verdict(
            one.differences, one.crossed, p, comparisons=family, min_effect=min_effect, maximize=maximize,
            level=look_level(look), next_level=look_level(look + counts), carved=carved, show=plain(percent),
            missing=missing,
        )  # fmt: skip
        units = None if one.crossed is None or arm.examples is None else one.crossed.examples
        comparisons.append(
            Comparison(
                seeds=one.seeds,
                differences=tuple(one.differences.tolist()),
                mean=float(one.differences.mean()) if n else None,
                sd=float(np.std(one.differences, ddof=1)) if n > 1 else None,
                retraining=one.retraining,
                new_data=None if one.crossed is None else (one.crossed.low, one.crossed.high),
                test_examples=units if arm.size is None or units is None else arm.size,
                test_groups=arm.groups if units is not None else None,
                p=alone[k],
                p_holm=p.seeds if n else None,
                smallest_p=min(smallest_p(n, family), p.seeds) if n else 1.0,
                look=look,
                level=look_level(look),
                counts=counts,
                code=judged.code,
                words=judged.words,
                more_seeds=judged.more_seeds,
                folds=None if arm.folds is None else arm.folds.of,
            )
        )
    return comparisons


def _p_values(measured: Sequence[Measured], min_effect: float) -> tuple[list[float | None], list[PValues], int]:
    """Sign-flip p of each arm alone, its p values after Holm over the arms, and the number of arms that count."""
    alone = [sign_flip_p(arm.differences) if arm.seeds else None for arm in measured]
    new = [None if arm.crossed is None else arm.crossed.p_new_data for arm in measured]
    equal = [None if arm.crossed is None else _p_equal(arm.crossed, min_effect) for arm in measured]
    corrected = [PValues(*map(float, row)) for row in zip(*map(holm, (alone, new, equal)), strict=True)]
    return alone, corrected, max(1, sum(p is not None for p in alone))


def _p_equal(crossed: Crossed, min_effect: float) -> float:
    """Never less than for the seeds alone: new data are never a smaller risk than the same data."""
    beyond = equivalence_p(crossed.mean, crossed.se, crossed.df, min_effect)
    return float(max(beyond, equivalence_p(crossed.mean, crossed.seed_variance**0.5, crossed.seeds - 1, min_effect)))


def _until(arm: Paired, measured: Measured, end: int, counted: bool) -> Measured:
    """The arm as it was when `end` was its last seed."""
    if not measured.seeds or measured.seeds[-1] <= end:
        return measured
    return measure(arm.at([k for k, seed in enumerate(arm.seeds) if seed <= end]), counted)


def measure(arm: Paired, counted: bool) -> Measured:
    """Seeds in ascending order, their differences, and both intervals. ValueError as for `compare_arms`."""
    seeds, values, examples = arm.seeds, vector(arm.differences), arm.examples
    n = len(values)
    if len(seeds) != n or len(set(seeds)) != n or (examples is not None and len(examples) != n):
        count = "no" if examples is None else len(examples)
        raise ValueError(
            f"an arm needs one difference and one set of examples for each seed, each seed once; "
            f"got seeds {list(seeds)}, {n} differences and {count} sets of examples"
        )
    arm = arm.at(sorted(range(n), key=lambda i: seeds[i]))
    values, examples = vector(arm.differences), arm.examples
    crossed, resolution = None, 0.0
    if examples is not None:
        ids, scores = sorted_examples(examples)
        means = np.array([one.mean() for one in scores])
        scale = max([1.0, *(float(np.abs(one).max()) for one in scores)])
        if (np.abs(means - values) > 1e-4 * scale).any():
            raise ValueError(
                f"each difference must be the mean of its per-example differences; "
                f"got {values.tolist()} and means {means.tolist()}"
            )
        crossed = crossed_interval(examples, counted=counted) if arm.folds is None else None
        if counted and ids and all(are_whole(one) for one in scores):
            resolution = float(np.mean([1 / len(one) for one in ids]))
    if arm.folds is not None:
        crossed = fold_interval(values, arm.folds, examples, counted=counted)
    return Measured(tuple(map(int, arm.seeds)), values, seed_interval(values, resolution=resolution), crossed)
