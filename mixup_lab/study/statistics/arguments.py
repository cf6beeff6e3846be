"""Checks of the arguments of the statistics: differences, fractions, the examples of each seed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Examples = Sequence[tuple[ArrayLike, ArrayLike]]  # for each seed: ids int (m_s,), differences float (m_s,)


def vector(differences: ArrayLike, what: str = "differences") -> Floats:
    """The values as float64 (n,); ValueError unless they are one-dimensional and finite."""
    values = np.asarray(differences, np.float64)
    if values.ndim != 1:
        raise ValueError(f"{what} must be one-dimensional, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{what} must be finite numbers; leave out missing pairs, do not fill them with NaN")
    return values


def check_fraction(value: float, name: str) -> None:
    """ValueError unless the value lies between 0 and 1, ends excluded."""
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 1, got {value}")


def sorted_examples(seeds: Examples) -> tuple[list[NDArray[Any]], list[Floats]]:
    """Ids and differences of each seed, sorted by id."""
    all_ids, all_values = [], []
    for ids, values in seeds:
        one, value = np.asarray(ids), vector(values, "differences of examples")
        if one.shape != value.shape or one.dtype.kind not in "iu" or not len(one):
            raise ValueError(
                f"each seed needs as many whole-number ids as differences, at least one; "
                f"got ids {one.dtype} {one.shape} and differences {value.shape}"
            )
        order = np.argsort(one, kind="stable")
        one, value = one[order], value[order]
        if (one[1:] == one[:-1]).any():
            raise ValueError("the ids of one seed's test examples must differ")
        all_ids.append(one)
        all_values.append(value)
    return all_ids, all_values


def are_whole(values: NDArray[Any]) -> bool:
    """Whether scores are whole numbers, such as right or wrong."""
    return values.dtype.kind in "iub" or bool(np.all(values == np.rint(values)))
