"""Folds of a cross-validation, next to those of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.cases import each
from helpers.data_examples import Given, array_pool, prepared
from helpers.trainings import config_of
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from mixup_lab.data.prepare import Data
from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.data.split_groups import carve_groups
from mixup_lab.data.splits import Fold, Sizes, carve
from mixup_lab.targets.classes import Classes
from mixup_lab.types import UserError

ABC = Classes(("a", "b", "c"))


def counts(strata: np.ndarray, tests: list[np.ndarray]) -> np.ndarray:
    """Of each class in each fold, (folds, classes)."""
    return np.array([np.bincount(strata[test], minlength=strata.max() + 1) for test in tests])


def parts_of(strata: np.ndarray, folds: int, groups: np.ndarray | None = None) -> list[np.ndarray]:
    tests = []
    for number in range(folds):
        sizes = Sizes(0.2, Fold(number, folds, 0), None)
        rows = carve(strata, sizes, 0) if groups is None else carve_groups(strata, groups, sizes, 0, True)
        np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(len(strata)))
        assert all(len(part) for part in rows)
        tests.append(rows.test)
    np.testing.assert_array_equal(np.sort(np.concatenate(tests)), np.arange(len(strata)), "each example once")
    return tests


@each("case", range(12))
def test_folds_are_as_even_as_those_of_scikit_learn(case: int) -> None:
    rng = np.random.default_rng(case)
    folds = int(rng.integers(2, 11))
    strata = rng.permutation(np.repeat(np.arange(4), rng.integers(folds, 60, 4)))
    own = counts(strata, parts_of(strata, folds))
    theirs = counts(strata, [test for _, test in StratifiedKFold(folds).split(strata, strata)])
    for found in (own, theirs):
        assert (np.ptp(found, axis=0) <= 1).all()
        assert np.ptp(found.sum(1)) <= 1
    np.testing.assert_array_equal(np.sort(own, 0), np.sort(theirs, 0))


def test_groups_stay_whole_and_their_folds_are_as_even_as_those_of_scikit_learn() -> None:
    own, theirs = [], []
    for case in range(10):
        rng = np.random.default_rng(case)
        folds, sizes = int(rng.integers(3, 7)), rng.integers(1, 12, 40)
        groups = rng.permutation(1000)[:40].repeat(sizes)
        strata = (rng.random(len(groups)) < rng.random(40).repeat(sizes)).astype(np.int64)
        tests = parts_of(strata, folds, groups)
        inside = [set(groups[test].tolist()) for test in tests]
        assert sum(map(len, inside)) == len(set.union(*inside)) == 40
        known = StratifiedGroupKFold(folds).split(groups, strata, groups)
        for kept, parts in ((own, tests), (theirs, [test for _, test in known])):
            kept.append(np.std(counts(strata, parts) / np.bincount(strata), axis=0).mean())
    assert np.mean(own) <= 1.1 * np.mean(theirs)


def seeds(count: int, source: Loaded | None = None, **changes: Any) -> list[Data]:
    source = source or Loaded(array_pool(60), None, None, ABC)
    return [prepared(Given(source), seed=seed, folds=5, **changes) for seed in range(count)]


def test_seeds_take_turns_and_divide_the_data_anew_after_each_round() -> None:
    data = seeds(10)
    assert [one.fold for one in data] == [Fold(seed % 5, 5, seed // 5) for seed in range(10)]
    for five in (data[:5], data[5:]):
        np.testing.assert_array_equal(np.sort(np.concatenate([one.test.ids for one in five])), np.arange(60))
    assert data[0].test.ids.tolist() != data[5].test.ids.tolist()
    for one in data:
        ids = [split.ids for split in one.splits]
        np.testing.assert_array_equal(np.sort(np.concatenate(ids)), np.arange(60))
        assert list(map(len, ids)) == [43, 5, 12]
        assert set(np.bincount(one.val.target).tolist()) <= {1, 2}
        assert one.carved == ("val", "test")
    fixed, later = seeds(1, split_seed=1)[0], data[5]
    assert (fixed.test.ids.tolist(), fixed.val.ids.tolist()) == (later.test.ids.tolist(), later.val.ids.tolist())
    assert fixed.carved == ("val", "test")
    assert seeds(1, fold=3)[0].test.ids.tolist() == data[3].test.ids.tolist()


def test_the_val_of_the_source_stays() -> None:
    data = seeds(5, Loaded(array_pool(60), array_pool(9, seed=1), None, ABC))
    assert {(len(one.train), len(one.val), len(one.test), one.carved) for one in data} == {(48, 9, 12, ("test",))}


def of_groups(target: list[int], groups: list[int]) -> Loaded:
    images = np.zeros((len(target), 1, 2, 2), np.uint8)
    return Loaded(ArrayPool(images, np.array(target), groups=np.array(groups)), None, None, ABC)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dataset.folds=1"], "dataset.folds must be null or 2 or more, got 1"),
        (["dataset.fold=1"], "dataset.fold=1 needs the number of folds: dataset.folds=5"),
        (["dataset.folds=5", "dataset.fold=5"], r"dataset.fold must be null or 0..4, got 5"),
        (["dataset.folds=5", "dataset.fold=-1"], r"dataset.fold must be null or 0..4, got -1"),
    ],
)
def test_settings_that_cannot_be(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config_of("dataset=iris", *words)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Loaded(array_pool(60), None, array_pool(9), ABC), "this data set has a test split of its own; leave out"),
        (Loaded(array_pool(60), None, None, ABC, times=np.arange(60)), "dataset.time_column cannot be combined"),
        (Loaded(array_pool(11), None, None, ABC), r"=5 is more than the examples of class c \(3\); use at most 3"),
        (Loaded(array_pool(3), None, None, ABC), r"more than the examples of class a \(1\); there can be no folds"),
        (of_groups([0, 1] * 8, [0, 1, 2, 3] * 4), "dataset.folds=5 is more than the 4 groups; use at most 4"),
        (of_groups([0] * 10 + [1] * 5 + [2] * 5, [*range(15), *[20] * 5]), "all groups of one class are in one fold"),
    ],
)
def test_data_that_admit_no_folds(source: Loaded, message: str) -> None:
    with pytest.raises(UserError, match=message):
        seeds(1, source)
