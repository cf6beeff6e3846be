"""Groups that nobody named, as the names of files suggest them: `s01_yes_3.wav` and `s01_no_1.wav` are of one speaker.

A guess costs the user a look at a line, and a wrong one costs trust, so all of the signs have to be there.
"""

import os
import re
from collections.abc import Sequence

import numpy as np

FEWEST = 3  # groups, so that each of three splits can have one; and files of a group on average
LARGEST = 100_000  # files that are looked at, in a third of a second
FIRST = re.compile(r"([^_.\-]+)([_.\-])")  # the beginning of a name, and what ends it
NUMBERED = re.compile(r"[A-Za-z]+\d+")  # s01, patient12


def guessed(paths: Sequence[str], splits: np.ndarray, classes: np.ndarray | None) -> tuple[str, str] | None:
    """A path whose beginning seems to name a group, and the regular expression that finds it; None: there are no signs.

    The beginnings of all file names, up to the first `_`, `-` or `.`, are taken for groups if there are several, with
    several files each, in more than one split, and if they are not just another name of the class.

    Args:
        paths: (N,) of files.
        splits: (N,) number of the split of each.
        classes: (N,) class of each, or None.
    """
    if len(paths) > LARGEST:
        return None
    stems = [os.path.splitext(os.path.basename(path))[0] for path in paths]
    cuts = list(map(FIRST.match, stems))
    found = [match for match in cuts if match]
    if len(found) < len(cuts) or len({match[2] for match in found}) > 1:
        return None
    prefixes, group = np.unique([match[1] for match in found], return_inverse=True)
    if not FEWEST <= len(prefixes) <= len(paths) / FEWEST:
        return None
    if _counts(group, splits).max() < 2:
        return None
    if classes is not None:
        numbered = all(map(NUMBERED.fullmatch, prefixes.tolist()))
        if _counts(classes, group).min() < 2 or not (numbered or np.median(_counts(group, classes)) > 1):
            return None
    mark = re.escape(found[0][2])
    return paths[0], f"([^/{mark}]+){mark}[^/]*$"


def _counts(of: np.ndarray, what: np.ndarray) -> np.ndarray:
    """How many different values of `what` (N,) each value of `of` (N,) comes with."""
    pairs = np.unique(np.stack([of, what]), axis=1)
    counts: np.ndarray = np.unique(pairs[0], return_counts=True)[1]
    return counts
