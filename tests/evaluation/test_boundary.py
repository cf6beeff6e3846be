"""Maps, distances and gradients of linear models in two dimensions, against closed forms."""

import numpy as np
import pytest
import torch
from helpers.finished_runs import finished_run
from helpers.trained_runs import LINEAR, run_with_weights, values
from scipy.special import expit, softmax

from mixup_lab.evaluation.boundary import Boundary, changes
from mixup_lab.evaluation.lens import Unsuited

TOY = ("dataset.train=40", "dataset.test=30")


def linear(tmp_path, weights, bias, *words):
    """A run whose logits are weights @ x + bias, (K, 2) and (K,)."""

    def change(parts):
        parts.model.head.weight.copy_(torch.tensor(weights))
        parts.model.head.bias.copy_(torch.tensor(bias))

    return run_with_weights(tmp_path, *(words or ("dataset=moons",)), *TOY, *LINEAR, change=change)


def examples(run, *splits):
    """Inputs (n, 2) and classes (n,), as the model takes them."""
    parts = [run.encoded(run.split(name), np.arange(len(run.split(name)))) for name in splits]
    return tuple(torch.cat(part).double().numpy() for part in zip(*parts, strict=True))


def picture(run):
    """Low and high corner of the picture: the range of all examples and a tenth of it at each side."""
    every, _ = examples(run, "train", "val", "test")
    room = 0.1 * np.ptp(every, 0)
    return every.min(0) - room, every.max(0) + room


def test_two_classes_against_closed_forms(tmp_path):
    """The boundary is the part of x + 2 y = 0.4 in the picture, as far as the sides of the picture."""
    w, b = np.array([3.0, 6.0]), -1.2
    run = linear(tmp_path, np.stack([0 * w, w]), [0.0, b])
    found = Boundary(side=60).measure(run, [])
    x, target = examples(run, "test")
    low, high = picture(run)
    along, foot = np.array([6.0, -3.0]) / 45**0.5, -b * w / 45
    ends = np.sort([(corner - foot) / along for corner in (low, high)], axis=0)
    place = np.clip((x - foot) @ along, ends[0].max(), ends[1].min())
    distance = np.linalg.norm(x - foot - place[:, None] * along, axis=1)
    logit = x @ w + b
    right = (logit > 0) == target
    assert 5 < right.sum() < 30, "both signs occur"
    step = (high - low).max() / 59
    margin = found.examples["margin"]
    np.testing.assert_array_equal(np.sign(margin), np.where(right, 1, -1))
    assert (np.abs(margin) - distance).min() > -1e-6
    assert (np.abs(margin) ** 2 - distance**2).max() < step**2, "crossings are at most that far from each other"
    assert np.abs(np.abs(margin) - distance)[distance > 0.5].max() < 0.005
    gradients = expit(logit) * expit(-logit) * 45**0.5
    np.testing.assert_allclose(found.examples["gradient_norm"], gradients, rtol=1e-4, atol=1e-5)
    assert found.scores["gradient_norm"].value == pytest.approx(gradients.mean(), rel=1e-5)
    assert found.scores["margin"].value == pytest.approx(margin.mean())
    assert found.notes == []


def test_the_share_of_the_plane_where_the_model_is_not_sure(tmp_path):
    """A band that is 2 ln(9) / |w| wide, across the whole picture."""
    run = linear(tmp_path, [[0.0, 0.0], [4.0, 0.0]], [0.0, 0.5])
    low, high = picture(run)
    unsure = Boundary(side=400).measure(run, []).scores["unsure"]
    assert unsure.value == pytest.approx(2 * np.log(9) / 4 / (high - low)[0], abs=1 / 400)
    assert (unsure.percent, unsure.maximize) == (True, None)


def test_the_map_of_three_classes(tmp_path):
    w, b = np.array([[4.0, 0.0], [-1.0, 3.0], [-2.0, -2.0]]), np.array([0.3, 0.0, -0.2])
    run = linear(tmp_path, w, b, "dataset=spirals", "dataset.num_classes=3")
    found = Boundary(side=21).measure(run, [])
    low, high = picture(run)
    surface = found.surface
    np.testing.assert_allclose(np.stack([surface.x, surface.y]), np.stack([low, high], 1), atol=1e-6)
    assert surface.probabilities.shape == (3, 21, 21)
    for row, column in ((0, 20), (20, 3), (11, 7)):
        point = low + np.array([column, row]) / 20 * (high - low)
        np.testing.assert_allclose(surface.probabilities[:, row, column], softmax(w @ point + b), atol=1e-3)
    x, target = examples(run, "test")
    np.testing.assert_allclose(surface.points, x)
    np.testing.assert_array_equal(surface.classes, target)
    assert surface.names.tolist() == ["spiral 1", "spiral 2", "spiral 3"]


def test_changes_are_where_the_two_largest_logits_are_equal():
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(4, 2)), rng.normal(size=4) / 3
    x, y = np.linspace(-2, 2, 23), np.linspace(-1, 3, 17)
    logits = np.stack(np.meshgrid(x, y), 2) @ w.T + b
    found = changes(logits, x, y)
    k = logits.argmax(2)
    pairs = [(k[i, j], k[i, j + 1]) for i in range(17) for j in range(22)]
    pairs += [(k[i, j], k[i + 1, j]) for i in range(16) for j in range(23)]
    differing = [pair for pair in pairs if pair[0] != pair[1]]
    assert len(set(differing)) > 3
    assert len(found) == len(differing)
    at = found @ w.T + b
    ends = np.array([[values[a], values[b]] for values, (a, b) in zip(at, differing, strict=True)])
    np.testing.assert_allclose(ends[:, 0], ends[:, 1], atol=1e-9)
    flat = changes(np.zeros((3, 3, 2)), x[:3], y[:3])
    assert flat.shape == (0, 2)


def test_a_model_that_predicts_one_class_has_no_margin(tmp_path):
    found = Boundary(side=5).measure(linear(tmp_path, [[0.0, 0.0], [0.0, 0.0]], [0.0, 4.0]), [])
    assert values(found.scores) == pytest.approx({"unsure": 0, "gradient_norm": 0})
    assert found.notes == ["The model predicts one class in the whole picture, so it has no boundary there."]


def test_other_examples_and_targets_are_unsuited(tmp_path):
    with pytest.raises(Unsuited, match="boundary is for classes, and these targets are masks"):
        Boundary().measure(finished_run(tmp_path, kind="masks"), [])
    for words, sentence in (
        (("dataset=iris",), "examples that are two numbers, and these are rows of a table of 4"),
        (("dataset=digits",), "examples that are two numbers, and these are pictures of 1 x 8 x 8"),
    ):
        run = run_with_weights(tmp_path, *words, *LINEAR, arm=words[0])
        with pytest.raises(Unsuited, match=f"^boundary needs {sentence}$"):
            Boundary().measure(run, [])
    path = tmp_path / "t.csv"
    path.write_text("a,b,y\n" + "".join(f"{i},7,{'no' if i % 2 else 'yes'}\n" for i in range(60)))
    run = run_with_weights(
        tmp_path, "dataset=table", f"dataset.root={path}", "dataset.target=y", *LINEAR, arm="constant"
    )
    with pytest.raises(Unsuited, match="two numbers that are not the same in all examples"):
        Boundary().measure(run, [])


def test_the_side_must_be_a_line():
    with pytest.raises(ValueError, match="side must be at least 2, got 1"):
        Boundary(side=1)
