"""Classification: the one formula, its equality with soft labels, and metrics against scikit-learn."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score, roc_auc_score
from torch import nn

from mixup_lab.targets.classes import Classification
from mixup_lab.training.device import Precision
from mixup_lab.training.step import train_step
from mixup_lab.types import Mixed

CPU = torch.device("cpu")


def _mixed(batch=12, classes=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    target = torch.randint(0, classes, (batch,), generator=g)
    perm = torch.randperm(batch, generator=g)
    lam = torch.rand(batch, generator=g)
    return Mixed(torch.randn(batch, 7, generator=g), target, target[perm], lam)


def _soft(mixed, classes=5):
    one_hot = F.one_hot(torch.stack([mixed.target, mixed.partner]), classes).float()
    return mixed.lam[:, None] * one_hot[0] + (1 - mixed.lam[:, None]) * one_hot[1]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("accumulate", [1, 3, 5])
def test_step_equals_soft_label_cross_entropy(smoothing, accumulate):
    mixed = _mixed()
    torch.manual_seed(1)
    ours = nn.Linear(7, 5)
    reference = nn.Linear(7, 5)
    reference.load_state_dict(ours.state_dict())

    loss, output = train_step(
        ours, Classification(5, smoothing), torch.optim.SGD(ours.parameters(), lr=0.5), mixed, Precision("fp32", CPU),
        accumulate,
    )  # fmt: skip
    logits = reference(mixed.inputs)
    expected = F.cross_entropy(logits, _soft(mixed), label_smoothing=smoothing)
    expected.backward()
    with torch.no_grad():
        for p in reference.parameters():
            p -= 0.5 * p.grad

    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(output, logits.detach())
    for p, q in zip(ours.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_clipping_bounds_the_update():
    mixed, model = _mixed(), nn.Linear(7, 5)
    before = [p.detach().clone() for p in model.parameters()]
    train_step(
        model, Classification(5), torch.optim.SGD(model.parameters(), lr=1.0), mixed, Precision("fp32", CPU),
        clip_grad_norm=1e-3,
    )  # fmt: skip
    moved = torch.cat([(p - q).flatten() for p, q in zip(model.parameters(), before, strict=True)])
    assert 0.5e-3 < moved.norm() <= 1.001e-3


def test_metrics_against_scikit_learn():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(103, 6)).astype(np.float32)
    target = rng.integers(0, 5, 103)  # class 5 never occurs
    task = Classification(6)
    whole = task.metrics(task.observe(torch.from_numpy(logits), torch.from_numpy(target)))

    prediction = logits.argmax(1)
    probability = torch.from_numpy(logits).softmax(1).double().numpy()
    expected = {
        "accuracy": accuracy_score(target, prediction),
        "macro_recall": recall_score(target, prediction, average="macro", labels=range(5), zero_division=0),
        "macro_f1": f1_score(target, prediction, average="macro", labels=range(5), zero_division=0),
        "loss": log_loss(target, probability / probability.sum(1, keepdims=True), labels=range(6)),
    }
    for name, value in expected.items():
        assert whole[name] == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("rounded", [False, True], ids=["", "with ties"])
def test_ranking_and_calibration_against_references(classes, rounded):
    rng = np.random.default_rng(1)
    logits, target = rng.normal(size=(211, classes)), rng.integers(0, classes, 211)
    logits[np.arange(211), target] += 0.7
    logits = (logits.round() if rounded else logits).astype(np.float32)
    task = Classification(classes)
    found = task.metrics(task.observe(torch.from_numpy(logits), torch.from_numpy(target)))
    probability = torch.from_numpy(logits).double().softmax(1).numpy()
    score = probability[:, 1] if classes == 2 else probability
    assert found["auroc"] == pytest.approx(roc_auc_score(target, score, multi_class="ovr"), abs=1e-9)

    confidence, hit = probability.max(1), probability.argmax(1) == target
    expected = 0.0
    for k in range(15):
        inside = (confidence >= k / 15) & (confidence < (k + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    assert found["ece"] == pytest.approx(expected, abs=1e-9)


def test_a_split_of_one_class_has_no_ranking():
    task = Classification(3)
    assert "auroc" not in task.metrics(task.observe(torch.randn(5, 3), torch.ones(5, dtype=torch.int64)))


def test_evaluation_does_not_smooth():
    output, target = torch.randn(9, 4), torch.randint(0, 4, (9,))
    smooth, plain = Classification(4, 0.3), Classification(4)
    assert smooth.metrics(smooth.observe(output, target)) == plain.metrics(plain.observe(output, target))
    assert not torch.allclose(smooth.loss(output, target), plain.loss(output, target))


def test_train_sums_are_weighted_by_lam():
    mixed = _mixed()
    output = torch.randn(12, 5)
    sums = Classification(5).train_sums(output, *mixed[1:4])
    hit = F.one_hot(output.argmax(1), 5) * _soft(mixed)
    torch.testing.assert_close(sums["accuracy_mixed"], hit.sum())
    torch.testing.assert_close(sums["label_mass"], _soft(mixed).sum(0))


@pytest.mark.parametrize(("arguments", "message"), [((1,), "num_classes"), ((3, 1.0), "label_smoothing")])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Classification(*arguments)
