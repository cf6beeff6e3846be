"""Splits by whole groups and by time: properties that hold for any table, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.cases import each
from helpers.data_examples import Given, prepared

from mixup_lab.data import split_groups
from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.data.split_groups import carve_groups
from mixup_lab.data.split_times import carve_times
from mixup_lab.data.splits import Rows, Sizes
from mixup_lab.targets.classes import Classes
from mixup_lab.targets.numbers import Numbers
from mixup_lab.types import UserError

CASES = range(30)


def sizes_of(val_fraction: Any = 0.1, test_fraction: Any = 0.2, train_size: Any = None) -> Sizes:
    return Sizes(val_fraction, test_fraction, train_size)


def by_groups(strata: np.ndarray, groups: np.ndarray, **changes: Any) -> Rows:
    seed, classes = changes.pop("seed", 0), changes.pop("classes", True)
    return carve_groups(strata, groups, sizes_of(**changes), seed, classes)


def by_times(times: np.ndarray, **changes: Any) -> Rows:
    return carve_times(times, sizes_of(**changes))


def some(case: int) -> tuple[np.ndarray, np.ndarray]:
    """Groups of many sizes, whose classes are not alike."""
    rng = np.random.default_rng(case)
    sizes = rng.integers(1, 30, int(rng.integers(20, 60)))
    groups = np.repeat(rng.permutation(1000)[: len(sizes)], sizes)
    lean = np.repeat(rng.dirichlet([1.0] * 3, len(sizes)), sizes, axis=0)
    strata = (rng.random((len(groups), 1)) > lean.cumsum(1)).sum(1).clip(0, 2).astype(np.int64)
    order = rng.permutation(len(groups))
    return strata[order], groups[order].astype(np.int64)


def is_a_partition(rows: Rows, count: int) -> None:
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(count))
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() and len(part) for part in rows)


# ---- groups ---------------------------------------------------------------------------------------------------------


@each("case", CASES)
def test_no_group_is_in_two_splits_and_sizes_are_near(case: int) -> None:
    strata, groups = some(case)
    rows = by_groups(strata, groups, seed=case)
    is_a_partition(rows, len(strata))
    inside = [set(groups[part].tolist()) for part in rows]
    assert sum(map(len, inside)) == len(set.union(*inside))
    n = len(strata)
    assert abs(len(rows.test) - 0.2 * n) <= 0.02 * n + 2
    assert abs(len(rows.val) - 0.1 * (n - len(rows.test))) <= 0.02 * n + 2
    assert set(strata[rows.train].tolist()) == set(strata.tolist()), "no class leaves train"


def test_strata_are_shared_out_better_than_by_chance() -> None:
    apart, by_chance = [], []
    for case in CASES:
        strata, groups = some(case)
        share = np.bincount(strata, minlength=3) / len(strata)
        test = by_groups(strata, groups, seed=case).test
        apart.append(np.abs(np.bincount(strata[test], minlength=3) / len(test) - share).sum())
        drawn = np.random.default_rng(case).permutation(np.unique(groups))
        count = np.searchsorted(np.cumsum([(groups == g).sum() for g in drawn]), 0.2 * len(strata)) + 1
        chosen = strata[np.isin(groups, drawn[:count])]
        by_chance.append(np.abs(np.bincount(chosen, minlength=3) / len(chosen) - share).sum())
    assert np.mean(apart) < 0.4 * np.mean(by_chance)


def test_many_small_strata_do_not_leave_a_split_empty() -> None:
    strata = np.repeat(np.arange(100), 2)
    rows = by_groups(strata, np.arange(200), classes=False)
    assert abs(len(rows.test) - 40) <= 2


@pytest.mark.parametrize("cells", [0, split_groups.CELLS])
def test_a_class_of_one_group_stays_in_train(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_groups, "CELLS", cells)  # without swaps, and with them
    groups = np.arange(60) // 3
    strata = (groups == 7).astype(np.int64)
    for seed in range(20):
        assert 1 in strata[by_groups(strata, groups, seed=seed).train]


def test_three_large_groups_get_a_split_each() -> None:
    groups = np.repeat([0, 1, 2], 50)
    strata = np.tile([0, 1], 75).astype(np.int64)
    for seed in range(5):
        rows = by_groups(strata, groups, seed=seed)
        assert [len(part) for part in rows] == [50, 50, 50]


def test_splits_follow_the_seed_and_test_follows_nothing_else() -> None:
    strata, groups = some(0)
    first = by_groups(strata, groups)
    assert all(np.array_equal(a, b) for a, b in zip(first, by_groups(strata, groups), strict=True))
    others = [by_groups(strata, groups, seed=seed).test.tolist() for seed in range(1, 5)]
    assert sum(other != first.test.tolist() for other in others) >= 3
    for changes in ({"val_fraction": 0.4}, {"train_size": 9}):
        np.testing.assert_array_equal(by_groups(strata, groups, **changes).test, first.test)


def test_names_of_groups_do_not_matter() -> None:
    strata, groups = some(3)
    renamed = np.searchsorted(np.unique(groups), groups) * 7 - 50
    for a, b in zip(by_groups(strata, groups), by_groups(strata, renamed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_part_of_train_is_stratified_and_nested() -> None:
    strata, groups = some(1)
    whole = set(by_groups(strata, groups).train.tolist())
    previous: set[int] = set()
    for size in (3, 30, 100):
        part = by_groups(strata, groups, train_size=size).train
        assert len(part) == size
        assert previous < set(part.tolist()) <= whole
        previous = set(part.tolist())
        share = np.bincount(strata[sorted(whole)], minlength=3) / len(whole)
        assert np.abs(np.bincount(strata[part], minlength=3) - size * share).max() <= 1.5


def test_given_splits_are_not_carved_from_groups() -> None:
    strata, groups = some(2)
    rows = by_groups(strata, groups, val_fraction=None, test_fraction=None)
    assert [len(part) for part in rows] == [len(strata), 0, 0]
    assert len(by_groups(strata, groups, test_fraction=None).test) == 0


def test_too_few_groups() -> None:
    with pytest.raises(UserError, match=r"dataset\.group_column has 2 groups, but at least 3 are needed"):
        by_groups(np.tile([0, 1], 10), np.repeat([0, 1], 10))


# ---- times ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_train_is_past_and_test_is_latest(case: int) -> None:
    rng = np.random.default_rng(case)
    n = int(rng.integers(30, 400))
    times = rng.integers(0, max(4, int(rng.integers(4, 2 * n))), n).astype(float)
    if len(np.unique(times)) < 3:
        pytest.skip("too few times")
    rows = by_times(times)
    is_a_partition(rows, n)
    assert times[rows.train].max() < times[rows.val].min()
    assert times[rows.val].max() < times[rows.test].min()
    largest = np.unique(times, return_counts=True)[1].max()
    assert abs(len(rows.test) - 0.2 * n) <= largest
    before = n - len(rows.test)
    assert abs(len(rows.val) - 0.1 * before) <= largest


def test_without_ties_sizes_are_exact() -> None:
    rows = by_times(np.random.default_rng(0).permutation(100) - 50.0)
    assert [len(part) for part in rows] == [72, 8, 20]


def test_a_part_of_train_is_the_latest() -> None:
    times = np.random.default_rng(0).permutation(100)
    part, whole = by_times(times, train_size=10), by_times(times)
    np.testing.assert_array_equal(np.sort(times[part.train]), np.arange(62, 72))
    np.testing.assert_array_equal(part.test, whole.test)
    np.testing.assert_array_equal(part.val, whole.val)


def test_given_test_leaves_val_the_latest() -> None:
    rows = by_times(np.arange(50), test_fraction=None)
    np.testing.assert_array_equal(rows.val, np.arange(45, 50))
    assert len(rows.test) == 0


def test_too_few_times() -> None:
    with pytest.raises(UserError, match=r"dataset\.time_column has 2 different times, but at least 3 are needed"):
        by_times(np.array([1, 1, 2, 2]))
    with pytest.raises(UserError, match=r"dataset\.time_column has 1 different time, but"):
        by_times(np.ones(5))


# ---- as a run has them ----------------------------------------------------------------------------------------------


def loaded(groups: np.ndarray | None = None, **kept: Any) -> Loaded:
    values = np.arange(120, dtype=np.uint8).reshape(120, 1, 1, 1)
    pool = ArrayPool(values, np.arange(120, dtype=np.int64) % 2, groups=groups)
    return Loaded(pool, None, None, Classes(("a", "b")), **kept)


def test_a_run_has_them() -> None:
    groups = np.arange(120) // 6
    data = prepared(Given(loaded(groups=groups)))
    found = [set(groups[split.ids].tolist()) for split in (data.train, data.val, data.test)]
    assert sum(map(len, found)) == 20
    data = prepared(Given(loaded(times=-np.arange(120))), train_size=10)
    assert data.test.ids.tolist() == list(range(24))
    assert data.train.ids.tolist() == list(range(34, 44))


def test_both_together_are_refused() -> None:
    with pytest.raises(UserError, match=r"dataset\.group_column and dataset\.time_column cannot be combined"):
        prepared(Given(loaded(groups=np.arange(120), times=np.arange(120))))


def test_a_past_of_one_class_is_refused() -> None:
    times = np.arange(120) % 2 * 1000 + np.arange(120)
    with pytest.raises(UserError, match="all examples of train are of class a"):
        prepared(Given(loaded(times=times)), test_fraction=0.5)
    numbers = Loaded(
        ArrayPool(np.zeros((9, 1, 1, 1), np.uint8), np.array([[0]] * 6 + [[1]] * 3, np.float32)), None, None,
        Numbers(("y",)), times=np.arange(9),
    )  # fmt: skip
    with pytest.raises(UserError, match="the target y is 0 in all of train"):
        prepared(Given(numbers), test_fraction=0.4)
