"""Mixing in real runs: in bf16, compiled, in pieces, and what a mistake in `aug` is told before anything is trained."""

import shutil

import pytest
import torch
from helpers.trainings import TINY, config_of

from mixup_lab.config.assemble import assemble
from mixup_lab.training.fit import Fit
from mixup_lab.types import UserError

SHORT = ("trainer.epochs=1", "model.width=4", "dataset.train_size=64")  # two steps


@pytest.mark.parametrize("option", ["manifold_mixup", "saliencymix", "regmixup", "fmix", "resizemix", "noise_mix"])
def test_training_in_bf16(train, option):
    """Close to fp32: what is mixed, and how much of it, does not depend on the precision."""
    bf16, fp32 = (train(f"aug={option}", *SHORT, f"trainer.precision={p}") for p in ("bf16", "fp32"))
    assert bf16.scalars["mix/lam_mean"] == pytest.approx(fp32.scalars["mix/lam_mean"], abs=0.02)
    for name in ("train/loss", "val/loss"):
        assert bf16.scalars[name] == pytest.approx(fp32.scalars[name], abs=0.05)


@pytest.mark.parametrize("partner", ["same_class", "different_class", "near_label", "nearest_input", "nearest_feature"])
def test_every_partner_trains(train, partner):
    run = train("aug=mixup", f"aug.partner={partner}", *SHORT)
    share = run.scalars["train/accuracy_mixed"]
    assert 0 <= share <= 1
    assert run.scalars["mix/lam_mean"] < 1
    if partner == "same_class":
        assert run.scalars["mix/label_shift"] < 0.05


@pytest.mark.slow  # the first compilation on a machine takes half a minute
@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("aug", ["manifold_mixup", "saliencymix", "regmixup", "fmix", "mixup"])
def test_compiled_runs_train_alike(train, aug):
    common = (f"aug={aug}", "model=mlp", "model.hidden=[8]", "trainer.epochs=2", "dataset.train_size=64")
    if aug == "mixup":
        common = (*common, "aug.partner=nearest_feature")
    torch._dynamo.reset()
    plain, compiled = train(*common), train(*common, "trainer.accelerate=compile")
    for name in ("train/loss", "val/loss", "mix/lam_mean"):
        assert compiled.scalars[name] == pytest.approx(plain.scalars[name], rel=1e-3)


def test_a_moving_average_of_the_weights_is_never_mixed(train):
    """The average is a copy of a model with hooks; it is evaluated alone, so two evaluations agree."""
    run = train("aug=manifold_mixup", "trainer.ema_decay=0.5", *SHORT)
    fit = run.fit
    first, second = (fit.evaluator.metrics(fit.evaluator.observe(fit.evaluated, fit.parts.data.val)) for _ in range(2))
    assert first == second
    assert run.scalars["val/loss"] == pytest.approx(first["loss"])


@pytest.mark.parametrize("line", [("aug=saliencymix",), ("aug=mixup", "aug.partner=nearest_feature")], ids=str)
def test_what_looks_into_the_model_repeats_bit_for_bit(train, line):
    one, two = (train(*line, "model.dropout=0.2", *SHORT) for _ in range(2))
    for p, q in zip(one.fit.parts.model.parameters(), two.fit.parts.model.parameters(), strict=True):
        assert torch.equal(p, q)


def assembled(*words):
    return assemble(config_of(*TINY, *words), "fingerprint")


MISTAKES = [
    (["aug=mixup", "aug.alpha=-1"], "aug.alpha must be a finite number >= 0, got -1"),
    (["aug=mixup", "aug.alpha=nan"], "aug.alpha must be a finite number >= 0, got nan"),
    (["aug=kfold_mixup", "aug.alpha=-0.5"], "aug.alpha must be a finite number >= 0, got -0.5"),
    (["aug=mixup", "aug.prob=1.5"], "aug.prob must be in [0, 1], got 1.5"),
    (["aug=mixup", "aug.lam_per=pair", "aug.partner=roll"],
     "aug.lam_per=pair draws its own couples and cannot be combined with partner=roll"),
    (["aug=mixup", "aug.partner=closest"],
     "aug.partner must be one of random, no_self, pairs, roll, same_class, different_class, near_label, "
     "nearest_input, nearest_feature, got closest"),
    (["aug=mixup", "aug.law=uniform", "aug.beta=2"], "aug.beta=2 belongs to law=beta, not to law=uniform"),
    (["aug=mixup", "aug.alpha=5000", "aug.lam_max=0.1"],
     "aug: Beta(5000, 5000) has no mass between lam_min=0.0 and lam_max=0.1"),
    (["aug=resizemix", "+aug.law=uniform"], "aug: resizemix draws its scale in place of lam and has no law=uniform"),
    (["aug=manifold_mixup", "aug.layers=[stages.9]"],
     "aug: layers: the model has no layer 'stages.9'; choose one of: input, stages, stages.0, stages.1, stages.2, "
     "stages.3, head, head.0, head.1, head.2, head.3"),
    (["aug=manifold_mixup", "aug.layers=[]"], "aug.layers must be a list of at least one layer, got []"),
    (["aug=manifold_mixup", "aug.layers=input"], "aug.layers must be null or a list of names, got 'input'"),
    (["aug=manifold_mixup", "model=torchvision"],
     "aug: this model declares no mixup_layers; name some with layers=[...]: conv1, bn1, relu, maxpool, layer1"),
    (["aug=manifold_mixup", "trainer.accumulate=2"],
     "trainer.accumulate must be 1 with this aug, whose partners are needed inside the model"),
    (["aug=mixup_cutmix", "aug.prob_none=0.5"],
     "aug: prob_mixup + prob_cutmix + prob_none must be 1, got 0.5 + 0.5 + 0.5 = 1.5"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "sentence"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_is_told_before_training(words, sentence):
    with pytest.raises(UserError) as error:
        assembled(*words)
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)


def test_accumulation_of_what_mixes_before_the_model(train):
    common = ("model=mlp", "trainer.epochs=1", "optimizer.lr=0.01")
    for aug in ("regmixup", "saliencymix"):
        whole, cut = train(f"aug={aug}", *common), train(f"aug={aug}", *common, "trainer.accumulate=3")
        for key in ("train/loss", "val/loss"):
            assert whole.scalars[key] == pytest.approx(cut.scalars[key], rel=1e-4)


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize(
    ("dataset", "words", "at_once"),
    [
        ("wine", ["aug=none"], True),
        ("wine", ["aug=mixup"], True),
        ("wine", ["aug=mixup", "aug.lam_per=pair", "aug.prob=0.5"], True),
        ("wine", ["aug=mixup", "aug.partner=different_class", "aug.labels=soft"], True),
        ("wine", ["aug=mixup", "aug.partner=nearest_input"], False),
        ("wine", ["aug=regmixup"], False),
        ("wine", ["aug=noise_mix"], False),
        ("wine", ["aug=manifold_mixup", "aug.layers=[input]"], False),
        ("diabetes", ["aug=mixup", "aug.lam_per=sample", "mix_schedule=linear"], True),
    ],
    ids=str,
)
def test_rows_mixed_many_steps_at_once_are_those_of_each_step(tmp_path, dataset, words, at_once, first):
    words = (f"dataset={dataset}", "model=mlp", "trainer.batch_size=16", "trainer.device=cpu", *words)
    fit = Fit(assemble(config_of(*words), "x"), tmp_path)
    mixer, plan = fit.parts.mixer, fit.batches.plan(0)
    assert mixer.by_example is at_once
    found = list(fit.batches.mixed(plan, first))
    wanted = [(i, fit.batches.mix(prepared)) for i, prepared in fit.batches.prepared(plan, first)]
    assert [i for i, _ in found] == [i for i, _ in wanted] == list(range(first, fit.steps))
    for (_, ours), (_, theirs) in zip(found, wanted, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one is other is None or torch.equal(one, other)
