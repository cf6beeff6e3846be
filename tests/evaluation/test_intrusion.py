"""Intrusions counted by loops in numpy."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from helpers.trained_runs import LINEAR, run_with_weights, values

from mixup_lab.evaluation.intrusion import Intrusion, _Cases
from mixup_lab.evaluation.lens import Unsuited

MLP = ("dataset=wine", "model=mlp", "model.hidden=[3]", "trainer.device=cpu", "trainer.batch_size=20")
MIXUP = ("aug=mixup", "aug.law=fixed", "aug.lam=0.7", "aug.partner=roll")


def space(run):
    """Features of train, in a function, and the means of its classes."""
    layer = run.model.hidden[0][0]
    w, b = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    inputs, target = run.encoded(run.split("train"), np.arange(len(run.split("train"))))
    x, target = inputs.double().numpy(), target.numpy()

    def features(rows):
        return np.maximum(rows @ w.T + b, 0)

    return x, target, features, [features(x[target == k]).mean(0) for k in range(3)]


def nearest(point, means):
    return min(range(len(means)), key=lambda k: math.dist(point, means[k]))


def intrusions(run, positions, partners, lam):
    """Share of intrusions, and how often each third class lies nearest."""
    x, target, features, means = space(run)
    cases, thirds = 0, Counter()
    for i, j in zip(positions, partners, strict=True):
        if target[i] != target[j]:
            cases += 1
            third = nearest(features((lam * x[i] + (1 - lam) * x[j])[None])[0], means)
            if third not in (target[i], target[j]):
                thirds[(*sorted((int(target[i]), int(target[j]))), third)] += 1
    return thirds.total() / cases, thirds, cases


def test_against_loops(tmp_path):
    run = run_with_weights(tmp_path, *MLP, *MIXUP, arm="mixup")
    lens = Intrusion()
    found = lens.measure(run, [])
    batches = lens._positions(run)
    count = len(run.split("train"))
    assert batches.shape == (count // 20, 20)
    assert len(np.unique(batches)) == batches.size
    drawn = run.stream("intrusion partners")
    partners = np.stack([batch[drawn.permutation(20)] for batch in batches])
    (line,) = found.lines
    assert line.y == pytest.approx([intrusions(run, batches.flat, partners.flat, lam)[0] for lam in line.x])
    share, thirds, _ = intrusions(run, batches.flat, np.roll(batches, 1, axis=1).flat, 0.7)
    x, target, features, means = space(run)
    unmixed = np.mean([nearest(f, means) != k for f, k in zip(features(x), target, strict=True)])
    assert values(found.scores) == pytest.approx({"half_way": line.y[0], "own_mixing": share, "unmixed": unmixed})
    assert 0.02 < share < 0.9
    assert line.y[0] != share
    ((one, other, third), most), *_ = thirds.most_common()
    names = run.class_names
    beginning = f"Mixtures of {names[one]} and {names[other]} lie nearest to {names[third]} in {most} of "
    assert found.notes[0].startswith(beginning)
    assert all(score.maximize is None for score in found.scores.values())


def test_a_run_that_does_not_mix_inputs_is_mixed_half_way_alone(tmp_path):
    baseline = run_with_weights(tmp_path, *MLP)
    inside = run_with_weights(tmp_path, *MLP, "aug=manifold_mixup", arm="manifold")
    mixed = run_with_weights(tmp_path, *MLP, *MIXUP, arm="mixup")
    lens = Intrusion(examples=60)
    half = values(lens.measure(baseline, []).scores)
    assert list(half) == ["half_way", "unmixed"]
    assert values(lens.measure(inside, []).scores) == half
    assert values(lens.measure(mixed, []).scores).items() >= half.items()


@pytest.mark.parametrize("aug", ["cutmix", "regmixup", "kfold_mixup", "label_smoothing", "saliencymix", "noise_mix"])
def test_other_methods(tmp_path, aug):
    run = run_with_weights(
        tmp_path, "dataset=fake", "dataset.shape=[3,8,8]", "model=small_cnn", "trainer.device=cpu", f"aug={aug}",
        arm=aug,
    )  # fmt: skip
    found = Intrusion(examples=64).measure(run, [])
    assert ("own_mixing" in found.scores) == (aug != "label_smoothing")
    assert all(0 <= score.value <= 1 for score in found.scores.values())


def test_notes_name_the_pairs_with_most_cases():
    cases = _Cases()
    third = np.array([2] * 5 + [0] * 4 + [1] * 2 + [1] * 9)
    parents = np.array([[0] * 5 + [1] * 4 + [0] * 2 + [0] * 9, [1] * 5 + [2] * 4 + [2] * 2 + [1] * 9])
    cases.add(third, parents)
    cases.add(np.array([2, 2]), np.array([[1, 0], [1, 0]]))  # parents of one class do not count
    assert cases.share == 11 / 20
    assert cases.notes(("a", "b", "c")) == [
        "Mixtures of a and b lie nearest to c in 5 of 14 cases.",
        "Mixtures of b and c lie nearest to a in 4 of 4 cases.",
    ]  # fmt: skip


def test_runs_that_it_does_not_suit(tmp_path):
    with pytest.raises(Unsuited, match="at least three classes"):
        Intrusion().measure(run_with_weights(tmp_path, "dataset=breast_cancer", *LINEAR), [])
    run = run_with_weights(tmp_path, "dataset=wine", *LINEAR, arm="baseline-conv")
    run.model.head = torch.nn.Identity()
    with pytest.raises(Unsuited, match="needs a model with a linear layer"):
        Intrusion().measure(run, [])
