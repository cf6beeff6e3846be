"""Verdicts in words fixed in advance, equivalence, and how many seeds would settle an open question."""

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit

from mixup_lab.study.statistics.arguments import Floats, vector
from mixup_lab.study.statistics.intervals import Crossed, satterthwaite
from mixup_lab.study.statistics.p_values import LEVEL, smallest_p

POWER = 0.8  # "probably", where seeds are counted
MOST_SEEDS = 1000  # nobody trains more
MISSING = "predictions are missing"  # the usual reason for a verdict without other test examples


class Verdict(NamedTuple):
    """The verdict on an arm."""

    code: str  # "helps", "hurts", "helps_here", "hurts_here", "no_difference", "cannot_tell"
    words: str
    more_seeds: int | None  # about how many more would probably settle it; None: not needed, or seeds alone cannot


def verdict(
    differences: ArrayLike,
    crossed: Crossed | None,
    p_holm: float | None,
    p_new_holm: float | None,
    *,
    comparisons: int = 1,
    min_effect: float = 0.0,
    maximize: bool = True,
    show: Callable[[float], str] = str,
    missing: str = MISSING,
) -> Verdict:
    """The verdict on an arm, by rules and in words fixed in advance.

    differences (n,); crossed as `crossed_interval` returns it, or None where predictions are missing; the sign-flip p
    and `p_new_data` after Holm over the arms (None: unknown); the number of `comparisons` in that Holm; `min_effect` >=
    0, the smallest difference of interest in the metric's unit (0: never conclude equivalence); whether the
    metric is to be maximized; how to `show` a difference; what is `missing` if crossed is None. In this order:

    1. fewer than two seeds, or seeds too few to reach p <= 0.05 after Holm: cannot_tell
    2. equivalence: two one-sided t tests at 5 % show |mu| < min_effect for new data: no_difference
    3. both p after Holm <= 0.05: helps or hurts; the 95 % interval for new data then excludes 0
    4. the sign-flip p alone: helps_here or hurts_here
    5. cannot_tell, with the number of further seeds that would probably settle it

    ValueError: not finite, min_effect < 0.
    """
    values = vector(differences)
    n = len(values)
    if not (np.isfinite(min_effect) and min_effect >= 0):
        raise ValueError(f"min_effect must be a number >= 0, got {min_effect}")
    if n < 2:
        return Verdict("cannot_tell", "cannot tell: one seed" if n else "cannot tell: no complete pair", None)
    p, p_new = (np.nan if value is None else value for value in (p_holm, p_new_holm))
    # An arm that is not the best one may get below `smallest_p`: its own p decides.
    reachable = smallest_p(n, comparisons) <= LEVEL or p <= LEVEL
    bound = np.nan
    if crossed is not None:
        alone = equivalence_bound(crossed.mean, sqrt(crossed.seed_variance), crossed.seeds - 1)
        bound = max(equivalence_bound(crossed.mean, crossed.se, crossed.df), alone)
    code = str(codes(values.mean(), p, p_new, bound, reachable, min_effect, maximize))
    if code != "cannot_tell":
        unknown = f"{missing if crossed is None else 'too small'} to tell for new data"
        words = {
            "helps": "helps",
            "hurts": "hurts",
            "helps_here": f"helps on this test set, {unknown}",
            "hurts_here": f"hurts on this test set, {unknown}",
            "no_difference": f"no difference larger than {show(min_effect)}",
        }
        return Verdict(code, words[code], None)
    mean = float(values.mean())
    v = float(np.var(values, ddof=1)) / n if crossed is None else crossed.seed_variance
    c, m = (None, 2) if crossed is None else (crossed.example_variance, crossed.examples)
    more = seeds_to_settle(n, mean, v, c, examples=m, comparisons=comparisons, min_effect=min_effect)
    if more is not None:
        what = f"about {more} more seed{'s' if more > 1 else ''}"
    elif c is None:
        what = f"more seeds would not settle it, {missing}"
    elif _settled(np.array([1e9]), np.zeros(1), c, m, mean, comparisons, min_effect, True)[0]:
        what = f"it would take more than {MOST_SEEDS} seeds"
    else:
        what = "the test set is too small" + (f" for {show(min_effect)}" if min_effect else "")
    few = "" if reachable else f"{n} seeds cannot reach p <= {LEVEL:g}; "
    return Verdict(code, f"cannot tell: {few}{what}", more)


def codes(
    mean: ArrayLike,
    p_holm: ArrayLike,
    p_new_holm: ArrayLike,
    bound: ArrayLike,
    reachable: ArrayLike,
    min_effect: float,
    maximize: bool,
) -> NDArray[np.str_]:
    """Codes of any shape. `bound` is the equivalence bound, `reachable` whether p <= 0.05 is; NaN is unknown."""
    better = np.asarray(mean) > 0 if maximize else np.asarray(mean) < 0
    here = np.asarray(p_holm) <= LEVEL
    beyond = here & (np.asarray(p_new_holm) <= LEVEL)
    equal = np.asarray(bound) < min_effect
    conditions = [~np.asarray(reachable), equal, beyond & better, beyond, here & better, here]
    names = ["cannot_tell", "no_difference", "helps", "hurts", "helps_here", "hurts_here"]
    return np.select(conditions, names, "cannot_tell")


def plain(percent: bool) -> Callable[[float], str]:
    """How a difference is written: 0.001 as "0.1 points" if the metric is a fraction shown in percent, else "0.001"."""
    return lambda value: f"{100 * value:.6g} points" if percent else f"{value:.6g}"


def equivalence_bound(mean: float, se: float, df: float) -> float:
    """The smallest X such that two one-sided t tests at 5 % conclude that |mu| < X; unit of the mean.

    |mean| + t(0.95, df) se. Schuirmann (1987), Journal of Pharmacokinetics and Biopharmaceutics 15, 657-680.
    ValueError: se < 0, df <= 0.
    """
    if not (se >= 0 and df > 0):
        raise ValueError(f"needs se >= 0 and df > 0, got {se} and {df}")
    return abs(mean) + float(stdtrit(df, 1 - LEVEL)) * se


def seeds_to_settle(
    n: int,
    mean: float,
    seed_variance: float,
    example_variance: float | None,
    *,
    examples: int = 2,
    comparisons: int = 1,
    min_effect: float = 0.0,
) -> int | None:
    """About how many more seeds would probably (80 %) give a verdict, or None if none up to 1,000 in all do.

    n >= 2 seeds gave the mean, V_s and C (see `Crossed`; C is None if unknown: then it counts as 0 and
    equivalence is not considered) on so many different `examples`. The smallest n' > n such that n' seeds can reach
    p <= 0.05 by signs after Holm, and with variance V_s n / n' + C either a t test at the worst level of Holm finds the
    observed mean, or two one-sided t tests show |mu| < min_effect, with power 80 %, taking the observed values as
    the truth and the law of t as normal around it. It is a rough plan: with few seeds the observed mean and variance
    are themselves uncertain. ValueError: n < 2, a negative variance, comparisons < 1.
    """
    if n < 2 or seed_variance < 0 or (example_variance or 0) < 0 or comparisons < 1:
        raise ValueError(
            f"needs n >= 2, variances >= 0 and comparisons >= 1, "
            f"got {n}, {seed_variance}, {example_variance} and {comparisons}"
        )
    candidates = np.arange(n + 1, MOST_SEEDS + 1, dtype=np.float64)
    v, c = seed_variance * n / candidates, example_variance or 0.0
    equivalence = example_variance is not None
    settled = np.flatnonzero(_settled(candidates, v, c, examples, mean, comparisons, min_effect, equivalence))
    return int(settled[0]) + 1 if len(settled) else None


def _settled(
    n: Floats, v: Floats, c: float, m: int, mean: float, comparisons: int, min_effect: float, equivalence: bool
) -> NDArray[np.bool_]:
    """Whether n seeds (k,), with seed variance v (k,) of the mean, would probably give a verdict."""
    # The largest level that signs of n seeds reach within Holm: a multiple of 2 / 2^n.
    half = 2.0 ** np.minimum(n - 1, 1000)
    level = np.floor(LEVEL / comparisons * half) / half
    reach = level > 0
    df, se = satterthwaite(v, c, n, m), np.maximum(np.sqrt(v + c), 1e-300)
    different = ndtr(abs(mean) / se - stdtrit(df, 1 - np.where(reach, level, 0.5) / 2)) >= POWER
    if not equivalence or not min_effect > 0:
        return np.asarray(reach & different)
    t = stdtrit(df, 1 - LEVEL)
    equal = ndtr((min_effect - mean) / se - t) + ndtr((min_effect + mean) / se - t) - 1 >= POWER
    return np.asarray(reach & (different | equal))
