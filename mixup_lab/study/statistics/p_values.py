"""p values: the sign-flip test of a mean difference, and Holm's correction where there are several."""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from mixup_lab import seeding
from mixup_lab.study.statistics.arguments import Floats, vector

LEVEL = 0.05  # of a study: the chance of a false verdict on any arm, over all looks at it
FIRST_LOOK, LATER_LOOKS = 0.04, 0.01  # the parts of it that the first look and all others may spend
ENUMERATED = 20  # seeds up to which all signs are tried
DRAWS = 100_000  # of signs beyond that
TIE = 1e-12  # relative; float rounding must not make an equal sum smaller, and so p too small


def sign_flip_p(differences: ArrayLike) -> float:
    """Two-sided sign-flip test of the mean: p in (0, 1].

    differences (n,), n >= 1. Under the null a difference is as likely as its negative; then the test is exact for any
    law. All signs are tried up to n = 20; beyond, 100,000 draws of a fixed generator, the observed signs counted as
    one of them. Sums that agree within 1e-12 of the sum of absolute differences are ties. ValueError: no differences,
    not finite. Fisher (1935), The Design of Experiments, section 21; Phipson and Smyth (2010) for the draws.
    """
    values = vector(differences)
    n = len(values)
    if not n:
        raise ValueError("a test needs at least one difference")
    if n <= ENUMERATED:
        return float(flip_all(values))
    generator = seeding.stream(0, "sign_flip")
    limit, extreme = abs(values.sum()) - TIE * np.abs(values).sum(), 0
    for done in range(0, DRAWS, 10_000):
        signs = 1.0 - 2.0 * generator.integers(0, 2, (min(10_000, DRAWS - done), n), np.int8)
        extreme += int(np.count_nonzero(np.abs(signs @ values) >= limit))
    return (1 + extreme) / (1 + DRAWS)


def flip_all(values: Floats) -> Floats:
    """p of rows (..., n) by all signs. The first sign is fixed: flipping every sign does not change an absolute sum."""
    sums = values[..., :1]
    for i in range(1, values.shape[-1]):
        one = values[..., i : i + 1]
        sums = np.concatenate([sums + one, sums - one], axis=-1)
    slack = TIE * np.abs(values).sum(-1, keepdims=True)
    extreme = np.abs(sums) >= np.abs(values.sum(-1, keepdims=True)) - slack
    p: Floats = extreme.mean(-1)
    return p


def look_level(look: int) -> float:
    """The level of look number `look` at a study, from 1: 0.04, then 0.005, 0.0025, ..., so that all together are 0.05.

    Whoever adds seeds until something shows finds something sooner or later; so the level is spent by looks (group
    sequential tests: Pocock, 1977, Biometrika 64, 191-199; Lan and DeMets, 1983, Biometrika 70, 659-663). ValueError:
    look < 1.
    """
    if look < 1:
        raise ValueError(f"looks are counted from 1, got {look}")
    return FIRST_LOOK if look == 1 else LATER_LOOKS / 2.0 ** (look - 1)


def look_number(seeds: int, looks: Sequence[int]) -> int:
    """The number, from 1, of a look at so many seeds; `looks` are the numbers of seeds at which others took place."""
    return 1 + sum(other < seeds for other in set(looks))


def seeds_needed(comparisons: int, level: float) -> int:
    """The least number of seeds whose sign-flip test can reach a level after Holm over so many comparisons."""
    return next(n for n in itertools.count(1) if smallest_p(n, comparisons) <= level)


def smallest_p(n: int, comparisons: int = 1) -> float:
    """The least p that the sign-flip test reaches with n seeds, after Holm over so many comparisons: in (0, 1].

    It holds for the arm with the least p of all; ValueError: n < 0, comparisons < 1.
    """
    if n < 0 or comparisons < 1:
        raise ValueError(f"needs n >= 0 and comparisons >= 1, got {n} and {comparisons}")
    return min(1.0, comparisons * 2.0 ** (1 - n))


def holm(p_values: Sequence[float | None] | ArrayLike) -> Floats:
    """Holm's adjusted p values, float (K,), in [0, 1]. None and NaN give NaN and do not count as comparisons.

    Adjusted p of rank i (from 1, of k): the largest of (k - j + 1) p_(j) for j <= i, at most 1. ValueError: outside of
    [0, 1]. Holm (1979), Scandinavian Journal of Statistics 6, 65-70.
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1:
        raise ValueError(f"p values must be one-dimensional, got shape {p.shape}")
    if ((p < 0) | (p > 1)).any():
        raise ValueError("p values must lie between 0 and 1")
    return holm_rows(p)


def holm_rows(p: Floats) -> Floats:
    """Holm's adjusted p values along the last axis of (..., K); NaN as in `holm`."""
    order = np.argsort(p, axis=-1)  # NaN last
    ranked = np.take_along_axis(p, order, -1)
    factor = (~np.isnan(p)).sum(-1, keepdims=True) - np.arange(p.shape[-1])
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(ranked * factor, -1), 1.0), -1)
    return adjusted
