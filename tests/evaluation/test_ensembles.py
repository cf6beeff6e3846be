"""Ensembles against scikit-learn, torchmetrics, loops and grids."""

from itertools import combinations

import numpy as np
import pytest
import torch
from helpers.finished_runs import finished_run
from helpers.mask_examples import predictions
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score, log_loss, root_mean_squared_error
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_jaccard_index

from mixup_lab.evaluation.ensembles import Ensembles, greedy_weights, least_squares_weights, likeliest_weights
from mixup_lab.evaluation.lens import Unsuited
from mixup_lab.types import VOID, UserError

N = 200


def run_of(folder, seed, arm="baseline", kind="classes", **changes):
    """A run whose logits are right on the whole, and noisy in its own way; all runs have the same examples."""
    data, own = np.random.default_rng(0), np.random.default_rng([seed, len(arm)])
    arrays = {}
    for split in ("val", "test"):
        target = data.integers(0, 3, N)
        noise = own.normal(0, 1 + seed / 2, (N, 3))
        logits = (2 * np.eye(3)[target] + noise).astype(np.float32)
        arrays |= {f"{split}_logits": logits, f"{split}_target": target, f"{split}_id": np.arange(N)}
    if kind == "tags":
        for split in ("val", "test"):
            target = data.integers(0, 2, (N, 3))
            arrays[f"{split}_logits"] = (2 * target - 1 + own.normal(0, 1 + seed / 2, (N, 3))).astype(np.float32)
            arrays[f"{split}_target"] = target.astype(np.float32)
    if kind == "numbers":
        for split in ("val", "test"):
            target = data.normal(0, [1, 100], (N, 2))
            arrays[f"{split}_prediction"] = target + own.normal(0, [1 + seed, 100 * (5 - seed)], (N, 2))
            arrays[f"{split}_target"] = target
    return finished_run(folder, seed=seed, arm=arm, kind=kind, arrays=arrays | changes)


def measured(run, *others, **settings):
    return Ensembles(**settings).measure(run, others)


def values(found):
    return {name: score.value for name, score in found.scores.items()}


def ece(probability, target):
    given = torch.from_numpy(probability), torch.from_numpy(target)
    return float(multiclass_calibration_error(*given, num_classes=3, n_bins=15))


def test_means_of_probabilities_and_of_logits_without_the_own_seed(tmp_path):
    run, *others = (run_of(tmp_path, seed) for seed in range(4))
    found = measured(run, run_of(tmp_path, 7, arm="mixup"), run_of(tmp_path / "copy", 0), *others)
    logits = np.stack([other.predictions["test_logits"] for other in others]).astype(np.float64)
    target = run.predictions["test_target"]
    members = softmax(logits, 2)
    expected = {"": members.mean(0), "_logits": softmax(logits.mean(0), 1)}
    got = values(found)
    for suffix, probability in expected.items():
        assert got[f"accuracy{suffix}"] == accuracy_score(target, probability.argmax(1))
        assert got[f"nll{suffix}"] == pytest.approx(log_loss(target, probability))
        assert got[f"ece{suffix}"] == pytest.approx(ece(probability, target), abs=1e-6)
    assert got["accuracy_single"] == pytest.approx(np.mean([accuracy_score(target, p.argmax(1)) for p in members]))
    assert got["nll_single"] == pytest.approx(np.mean([log_loss(target, p) for p in members]))
    assert got["ece_single"] == pytest.approx(np.mean([ece(p, target) for p in members]), abs=1e-6)
    pairs = [np.mean(a.argmax(1) != b.argmax(1)) for a, b in combinations(members, 2)]
    assert got["disagreement"] == pytest.approx(np.mean(pairs))
    assert next(iter(found.scores)) == "accuracy"
    assert {score.maximize for score in found.scores.values()} == {None}  # overlapping ensembles get no verdict
    assert found.examples == {}


def test_weights_and_selection_are_fitted_on_val_and_scored_on_test(tmp_path):
    run, *others = (run_of(tmp_path, seed) for seed in range(4))
    got = values(measured(run, *others, rounds=12))
    target = {split: run.predictions[f"{split}_target"] for split in ("val", "test")}
    members = {
        split: softmax(np.stack([o.predictions[f"{split}_logits"] for o in others]).astype(np.float64), 2)
        for split in ("val", "test")
    }
    own = members["val"][:, np.arange(N), target["val"]]
    for suffix, weights in {"_weighted": likeliest_weights(own), "_greedy": by_loop(own, 12)}.items():
        probability = np.tensordot(weights, members["test"], 1)
        assert got[f"nll{suffix}"] == pytest.approx(log_loss(target["test"], probability))
        assert got[f"accuracy{suffix}"] == accuracy_score(target["test"], probability.argmax(1))
    assert got["nll_weighted"] < got["nll"]  # members differ in their noise


def by_loop(own, rounds):
    """Greedy selection with repetition, from its description."""
    chosen, best = [], (np.inf, [])
    for _ in range(rounds):
        losses = [-np.log(own[[*chosen, m]].mean(0)).mean() for m in range(len(own))]
        chosen = [*chosen, int(np.argmin(losses))]
        best = min(best, (min(losses), chosen), key=lambda pair: pair[0])
    return np.bincount(best[1], minlength=len(own)) / len(best[1])


def simplex(steps):
    return [(i / steps, j / steps, 1 - (i + j) / steps) for i in range(steps + 1) for j in range(steps + 1 - i)]


def test_likeliest_weights_are_the_best_of_a_grid():
    rng = np.random.default_rng(3)
    own = rng.beta([[3.0], [2.5], [1.0]], 1.5, (3, 400))
    grid = simplex(100)
    best = grid[int(np.argmin([-np.log(np.array(w) @ own).mean() for w in grid]))]
    weights = likeliest_weights(own)
    np.testing.assert_allclose(weights, best, atol=0.011)
    assert weights.sum() == pytest.approx(1)
    assert likeliest_weights(np.array([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx([0.5, 0.5])


def test_least_squares_weights_are_the_best_of_a_grid():
    rng = np.random.default_rng(4)
    errors = rng.normal(0, [[1.0], [1.5], [4.0]], (3, 300)) + rng.normal(0, 0.3, 300)
    grid = simplex(100)
    best = grid[int(np.argmin([((np.array(w) @ errors) ** 2).mean() for w in grid]))]
    np.testing.assert_allclose(least_squares_weights(errors), best, atol=0.011)
    assert least_squares_weights(np.zeros((2, 5))).sum() == pytest.approx(1)


@pytest.mark.parametrize("rounds", [1, 2, 9])
def test_greedy_selection_is_that_of_a_loop(rounds):
    own = np.random.default_rng(5).beta(2, 2, (5, 60))
    weights = greedy_weights(own, lambda p: -np.log(p).mean(-1), rounds)
    np.testing.assert_allclose(weights, by_loop(own, rounds))


def test_tags_are_averaged_by_tag(tmp_path):
    run, *others = (run_of(tmp_path, seed, kind="tags") for seed in range(3))
    got = values(measured(run, *others))
    probability = np.mean([expit(o.predictions["test_logits"].astype(np.float64)) for o in others], 0)
    target = run.predictions["test_target"]
    assert got["accuracy"] == pytest.approx(np.mean((probability > 0.5) == (target > 0)))
    assert got["nll"] == pytest.approx(np.mean([log_loss(target[:, k], probability[:, k]) for k in range(3)]))


def test_numbers_are_averaged(tmp_path):
    run, *others = (run_of(tmp_path, seed, kind="numbers") for seed in range(4))
    found = measured(run, *others)
    got = values(found)
    predictions = np.stack([o.predictions["test_prediction"] for o in others])
    target = run.predictions["test_target"]
    mean = predictions.mean(0)
    assert got["rmse"] == pytest.approx(root_mean_squared_error(target, mean))
    assert got["rmse_single"] == pytest.approx(np.mean([root_mean_squared_error(target, p) for p in predictions]))
    # The error of the mean is that of the members less their disagreement (Krogh and Vedelsby, 1995), for each number.
    ambiguity = ((predictions - target) ** 2).mean((0, 1)) - ((mean - target) ** 2).mean(0)
    assert got["disagreement"] == pytest.approx(np.sqrt(ambiguity).mean())
    val = np.stack([o.predictions["val_prediction"] - o.predictions["val_target"] for o in others])
    spread = run.predictions["val_target"].std(0)
    grid = simplex(100)
    losses = [((np.tensordot(w, val, 1) / spread) ** 2).mean() for w in grid]
    weighted = root_mean_squared_error(target, np.tensordot(grid[int(np.argmin(losses))], predictions, 1))
    assert got["rmse_weighted"] == pytest.approx(weighted, rel=0.01)
    assert next(iter(found.scores)) == "rmse"


def test_masks_are_averaged_by_pixel(tmp_path):
    """Every pixel of small maps is kept, so that full maps are the reference; some pixels are void."""
    data = np.random.default_rng(2)
    masks = {split: data.choice(np.array([0, 1, 2, VOID], np.uint8), (6, 9, 7)) for split in ("val", "test")}

    def maps(seed, split):
        own = np.random.default_rng([seed, split == "val"])
        right = 2 * (masks[split][:, None] == np.arange(3)[:, None, None])
        return (right + own.normal(0, 1 + seed, (6, 3, 9, 7))).astype(np.float32)

    def mask_run(seed, arm="baseline", keys=("confusion", "pixel_logits", "pixel_target", "id")):
        arrays = predictions("val", maps(seed, "val"), masks["val"])
        arrays |= predictions("test", maps(seed, "test"), masks["test"])
        kept = {name: array for name, array in arrays.items() if name.partition("_")[2] in keys}
        return finished_run(tmp_path, seed=seed, arm=arm, kind="masks", arrays=kept)

    run, *others = map(mask_run, range(4))
    members = {
        split: softmax(np.stack([maps(seed, split) for seed in (1, 2, 3)]).astype(np.float64), 2) for split in masks
    }
    got = values(found := measured(run, *others, rounds=8))
    true, real = torch.from_numpy(masks["test"]).long(), masks["test"] != VOID
    logits = np.stack([maps(seed, "test") for seed in (1, 2, 3)]).astype(np.float64)
    val = masks["val"][masks["val"] != VOID]
    own = np.stack([m.transpose(0, 2, 3, 1)[masks["val"] != VOID][np.arange(len(val)), val] for m in members["val"]])
    combined = {
        "": members["test"].mean(0),
        "_logits": softmax((logits - logits.max(2, keepdims=True)).mean(0), 1),
        "_weighted": np.tensordot(likeliest_weights(own), members["test"], 1),
        "_greedy": np.tensordot(by_loop(own, 8), members["test"], 1),
    }

    def scores(probability):
        given = torch.from_numpy(probability)
        flat = probability.transpose(0, 2, 3, 1)[real]
        return {
            "miou": float(multiclass_jaccard_index(given, true, 3, ignore_index=VOID)),
            "accuracy": accuracy_score(masks["test"][real], flat.argmax(1)),
            "nll": log_loss(masks["test"][real], flat),
            "ece": ece(flat, masks["test"][real].astype(int)),
        }

    wanted = {f"{name}{suffix}": v for suffix, p in combined.items() for name, v in scores(p).items()}
    single = [scores(member) for member in members["test"]]
    wanted |= {f"{name}_single": np.mean([one[name] for one in single]) for name in single[0]}
    assert set(got) == {*wanted, "disagreement"}
    assert got == pytest.approx(wanted | {"disagreement": got["disagreement"]}, abs=5e-3)
    assert got["miou"] > got["miou_single"]
    assert next(iter(found.scores)) == "miou"

    # Runs of older versions keep no pixels.
    old = mask_run(0, arm="cutmix", keys=("confusion", "id"))
    assert measured(run, *others, old).notes == []
    with pytest.raises(UserError, match=r"lacks test_pixel_target, .* train the run again"):
        measured(run, *others[:2], mask_run(5, keys=("confusion", "id")))
    with pytest.raises(UserError, match=r"lacks test_pixel_logits, .* train the run again"):
        measured(old, *(mask_run(seed, "cutmix", ("confusion", "id")) for seed in (1, 2)))


def test_one_run_of_each_arm_is_averaged_in_a_note_of_the_baseline(tmp_path):
    base, *others = (run_of(tmp_path, seed) for seed in range(3))
    mixed = [run_of(tmp_path, seed, arm=arm) for arm in ("mixup", "cutmix2") for seed in range(3)]
    of_the_seed = [base, mixed[0], mixed[3]]
    (note,) = measured(base, *others, *mixed).notes
    probability = np.mean([softmax(o.predictions["test_logits"].astype(np.float64), 1) for o in of_the_seed], 0)
    accuracy = accuracy_score(base.predictions["test_target"], probability.argmax(1))
    assert "(baseline, mixup, cutmix2)" in note
    assert f"accuracy {100 * accuracy:.2f} %" in note
    assert measured(mixed[0], base, *others, *mixed[1:]).notes == []
    assert Ensembles().companions(base, [*others, *mixed]) == [*others, mixed[0], mixed[3]]
    assert Ensembles().companions(mixed[0], [base, *others, *mixed[1:]]) == mixed[1:3]


def test_other_val_examples_fit_no_weights(tmp_path):
    run, *others = (run_of(tmp_path, seed, val_id=np.arange(N) + seed) for seed in range(3))
    found = measured(run, *others)
    assert "nll_weighted" not in found.scores
    assert "nll" in found.scores
    assert "different val examples" in found.notes[0]


def test_other_test_examples_are_one_sentence(tmp_path):
    run, *others = (run_of(tmp_path, seed, test_id=np.arange(N) + seed) for seed in range(3))
    with pytest.raises(Unsuited, match=r"different test examples.*dataset\.split_seed=0"):
        measured(run, *others)


def test_bad_input_is_one_sentence(tmp_path):
    run, other = (run_of(tmp_path, seed) for seed in range(2))
    with pytest.raises(Unsuited, match="two other finished seeds"):
        measured(run, other, run_of(tmp_path, 1, arm="mixup"))
    with pytest.raises(Unsuited, match="of boxes that a run keeps cannot be averaged"):
        measured(finished_run(tmp_path / "boxes", kind="boxes"))
    with pytest.raises(Unsuited, match=r"no readable predictions\.npz"):
        measured(run, other, finished_run(tmp_path, seed=2))
    with pytest.raises(UserError, match=r"lens\.ensembles\.rounds"):
        Ensembles(rounds=0)
