from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mixup_lab.data.splits import Rows, Sizes, carve, stratified_order
from mixup_lab.targets.numbers import Numbers
from mixup_lab.types import UserError

TARGET = np.random.default_rng(5).permutation(np.repeat(np.arange(4), (400, 100, 60, 5))).astype(np.int64)


def carved(target: np.ndarray = TARGET, **changes: Any) -> Rows:
    given = {"seed": 0, "val_fraction": 0.1, "test_fraction": 0.2, "train_size": None, **changes}
    return carve(target, Sizes(given["val_fraction"], given["test_fraction"], given["train_size"]), given["seed"])


def counts(rows: np.ndarray) -> list[int]:
    return np.bincount(TARGET[rows], minlength=4).tolist()


def test_every_example_is_in_one_split() -> None:
    rows = carved()
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(565))
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in rows)


def test_shares_are_stratified_and_every_class_is_everywhere() -> None:
    rows = carved()
    assert [len(part) for part in rows] == [407, 45, 113]
    for part, share in ((rows.test, 0.2), (rows.val, 0.08)):
        exact = share * np.bincount(TARGET)
        assert np.abs(counts(part) - exact).max() <= 1
    assert min(map(min, (counts(part) for part in rows))) >= 1


def test_split_is_a_function_of_the_seed_and_zero_is_a_seed() -> None:
    first, again, other = carved(seed=0), carved(seed=0), carved(seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_test_depends_on_nothing_but_the_seed() -> None:
    expected = carved().test
    for changes in ({"val_fraction": 0.5}, {"train_size": 7}, {"train_size": 0.3}):
        np.testing.assert_array_equal(carved(**changes).test, expected)
    np.testing.assert_array_equal(carved(train_size=7).val, carved().val)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_smaller_training_sets_lie_within_larger_ones(seed: int) -> None:
    previous: set[int] = set()
    for size in (1, 3, 4, 5, 17, 100, 101, 250, 407):
        rows = set(carved(train_size=size, seed=seed).train.tolist())
        assert len(rows) == size
        assert previous < rows
        previous = rows


def test_training_size_counts_or_shares() -> None:
    assert len(carved(train_size=1).train) == 1
    assert len(carved(train_size=1.0).train) == 407
    assert len(carved(train_size=0.5).train) == 204
    assert len(carved(train_size=1e-9).train) == 1


def test_small_training_set_has_every_class() -> None:
    assert counts(carved(train_size=4).train) == [1, 1, 1, 1]
    exact = 100 * np.asarray(counts(carved().train)) / 407
    assert np.abs(counts(carved(train_size=100).train) - exact).max() <= 1


def test_splits_that_the_source_gives_are_not_carved() -> None:
    rows = carved(val_fraction=None, test_fraction=None)
    assert [len(part) for part in rows] == [565, 0, 0]
    np.testing.assert_array_equal(carved(val_fraction=None).test, carved().test)


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_extreme_fractions_leave_every_class_in_every_split(fraction: float) -> None:
    for part in carved(val_fraction=fraction, test_fraction=fraction):
        assert min(counts(part)) >= 1


@pytest.mark.parametrize(("size", "expected"), [(3, [1, 1, 1]), (2, [1, 1, 0]), (1, [1, 0, 0])])
def test_train_keeps_an_example_of_a_class_that_is_too_small_for_every_split(size: int, expected: list[int]) -> None:
    target = np.repeat(np.arange(4), (9, 9, 9, size))
    rows = carved(target)
    assert [int((target[part] == 3).sum()) for part in rows] == expected
    assert sorted(np.concatenate(rows).tolist()) == list(range(len(target)))


def test_classes_too_small_for_every_split_leave_the_sizes_alone() -> None:
    rows = carved(np.concatenate([np.zeros(100, dtype=int), np.arange(1, 60)]))
    assert [len(part) for part in rows] == [114, 13, 32]


@pytest.mark.parametrize(("size", "empty"), [(1, "test"), (2, "test")])
def test_labels_that_are_no_classes_are_told(size: int, empty: str) -> None:
    with pytest.raises(UserError, match=rf"no label has enough of the {30 * size} examples to put one into {empty}"):
        carved(np.repeat(np.arange(30), size))


def test_training_size_larger_than_what_there_is() -> None:
    with pytest.raises(UserError, match=r"dataset.train_size=408 is more than the 407 examples"):
        carved(train_size=408)


def _reference_sainte_lague(sizes: list[int], seats: int) -> list[int]:
    """Give one seat after the other to the class with the largest quotient, the first to each."""
    given = [1] * len(sizes)
    for _ in range(seats - len(sizes)):
        quotients = [size / (2 * got + 1) for size, got in zip(sizes, given, strict=True)]
        given[int(np.argmax(quotients))] += 1
    return given


@pytest.mark.parametrize("seats", [4, 5, 50, 123, 564])
def test_order_gives_seats_like_sainte_lague(seats: int) -> None:
    order = stratified_order(TARGET, np.random.default_rng(0))
    assert sorted(order) == list(range(565))
    assert counts(order[:seats]) == _reference_sainte_lague([400, 100, 60, 5], seats)


@pytest.mark.parametrize("count", [3, 20, 39, 400])
def test_few_numbers_are_enough_for_every_split(count: int) -> None:
    strata = Numbers(("y",)).strata(np.random.default_rng(0).normal(size=(count, 1)).astype(np.float32))
    assert len(np.unique(strata)) == max(1, min(10, count // 4))
    assert all(len(part) for part in carved(strata))
