"""Regression and multi-label against scikit-learn, and what mixing means for them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.cases import each
from sklearn import metrics

from mixup_lab.targets.boxes import Boxes
from mixup_lab.targets.classes import Classes
from mixup_lab.targets.numbers import Numbers, Regression
from mixup_lab.targets.pixels import Pixels
from mixup_lab.targets.tags import MultiLabel, Tags
from mixup_lab.types import Mixed, UserError

CPU = torch.device("cpu")


def _numbers(n=60, t=2):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, t)) * [3.0, 20.0][:t] + [5.0, -7.0][:t]).astype(np.float32)


def test_regression_metrics_are_in_the_units_of_the_targets():
    target = _numbers()
    task = Numbers(("a", "b")).task(target, CPU)
    output = torch.randn(60, 2)
    prediction = output.double().numpy() * target.std(0, dtype=np.float64) + target.mean(0, dtype=np.float64)
    found = task.metrics(task.observe(output, torch.from_numpy(target)))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(target, prediction), rel=1e-5)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(target, prediction), rel=1e-5)
    assert found["r2"] == pytest.approx(metrics.r2_score(target, prediction), rel=1e-5)
    assert found["loss"] == pytest.approx(float(task.loss(output, torch.from_numpy(target)).mean()), rel=1e-5)


def test_two_terms_have_the_gradient_of_the_mixed_number_and_a_constant_more():
    target = torch.from_numpy(_numbers())
    task = Regression(target.mean(0), target.std(0))
    partner, lam = target[torch.randperm(60)], torch.rand(60)
    output = torch.randn(60, 2, requires_grad=True)
    mixed = Mixed(None, target, partner, lam)
    two = mixed.loss(task.loss, output).mean()
    (by_two,) = torch.autograd.grad(two, output)
    between = lam[:, None] * target + (1 - lam[:, None]) * partner
    one = task.loss(output, between).mean()
    (by_one,) = torch.autograd.grad(one, output)
    torch.testing.assert_close(by_two, by_one)
    apart = (((target - partner) / task.std).square().mean(1) * lam * (1 - lam)).mean()
    torch.testing.assert_close(two - one, apart)
    sums = task.train_sums(output.detach(), target, partner, lam)
    scalars = task.train_scalars({**sums, "lam": lam})
    assert scalars["train/rmse_mixed"] == pytest.approx(float(one.detach().sqrt()), rel=1e-5)


def _tags(n=80, t=4, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((n, t)) < 0.4).astype(np.float32)


def test_multilabel_metrics():
    target = _tags()
    target[:, 3] = 0  # never in this split
    logits = torch.from_numpy(
        (2 * target - 1 + 2 * np.random.default_rng(1).normal(size=target.shape)).astype(np.float32)
    )
    task = MultiLabel(("a", "b", "c", "d"))
    found = task.metrics(task.observe(logits, torch.from_numpy(target)))
    decided = (logits > 0).numpy()
    seen = slice(0, 3)
    assert found["map"] == pytest.approx(
        metrics.average_precision_score(target[:, seen], logits[:, seen].numpy()), abs=1e-5
    )
    assert found["micro_f1"] == pytest.approx(metrics.f1_score(target, decided, average="micro"), abs=1e-5)
    assert found["macro_f1"] == pytest.approx(
        metrics.f1_score(target[:, seen], decided[:, seen], average="macro"), abs=1e-5
    )
    assert found["subset_accuracy"] == pytest.approx(metrics.accuracy_score(target, decided), abs=1e-9)
    expected = F.binary_cross_entropy_with_logits(logits, torch.from_numpy(target))
    assert found["loss"] == pytest.approx(float(expected), rel=1e-5)


def test_two_terms_equal_mixed_tags():
    target, partner, lam = torch.from_numpy(_tags()), torch.from_numpy(_tags(seed=3)), torch.rand(80)
    task, output = Tags(tuple("abcd")).task(target.numpy(), CPU), torch.randn(80, 4)
    between = lam[:, None] * target + (1 - lam[:, None]) * partner
    torch.testing.assert_close(
        Mixed(None, target, partner, lam).loss(task.loss, output),
        F.binary_cross_entropy_with_logits(output, between, reduction="none").mean(1),
    )
    sums = task.train_sums(output, target, partner, lam)
    torch.testing.assert_close(sums["label_mass"], between.sum(0))
    share = float(torch.where(output > 0, between, 1 - between).mean())
    scalars = task.train_scalars({**sums, "lam": lam})
    assert scalars["train/accuracy_mixed"] == pytest.approx(share, rel=1e-5)
    away = (between.sum(0) / between.sum() - target.sum(0) / target.sum()).abs().sum() / 2
    assert scalars["mix/label_shift"] == pytest.approx(float(away), abs=1e-6)


@pytest.mark.parametrize(("key", "value"), [("label_smoothing", 0.1), ("class_weights", "balanced")])
@pytest.mark.parametrize("kind", [Numbers(("a", "b")), Tags(("a", "b")), Boxes(("a", "b"))])
def test_settings_of_classes_are_refused_elsewhere(kind, key, value):
    with pytest.raises(ValueError, match=f"^{key}={value} is for classes, not for {kind.kind}$"):
        kind.task(_tags(t=2), CPU, **{key: value})


BAD = [
    (Classes(("a",)), np.zeros(3, np.int64), "1 class, at least 2"),
    (Classes(("a", "b")), np.array([0, 2]), r"0\.\.1, found 0\.\.2"),
    (Classes(("a", "b")), np.zeros(3, np.float32), "must be int64 of 1 dimension for classes, got float32"),
    (Classes(("a", "b")), np.zeros((3, 1), np.int64), r"of 1 dimension for classes, got int64 \(3, 1\)"),
    (Classes(("a", "b")), np.ones(3, np.int64), "all examples of train are of class b: there is nothing to learn"),
    (Numbers(("a", "b")), np.array([[0, 1], [np.nan, 2]], np.float32), "target a of train is nan in example 1"),
    (Numbers(("a",)), np.ones((3, 1), np.float32), "a is 1 in all of train"),
    (Numbers(("a",)), np.ones((3, 2), np.float32), "the last of 1"),
    (Tags(("a", "b")), np.array([[0, 1], [1, 2]], np.float32), "0 or 1, found 2"),
    (Tags(("a", "b")), np.array([[0, 1], [1, 1]], np.float32), "tag b is 1 in all of train"),
    (Pixels(("a", "b")), np.full((1, 2, 2), 3, np.uint8), r"0\.\.1 or 255 \(void\), found 3"),
    (Boxes(("a",)), np.array([[[1, 0, 0, 2, 2]]], np.float32), r"0\.\.0, found 1"),
    (Boxes(("a",)), np.array([[[0, 2, 0, 2, 2]]], np.float32), "no area"),
    (Boxes(("a",)), np.full((2, 1, 5), -1, np.float32), "no boxes"),
]


@each("kind, target, message", BAD)
def test_bad_targets_are_refused(kind, target, message):
    with pytest.raises(UserError, match=message):
        kind.check("train", target)


def test_strata_and_words():
    numbers = Numbers(("price",))
    values = np.random.default_rng(0).normal(size=(50, 1)).astype(np.float32)
    strata = numbers.strata(values)
    assert np.bincount(strata).tolist() == [5] * 10
    assert values[strata == 0].max() < values[strata == 1].min()
    assert numbers.describe_one(np.array([3.14159], np.float32)) == "3.142"
    tags = Tags(("often", "rare"))
    assert tags.strata(np.array([[1, 0], [1, 1], [0, 0], [1, 0]], np.float32)).tolist() == [0, 1, 2, 0]
    assert tags.describe_one(np.array([1, 1], np.float32)) == "often, rare"
    assert tags.describe_one(np.array([0, 0], np.float32)) == "no tag"
    mask = np.array([[1, 1], [0, 255]], np.uint8)
    assert Pixels(("sky", "road")).describe_one(mask) == "road, sky"
    boxes = np.array([[1, 0, 0, 1, 1], [0, 0, 0, 1, 1], [1, 0, 0, 1, 1], [-1, 0, 0, 0, 0]], np.float32)
    assert Boxes(("cat", "dog")).describe_one(boxes) == "1 cat, 2 dog"


def test_mistakes_are_the_worst_first():
    logits = torch.tensor([[2.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 3.0, 0.0]])
    task = Classes(("cat", "dog", "cow")).task(np.array([0, 1, 2]), CPU)
    kept = task.observe(logits, torch.tensor([1, 2, 2, 0]))
    sure = logits.softmax(1).max(1).values.tolist()
    expected = [(1, f"cat ({sure[1]:.2f})"), (3, f"dog ({sure[3]:.2f})"), (0, f"cat ({sure[0]:.2f})")]
    assert task.mistakes(kept, ("cat", "dog", "cow"), 9) == expected
    assert task.mistakes(kept, ("cat", "dog", "cow"), 2) == expected[:2]

    numbers = Regression(torch.zeros(2), torch.tensor([1.0, 10.0]))
    kept = {"prediction": torch.tensor([[0.0, 5.0], [2.0, 0.0]]), "target": torch.zeros(2, 2)}
    assert numbers.mistakes(kept, ("a", "b"), 1) == [(1, "2, 0")]  # two deviations off, not half of one

    tags = MultiLabel(("a", "b"))
    kept = {"logits": torch.tensor([[3.0, 3.0], [-1.0, -1.0], [2.0, -2.0]]), "target": torch.tensor([[1.0, 0.0]] * 3)}
    assert tags.mistakes(kept, ("a", "b"), 9) == [(0, "a, b"), (1, "no tag")]
