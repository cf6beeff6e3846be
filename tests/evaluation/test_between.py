"""Predictions and gradients of linear models between examples, against numpy in float64."""

import numpy as np
import pytest
from helpers.finished_runs import finished_run
from helpers.trained_runs import LINEAR, run_with_weights, values
from scipy.special import softmax

from mixup_lab.evaluation.between import Between
from mixup_lab.evaluation.lens import Unsuited


@pytest.mark.parametrize("data", [
    ("dataset=iris",), ("dataset=fake", "dataset.shape=[2,4,4]", "dataset.mean=[0.2,0.7]", "dataset.std=[0.1,3.0]"),
])  # fmt: skip
def test_a_linear_model_against_numpy(tmp_path, data):
    run = run_with_weights(tmp_path, *data, *LINEAR, change=lambda parts: parts.model.head.weight.mul_(5))
    lens = Between(pairs=40)
    found = lens.measure(run, [])
    first, second = lens._pairs(run)
    test, head = run.split("test"), run.model.head
    (a, own), (b, other) = run.encoded(test, first), run.encoded(test, second)
    assert len(first) == 40
    assert bool((own != other).all())
    w, bias = head.weight.detach().double().numpy(), head.bias.detach().double().numpy()
    per_pixel = np.repeat(1 / np.array(run.parts.data.encode.std), 16) if len(a.shape) > 2 else 1.0
    missed, norms = [], []
    for lam in np.linspace(0, 1, 11):
        x = (lam * a + (1 - lam) * b).flatten(1).double().numpy()
        p = softmax(x @ w.T + bias, axis=1)
        predicted = p.argmax(1)
        missed.append(np.mean([k not in pair for k, pair in zip(predicted, zip(own, other, strict=True), strict=True)]))
        norms.append(np.mean(np.linalg.norm((p - np.eye(len(w))[predicted]) @ w * per_pixel, axis=1)))
    misses, gradients = found.lines
    assert misses.x == gradients.x == pytest.approx(np.linspace(0, 1, 11))
    assert misses.y == pytest.approx(missed)
    assert gradients.y == pytest.approx(norms, rel=1e-4)
    assert max(missed) > 0
    assert values(found.scores) == pytest.approx(
        {"misses": np.mean(missed[3:8]), "gradient_norm": np.mean(norms[3:8])}, rel=1e-4
    )


def test_all_runs_of_a_seed_have_the_same_pairs_whatever_the_batches(tmp_path):
    one = run_with_weights(tmp_path, "dataset=iris", *LINEAR)
    two = run_with_weights(tmp_path, "dataset=iris", *LINEAR, "trainer.eval_batch_size=7", arm="mixup")
    lens = Between(pairs=50)
    found, again = lens.measure(one, []), lens.measure(two, [])
    assert values(found.scores) == pytest.approx(values(again.scores))
    assert found.lines[0] == again.lines[0]
    assert one.model.head.weight.grad is None


def test_two_classes_have_no_misses(tmp_path):
    run = run_with_weights(tmp_path, "dataset=breast_cancer", *LINEAR)
    found = Between(pairs=10).measure(run, [])
    assert list(found.scores) == ["gradient_norm"]
    assert found.notes == ["With two classes every prediction is one of the two, so there are no misses."]


def test_other_targets_are_unsuited(tmp_path):
    with pytest.raises(Unsuited, match="between is for classes, and these targets are masks"):
        Between().measure(finished_run(tmp_path, kind="masks"), [])
