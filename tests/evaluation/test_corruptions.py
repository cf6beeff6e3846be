"""The lens of corruptions: the same spoilt examples for all runs, and scores that follow from the outputs by hand."""

import numpy as np
import pytest
import torch
from helpers.mask_examples import shapes, write
from helpers.trained_runs import LINEAR, run_with_weights, values
from scipy.ndimage import gaussian_filter

from mixup_lab.evaluation import corruptions
from mixup_lab.evaluation.corruptions import BLURS, Corruptions, _blanks, _Spoilt, blur, missing, noise, shift
from mixup_lab.evaluation.lens import Unsuited

FAKE = ("dataset=fake", "dataset.shape=[3,8,8]", "dataset.noise=2", *LINEAR)


def trained(lr):
    """One step of gradient descent from the initial weights, times `lr`: better than chance, and different runs."""

    def change(parts):
        (batch,) = parts.data.train.batches([np.arange(len(parts.data.train))])
        inputs = parts.encoded(batch.inputs).flatten(1)
        means = torch.stack([inputs[batch.target == k].mean(0) for k in range(len(parts.data.kind.names))])
        parts.model.head.weight.add_(lr * means)

    return change


def test_scores_by_hand(tmp_path):
    base = run_with_weights(tmp_path, *FAKE, change=trained(0.05))
    run = run_with_weights(tmp_path, *FAKE, arm="mixup", change=trained(0.5))
    lens = Corruptions(examples=40)
    assert lens.companions(run, [base]) == (base,)
    found = lens.measure(run, [base])
    seen = np.isfinite(found.examples["corrupted"])
    positions = np.flatnonzero(seen)
    assert len(positions) == 40
    test = run.split("test")
    stored = next(test.batches([positions])).inputs
    hits = {}
    for kind, corrupt in {
        **corruptions.NOISE,
        **corruptions.BLUR,
        **corruptions.WEATHER,
        **corruptions.DIGITAL,
    }.items():
        for severity in range(1, 6):
            drawn = run.stream(f"corruptions {kind} {severity}")
            spoilt = (corrupt(stored.float() / 255, severity, drawn).clamp(0, 1) * 255).round().byte()
            for one in (run, base):
                right = one.model(one.parts.encoded(spoilt)).argmax(1).numpy() == test.target[positions]
                hits[one.name, kind, severity] = right

    def accuracy(name, *groups):
        return np.mean([v for (arm, kind, _), v in hits.items() if arm == name and any(kind in g for g in groups)])

    every = (corruptions.NOISE, corruptions.BLUR, corruptions.WEATHER, corruptions.DIGITAL)
    ratios = [(1 - accuracy("mixup", [kind])) / (1 - accuracy("baseline", [kind])) for g in every for kind in g]
    clean = (run.outputs(run.encoded(test, positions)[0]).argmax(1).numpy() == test.target[positions]).mean()
    assert values(found.scores) == pytest.approx({
        "corrupted": accuracy("mixup", *every), "clean": clean, "noise": accuracy("mixup", every[0]),
        "blur": accuracy("mixup", every[1]), "weather": accuracy("mixup", every[2]),
        "digital": accuracy("mixup", every[3]), "mce": np.mean(ratios),
    })  # fmt: skip
    assert found.scores["mce"].value < 0.95
    assert not found.scores["mce"].maximize
    assert found.examples["corrupted"][seen].mean() == pytest.approx(found.scores["corrupted"].value)
    (line,) = found.lines
    by_severity = [np.mean([v for (arm, _, s), v in hits.items() if arm == "mixup" and s == n]) for n in range(1, 6)]
    assert line.x == (0, 1, 2, 3, 4, 5)
    assert line.y == pytest.approx([clean, *by_severity])


def test_a_lens_that_has_seen_other_runs_finds_the_same(tmp_path):
    """What the runs of a seed share is kept, and nothing of it reaches a run of other data or of another seed."""
    other = "dataset.noise=1"
    runs = [
        run_with_weights(tmp_path, *FAKE, *words, arm=arm, change=trained(lr))
        for arm, lr, words in (
            ("baseline", 0.05, ()),
            ("mixup", 0.5, ()),
            ("noise", 0.5, (other,)),
            ("seed", 0.5, ("seed=1",)),
        )
    ]
    lens = Corruptions(examples=10)
    for run in (*runs, runs[1]):
        others = [one for one in runs if one is not run]
        assert lens.measure(run, others).scores == Corruptions(examples=10).measure(run, others).scores


def test_a_run_alone_has_no_mce_and_batches_change_nothing(tmp_path):
    one = run_with_weights(tmp_path, *FAKE, change=trained(0.5))
    two = run_with_weights(tmp_path, *FAKE, "trainer.eval_batch_size=7", arm="baseline-again", change=trained(0.5))
    lens = Corruptions(examples=30)
    found = lens.measure(one, [])
    assert "mce" not in found.scores
    assert values(lens.measure(two, []).scores) == pytest.approx(values(found.scores))


def test_kinds_without_errors_of_the_baseline_are_left_out(tmp_path):
    easy = ("dataset=fake", "dataset.shape=[3,8,8]", "dataset.noise=0.1", *LINEAR)
    base = run_with_weights(tmp_path, *easy, change=trained(5.0))
    run = run_with_weights(tmp_path, *easy, arm="mixup", change=trained(0.01))
    found = Corruptions(examples=20).measure(run, [base])
    assert found.notes == ["Kinds on which the baseline makes no error are left out of mce."]


def test_rows_have_noise_and_missing_values(tmp_path):
    run = run_with_weights(tmp_path, "dataset=breast_cancer", *LINEAR, change=trained(1.0))
    found = Corruptions().measure(run, [])
    assert list(found.scores) == ["corrupted", "clean", "noise", "missing"]
    blank, column = _blanks(run)
    train, _ = run.encoded(run.split("train"), np.arange(len(run.split("train"))))
    assert blank.numpy() == pytest.approx(np.sort(train.numpy(), axis=0)[(len(train) - 1) // 2])
    assert column.tolist() == list(range(30))
    assert torch.equal(_Spoilt(run, np.arange(20)).clean(), run.encoded(run.split("test"), np.arange(20))[0])


def test_missing_values_go_by_whole_columns():
    blank, column = torch.tensor([9.0, 0.0, 0.0, 1.0, 7.0]), np.array([0, 1, 1, 1, 2])
    x = torch.tensor([[1.0, 0.0, 1.0, 0.0, 2.0]]).repeat(4000, 1)
    out = missing(blank, column, x, 4, np.random.default_rng(0))
    gone = out != x
    assert gone[:, [0, 2, 4]].float().mean(0).tolist() == pytest.approx([0.3] * 3, abs=0.03)
    assert bool((gone[:, 2] == gone[:, 3]).all())
    assert {tuple(row) for row in out[:, 1:4].tolist()} == {(0.0, 1.0, 0.0), (0.0, 0.0, 1.0)}
    assert {tuple(row) for row in out[:, [0, 4]].tolist()} == {(1.0, 2.0), (9.0, 2.0), (1.0, 7.0), (9.0, 7.0)}


def test_a_missing_category_is_at_the_place_of_other_values(tmp_path):
    table = tmp_path / "t.csv"
    rows = [f"{i % 7},{'red' if i % 3 else 'blue'},{'yes' if i % 2 else 'no'}" for i in range(60)]
    table.write_text("\n".join(["size,colour,label", *rows]))
    run = run_with_weights(tmp_path, "dataset=table", f"dataset.root={table}", "dataset.target=label", *LINEAR)
    blank, column = _blanks(run)
    assert blank[1:].tolist() == [0.0, 0.0, 1.0]  # blue, red, other
    assert column.tolist() == [0, 1, 1, 1]


def test_sounds_are_blurred():
    x = torch.randn(2, 1, 12, 20, generator=torch.Generator().manual_seed(0))
    for severity, sigma in enumerate(BLURS, 1):
        expected = gaussian_filter(x.numpy(), (0, 0, sigma, sigma), mode="nearest")
        assert np.allclose(blur(x, severity, np.random.default_rng(0)), expected, atol=1e-5)


def test_sounds_are_shifted_and_noisy():
    x = torch.arange(40.0).view(1, 1, 2, 20).repeat(50, 1, 1, 1)
    out = shift(x, 3, np.random.default_rng(0))
    later, earlier = x.clone(), x.clone()
    later[..., 3:], later[..., :3] = x[..., :-3], 0
    earlier[..., :-3], earlier[..., -3:] = x[..., 3:], 0
    which = [torch.equal(one, later[0]) for one in out]
    assert all(same or torch.equal(one, earlier[0]) for same, one in zip(which, out, strict=True))
    assert 10 < sum(which) < 40
    added = noise(torch.zeros(50, 1, 20, 20), 4, np.random.default_rng(0))
    assert float(added.std()) == pytest.approx(0.5, rel=0.02)


def test_numbers_have_their_own_metric(tmp_path):
    run = run_with_weights(tmp_path, "dataset=diabetes", "model=mlp", "model.hidden=[]", "trainer.device=cpu")
    found = Corruptions().measure(run, [])
    kept = run.evaluator.observe(run.model, run.split("test"))
    assert found.scores["clean"].value == pytest.approx(run.parts.task.metrics(kept)["rmse"])
    assert found.scores["corrupted"].maximize is False
    assert not found.scores["corrupted"].percent
    assert found.examples == {}


def test_targets_with_a_place_are_unsuited(tmp_path):
    for split, seed in (("train", 0), ("val", 1), ("test", 2)):
        write(tmp_path / "data", split, *shapes(4, seed, 16))
    run = run_with_weights(
        tmp_path, "dataset=segmentation_folder", f"dataset.root={tmp_path / 'data'}", "dataset.cache=false",
        "dataset.workers=0", "model=unet", "model.width=4", "model.depth=1", "trainer.device=cpu",
    )  # fmt: skip
    with pytest.raises(Unsuited, match="corruptions move pixels, and targets with a place such as masks"):
        Corruptions().measure(run, [])
