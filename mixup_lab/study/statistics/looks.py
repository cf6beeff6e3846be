"""When to look at a study that goes on until it is decided, and which arms are worth more seeds."""

from mixup_lab.study.results import Comparison
from mixup_lab.study.statistics.p_values import look_level, seeds_needed

FIRST_SEEDS = 8
STEPS = (8, 12, 16, 24, 32, 48, 64, 96, 128)  # each look has a smaller level, so there are few
PATIENCE = 3  # an arm that would probably need more than this many times the seeds that are left is given up


def planned_looks(arms: int, max_seeds: int) -> list[int]:
    """The numbers of seeds at which a study with so many mixed arms is judged; the last one is `max_seeds`.

    The first is 8, or as many as the sign-flip test needs for a verdict on any of so many arms.
    """
    first = max(FIRST_SEEDS, seeds_needed(arms, look_level(1)))
    return [*(n for n in sorted({first, *STEPS}) if first <= n < max_seeds), max_seeds]


def is_open(comparison: Comparison, max_seeds: int) -> bool:
    """Whether more seeds, up to `max_seeds` in all, may still decide about an arm."""
    n = len(comparison.seeds)
    if comparison.code != "cannot_tell" or n >= max_seeds:
        return False
    if not comparison.counts:  # too few seeds for any verdict
        return True
    return comparison.more_seeds is not None and comparison.more_seeds <= PATIENCE * (max_seeds - n)
