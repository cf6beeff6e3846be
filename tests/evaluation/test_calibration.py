"""Calibration against torchmetrics, scikit-learn, loops and closed forms."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers.finished_runs import finished_run
from helpers.mask_examples import predictions
from scipy.special import expit, log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from mixup_lab.evaluation.calibration import Calibration
from mixup_lab.evaluation.forecasts import calibration_error, calibration_terms, equal_masses, equal_widths
from mixup_lab.evaluation.lens import Unsuited
from mixup_lab.types import VOID, UserError


def drawn(n, classes, scale, seed):
    """Logits (n, classes), and targets drawn from the softmax of the logits divided by `scale`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, classes)).astype(np.float32)
    target = (softmax(logits / scale, 1).cumsum(1) < rng.random((n, 1))).sum(1).clip(max=classes - 1)
    return logits, target


def run_of(folder, test, val=None, kind="classes", **options):
    (test_logits, test_target), (val_logits, val_target) = test, val or test
    arrays = {"test_logits": test_logits, "test_target": test_target, "test_id": np.arange(len(test_target)),
              "val_logits": val_logits, "val_target": val_target, "val_id": np.arange(len(val_target))}  # fmt: skip
    return finished_run(folder, kind=kind, arrays=arrays, **options)


def measured(run, **settings):
    return Calibration(**settings).measure(run, [])


@pytest.mark.parametrize("classes", [2, 4])
def test_classes_against_torchmetrics_and_scikit_learn(tmp_path, classes):
    logits, target = drawn(600, classes, 2.0, 0)
    found = measured(run_of(tmp_path, (logits, target)))
    probability = softmax(logits.astype(np.float64), 1)
    given = torch.from_numpy(probability), torch.from_numpy(target)
    columns = given[0].T.contiguous()
    for name, bins in (("ece", 15), ("ece_100", 100)):
        reference = float(multiclass_calibration_error(*given, num_classes=classes, n_bins=bins, norm="l1"))
        assert found.scores[name].value == pytest.approx(reference, abs=1e-6)
    each = [binary_calibration_error(columns[k], (given[1] == k).long(), n_bins=15) for k in range(classes)]
    assert found.scores["ece_classwise"].value == pytest.approx(float(torch.stack(each).mean()), abs=1e-6)
    labels = list(range(classes))
    assert found.scores["nll"].value == pytest.approx(log_loss(target, probability, labels=labels))
    brier = brier_score_loss(target, probability if classes > 2 else probability[:, 1], labels=labels)
    assert found.scores["brier"].value == pytest.approx(brier)


def by_loop(confidence, hit, groups):
    """The calibration error, and its over-confident part, from the definition."""
    gaps = [(len(rows) / len(hit), confidence[rows].mean() - hit[rows].mean()) for rows in groups if len(rows)]
    return sum(w * abs(g) for w, g in gaps), sum(w * g for w, g in gaps if g > 0)


def test_equal_masses_and_the_parts_against_a_loop(tmp_path):
    logits, target = drawn(600, 3, 2.0, 1)
    scores = measured(run_of(tmp_path, (logits, target)), bins=12).scores
    probability = softmax(logits.astype(np.float64), 1)
    confidence, hit = probability.max(1), probability.argmax(1) == target
    edges = np.linspace(0, 1, 13)
    widths = [np.flatnonzero((confidence >= low) & (confidence < high)) for low, high in pairwise(edges)]
    ece, over = by_loop(confidence, hit, widths)
    assert scores["ece"].value == pytest.approx(ece)
    assert scores["over_confidence"].value == pytest.approx(over)
    assert scores["under_confidence"].value == pytest.approx(ece - over)
    assert scores["confidence_gap"].value == pytest.approx(confidence.mean() - hit.mean())
    assert scores["confidence_gap"].value == pytest.approx(2 * over - ece)
    assert scores["ece_equal_mass"].value == pytest.approx(
        by_loop(confidence, hit, np.split(confidence.argsort(), 12))[0]
    )


def test_bins_hold_both_ends_once_and_equal_values_together():
    assert equal_widths(np.array([[0.0, 0.25, 0.999, 1.0]]), 4).tolist() == [[0, 1, 3, 3]]
    values = np.array([[0.5, 1.0, 1.0, 0.2, 1.0, 0.9]])
    assert equal_masses(values, 3).tolist() == [[0, 1, 1, 0, 1, 1]]
    # The order of tied examples does not matter: half of the certain ones are right.
    sure, right = np.ones((1, 8)), np.array([[1.0, 1, 1, 1, 0, 0, 0, 0]])
    assert calibration_error(sure, right, equal_masses(sure, 4), 4) == 0.5


def test_a_bin_counts_by_its_examples(tmp_path):
    """19 examples that are right with 0.95, one that is wrong with 0.55: 0.95 * 0.05 + 0.05 * 0.55."""
    logit = np.log([0.95 / 0.05] * 19 + [0.55 / 0.45]).astype(np.float32)
    logits, target = np.stack([np.zeros(20, np.float32), logit], 1), np.array([1] * 19 + [0])
    found = measured(run_of(tmp_path, (logits, target), names=("no", "yes")))
    assert found.scores["ece"].value == pytest.approx(0.95 * 0.05 + 0.05 * 0.55, abs=1e-6)


def test_tags_are_binary_problems(tmp_path):
    rng = np.random.default_rng(2)
    logits = rng.normal(-1, 2, (500, 3)).astype(np.float32)
    target = (rng.random((500, 3)) < expit(logits / 2)).astype(np.float32)
    scores = measured(run_of(tmp_path, (logits, target), kind="tags")).scores
    p = torch.from_numpy(expit(logits.astype(np.float64)).T.copy())
    true = torch.from_numpy(target.T.copy()).long()
    sure, hit = torch.maximum(p, 1 - p), ((p > 0.5).long() == true).long()

    def mean(of):
        return float(np.mean([float(of(k)) for k in range(3)]))

    ece = mean(lambda k: binary_calibration_error(sure[k], hit[k], n_bins=15))
    assert scores["ece"].value == pytest.approx(ece, abs=1e-6)
    classwise = mean(
        lambda k: (
            (
                binary_calibration_error(p[k], true[k], n_bins=15)
                + binary_calibration_error(1 - p[k], 1 - true[k], n_bins=15)
            )
            / 2
        )
    )
    assert scores["ece_classwise"].value == pytest.approx(classwise, abs=1e-6)
    assert scores["brier"].value == pytest.approx(mean(lambda k: brier_score_loss(true[k], p[k])))
    assert scores["nll"].value == pytest.approx(mean(lambda k: log_loss(true[k], p[k])))


def test_the_temperature_is_fitted_on_val_and_applied_to_test(tmp_path):
    """Targets are drawn at temperature 2.5, so that a large val finds 2.5; test has targets of its own."""
    test, val = drawn(400, 4, 2.5, 3), drawn(40_000, 4, 2.5, 4)
    found = measured(run_of(tmp_path, test, val))
    temperature = found.scores["temperature"].value
    assert temperature == pytest.approx(2.5, rel=0.03)
    grid = np.linspace(2.3, 2.7, 81)
    rows = np.arange(len(val[1]))
    losses = [-log_softmax(val[0].astype(np.float64) / t, 1)[rows, val[1]].mean() for t in grid]
    assert temperature == pytest.approx(grid[int(np.argmin(losses))], abs=0.006)
    scaled = softmax(test[0].astype(np.float64) / temperature, 1)
    reference = float(
        multiclass_calibration_error(torch.from_numpy(scaled), torch.from_numpy(test[1]), num_classes=4, n_bins=15)
    )
    assert found.scores["ece_scaled"].value == pytest.approx(reference, abs=1e-6)
    assert found.scores["nll_scaled"].value == pytest.approx(log_loss(test[1], scaled))
    assert found.scores["ece_scaled"].value < found.scores["ece"].value / 2
    assert found.notes == []


def test_a_temperature_without_an_end_is_a_note(tmp_path):
    logits = np.eye(3, dtype=np.float32)[[0, 1, 2] * 4]
    right = measured(run_of(tmp_path, (logits, logits.argmax(1))))
    assert "without a mistake" in right.notes[0]
    assert math.isfinite(right.scores["nll_scaled"].value)
    wrong = measured(run_of(tmp_path / "wrong", (logits, (logits.argmax(1) + 1) % 3)))
    assert "worth nothing" in wrong.notes[0]


def test_terms_of_examples_average_to_the_scores_and_vary_as_they_do(tmp_path):
    """The variance of the terms, over n, is that of the score over new test sets (a bootstrap)."""
    logits, target = drawn(400, 3, 4.0, 5)
    found = measured(run_of(tmp_path, (logits, target)), bins=5)
    assert {"ece", "nll", "brier", "confidence_gap", "ece_scaled"} <= set(found.examples)
    for name, terms in found.examples.items():
        assert terms.shape == (400,)
        assert terms.mean() == pytest.approx(found.scores[name].value)
    rng = np.random.default_rng(0)
    probability = softmax(logits.astype(np.float64), 1)
    confidence, hit = probability.max(1)[None], (probability.argmax(1) == target)[None].astype(float)
    draws = [rng.integers(0, 400, 400) for _ in range(500)]
    again = [calibration_error(c := confidence[:, d], hit[:, d], equal_widths(c, 5), 5) for d in draws]
    assert found.examples["ece"].std() / 20 == pytest.approx(np.std(again), rel=0.15)


def test_the_terms_are_pseudo_values_of_leaving_one_out():
    rng = np.random.default_rng(8)
    probability = rng.random((1, 14))
    came = (rng.random((1, 14)) < probability).astype(float)  # calibrated: leaving one out turns signs

    def error(rows):
        p = probability[:, rows]
        return calibration_error(p, came[:, rows], equal_widths(p, 4), 4)

    every = np.arange(14)
    pseudo = np.array([14 * error(every) - 13 * error(np.delete(every, i)) for i in every])
    terms = calibration_terms(probability, came, equal_widths(probability, 4), 4)
    np.testing.assert_allclose(terms, pseudo - pseudo.mean() + error(every))


def test_the_diagram_has_the_shares_of_scikit_learn(tmp_path):
    logits, target = drawn(300, 3, 2.0, 6)
    found = measured(run_of(tmp_path, (logits, target)))
    diagram, histogram, *scaled = found.lines
    probability = softmax(logits.astype(np.float64), 1)
    confidence, hit = probability.max(1), probability.argmax(1) == target
    shares, _ = calibration_curve(hit, confidence, n_bins=15)
    drawn_shares = np.array(diagram.y)
    assert diagram.x == pytest.approx((np.arange(15) + 0.5) / 15)
    np.testing.assert_allclose(drawn_shares[~np.isnan(drawn_shares)], shares)
    assert np.isnan(drawn_shares[:4]).all()  # no example: the largest of three probabilities is at least 1/3
    np.testing.assert_allclose(histogram.y, np.histogram(confidence, 15, (0, 1))[0] / 300)
    assert [line.name for line in scaled] == [f"{line.name}, after temperature scaling" for line in found.lines[:2]]


def test_numbers_have_residuals(tmp_path):
    """Two targets: one is predicted too close to its mean, the other too low by half a standard deviation."""
    rng = np.random.default_rng(7)
    target = rng.normal(5, 3, (2000, 2)).astype(np.float32)
    prediction = np.stack([5 + (target[:, 0] - 5) / 2, target[:, 1] - 1.5], 1)
    arrays = {"test_prediction": prediction, "test_target": target, "test_id": np.arange(2000)}
    found = measured(finished_run(tmp_path, kind="numbers", arrays=arrays))
    unit = target.std(0)
    mean = target.astype(np.float64).mean(0)
    residual = (target - prediction) / unit
    bins = [np.split(prediction[:, k].argsort(), 10) for k in range(2)]
    means = np.array([[residual[rows, k].mean() for rows in bins[k]] for k in range(2)])
    spreads = np.array([[residual[rows, k].std() for rows in bins[k]] for k in range(2)])
    assert found.scores["bin_bias"].value == pytest.approx(np.abs(means).mean(), rel=1e-4)
    assert found.scores["bias"].value == pytest.approx(residual.mean(), rel=1e-4)
    slopes = [np.polyfit(prediction[:, k] - mean[k], target[:, k] - mean[k], 1)[0] for k in range(2)]
    assert slopes == pytest.approx([2, 1], abs=1e-3)
    assert found.scores["slope"].value == pytest.approx(np.mean(slopes), rel=1e-4)
    mean_line, spread_line = found.lines
    assert mean_line.x == tuple(range(5, 100, 10))
    np.testing.assert_allclose(mean_line.y, means.mean(0), atol=1e-4)
    np.testing.assert_allclose(spread_line.y, spreads.mean(0), atol=1e-4)
    for name, terms in found.examples.items():
        assert terms.mean() == pytest.approx(found.scores[name].value)


def test_a_constant_prediction_has_no_slope(tmp_path):
    arrays = {"test_prediction": np.full((8, 1), 2.0), "test_target": np.arange(8.0)[:, None], "test_id": np.arange(8)}
    found = measured(finished_run(tmp_path, kind="numbers", arrays=arrays))
    assert "slope" not in found.scores
    assert math.isfinite(found.scores["bin_bias"].value)


# ---- masks ----------------------------------------------------------------------------------------------------------


def maps(count, seed, scale=2.0, hard=0.0):
    """Logits float32 (count, 3, 8, 9) and masks drawn from their softmax at the temperature `scale`, some pixels void.

    `hard` is by how much pictures differ in the share of pixels whose label is drawn anew.
    """
    rng = np.random.default_rng(seed)
    logits, target = drawn(count * 72, 3, scale, seed)
    anew = rng.random((count, 72)) < hard * rng.random((count, 1))
    target = np.where(anew, rng.integers(0, 3, anew.shape), target.reshape(count, 72)).astype(np.uint8)
    target[rng.random(target.shape) < rng.random((count, 1)) ** 2] = VOID
    return logits.reshape(count, 72, 3).transpose(0, 2, 1).reshape(count, 3, 8, 9), target.reshape(count, 8, 9)


def test_pixels_against_torchmetrics_and_scikit_learn(tmp_path):
    (val, val_masks), (test, masks) = maps(30, 0, 2.5), maps(20, 1, 2.5)
    masks[3] = VOID  # a picture without a pixel that counts
    arrays = predictions("val", val, val_masks) | predictions("test", test, masks)
    found = measured(finished_run(tmp_path, kind="masks", arrays=arrays))
    logits, true = torch.from_numpy(test).double(), torch.from_numpy(masks).long()
    temperature = found.scores["temperature"].value
    assert temperature == pytest.approx(2.5, rel=0.1)
    for suffix, divisor in (("", 1.0), ("_scaled", temperature)):
        probability = (logits / divisor).softmax(1)
        flat, real = probability.movedim(1, 3).reshape(-1, 3), true.flatten() != VOID
        wanted = {
            f"ece_{bins}": multiclass_calibration_error(
                probability, true, num_classes=3, n_bins=bins, norm="l1", ignore_index=VOID
            )
            for bins in (15, 100)
        }
        wanted = {"ece": wanted.pop("ece_15"), **wanted}
        wanted["nll"] = cross_entropy(logits / divisor, true, ignore_index=VOID)
        wanted["brier"] = brier_score_loss(true.flatten()[real], flat[real], labels=[0, 1, 2])
        wanted["confidence_gap"] = (flat.amax(1) - (flat.argmax(1) == true.flatten()).double())[real].mean()
        for name, value in wanted.items():  # float16 resolves 1 in 2000
            assert found.scores[f"{name}{suffix}"].value == pytest.approx(float(value), abs=2e-3), name
    for name, terms in found.examples.items():
        assert terms.shape == (20,)
        assert terms.mean() == pytest.approx(found.scores[name].value)
        assert terms[3] == pytest.approx(found.scores[name].value)
    assert found.lines[1].y_label == "share of pixels"


def test_terms_of_pictures_vary_as_scores_over_new_pictures(tmp_path):
    """The standard error of the terms is that of a bootstrap of whole pictures; pixels alone have a smaller one."""
    logits, masks = maps(150, 2, 1.0, hard=1.0)
    arrays = predictions("val", logits, masks) | predictions("test", logits, masks)
    found = measured(finished_run(tmp_path, kind="masks", arrays=arrays), bins=5)
    probability = torch.from_numpy(logits).double().softmax(1)
    sure, best = (values.numpy() for values in probability.max(1))
    loss = cross_entropy(torch.from_numpy(logits), torch.from_numpy(masks).long(), ignore_index=VOID, reduction="none")
    real = masks != VOID
    rng = np.random.default_rng(0)
    again = {"ece": [], "nll": [], "confidence_gap": []}
    for _ in range(400):
        rows = rng.integers(0, 150, 150)
        c, hit = sure[rows][real[rows]][None], (best == masks)[rows][real[rows]][None].astype(float)
        again["ece"].append(calibration_error(c, hit, equal_widths(c, 5), 5))
        again["nll"].append(loss.numpy()[rows][real[rows]].mean())
        again["confidence_gap"].append((c - hit).mean())
    for name, values in again.items():
        assert found.examples[name].std() / math.sqrt(150) == pytest.approx(np.std(values), rel=0.15), name
    alone = (sure - (best == masks))[real]
    assert np.std(again["confidence_gap"]) > 1.5 * alone.std() / math.sqrt(len(alone))


def test_masks_without_pixels_are_one_sentence(tmp_path):
    logits, masks = maps(4, 3)
    arrays = predictions("val", logits, masks) | predictions("test", logits, np.full_like(masks, VOID))
    with pytest.raises(Unsuited, match="are void in all pictures"):
        measured(finished_run(tmp_path / "void", kind="masks", arrays=arrays))
    del arrays["test_pixel_logits"]
    old = finished_run(tmp_path / "old", kind="masks", arrays=arrays)
    with pytest.raises(UserError, match=r"lacks test_pixel_logits, .*; train the run again"):
        measured(old)


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["boxes", "my own"])
def test_other_kinds_are_one_sentence(tmp_path, kind):
    with pytest.raises(Unsuited, match="probabilities"):
        measured(finished_run(tmp_path, kind=kind, arrays={"test_id": np.arange(3)}))


def test_what_lacks_is_named(tmp_path):
    with pytest.raises(Unsuited, match=r"predictions\.npz"):
        measured(finished_run(tmp_path))
    with pytest.raises(UserError, match=r"lens\.calibration\.bins"):
        Calibration(bins=0)
