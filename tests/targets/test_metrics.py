"""Every metric against torchmetrics, an independent implementation."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torchmetrics.functional import classification as tm
from torchmetrics.functional import mean_absolute_error, mean_squared_error, r2_score

from mixup_lab.targets.classes import Classes
from mixup_lab.targets.numbers import Numbers
from mixup_lab.targets.pixels import Pixels, Segmentation, sampled
from mixup_lab.targets.tags import Tags, average_precision
from mixup_lab.types import VOID

CPU = torch.device("cpu")


def close(found, expected, names):
    assert set(expected) == set(names), "each metric is compared"
    for name, value in expected.items():
        assert found[name] == pytest.approx(float(value), abs=1e-6, rel=1e-5), name


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_classes(count, seed):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, count, 200)
    logits = torch.from_numpy((rng.normal(size=(200, count)) + 2 * np.eye(count)[target]).astype(np.float32))
    logits[:40] = logits[:40].round()  # ties
    task = Classes(tuple("abcde"[:count])).task(target, CPU)
    found = task.metrics(task.observe(logits, torch.from_numpy(target)))
    true, prob = torch.from_numpy(target), logits.double().softmax(1)
    auroc = tm.binary_auroc(prob[:, 1], true) if count == 2 else tm.multiclass_auroc(prob, true, count)
    close(found, {
        "accuracy": tm.multiclass_accuracy(logits, true, count, average="micro"),
        "macro_recall": tm.multiclass_recall(logits, true, count),
        "macro_f1": tm.multiclass_f1_score(logits, true, count),
        "auroc": auroc,
        "ece": tm.multiclass_calibration_error(prob, true, count, n_bins=15),
    }, set(found) - {"loss"})  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
def test_tags(seed):
    rng = np.random.default_rng(seed)
    target = (rng.random((120, 4)) < 0.3).astype(np.float32)
    logits = torch.from_numpy((2 * target - 1 + 2 * rng.normal(size=target.shape)).round(1).astype(np.float32))
    task = Tags(tuple("abcd")).task(target, CPU)
    found = task.metrics(task.observe(logits, torch.from_numpy(target)))
    scores, true = logits.double().sigmoid(), torch.from_numpy(target).long()
    decided = (logits > 0).long()
    close(found, {
        "map": tm.multilabel_average_precision(scores, true, 4),
        "micro_f1": tm.multilabel_f1_score(decided, true, 4, average="micro"),
        "macro_f1": tm.multilabel_f1_score(decided, true, 4),
        "subset_accuracy": tm.multilabel_exact_match(decided, true, 4),
    }, set(found) - {"loss"})  # fmt: skip


@pytest.mark.parametrize("digits", [0, 1, 6])
def test_average_precision_has_the_bits_of_torchmetrics(digits):
    """With ties, and down to the last bit, so that numbers of earlier runs stay as they are."""
    rng = np.random.default_rng(digits)
    for n in (1, 2, 17, 300):
        scores = torch.from_numpy(rng.normal(size=n).round(digits)).sigmoid()
        true = torch.from_numpy(rng.random(n) < 0.4)
        true[0] = True
        assert torch.equal(average_precision(scores, true), tm.binary_average_precision(scores, true.long()))


def test_numbers():
    rng = np.random.default_rng(0)
    target = (rng.normal(size=(90, 3)) * [1, 5, 100]).astype(np.float32)
    task = Numbers(tuple("abc")).task(target, CPU)
    kept = task.observe(torch.from_numpy(rng.normal(size=(90, 3)).astype(np.float32)), torch.from_numpy(target))
    found, true = task.metrics(kept), kept["target"].double()
    prediction = kept["prediction"].double()
    close(found, {
        "rmse": mean_squared_error(prediction, true, squared=False, num_outputs=3).mean(),
        "mae": mean_absolute_error(prediction, true, num_outputs=3).mean(),
        "r2": r2_score(prediction, true),
    }, set(found) - {"loss"})  # fmt: skip


def test_masks():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, (6, 12, 10)).astype(np.uint8)
    target[rng.random(target.shape) < 0.1] = VOID
    output = torch.from_numpy(rng.normal(size=(6, 3, 12, 10)).astype(np.float32))
    task = Pixels(tuple("abc")).task(target, CPU)
    found = task.metrics(task.observe(output, torch.from_numpy(target)))
    predicted, true = output.argmax(1), torch.from_numpy(target).long()
    close(found, {
        "miou": tm.multiclass_jaccard_index(predicted, true, 3, ignore_index=VOID),
        "pixel_accuracy": tm.multiclass_accuracy(predicted, true, 3, average="micro", ignore_index=VOID),
        "dice": tm.multiclass_f1_score(predicted, true, 3, ignore_index=VOID),
    }, set(found) - {"loss"})  # fmt: skip


@pytest.mark.parametrize(("high", "wide"), [(12, 10), (1, 7), (16, 16)])
def test_the_predictions_of_small_masks_are_kept_whole(high, wide):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 9, (2, 3, high, wide)).astype(np.float32)
    target = rng.choice(np.array([0, 1, 2, VOID], np.uint8), (2, high, wide))
    kept = Segmentation(3).observe(torch.from_numpy(logits), torch.from_numpy(target))
    row, column = (places.numpy() for places in sampled(high, wide, 3, CPU))
    assert sorted(zip(row, column, strict=True)) == list(np.ndindex(high, wide))
    found = np.zeros((2, high, wide, 3))
    found[:, row, column] = softmax(kept["pixel_logits"].double().numpy(), 2)
    np.testing.assert_allclose(found, softmax(logits, 1).transpose(0, 2, 3, 1), atol=1e-3)
    assert (kept["pixel_logits"].dtype, kept["pixel_target"].dtype) == (torch.float16, torch.uint8)
    again = np.empty_like(target)
    again[:, row, column] = kept["pixel_target"].numpy()
    np.testing.assert_array_equal(again, target)


@pytest.mark.parametrize(("classes", "side"), [(2, 16), (21, 13), (254, 4)])
def test_of_large_masks_each_cell_keeps_a_pixel_each_at_another_place(classes, side):
    high, wide = 3 * side * side, 2 * side * side
    row, column = (places.numpy() for places in sampled(high, wide, classes, CPU))
    assert len(row) * classes <= 4096
    cells = row // (3 * side) * side + column // (2 * side)
    np.testing.assert_array_equal(np.sort(cells), np.arange(side**2))
    # In each direction every place of a cell occurs once in each row, or column, of cells.
    places = np.stack([row % (3 * side) // 3, column % (2 * side) // 2])
    assert len(np.unique(np.stack([row // (3 * side), places[0]]), axis=1).T) == side**2
    assert len(np.unique(np.stack([column // (2 * side), places[1]]), axis=1).T) == side**2


def test_a_hopeless_pixel_has_a_finite_logit():
    kept = Segmentation(2).observe(torch.tensor([1e6, 0.0]).view(1, 2, 1, 1), torch.ones(1, 1, 1, dtype=torch.uint8))
    assert kept["pixel_logits"].flatten().tolist() == [0, -65504]
