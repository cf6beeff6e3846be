"""What a run knows of its examples: their groups, examples that occur twice, and groups that nobody named."""

import re
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from helpers.data_examples import Given, array_pool, prepared

from mixup_lab.data import copies
from mixup_lab.data.copies import hashes
from mixup_lab.data.guessed_groups import guessed
from mixup_lab.data.prepare import Data
from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.sources.digits import Digits
from mixup_lab.sources.embedded_table import TABLES, EmbeddedTable
from mixup_lab.sources.new_rows import Form
from mixup_lab.sources.table import with_encoder
from mixup_lab.targets.classes import Classes

ABC = Classes(("a", "b", "c"))
CARVED, GIVEN = ("val", "test"), ()


def loaded(pool: ArrayPool, val: ArrayPool | None = None, test: ArrayPool | None = None, **rest: Any) -> Loaded:
    return Loaded(pool, val, test, ABC, **rest)


def grouped(count: int, groups: Any, seed: int = 0) -> ArrayPool:
    pool = array_pool(count, seed=seed)
    return ArrayPool(pool.inputs, pool.target, groups=np.asarray(groups))


# ---- groups ---------------------------------------------------------------------------------------------------------


def test_codes_are_places_among_the_sorted_groups_of_all_splits() -> None:
    names = {"train": ["eve", "ann"] * 15, "val": ["dan"] * 6, "test": ["bob", "cy"] * 3}
    pools = {split: grouped(len(own), own, seed) for seed, (split, own) in enumerate(names.items())}
    data = prepared(Given(Loaded.of(pools, ABC)))
    order = ["ann", "bob", "cy", "dan", "eve"]
    for split in data.splits:
        assert split.groups is not None
        assert split.groups.dtype == np.int64
        assert [order[code] for code in split.groups] == [names[split.name][i] for i in split.ids]


def test_codes_of_carved_splits_do_not_depend_on_the_seed() -> None:
    groups = np.array([f"p{i // 5}" for i in range(100)])
    code = {name: k for k, name in enumerate(sorted(set(groups)))}
    found = []
    for seed in range(3):
        data = prepared(Given(loaded(grouped(100, groups))), seed=seed)
        for split in data.splits:
            assert split.groups is not None
            assert split.groups.tolist() == [code[groups[i]] for i in split.ids]
        found.append(data.test.ids.tolist())
    assert found[0] != found[1]


def test_texts_carve_as_their_numbers_do() -> None:
    numbers = np.arange(100) // 4
    by_number = prepared(Given(loaded(grouped(100, numbers))))
    by_text = prepared(Given(loaded(grouped(100, [f"{n:03}" for n in numbers]))))
    assert by_number.test.ids.tolist() == by_text.test.ids.tolist()


def test_a_split_without_groups_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    data = prepared(Given(loaded(grouped(60, np.arange(60) // 3), test=array_pool(9, seed=5))))
    assert data.train.groups is not None
    assert data.test.groups is None
    assert prepared(Given(loaded(array_pool(60)))).train.groups is None
    assert capsys.readouterr().err == ""


def test_groups_on_both_sides_of_given_splits_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    pools = {
        "train": grouped(30, np.arange(30) // 3),
        "val": grouped(6, [8, 9] * 3, 1),
        "test": grouped(6, [20] * 6, 2),
    }
    data = prepared(Given(Loaded.of(pools, ABC)))
    assert data.notes == ("2 groups have examples in train and in val: they flatter every arm",)
    assert capsys.readouterr().err.splitlines() == list(data.notes)


@pytest.mark.parametrize(
    ("changes", "given", "carved"),
    [
        ({}, GIVEN, CARVED), ({}, ("test",), ("val",)), ({}, CARVED, ()), ({"split_seed": 3}, GIVEN, ()),
    ],
)  # fmt: skip
def test_carved_are_the_splits_that_differ_between_seeds(changes: Any, given: Any, carved: Any) -> None:
    pools = {"train": array_pool(60), **{split: array_pool(12, seed=len(split)) for split in given}}
    first, second = (prepared(Given(Loaded.of(pools, ABC)), seed=seed, **changes) for seed in (0, 1))
    assert first.carved == carved
    splits = zip(first.splits[1:], second.splits[1:], strict=True)
    assert [a.name for a, b in splits if a.ids.tolist() != b.ids.tolist()] == list(carved)


def test_splits_by_time_are_not_carved_by_the_seed() -> None:
    assert prepared(Given(loaded(array_pool(60), times=np.arange(60)))).carved == ()


# ---- copies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float16, np.int32, np.int64])
@pytest.mark.parametrize("shape", [(1,), (5,), (3, 4, 4), (1, 3, 3)])
def test_equal_hashes_are_equal_examples(dtype: Any, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 3 if len(shape) > 1 else 7, (300, *shape)).astype(dtype)
    values[200:] = values[:100]
    found = hashes(torch.from_numpy(values))
    rows = values.reshape(300, -1)
    alike = (rows[:, None] == rows[None]).all(2)
    assert (found[:, None] == found[None]).tolist() == alike.tolist()


def test_hashes_see_every_byte_in_every_layout() -> None:
    first = torch.zeros(1, 3, 6, 6, dtype=torch.uint8)
    others = first.repeat(108, 1, 1, 1)
    others.view(108, -1)[range(108), range(108)] = 128  # one top bit each: the hardest for sums of products
    every = torch.cat([first, others])
    assert len(set(hashes(every).tolist())) == 109
    assert hashes(every.contiguous(memory_format=torch.channels_last)).tolist() == hashes(every).tolist()


def brute_force(data: Data, inputs: np.ndarray) -> dict[str, int]:
    """The examples of val and test that are in train, one by one."""
    rows = [row.tobytes() for row in inputs]
    train = {rows[i] for i in data.train.ids}
    return {split.name: sum(rows[i] in train for i in split.ids) for split in data.splits[1:]}


@pytest.mark.parametrize("seed", range(3))
def test_copies_in_carved_splits(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    pool = array_pool(120)
    pool.inputs[60:72] = pool.inputs[:12]
    data = prepared(Given(loaded(pool)), seed=seed)
    assert data.duplicates == brute_force(data, pool.inputs)
    assert sum(data.duplicates.values()) > 0
    note = "copies of other examples: 12 of 120; those in val or test whose other is in train flatter every arm"
    assert data.notes == (note,), "the same in runs of every seed"
    assert capsys.readouterr().err == f"{note}\n"


def test_copies_in_given_splits() -> None:
    pools = {"train": array_pool(60), "val": array_pool(12, seed=1), "test": array_pool(18, seed=2)}
    assert (before := prepared(Given(Loaded.of(pools, ABC)))).duplicates == {"val": 0, "test": 0}
    assert before.notes == ()
    pools["test"].inputs[4] = pools["train"].inputs[50]
    data = prepared(Given(Loaded.of(pools, ABC)))
    assert data.duplicates == {"val": 0, "test": 1}
    assert data.notes == ("1 of 18 test examples occurs in train too: it flatters every arm",)
    pools["val"].inputs[[2, 3]] = pools["train"].inputs[7]
    data = prepared(Given(Loaded.of(pools, ABC)))
    assert data.duplicates == {"val": 2, "test": 1}
    both = "2 of 12 val examples and 1 of 18 test examples occur in train too: they flatter every arm"
    assert data.notes == (both,)
    part = prepared(Given(Loaded.of(pools, ABC)), train_size=20)
    assert part.duplicates == {"val": 2 * (7 in part.train.ids), "test": int(50 in part.train.ids)}


def test_rows_are_compared_as_they_are_stored() -> None:
    """The first column is constant in train, so that encoded rows cannot tell it apart."""
    rows = EmbeddedTable("iris").load().train
    assert isinstance(rows, ArrayPool)
    pools = [ArrayPool(np.hstack([np.full((150, 1), k, np.float32), rows.inputs]), rows.target) for k in (0, 1)]
    made = Loaded(pools[0], None, pools[1], ABC)
    data = prepared(Given(replace(made, fit=partial(with_encoder, made, [Form(name) for name in "abcde"]))))
    inputs = next(data.test.batches([np.arange(150)])).inputs
    assert not inputs[:, 0].any()
    assert data.duplicates == {"val": brute_force(data, pools[0].inputs)["val"], "test": 0}


def test_what_is_not_in_memory_or_too_large_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert prepared(Given(loaded(array_pool(60))), storage="streaming").duplicates is None
    monkeypatch.setattr(copies, "LARGEST", 60 * 60 - 1)
    assert prepared(Given(loaded(array_pool(60)))).duplicates is None


# ---- groups that nobody named ---------------------------------------------------------------------------------------


def names(pattern: str, **parts: Any) -> list[str]:
    """All combinations, the last part varying first."""
    found = [{}]
    for key, values in parts.items():
        found = [{**one, key: value} for one in found for value in values]
    return [pattern.format(**one) for one in found]


WORDS, SPEAKERS = ("yes", "no"), [f"s{k:02}" for k in range(6)]


def guess(paths: list[str], classes: np.ndarray | None = None, splits: np.ndarray | None = None) -> Any:
    """Splits at random; classes by the folder."""
    folders = np.unique([path.split("/")[-2] for path in paths], return_inverse=True)[1]
    drawn = np.random.default_rng(0).integers(0, 3, len(paths))
    return guessed(paths, drawn if splits is None else splits, folders if classes is None else classes)


GROUPED = {
    "speakers": names("train/{word}/{who}_{word}_{i}.wav", word=WORDS, who=SPEAKERS, i=range(3)),
    "patients with one diagnosis each": [f"{'ab'[k % 2]}/patient{k}-{i:03}.png" for k in range(8) for i in range(5)],
    "numbers of readers": names("{word}/{who}-{i}.flac", word=WORDS, who=(1272, 1462, 1673, 1988), i=range(4)),
    "names": names("{word}/{who}.{i}.png", word=WORDS, who=("ann", "bob", "cy"), i=range(5)),
    "a folder with the mark in its name": names("my_{word}/{who}_{i}.wav", word=WORDS, who=SPEAKERS, i=range(3)),
}  # fmt: skip
UNGROUPED = {
    "numbers": names("train/{word}/{i:04}.png", word=WORDS, i=range(40)),
    "one prefix": names("train/{word}/img_{i}.png", word=WORDS, i=range(40)),
    "prefix is the class": names("train/{word}/{word}_{i}.png", word=("cat", "dog", "cow"), i=range(20)),
    "numbered classes": names("train/{word}/{word}_{i}.png", word=("class0", "class1", "class2"), i=range(20)),
    "a prefix for each file": names("train/{word}/{i}_{word}.png", word=WORDS, i=range(40)),
    "some without": [*names("train/{word}/a{i}_{k}.png", word=WORDS, i=range(4), k=range(4)), "train/yes/x.png"],
    "digit first, then speaker": names("{word}/{word}_ann_{i}.wav", word="0123456789", i=range(5)),
}


@pytest.mark.parametrize("paths", GROUPED.values(), ids=GROUPED)
def test_names_that_suggest_groups(paths: list[str]) -> None:
    found = guess(paths)
    assert found is not None
    example, pattern = found
    assert example == paths[0]
    prefixes = [re.split("[_.-]", path.rpartition("/")[2])[0] for path in paths]
    assert [re.search(pattern, path)[1] for path in paths] == prefixes, "the expression finds them"


@pytest.mark.parametrize("paths", UNGROUPED.values(), ids=UNGROUPED)
def test_names_that_do_not(paths: list[str]) -> None:
    assert guess(paths) is None


def test_groups_that_each_lie_in_one_split_are_not_guessed() -> None:
    paths = GROUPED["speakers"]
    who = np.unique([path.split("/")[2][:3] for path in paths], return_inverse=True)[1]
    assert guess(paths, splits=who % 3) is None


def test_masks_have_no_classes_to_compare_with() -> None:
    paths = names("train/images/{who}_{i}.png", who=("slide1", "slide2", "other"), i=range(5))
    assert guessed(paths, np.arange(15) % 3, None) is not None


@pytest.mark.parametrize("source", [*map(EmbeddedTable, TABLES), Digits()], ids=[*TABLES, "digits"])
def test_data_of_this_package_look_ungrouped(source: Any) -> None:
    for seed in range(8):
        assert all("copies" in note for note in prepared(source, seed=seed).notes)
