"""Verdicts in words fixed in advance, equivalence, and how many seeds would settle an open question."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtr, stdtrit

from mixup_lab.study.statistics.arguments import Floats, vector
from mixup_lab.study.statistics.intervals import Crossed, satterthwaite, seed_interval
from mixup_lab.study.statistics.p_values import LEVEL, seeds_needed, smallest_p

POWER = 0.8  # "probably", where seeds are counted
MOST_SEEDS = 1000  # nobody trains more
MISSING = "without predictions of single test examples"  # the usual reason for a verdict without other test examples
IF_TRUE = "if the true difference is what these seeds show"


class Verdict(NamedTuple):
    """The verdict on an arm."""

    code: str  # "helps", "hurts", "helps_here", "hurts_here", "no_difference", "cannot_tell"
    words: str
    more_seeds: int | None  # about how many more would probably settle it; None: not needed, or seeds alone cannot


class PValues(NamedTuple):
    """The p values of an arm after Holm over the arms of a study; NaN is unknown."""

    seeds: float  # sign-flip test: no difference for other trainings
    new_data: float  # t test of the crossed interval: none for new data either
    equal: float  # two one-sided t tests: the difference for new data is min_effect or larger


def verdict(
    differences: ArrayLike,
    crossed: Crossed | None,
    p: PValues,
    *,
    comparisons: int = 1,
    min_effect: float = 0.0,
    maximize: bool = True,
    level: float = LEVEL,
    next_level: float = LEVEL,
    carved: bool = False,
    show: Callable[[float], str] = str,
    missing: str = MISSING,
) -> Verdict:
    """The verdict on an arm, by rules and in words fixed in advance. In this order:

    1. fewer than two seeds, or seeds too few to reach p <= level after Holm: cannot_tell
    2. p.equal <= level: no_difference, that is, none as large as min_effect, for new data
    3. p.seeds and p.new_data <= level: helps or hurts; the 95 % interval for new data then excludes 0
    4. p.seeds <= level: helps_here or hurts_here
    5. cannot_tell, with the number of further seeds that would probably settle it

    Args:
        differences: (n,), one for each seed, in the metric's unit.
        crossed: from `crossed_interval`; None without scores of single examples.
        p: the p values.
        comparisons: how many arms Holm counted.
        min_effect: the smallest difference of interest, >= 0, in the metric's unit; 0: equivalence is never concluded.
        maximize: whether more is better.
        level: of this look at the study, see `look_level`.
        next_level: of the next look, which further seeds would need.
        carved: whether each seed has test examples of its own, carved from the same data.
        show: writes a difference.
        missing: why nothing is known about new data, if `crossed` is None.

    Raises:
        ValueError: for values that are not finite, and a negative min_effect.
    """
    values = vector(differences)
    n = len(values)
    if not (np.isfinite(min_effect) and min_effect >= 0):
        raise ValueError(f"min_effect must be a number >= 0, got {min_effect}")
    if n < 2:
        return Verdict("cannot_tell", "cannot tell: one seed" if n else "cannot tell: no complete pair", None)
    # An arm that is not the best one may get below `smallest_p`: its own p decides.
    reachable = smallest_p(n, comparisons) <= level or p.seeds <= level
    code = str(codes(values.mean(), p, reachable, level, maximize))
    place = "these data" if carved else "this test set"
    small = f"{'which are' if carved else 'which is'} too small to tell for new data"
    beyond = f"; {missing}, nothing is known about new data" if crossed is None else f", {small}"
    words = {
        "helps": "helps",
        "hurts": "hurts",
        "helps_here": f"helps on {place}{beyond}",
        "hurts_here": f"hurts on {place}{beyond}",
        "no_difference": f"no difference larger than {show(min_effect)}",
    }
    if code != "cannot_tell":
        return Verdict(code, words[code], None)
    mean = float(values.mean())
    v = float(np.var(values, ddof=1)) / n if crossed is None else crossed.seed_variance
    c, m = (None, 2) if crossed is None else (crossed.example_variance, crossed.examples)
    needed = next_level if reachable else level
    more = seeds_to_settle(
        n, mean, v, c, examples=m, comparisons=comparisons, min_effect=min_effect, level=needed
    )  # fmt: skip
    if more is not None:
        advice = f"about {more} more seed{'s' if more > 1 else ''}, {IF_TRUE}"
    elif c is None:
        advice = f"more seeds would not settle it {missing}"
    elif _settled(np.array([1e9]), np.zeros(1), c, m, mean, comparisons, min_effect, True, needed)[0]:
        advice = f"it would take more than {MOST_SEEDS} seeds"
    else:
        advice = f"the {'data set' if carved else 'test set'} is too small"
        advice += f" for {show(min_effect)}" if min_effect else ""
    if reachable and not _clear_of_zero(values, crossed):
        return Verdict(code, f"cannot tell: {advice}", more)
    enough = max(seeds_needed(comparisons, needed), n + 1)
    seeming = f"probably {'helps' if (mean > 0) == maximize else 'hurts'}, but "
    if not reachable:
        reason = f"{n} seeds cannot reach p <= {level:g}"
        if _clear_of_zero(values, crossed):
            reason = f"{seeming}{n} seeds cannot show it"
        return Verdict(code, f"cannot tell: {reason}; {enough} can", more)
    worst = np.nanmax([p.seeds, p.new_data])
    return Verdict(code, f"cannot tell: {seeming}p must be at most {level:g} and is {worst:.2g}; {advice}", more)


def _clear_of_zero(values: Floats, crossed: Crossed | None) -> bool:
    """Whether the 95 % interval that a reader sees beside the verdict excludes 0."""
    ends = seed_interval(values) if crossed is None else (crossed.low, crossed.high)
    return ends is not None and (ends[0] > 0 or ends[1] < 0)


def codes(mean: ArrayLike, p: PValues, reachable: ArrayLike, level: ArrayLike, maximize: bool) -> NDArray[np.str_]:
    """Codes of any shape; `reachable` is whether p <= level can be reached."""
    better = np.asarray(mean) > 0 if maximize else np.asarray(mean) < 0
    here = np.asarray(p.seeds) <= level
    beyond = here & (np.asarray(p.new_data) <= level)
    equal = np.asarray(p.equal) <= level
    conditions = [~np.asarray(reachable), equal, beyond & better, beyond, here & better, here]
    names = ["cannot_tell", "no_difference", "helps", "hurts", "helps_here", "hurts_here"]
    return np.select(conditions, names, "cannot_tell")


def plain(percent: bool) -> Callable[[float], str]:
    """How a difference is written: 0.001 as "0.1 points" if the metric is a fraction shown in percent, else "0.001"."""
    return lambda value: f"{100 * value:.6g} points" if percent else f"{value:.6g}"


def equivalence_p(mean: ArrayLike, se: ArrayLike, df: ArrayLike, min_effect: float) -> Floats:
    """p of two one-sided t tests: at this level they conclude that |mu| < min_effect. Any shape, in [0, 1].

    Mean, standard error and min_effect have the metric's unit. Schuirmann (1987), Journal of Pharmacokinetics and
    Biopharmaceutics 15, 657-680. ValueError: se < 0, df <= 0.
    """
    mean, se, df = (np.asarray(x, np.float64) for x in (mean, se, df))
    if not (np.all(se >= 0) and np.all(df > 0)):
        raise ValueError(f"needs se >= 0 and df > 0, got {se} and {df}")
    room = min_effect - np.abs(mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(se > 0, room / se, np.where(room > 0, np.inf, -np.inf))
    p: Floats = stdtr(df, -t)
    return p


def seeds_to_settle(
    n: int,
    mean: float,
    seed_variance: float,
    example_variance: float | None,
    *,
    examples: int = 2,
    comparisons: int = 1,
    min_effect: float = 0.0,
    level: float = LEVEL,
) -> int | None:
    """About how many more seeds would probably (80 %) give a verdict, or None if none up to 1,000 in all do.

    n >= 2 seeds gave the mean, V_s and C (see `Crossed`; C is None if unknown: then it counts as 0 and
    equivalence is not considered) on so many different `examples`. The smallest n' > n such that n' seeds can reach
    p <= level by signs after Holm, and with variance V_s n / n' + C either a t test at the worst level of Holm finds
    the observed mean, or two one-sided t tests at that level show |mu| < min_effect, with power 80 %, taking the
    observed values as the truth and the law of t as normal around it. It is a rough plan: with few seeds the observed
    mean and variance are themselves uncertain. ValueError: n < 2, a negative variance, comparisons < 1.
    """
    if n < 2 or seed_variance < 0 or (example_variance or 0) < 0 or comparisons < 1:
        raise ValueError(
            f"needs n >= 2, variances >= 0 and comparisons >= 1, "
            f"got {n}, {seed_variance}, {example_variance} and {comparisons}"
        )
    candidates = np.arange(n + 1, MOST_SEEDS + 1, dtype=np.float64)
    v, c = seed_variance * n / candidates, example_variance or 0.0
    equivalence = example_variance is not None
    settled = np.flatnonzero(_settled(candidates, v, c, examples, mean, comparisons, min_effect, equivalence, level))
    return int(settled[0]) + 1 if len(settled) else None


def _settled(
    n: Floats,
    v: Floats,
    c: float,
    m: int,
    mean: float,
    comparisons: int,
    min_effect: float,
    equivalence: bool,
    level: float,
) -> NDArray[np.bool_]:
    """Whether n seeds (k,), with seed variance v (k,) of the mean, would probably give a verdict."""
    # The largest level that signs of n seeds reach within Holm: a multiple of 2 / 2^n.
    half = 2.0 ** np.minimum(n - 1, 1000)
    signs = np.floor(level / comparisons * half) / half
    reach = signs > 0
    df, se = satterthwaite(v, c, n, m), np.maximum(np.sqrt(v + c), 1e-300)
    different = ndtr(abs(mean) / se - stdtrit(df, 1 - np.where(reach, signs, 0.5) / 2)) >= POWER
    if not equivalence or not min_effect > 0:
        return np.asarray(reach & different)
    t = stdtrit(df, 1 - level / comparisons)
    equal = ndtr((min_effect - mean) / se - t) + ndtr((min_effect + mean) / se - t) - 1 >= POWER
    return np.asarray(reach & (different | equal))
