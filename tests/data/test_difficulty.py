"""Wrong labels and long tails: in train alone, as many as asked for, nested, the same in all arms of a seed."""

import numpy as np
import pytest
import torch
from helpers.data_examples import Given, array_pool, prepared, three_pools
from helpers.trainings import QUIET, Training, config_of

from mixup_lab.config.assemble import assemble
from mixup_lab.data.difficulty import corrupted, long_tail
from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.targets.classes import Classes
from mixup_lab.targets.numbers import Numbers
from mixup_lab.types import UserError

NAMES = ("a", "b", "c", "d")


def labels(*counts: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_symmetric_noise(share):
    target = labels(400, 400, 400, 400)
    noisy = corrupted(target, share, NAMES, None, 0)
    wrong = noisy != target
    assert wrong.sum() == round(share * 1600)
    for k in range(4):  # each class alike, and each other class as often
        own = wrong[target == k]
        assert abs(own.sum() - share * 400) <= 1
        others = np.bincount(noisy[(target == k) & wrong], minlength=4)
        assert others[k] == 0
        assert (abs(np.delete(others, k) - own.sum() / 3) < 4 * np.sqrt(own.sum() / 3)).all()


def test_noise_is_nested_and_a_matter_of_the_seed():
    target = labels(50, 60, 70, 20)
    little, much = (corrupted(target, share, NAMES, None, 3) for share in (0.2, 0.6))
    wrong = little != target
    assert (much[wrong] == little[wrong]).all(), "more noise keeps what little noise did"
    assert np.array_equal(little, corrupted(target, 0.2, NAMES, None, 3))
    assert not np.array_equal(little, corrupted(target, 0.2, NAMES, None, 4))


def test_confused_pairs():
    target = labels(100, 100, 100, 100)
    noisy = corrupted(target, 0.25, NAMES, [["a", "c"], [3, "b"]], 0)
    moves: dict[tuple[int, int], int] = {}
    for t, n in zip(target.tolist(), noisy.tolist(), strict=True):
        moves[t, n] = moves.get((t, n), 0) + 1
    assert moves == {(0, 0): 75, (0, 2): 25, (1, 1): 100, (2, 2): 100, (3, 3): 75, (3, 1): 25}


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        ([["a", "x"]], "there is no class x; the classes are a, b, c, d"),
        ([[0, 4]], "there is no class 4"),
        ([["a", "a"]], r"must be \[from, to\] pairs of two classes"),
        ([["a", "b"], ["a", "c"]], "two pairs from class a"),
    ],
)
def test_pairs_that_cannot_be(pairs, sentence):
    with pytest.raises(UserError, match=sentence):
        corrupted(labels(5, 5, 5, 5), 0.5, NAMES, pairs, 0)


def test_a_long_tail():
    target = labels(1000, 1000, 1000, 1000, 1000)
    kept = long_tail(target, 100, 0)
    assert (np.diff(kept) > 0).all()
    assert np.bincount(target[kept]).tolist() == [1000, 316, 100, 32, 10]  # 1000 * 100 ** (-k / 4)
    shorter = long_tail(target, 10, 0)
    assert set(kept) <= set(shorter)
    assert np.array_equal(long_tail(target, 1, 0), np.arange(5000))
    small = labels(9, 3, 200)
    assert np.bincount(small[long_tail(small, 50, 1)]).tolist() == [9, 3, 4], "no more than there are"


@pytest.mark.parametrize("storage", ["resident", "streaming"])
def test_only_train_is_changed(storage):
    plain, noisy = (prepared(Given(three_pools(val=None)), storage=storage, label_noise=n) for n in (0.0, 0.5))
    assert plain.clean is plain.train
    wrong = noisy.train.target != plain.train.target
    assert wrong.sum() == round(0.5 * len(plain.train))
    assert np.array_equal(noisy.clean.target, plain.train.target)
    for name in ("val", "test"):
        assert np.array_equal(getattr(noisy, name).target, getattr(plain, name).target)
    for split in (noisy.train, noisy.clean, noisy.val):  # val comes from the pool of train
        (batch,) = split.batches([np.arange(len(split))])
        assert np.array_equal(batch.target.numpy(), split.target)
    (own,), (other,) = (split.batches([np.arange(9)]) for split in (noisy.train, noisy.clean))
    assert torch.equal(own.inputs, other.inputs)
    assert noisy.digest != plain.digest
    tail = prepared(Given(three_pools(val=None)), storage=storage, imbalance=5.0)
    assert len(tail.train) < len(plain.train)
    assert len(tail.val) == len(plain.val)
    assert set(tail.train.ids) < set(plain.train.ids)


def test_difficulty_is_for_classes():
    pool = array_pool(60)
    numbers = Loaded(ArrayPool(pool.inputs, np.zeros((60, 1), np.float32) + np.arange(60)[:, None].astype(np.float32)),
                     None, None, Numbers(("x",)))  # fmt: skip
    for key, value in (("label_noise", 0.2), ("imbalance", 10.0)):
        with pytest.raises(UserError, match=f"dataset.{key} is for classes, and the targets are numbers"):
            prepared(Given(numbers), **{key: value})
    assert Classes.strata_are_classes


def test_a_training_on_wrong_labels_is_measured_on_both(tmp_path):
    words = ("dataset=digits", "dataset.label_noise=0.4", "model=mlp", "model.hidden=[256]", "trainer.epochs=150",
             "trainer.batch_size=64", "optimizer=adam", "optimizer.lr=0.003", "dataset.train_size=300")  # fmt: skip
    training = Training(tmp_path / "noisy", *words, base=QUIET)
    scalars = training.run()
    assert scalars["train_corrupted/accuracy"] > 0.85, "it learns the wrong labels by heart"
    assert scalars["train_clean/accuracy"] < 0.75, "which 40 % are"
    data = training.fit.parts.data
    assert (data.train.target != data.clean.target).mean() == pytest.approx(0.4, abs=0.002)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("dataset.label_noise=1.0",), r"dataset.label_noise must be a share in \[0, 1\), got 1.0"),
        (("dataset.label_noise=0.2", "dataset.label_noise_pairs=[3,5]"), "label_noise_pairs must be null or"),
        (("dataset.label_noise_pairs=[[3,5]]",), "needs a share of labels to confuse"),
        (("dataset.imbalance=0.5",), "dataset.imbalance must be null or a finite ratio >= 1, got 0.5"),
        (("dataset.label_noise=0.2", "dataset.label_noise_pairs=[[3,12]]"), "there is no class 12"),
    ],
)
def test_settings_that_cannot_be(words, sentence):
    with pytest.raises(UserError, match=sentence):
        assemble(config_of(*QUIET, "dataset=digits", "model=mlp", *words), "x")
