"""All arms of a study against their baselines: measured one by one, corrected and judged together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mixup_lab.study.results import Comparison, Interval
from mixup_lab.study.statistics.arguments import Examples, Floats, are_whole, sorted_examples, vector
from mixup_lab.study.statistics.intervals import Crossed, crossed_interval, seed_interval
from mixup_lab.study.statistics.p_values import holm, sign_flip_p, smallest_p
from mixup_lab.study.statistics.verdicts import MISSING, plain, verdict


def compare_arms(
    arms: Sequence[tuple[Sequence[int], ArrayLike, Examples | None]],
    min_effect: float,
    maximize: bool = True,
    percent: bool = False,
    missing: str = MISSING,
    counted: bool = True,
) -> list[Comparison]:
    """All arms of a study against their baselines, with Holm over the arms; one `Comparison` for each, in their order.

    arms: for each `(seeds (n,), differences (n,), examples)` of the complete pairs alone, where examples are as in
    `crossed_interval`, along the seeds, or None where predictions are missing. Seeds may differ between arms and
    come in any order. A difference must be the mean of its seed's per-example differences. `min_effect` as in
    `verdict`; `percent`: differences are written in points; `missing` as in `verdict`;
    `counted` as in `crossed_interval`.

    Arms without a pair do not count in Holm. ValueError: lengths that differ, a seed that comes twice, NaN, means that
    do not agree, and as in `crossed_interval` and `verdict`.
    """
    measured = [_measure(*arm, counted) for arm in arms]
    p_alone = [sign_flip_p(values) if len(values) else None for _, values, _, _ in measured]
    p_holm = holm(p_alone).tolist()
    p_new_holm = holm([None if crossed is None else crossed.p_new_data for *_, crossed in measured]).tolist()
    family = max(1, sum(p is not None for p in p_alone))
    show = plain(percent)
    comparisons = []
    for (seeds, values, retraining, crossed), alone, p, p_new in zip(
        measured, p_alone, p_holm, p_new_holm, strict=True
    ):
        n = len(values)
        judged = verdict(
            values, crossed, p, p_new, comparisons=family, min_effect=min_effect, maximize=maximize, show=show,
            missing=missing,
        )  # fmt: skip
        comparisons.append(
            Comparison(
                seeds=seeds,
                differences=tuple(values.tolist()),
                mean=float(values.mean()) if n else None,
                sd=float(np.std(values, ddof=1)) if n > 1 else None,
                retraining=retraining,
                new_data=None if crossed is None else (crossed.low, crossed.high),
                test_examples=None if crossed is None else crossed.examples,
                p=alone,
                p_holm=p if n else None,
                smallest_p=min(smallest_p(n, family), p) if n else 1.0,
                code=judged.code,
                words=judged.words,
                more_seeds=judged.more_seeds,
            )
        )
    return comparisons


def _measure(
    seeds: Sequence[int], differences: ArrayLike, examples: Examples | None, counted: bool
) -> tuple[tuple[int, ...], Floats, Interval | None, Crossed | None]:
    """Seeds in ascending order, their differences, and both intervals."""
    values = vector(differences)
    n = len(values)
    if len(seeds) != n or len(set(seeds)) != n or (examples is not None and len(examples) != n):
        count = "no" if examples is None else len(examples)
        raise ValueError(
            f"an arm needs one difference and one set of examples for each seed, each seed once; "
            f"got seeds {list(seeds)}, {n} differences and {count} sets of examples"
        )
    order = sorted(range(n), key=lambda i: seeds[i])
    values = values[order]
    crossed, resolution = None, 0.0
    if examples is not None:
        ordered = [examples[i] for i in order]
        ids, scores = sorted_examples(ordered)
        means = np.array([one.mean() for one in scores])
        scale = max([1.0, *(float(np.abs(one).max()) for one in scores)])
        if (np.abs(means - values) > 1e-4 * scale).any():
            raise ValueError(
                f"each difference must be the mean of its per-example differences; "
                f"got {values.tolist()} and means {means.tolist()}"
            )
        crossed = crossed_interval(ordered, counted=counted)
        if counted and ids and all(are_whole(one) for one in scores):
            resolution = float(np.mean([1 / len(one) for one in ids]))
    return tuple(int(seeds[i]) for i in order), values, seed_interval(values, resolution=resolution), crossed
