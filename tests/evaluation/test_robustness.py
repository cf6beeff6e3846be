"""Attacks on linear models, whose margin they move by exactly eps times the dual norm of the weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.finished_runs import finished_run
from helpers.trained_runs import LINEAR, run_with_weights, values
from scipy import stats

from mixup_lab.evaluation.attacks import Ball, attack, surplus
from mixup_lab.evaluation.lens import Unsuited
from mixup_lab.evaluation.looks import Units
from mixup_lab.evaluation.robustness import Robustness, _clearly_more

TABLE = ("dataset=breast_cancer", *LINEAR)
PICTURES = ("dataset=fake", "dataset.num_classes=2", "dataset.shape=[2,4,4]", "dataset.noise=3", *LINEAR)


def centroids(scale=1.0, turn=0.0):
    """Weights of the nearest class mean of train, `scale` times, with noise of this size; two classes."""

    def change(parts):
        (batch,) = parts.data.train.batches([np.arange(len(parts.data.train))])
        inputs = parts.encoded(batch.inputs).flatten(1)
        means = torch.stack([inputs[batch.target == k].mean(0) for k in (0, 1)])
        noise = torch.randn(means.shape, generator=torch.Generator().manual_seed(0))
        weights = scale * (means + turn * means.std() * noise)
        parts.model.head.weight.copy_(weights)
        parts.model.head.bias.copy_(-(weights * means).sum(1) / 2)

    return change


def margins(run):
    """Logit of the true class minus the other one, and its gradient by the inputs, of all test examples, in float64."""
    inputs, target = run.encoded(run.split("test"), np.arange(len(run.split("test"))))
    x, y = inputs.flatten(1).double().numpy(), target.numpy()
    head = run.model.head
    w, b = head.weight.detach().double().numpy(), head.bias.detach().double().numpy()
    slope = (w[1] - w[0])[None] * np.where(y == 1, 1, -1)[:, None]
    return x, (x @ (w[1] - w[0]) + b[1] - b[0]) * np.where(y == 1, 1, -1), slope


def test_accuracy_of_a_linear_model_is_the_closed_form(tmp_path):
    run = run_with_weights(tmp_path, *TABLE, change=centroids())
    found = Robustness(linf_deviations=0.3, l2_deviations=1.3).measure(run, [])
    _, margin, slope = margins(run)
    w = slope[0]
    linf, l2 = margin > 0.3 * np.abs(w).sum(), margin > 1.3 * np.sqrt((w**2).sum())
    assert 0.2 < linf.mean() < 0.9
    assert 0.2 < l2.mean() < 0.9
    assert next(iter(found.scores)) == "pgd50_linf"
    assert values(found.scores) == pytest.approx({
        "clean": (margin > 0).mean(), **{f"{name}_linf": linf.mean() for name in ("fgsm", "pgd20", "pgd50")},
        **{f"{name}_l2": l2.mean() for name in ("fgsm", "pgd20", "pgd50")},
    })  # fmt: skip
    assert np.array_equal(found.examples["pgd50_l2"], l2)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pixels_stay_valid_and_eps_is_in_pixels(tmp_path, norm):
    run = run_with_weights(tmp_path, *PICTURES, "dataset.mean=[0.2,0.7]", "dataset.std=[0.1,3.0]", change=centroids())
    inputs, target = run.encoded(run.split("test"), np.arange(len(run.split("test"))))
    stored = next(run.split("test").batches([np.arange(len(inputs))])).inputs.double() / 255
    units = Units.of(run.parts.data.encode, torch.device("cpu"))
    ball = Ball(norm, {"linf": 60 / 255, "l2": 3.0}[norm])
    out = attack(run.model, units, inputs, target, ball, 1, [torch.zeros_like(inputs)])
    changed = units.moved(inputs, out.delta)
    pixels = run.parts.data.encode.inverse(changed).double()  # cut to [0, 1]
    assert torch.allclose(run.parts.encoded((stored * 255).byte()), inputs)
    assert torch.allclose((pixels - stored).float(), out.delta, atol=1e-5)  # so the cut has changed nothing
    assert float((out.delta != 0).float().mean()) > 0.5
    _, _, slope = margins(run)
    slope = torch.from_numpy(slope).view(stored.shape) / torch.tensor([0.1, 3.0]).view(1, 2, 1, 1)  # by the pixels
    step = slope.sign() if norm == "linf" else slope / slope.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    assert torch.allclose(pixels, (stored - ball.eps * step).clamp(0, 1), atol=1e-5)


def test_accuracy_on_pictures_is_the_closed_form_with_the_clip(tmp_path):
    run = run_with_weights(tmp_path, *PICTURES, change=centroids())
    found = Robustness(linf_pixels=30, examples=1000).measure(run, [])
    _, margin, slope = margins(run)
    stored = next(run.split("test").batches([np.arange(len(margin))])).inputs.double().flatten(1).numpy() / 255
    slope = slope / np.repeat(run.parts.data.encode.std, 16)
    room = np.minimum(30 / 255, np.where(slope > 0, stored, 1 - stored))
    expected = (margin > (np.abs(slope) * room).sum(1)).mean()
    assert 0.05 < expected < 0.95
    assert {values(found.scores)[f"{name}_linf"] for name in ("fgsm", "pgd20", "pgd50")} == {expected}


def test_a_model_that_is_certain_is_attacked_as_well(tmp_path):
    plain = run_with_weights(tmp_path, *TABLE, arm="baseline", change=centroids())
    certain = run_with_weights(tmp_path, *TABLE, arm="baseline-certain", change=centroids(scale=1e4))
    lens = Robustness(linf_deviations=0.3)
    assert values(lens.measure(plain, []).scores) == values(lens.measure(certain, []).scores)
    logits = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1, 2, 0, 1])
    loss = torch.nn.functional.cross_entropy(logits, target, reduction="none")
    assert torch.allclose(loss, torch.nn.functional.softplus(surplus(logits, target)))


def test_more_steps_are_never_weaker_where_the_loss_is_convex(tmp_path):
    """Three classes and a linear model: the loss is convex in the inputs."""
    run = run_with_weights(tmp_path, "dataset=iris", *LINEAR)
    for norm in ("linf", "l2"):
        inputs, target = run.encoded(run.split("test"), np.arange(30))
        units = Units.of(run.parts.data.encode, torch.device("cpu"))
        for eps in (0.1, 0.5, 1.0):
            losses = []
            for steps in (1, 20, 50):
                out = attack(run.model, units, inputs, target, Ball(norm, eps), steps, [torch.zeros_like(inputs)])
                losses.append(surplus(run.model(inputs + out.delta), target).detach())
                size = out.delta.abs().amax(1) if norm == "linf" else out.delta.norm(dim=1)
                assert float(size.max()) <= eps * (1 + 1e-5)
            assert bool((losses[1] >= losses[0] - 1e-5).all())
            assert bool((losses[2] >= losses[0] - 1e-5).all())


def test_random_starts_fill_the_ball():
    inputs = torch.zeros(4000, 3)
    box = Ball("linf", 0.5).draw(np.random.default_rng(0), inputs).numpy()
    assert stats.kstest(box.ravel(), stats.uniform(-0.5, 1).cdf).pvalue > 0.01
    points = Ball("l2", 2.0).draw(np.random.default_rng(0), inputs)
    radius = points.norm(dim=1).numpy()
    assert stats.kstest((radius / 2) ** 3, "uniform").pvalue > 0.01  # the volume within a radius
    assert float(points.mean(0).abs().max()) < 0.1


def test_transferred_examples_are_those_of_the_baseline(tmp_path):
    base = run_with_weights(tmp_path, *TABLE, change=centroids())
    run = run_with_weights(tmp_path, *TABLE, arm="mixup", change=centroids(turn=1.0))
    lens = Robustness(linf_deviations=0.3)
    assert lens.companions(run, [base]) == (base,)
    found = lens.measure(run, [base])
    (_, own, slope), (_, margin, other) = margins(run), margins(base)
    hit = own - 0.3 * (slope * np.sign(other)).sum(1) > 0
    back = margin - 0.3 * (other * np.sign(slope)).sum(1) > 0
    got = values(found.scores)
    assert got["pgd20_linf"] < got["transferred_linf"] < got["clean"]
    assert (got["transferred_linf"], got["baseline_on_transferred"]) == pytest.approx((hit.mean(), back.mean()))
    assert np.array_equal(found.examples["transferred_linf"], hit)
    assert not any("masked" in note for note in found.notes)


class Rounded(torch.nn.Module):
    """A model behind a rounding of its inputs: gradients by the inputs are 0."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return self.model((inputs * 20).round() / 20)


class Wavy(torch.nn.Module):
    """A model behind waves as long as one step of FGSM, which therefore ends as high as it began."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return self.model(inputs + (inputs * 2 * torch.pi / 0.3).sin())


def test_masked_gradients_are_noted(tmp_path):
    base = run_with_weights(tmp_path, *TABLE, change=centroids())
    run = run_with_weights(tmp_path, *TABLE, arm="mixup", change=centroids())
    run.__dict__["parts"] = replace(run.parts, model=Rounded(run.parts.model))
    found = Robustness(linf_deviations=0.3, restarts=0).measure(run, [base])
    assert found.scores["pgd50_linf"].value == found.scores["clean"].value
    assert sum("Attacks made on the baseline hit this run more often" in note for note in found.notes) == 1


def test_a_defence_against_fgsm_alone_is_noted(tmp_path):
    base = run_with_weights(tmp_path, *TABLE, change=centroids())
    run = run_with_weights(tmp_path, *TABLE, arm="mixup", change=centroids())
    run.__dict__["parts"] = replace(run.parts, model=Wavy(run.parts.model))
    found = Robustness(linf_deviations=0.3, restarts=0).measure(run, [base])
    assert found.scores["fgsm_linf"].value > found.scores["pgd20_linf"].value + 0.3
    assert sum("FGSM hits this run less often than its baseline, and PGD does not" in n for n in found.notes) == 1


def test_one_model_is_right_clearly_more_often_by_the_test_of_mcnemar():
    one, other = torch.tensor([1] * 10 + [0] * 2).bool(), torch.tensor([0] * 10 + [1] * 2).bool()
    assert _clearly_more(one, other)  # 8 of 12, 2.3 standard errors
    assert not _clearly_more(other, one)
    assert not _clearly_more(one[2:], other[2:])  # 6 of 10, 1.9


def test_the_same_examples_for_all_runs_of_a_seed_and_nothing_is_left_behind(tmp_path):
    run = run_with_weights(tmp_path, *TABLE, change=centroids())
    run.model.head.weight.grad = torch.ones_like(run.model.head.weight)
    lens = Robustness(examples=20)
    first = lens.measure(run, [])
    assert bool((run.model.head.weight.grad == 1).all())
    assert not run.model.training
    seen = np.isfinite(first.examples["pgd50_linf"])
    assert (seen.sum(), len(seen)) == (20, len(run.split("test")))
    assert first.examples["pgd50_linf"][seen].mean() == first.scores["pgd50_linf"].value
    mixed = run_with_weights(tmp_path, *TABLE, "trainer.eval_batch_size=7", arm="mixup", change=centroids())
    again = lens.measure(mixed, [])
    for name, terms in first.examples.items():
        assert np.array_equal(terms, again.examples[name], equal_nan=True)


def test_other_targets_and_texts_are_unsuited(tmp_path):
    with pytest.raises(Unsuited, match="robustness is for classes, and these targets are numbers"):
        Robustness().measure(finished_run(tmp_path, kind="numbers"), [])
