"""Points of a plane in classes of simple shapes, whose decision boundary can be drawn: moons, circles and spirals."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.files.keys import check
from mixup_lab.seeding import stream
from mixup_lab.sources.new_rows import Form, NewRows
from mixup_lab.sources.table import with_encoder
from mixup_lab.targets.classes import Classes

COLUMNS = ("x1", "x2")


@dataclass(kw_only=True)
class Toy(ABC):
    """Points evenly spaced on a curve for each class, with normal noise; rows of a table with two columns.

    Args:
        train: number of training examples; val is carved from them.
        test: number of test examples.
        noise: >= 0, standard deviation of the noise of both coordinates.
        seed: of the noise, independent of the run's seed.

    Raises:
        UserError: for values outside their range.
    """

    train: int = 300
    test: int = 300
    noise: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for key, count in (("train", self.train), ("test", self.test)):
            check(count >= len(self.names), key, count, f"at least {len(self.names)}, the number of classes")
        check(0 <= self.noise < float("inf"), "noise", self.noise, "0 or more")
        check(self.seed >= 0, "seed", self.seed, "0 or more")

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Of the classes."""

    @abstractmethod
    def curve(self, k: int, count: int) -> np.ndarray:
        """So many points of class k without noise, (count, 2)."""

    def load(self) -> Loaded:
        """Train and test do not depend on each other's size."""
        train, test = self._pool("train", self.train), self._pool("test", self.test)
        forms = list(map(Form, COLUMNS))
        loaded = Loaded(train, None, test, Classes(self.names), new=NewRows(forms))
        return replace(loaded, fit=partial(with_encoder, loaded, forms))

    def _pool(self, split: str, count: int) -> ArrayPool:
        ends = np.arange(len(self.names) + 1) * count // len(self.names)
        sizes = np.diff(ends)
        points = np.concatenate([self.curve(k, n) for k, n in enumerate(sizes.tolist())])
        points += self.noise * stream(self.seed, f"toy {split}").standard_normal(points.shape)
        return ArrayPool(points.astype(np.float32), np.repeat(np.arange(len(sizes)), sizes))


@dataclass(kw_only=True)
class Moons(Toy):
    """Two half circles that reach into each other, as in scikit-learn's `make_moons`; for the arguments see `Toy`."""

    names = ("upper", "lower")

    def curve(self, k: int, count: int) -> np.ndarray:
        angle = np.linspace(0, np.pi, count)
        upper = np.stack([np.cos(angle), np.sin(angle)], 1)
        return upper if k == 0 else np.array([1.0, 0.5]) - upper


@dataclass(kw_only=True)
class Circles(Toy):
    """A circle of radius 1 and one within it, as in scikit-learn's `make_circles`; for other arguments see `Toy`.

    Args:
        factor: in (0, 1), radius of the inner circle.
    """

    names = ("outer", "inner")
    factor: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.factor < 1, "factor", self.factor, "greater than 0 and less than 1")

    def curve(self, k: int, count: int) -> np.ndarray:
        angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
        return (1.0, self.factor)[k] * np.stack([np.cos(angle), np.sin(angle)], 1)


@dataclass(kw_only=True)
class Spirals(Toy):
    """A spiral for each class, from the middle to radius 1: `radius = angle / (2 pi turns)`, turned for each class.

    Args:
        num_classes: at least 2.
        turns: greater than 0, of each spiral around the middle.
    """

    num_classes: int = 2
    turns: float = 1.0

    def __post_init__(self) -> None:
        check(self.num_classes >= 2, "num_classes", self.num_classes, "at least 2")
        check(0 < self.turns < float("inf"), "turns", self.turns, "greater than 0")
        super().__post_init__()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"spiral {k + 1}" for k in range(self.num_classes))

    def curve(self, k: int, count: int) -> np.ndarray:
        radius = np.sqrt(np.arange(1, count + 1) / count)  # about the same distance between neighbours everywhere
        angle = 2 * np.pi * (self.turns * radius + k / self.num_classes)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
