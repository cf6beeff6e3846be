from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from helpers.cases import each
from helpers.data_examples import Given, array_pool, prepared, three_pools

from mixup_lab import sharing
from mixup_lab.data import storage
from mixup_lab.data.feeds import Resident, Streaming
from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.inputs.moments import SAMPLE, moments, spread
from mixup_lab.targets.classes import Classes
from mixup_lab.targets.tags import Tags
from mixup_lab.types import Batch, Pool, UserError

CARVED = Given(Loaded(array_pool(200), None, None, Classes(("a", "b", "c"))))


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("Cat", "cat", "dog"), "'Cat' and 'cat'"),
        (("caf\u00e9", "cafe\u0301", "dog"), r"'caf\xe9' and 'cafe\u0301'"),
        (("dog", "cat", "cat\u200b"), r"'cat' and 'cat\u200b'"),
        (("'cat'", "dog", "cat "), "\"'cat'\" and 'cat '"),
        (("ab", "a b", "a-b"), None),
        (("1", "01", "1.0"), None),
    ],
)
def test_names_that_look_alike_are_said_and_noted(
    names: tuple[str, ...], shown: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    data = prepared(Given(Loaded(array_pool(30), None, None, Classes(names))))
    sentence = f"class names {shown} look alike and count as two; spell them alike if not"
    assert [note for note in data.notes if "alike" in note] == ([sentence] if shown else [])
    assert capsys.readouterr().err.count(sentence) == (shown is not None)


def orders(n: int) -> list[np.ndarray]:
    return list(np.array_split(np.random.default_rng(1).permutation(n), 5))


@pytest.mark.parametrize("kind", ["resident", "streaming"])
def test_batches_are_the_examples_asked_for(kind: str) -> None:
    pool = array_pool(200)
    data = prepared(CARVED, storage=kind)
    for split in (data.train, data.val, data.test):
        for positions, batch in zip(orders(len(split)), split.batches(orders(len(split))), strict=True):
            ids = split.ids[positions]
            assert isinstance(batch, Batch)
            np.testing.assert_array_equal(batch.inputs.numpy(), pool.inputs[ids])
            np.testing.assert_array_equal(batch.target.numpy(), pool.target[ids])
            np.testing.assert_array_equal(batch.target.numpy(), split.target[positions])
            assert (batch.inputs.dtype, batch.target.dtype) == (torch.uint8, torch.int64)


@pytest.mark.parametrize("workers", [0, 2])
def test_streaming_gives_the_same_bits_as_resident(workers: int) -> None:
    resident = prepared(CARVED)
    streaming = prepared(CARVED, storage="streaming", workers=workers)
    assert (resident.storage, streaming.storage) == ("resident", "streaming")
    assert resident.digest == streaming.digest
    order = orders(len(resident.train))
    for a, b in zip(resident.train.batches(order), streaming.train.batches(order), strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.target, b.target)


@pytest.mark.parametrize(("kind", "workers"), [("resident", 0), ("streaming", 0), ("streaming", 1)])
def test_batches_leave_the_global_generators_alone(kind: str, workers: int) -> None:
    data = prepared(CARVED, storage=kind, workers=workers)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    list(data.train.batches(orders(len(data.train))))
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


@pytest.mark.parametrize("kind", ["resident", "streaming"])
def test_no_batches_and_a_stop_in_the_middle(kind: str) -> None:
    data = prepared(CARVED, storage=kind, workers=2)
    assert list(data.val.batches([])) == []
    batches = data.train.batches(orders(len(data.train)))
    next(batches)
    assert isinstance(batches, Iterator)
    del batches


def test_carved_splits_share_one_tensor() -> None:
    data = prepared(Given(three_pools(val=None)))
    assert isinstance(data.train.feed, Resident)
    assert data.train.feed is data.val.feed
    assert data.test.feed is not data.train.feed


def test_splits_of_the_source_are_kept_whole() -> None:
    data = prepared(Given(three_pools()))
    assert [len(split) for split in (data.train, data.val, data.test)] == [60, 12, 18]
    np.testing.assert_array_equal(data.test.ids, np.arange(18))
    assert (data.input_shape, data.kind.names) == ((3, 5, 4), ("a", "b", "c"))


def test_split_seed_replaces_the_seed() -> None:
    fixed = [prepared(CARVED, seed=seed, split_seed=7).digest for seed in (0, 1)]
    assert fixed[0] == fixed[1] == prepared(CARVED, seed=7).digest
    assert prepared(CARVED, split_seed=0, seed=3).digest == prepared(CARVED, seed=0).digest


def test_digest_tells_other_data() -> None:
    digests = {
        prepared(Given(loaded), train_size=size).digest
        for loaded, size in (
            (three_pools(), None),
            (three_pools(), 30),
            (three_pools(train=array_pool(61)), None),
            (three_pools(train=ArrayPool(array_pool(60).inputs, array_pool(60).target[::-1].copy())), None),
            (three_pools(test=array_pool(19)), None),
        )
    }
    assert len(digests) == 5


@pytest.mark.parametrize("kind", ["resident", "streaming"])
def test_moments_are_those_of_the_training_split(kind: str) -> None:
    pool = array_pool(200)
    data = prepared(CARVED, storage=kind, train_size=100)
    pixels = pool.inputs[data.train.ids].astype(np.float64) / 255
    np.testing.assert_allclose(data.encode.mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(data.encode.std, pixels.std((0, 2, 3)), rtol=1e-12)


def test_moments_do_not_see_val_and_test() -> None:
    clean = prepared(CARVED)
    poisoned = array_pool(200)
    poisoned.inputs[np.concatenate([clean.val.ids, clean.test.ids])] = 255
    data = prepared(Given(Loaded(poisoned, None, None, Classes(("a", "b", "c")))))
    assert (data.encode.mean, data.encode.std) == (clean.encode.mean, clean.encode.std)


def test_moments_of_a_constant_channel() -> None:
    images = torch.full((4, 2, 3, 3), 51, dtype=torch.uint8)
    images[:2, 1] = 153
    mean, std = moments(iter(images.split(3)), 2)
    assert mean == (0.2, 0.4)
    assert std == (1.0, pytest.approx(0.2))


def test_known_and_given_moments_come_first() -> None:
    known = Given(three_pools(mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0)))
    assert prepared(known).encode.mean == (0.1, 0.2, 0.3)
    data = prepared(known, mean=[0, 0, 0])
    assert (data.encode.mean, data.encode.std) == ((0.0, 0.0, 0.0), (1.0, 2.0, 3.0))
    assert prepared(CARVED, mean=[0.5, 0.5, 0.5]).encode.std == prepared(CARVED).encode.std


def test_spread_is_even_and_complete() -> None:
    rows = np.arange(25_000)
    chosen = spread(rows, SAMPLE)
    assert len(np.unique(chosen)) == SAMPLE
    assert set(np.diff(chosen)) == {2, 3}
    assert spread(rows[:10], SAMPLE) is not rows
    np.testing.assert_array_equal(spread(rows[:10], SAMPLE), rows[:10])


@each(
    "changes, sentence",
    [
        ({"mean": [0.5]}, r"dataset.mean must have 3 values, one for each channel, got \[0.5\]"),
        ({"std": [1, 1, 0]}, r"dataset.std must hold numbers greater than 0 .*, got \[1, 1, 0\]"),
        ({"mean": [0, 0, math.nan]}, r"dataset.mean must hold finite numbers"),
    ],
)
def test_values_out_of_range(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        prepared(Given(three_pools()), **changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"test": array_pool(9, shape=(1, 5, 4))},
            r"examples of test have shape \(1, 5, 4\), those of train have \(3, 5, 4\)",
        ),
        ({"val": array_pool(9, classes=4)}, r"targets of val must lie in 0\.\.2, found 0\.\.3"),
        ({"test": array_pool(0)}, "no examples for test"),
    ],
)
def test_pools_that_do_not_fit(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        prepared(Given(three_pools(**changes)))


CLASSES = np.arange(60, dtype=np.int64) % 3
ROWS = np.zeros((60, 4), np.float32)
PICTURES = np.zeros((60, 3, 5, 4), np.uint8)


def own(inputs: Any, target: Any = CLASSES, **others: Any) -> Loaded:
    return Loaded(ArrayPool(inputs, target, **others), None, None, Classes(("a", "b", "c")))


@pytest.mark.parametrize("storage", ["resident", "streaming"])
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: own(ROWS), r"inputs float32 \(N, 4\) and no encoder; pictures must be uint8 \(N, C, H, W\), and any"),
        (lambda: own(ROWS.astype(np.uint8)), r"inputs uint8 \(N, 4\) and no encoder"),
        (lambda: own(PICTURES / np.float32(255)), r"inputs float32 \(N, 3, 5, 4\) and no encoder"),
        (lambda: own(PICTURES[:, 0]), r"inputs uint8 \(N, 5, 4\) and no encoder"),
        (lambda: own(PICTURES[:59]), r"same N examples; got \(59, 3, 5, 4\) and \(60,\)"),
        (lambda: own(CLASSES), r"an example has at least one dimension, .* got \(60,\) and \(60,\)"),
        (lambda: own(torch.from_numpy(PICTURES)), "the inputs of a pool must be a numpy array, got Tensor"),
        (lambda: own(PICTURES, list(CLASSES)), "the target of a pool must be a numpy array, got list"),
        (
            lambda: own(PICTURES, CLASSES.astype(np.int32)),
            r"must be int64 of 1 dimension for classes, .* int32 \(60,\)",
        ),
        (lambda: own(PICTURES, CLASSES.astype(np.float32)), r"must be int64 of 1 dimension for classes, .* float32"),
        (lambda: own(PICTURES, CLASSES[:, None]), r"must be int64 of 1 dimension for classes, .* \(60, 1\)"),
        (lambda: own(PICTURES, groups=np.arange(59)), "the dataset has 59 groups for 60 examples of train"),
        (lambda: (PICTURES, CLASSES), r"load\(\) of Given must return a Loaded, got tuple"),
    ],
)
def test_what_is_wrong_with_own_data_is_one_sentence(make: Any, sentence: str, storage: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        prepared(Given(make()), storage=storage)
    assert "\n" not in str(caught.value)


def test_one_class_is_not_enough() -> None:
    with pytest.raises(UserError, match="the dataset has 1 class, at least 2 are needed"):
        prepared(Given(Loaded(array_pool(9, classes=1), None, None, Classes(("a",)))))


class Unreadable(Pool):
    """A pool with one picture that cannot be read."""

    shape = (1, 2, 2)
    nbytes = 48
    target = np.arange(12, dtype=np.int64) % 2

    def load(self) -> torch.Tensor:
        raise NotImplementedError

    def read(self, i: int) -> torch.Tensor:
        if i == 5:
            raise UserError("5.png cannot be read")
        return torch.full(self.shape, i, dtype=torch.uint8)


@pytest.mark.parametrize("workers", [0, 1])
def test_error_of_a_worker_arrives_as_it_is(workers: int) -> None:
    feed = Streaming(Unreadable(), torch.device("cpu"), workers)
    batches = feed.batches([np.array([3, 4]), np.array([5, 6])])
    assert next(batches).inputs[:, 0, 0, 0].tolist() == [3, 4]
    with pytest.raises(UserError, match=r"^5.png cannot be read$"):
        next(batches)


def test_storage_auto_chooses_by_the_memory_that_is_free(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = 90 * 60  # bytes of the three pools
    for free, expected in ((2 * needed, "resident"), (2 * needed - 1, "streaming"), (None, "resident")):
        monkeypatch.setattr(storage, "free_bytes", lambda device, free=free: free)
        assert prepared(Given(three_pools()), storage="auto").storage == expected
    assert capsys.readouterr().err.count("they are streamed (dataset.storage=resident") == 1


def test_free_memory_is_something_or_unknown() -> None:
    free = storage.free_bytes(torch.device("cpu"))
    assert free is None or 2**20 < free < 2**50


def test_free_memory_respects_the_limit_of_a_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    group = tmp_path / "cgroup"
    group.mkdir()
    monkeypatch.setattr(storage, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(storage, "CGROUP", group)
    assert storage.free_bytes(torch.device("cpu")) == 8000 * 1024
    (group / "memory.max").write_text("5000\n")
    (group / "memory.current").write_text("4000\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 300\n")
    assert storage.free_bytes(torch.device("cpu")) == 1300
    for name, value in sharing.variables(3, 2).items():  # as a launcher of three runs side by side
        monkeypatch.setenv(name, value)
    assert storage.free_bytes(torch.device("cpu")) == 433
    monkeypatch.delenv(sharing.RUNS)
    (group / "memory.max").write_text("max\n")
    assert storage.free_bytes(torch.device("cpu")) == 8000 * 1024
    monkeypatch.setattr(storage, "MEMINFO", tmp_path / "nowhere")
    assert storage.free_bytes(torch.device("cpu")) is None


RARE = np.array([[1, 0, 1]] * 2 + [[0, 1, 0]] * 9 + [[0, 1, 1]] * 9, np.float32)


@pytest.mark.parametrize(
    ("kind", "target", "said"),
    [
        (Classes(("a", "b", "c")), np.array([0] * 2 + [1] * 9 + [2] * 9), "class a has fewer than 3 examples"),
        (Tags(("x", "y", "z")), RARE, "tag x has fewer than 3 examples"),
        (Tags(("x", "y", "z")), RARE[:, [0, 1, 0]], "2 tags (x, z) have fewer than 3 examples"),
    ],
)
def test_rare_classes_and_tags_are_named(kind, target, said, capsys) -> None:
    prepared(Given(Loaded(ArrayPool(array_pool(20).inputs, target), None, None, kind)))
    err = capsys.readouterr().err
    assert f"{said} for 3 splits: train keeps one of each, val or test has none" in err


def test_what_a_given_split_lacks_is_named(capsys) -> None:
    prepared(Given(three_pools()))
    assert "no example" not in capsys.readouterr().err
    pools = {"train": array_pool(60), "val": ArrayPool(array_pool(8).inputs, np.arange(8) % 2 + 1)}
    prepared(Given(Loaded(**pools, test=array_pool(5, classes=1), kind=Classes(("a", "b", "c")))))
    err = capsys.readouterr().err
    assert "val has no example of class a: its scores are of the others alone" in err
    assert "test has no example of 2 classes (b, c): its scores" in err


def test_a_class_without_an_example_is_named(capsys) -> None:
    prepared(Given(Loaded(array_pool(60), None, None, Classes(("a", "b", "c", "d")))))
    assert "train has no example of class d: nothing can be learnt about it" in capsys.readouterr().err
