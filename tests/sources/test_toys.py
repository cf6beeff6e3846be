"""Moons and circles against scikit-learn, spirals against their equation; noise, sizes and seeds."""

import numpy as np
import pytest
from helpers.data_examples import prepared
from sklearn.datasets import make_circles, make_moons

from mixup_lab.data.source import ArrayPool
from mixup_lab.sources.toys import Circles, Moons, Spirals, Toy
from mixup_lab.types import UserError


def pools(toy: Toy) -> tuple[ArrayPool, ArrayPool]:
    loaded = toy.load()
    assert loaded.val is None
    return loaded.train, loaded.test


@pytest.mark.parametrize("count", [2, 51, 300])
def test_moons_and_circles_are_those_of_scikit_learn(count):
    for toy, (points, classes) in (
        (Moons(train=count, noise=0), make_moons(count, shuffle=False)),
        (Circles(train=count, noise=0, factor=0.3), make_circles(count, factor=0.3, shuffle=False)),
    ):
        train, _ = pools(toy)
        np.testing.assert_allclose(train.inputs, points, atol=1e-6)
        assert train.inputs.dtype == np.float32
        np.testing.assert_array_equal(train.target, classes)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_spirals_solve_their_equation(num_classes):
    train, _ = pools(Spirals(train=num_classes * 50, noise=0, num_classes=num_classes, turns=1.5))
    z = train.inputs @ np.array([1, 1j])
    np.testing.assert_allclose(
        z / np.abs(z), np.exp(2j * np.pi * (1.5 * np.abs(z) + train.target / num_classes)), atol=1e-5
    )
    first = z[train.target == 0]
    assert (np.abs(first).min(), np.abs(first).max()) == pytest.approx((50**-0.5, 1))
    for k in range(num_classes):
        np.testing.assert_allclose(z[train.target == k], first * np.exp(2j * np.pi * k / num_classes), atol=1e-6)
    steps = np.abs(np.diff(first))[10:]
    assert steps.max() < 1.3 * steps.min(), "points are evenly spaced"


@pytest.mark.parametrize("kind", [Moons, Circles, Spirals])
def test_noise_is_normal_with_its_deviation_and_differs_between_splits_and_seeds(kind):
    def noise(split: int, seed: int = 0, **sizes: int) -> np.ndarray:
        sizes = {"train": 3000, "test": 3000, **sizes}
        noisy, clean = (pools(kind(noise=sd, seed=seed, **sizes))[split].inputs for sd in (0.3, 0))
        return (noisy - clean) / 0.3

    train = noise(0)
    n = train.size
    assert abs(train.mean()) < 4 / n**0.5
    assert train.std() == pytest.approx(1, abs=4 / (2 * n) ** 0.5)
    assert (train**4).mean() == pytest.approx(3, abs=4 * (96 / n) ** 0.5)
    assert abs((train[:, 0] * train[:, 1]).mean()) < 4 / (n / 2) ** 0.5
    assert abs(np.mean(train * noise(1))) < 4 / n**0.5
    assert abs(np.mean(train * noise(0, seed=1))) < 4 / n**0.5
    np.testing.assert_array_equal(noise(1), noise(1, train=40))


def test_runs_with_other_seeds_have_the_same_test_set_and_other_splits_of_train():
    one, two = (prepared(Spirals(train=60, test=30, num_classes=3), seed=seed, val_fraction=0.2) for seed in (0, 1))
    assert one.kind.names == ("spiral 1", "spiral 2", "spiral 3")
    assert one.encode.shape == (2,)
    assert one.carved == ("val",)
    np.testing.assert_array_equal(one.test.target, two.test.target)
    assert one.train.ids.tolist() != two.train.ids.tolist()


@pytest.mark.parametrize(
    ("toy", "sentence"),
    [
        (lambda: Moons(noise=-1), r"^dataset\.noise=-1 must be 0 or more$"),
        (lambda: Moons(train=1), r"^dataset\.train=1 must be at least 2, the number of classes$"),
        (lambda: Spirals(num_classes=3, test=2), r"^dataset\.test=2 must be at least 3, the number of classes$"),
        (lambda: Circles(seed=-1), r"^dataset\.seed=-1 must be 0 or more$"),
        (lambda: Circles(factor=1), r"^dataset\.factor=1 must be greater than 0 and less than 1$"),
        (lambda: Spirals(num_classes=1), r"^dataset\.num_classes=1 must be at least 2$"),
        (lambda: Spirals(turns=0), r"^dataset\.turns=0 must be greater than 0$"),
    ],
)
def test_wrong_values_are_named(toy, sentence):
    with pytest.raises(UserError, match=sentence):
        toy()
