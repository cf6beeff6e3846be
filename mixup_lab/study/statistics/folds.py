"""Folds of a cross-validation: their training sets overlap, so that their differences are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from mixup_lab.study.statistics.arguments import Examples, vector
from mixup_lab.study.statistics.intervals import CONFIDENCE, RARE, RULE_OF_THREE, Crossed, summarise


class Folds(NamedTuple):
    """Which part of the data each seed tested."""

    of: int  # parts of the data, >= 2
    tested: Sequence[tuple[int, int]]  # (n,) for each seed the partition of the data, and the part of it


def fold_interval(
    differences: ArrayLike, folds: Folds, examples: Examples | None = None, *, counted: bool = True
) -> Crossed | None:
    """Interval for new data of a cross-validation: where the mean difference lies for other data of the same kind.

    The corrected resampled t of Nadeau and Bengio (2003), Machine Learning 52, 239-281. Two folds of `k` share most of
    their training examples, and their differences have a correlation of about n_test / (n_test + n_train) = 1 / k. So
    the mean over J tests has the variance (1/J + n_test / n_train) s^2 = (1/J + 1/(k - 1)) s^2, with J - 1 degrees of
    freedom, where s^2 is the sample variance of the tests. `n_train` is all that is not tested, val included; if less
    is trained on, the training sets overlap less, and the interval is wider than it has to be.

    A test is a part of one partition. Seeds that test the same part are averaged first, since they share its luck.
    Repetitions with other partitions are further tests (Bouckaert and Frank, 2004, PAKDD, 3-12). The first term shrinks
    with their number, the second one only with more data.

    Args:
        differences: (n,), one for each seed, in the metric's unit.
        folds: what each seed tested.
        examples: for both cautions of `crossed_interval`; None: neither is needed.
        counted: as in `crossed_interval`.

    Returns:
        Its `seed_variance` is s^2 / J, and `example_variance` s^2 / (k - 1); None for fewer than two tests.

    Raises:
        ValueError: for lengths that differ, and fewer than two folds.
    """
    values = vector(differences)
    if folds.of < 2 or len(folds.tested) != len(values):
        raise ValueError(
            f"needs two folds or more, and a test for each difference; got {folds.of} folds, {len(folds.tested)} tests"
            f" and {len(values)} differences"
        )
    tests, place = np.unique(np.array(folds.tested).reshape(-1, 2), axis=0, return_inverse=True)
    count = len(tests)
    if count < 2:
        return None
    units, rounding, rare = count, 0.0, 0.0
    if examples is not None:
        _, _, units, differing, whole, sizes = summarise(examples)
        if whole and counted:
            rounding = float(np.mean(sizes**-2.0)) / 12
            rare = RULE_OF_THREE / units**2 if differing < RARE else 0.0
    place = place.reshape(-1)
    means = np.bincount(place, values) / np.bincount(place)
    variance = max(float(np.var(means, ddof=1)), rounding)
    v, c = variance / count, variance / (folds.of - 1) + rare
    mean, se, df = float(values.mean()), sqrt(v + c), count - 1
    half = float(stdtrit(df, (1 + CONFIDENCE) / 2)) * se
    p = 2 * float(stdtr(df, -abs(mean) / se)) if se > 0 else float(mean == 0)
    return Crossed(mean - half, mean + half, mean, se, df, v, c, len(values), units, p)
