"""Synthetic pictures that a small model can learn: a smooth pattern for each class, and noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.files.keys import check
from mixup_lab.sources.new_files import pictures
from mixup_lab.targets.classes import Classes

WAVES = 3  # plane waves that make up a pattern


@dataclass
class FakeImages:
    """Deterministic pictures, to try things out without any files.

    Args:
        num_classes: >= 2.
        train: number of training examples; val is carved from them.
        test: number of test examples.
        shape: [channels, height, width].
        noise: >= 0, standard deviation of the noise relative to the pattern's; above 5 some pictures are ambiguous.
        seed: of the pictures, independent of the run's seed.

    Raises:
        UserError: for values outside their range.
    """

    num_classes: int = 4
    train: int = 256
    test: int = 64
    shape: Sequence[int] = (3, 16, 16)
    noise: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.num_classes >= 2, "num_classes", self.num_classes, "at least 2")
        for key, count in (("train", self.train), ("test", self.test)):
            check(count >= self.num_classes, key, count, f"at least num_classes ({self.num_classes})")
        right = len(self.shape) == 3 and min(self.shape) >= 1
        check(right, "shape", list(self.shape), "[channels, height, width], each at least 1")
        check(0 <= self.noise < float("inf"), "noise", self.noise, "0 or more")
        check(self.seed >= 0, "seed", self.seed, "0 or more")

    def load(self) -> Loaded:
        """Draw the patterns, then train, then test."""
        rng = np.random.default_rng(self.seed)
        patterns = self._patterns(rng)
        train, test = (self._pool(rng, patterns, count) for count in (self.train, self.test))
        kind = Classes(tuple(f"class {k}" for k in range(self.num_classes)))
        return Loaded(train, None, test, kind, new=pictures(train.shape))

    def _patterns(self, rng: np.random.Generator) -> np.ndarray:
        """(K, C, H, W) with mean about 0 and standard deviation 1: a few plane waves of low frequency."""
        channels, height, width = self.shape
        shape = (self.num_classes, channels, WAVES, 1, 1)
        y, x = np.arange(height)[:, None] / height, np.arange(width) / width
        turns = rng.uniform(-1.5, 1.5, shape) * y + rng.uniform(-1.5, 1.5, shape) * x + rng.random(shape)
        waves: np.ndarray = np.cos(2 * np.pi * turns).sum(2)
        waves /= np.sqrt(WAVES / 2)
        return waves

    def _pool(self, rng: np.random.Generator, patterns: np.ndarray, count: int) -> ArrayPool:
        target = rng.permutation(np.arange(count, dtype=np.int64) % self.num_classes)
        values = patterns[target] + self.noise * rng.standard_normal((count, *self.shape))
        contrast = 64 / np.sqrt(1 + self.noise**2)  # two standard deviations to either side fit in 0..255
        images = np.clip(np.rint(128 + contrast * values), 0, 255).astype(np.uint8)
        return ArrayPool(images, target)
