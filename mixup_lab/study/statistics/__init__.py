"""Paired comparison of arms with their baseline: intervals, tests, and verdicts in words fixed in advance.

The datum is `d_s`, the difference to the baseline of the same seed, in the metric's own unit. Two kinds of noise are
kept apart: chance of training (seeds) and chance of the test set (examples). All functions take plain arrays, of any
origin:

>>> differences = [0.012, 0.004, 0.009, 0.011, 0.007, 0.010, 0.003, 0.008]
>>> sign_flip_p(differences)
0.0078125
>>> [round(float(end), 4) for end in seed_interval(differences)]
[0.0053, 0.0107]

`compare_arms` does everything for one study. scripts/simulate_statistics.py measures how often it is
wrong.
"""

from mixup_lab.study.statistics.choice import honest_estimate, optimism_of_choosing
from mixup_lab.study.statistics.comparison import Paired, compare_arms
from mixup_lab.study.statistics.folds import Folds, fold_interval
from mixup_lab.study.statistics.groups import by_group
from mixup_lab.study.statistics.intervals import crossed_interval, example_variance, seed_interval
from mixup_lab.study.statistics.p_values import (
    LEVEL,
    holm,
    look_level,
    look_number,
    seeds_needed,
    sign_flip_p,
    smallest_p,
)
from mixup_lab.study.statistics.verdicts import MISSING, PValues, equivalence_p, plain, seeds_to_settle, verdict

__all__ = [
    "LEVEL",
    "MISSING",
    "Folds",
    "PValues",
    "Paired",
    "by_group",
    "compare_arms",
    "crossed_interval",
    "equivalence_p",
    "example_variance",
    "fold_interval",
    "holm",
    "honest_estimate",
    "look_level",
    "look_number",
    "optimism_of_choosing",
    "plain",
    "seed_interval",
    "seeds_needed",
    "seeds_to_settle",
    "sign_flip_p",
    "smallest_p",
    "verdict",
]
