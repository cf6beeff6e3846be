"""Groups of test examples (speakers, patients, recordings) as the units of the interval for new data."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixup_lab.study.statistics.arguments import Floats, vector


def by_group(groups: ArrayLike, differences: ArrayLike) -> tuple[NDArray[np.int64], Floats]:
    """The codes of the groups (G,), ascending, and a difference for each, whose mean is that of the examples.

    Examples of one group are right or wrong together, so that new data mean new groups, not new examples of the same
    ones. The mean of the examples is the ratio of two means over groups; group g, with k_g of the m examples and t_g as
    the sum of their differences, contributes `mean + G (t_g - k_g mean) / m` to it (linearised ratio estimator:
    Cochran, 1977, Sampling Techniques, section 6.3).

    Args:
        groups: (m,) int, the group of each test example.
        differences: (m,) of the scores of the examples.

    Raises:
        ValueError: for lengths that differ, no examples, or differences that are not finite.
    """
    values = vector(differences)
    codes, place = np.unique(np.asarray(groups), return_inverse=True)
    if place.shape != values.shape or not len(values):
        raise ValueError(f"each example needs a group, got {place.shape} groups and {values.shape} differences")
    mean, sizes = values.mean(), np.bincount(place)
    return codes.astype(np.int64), mean + len(codes) * (np.bincount(place, values) - sizes * mean) / len(values)
