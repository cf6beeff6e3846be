"""SmoothMix (Lee et al.: SmoothMix: a Simple Yet Effective Data Augmentation, CVPR Workshops 2020)."""

import math
from dataclasses import dataclass, replace

import numpy as np

from mixup_lab.mixing.masks import MaskMixer
from mixup_lab.mixing.mixer import Draw, Strip
from mixup_lab.mixing.pairs import spread
from mixup_lab.types import Batch, Mixed


@dataclass
class SmoothMix(MaskMixer):
    """The partner shines through a Gaussian spot.

    The mask is 1 - exp(-d^2 / (2 sigma^2)) at the distance d from a uniform random centre, with sigma uniform between
    `sigma_min` and `sigma_max` times the longer side; lam is its mean. alpha = 0 turns it off; other values make no
    difference.

    Args:
        sigma_min: smallest sigma, as a share of the longer side, > 0.
        sigma_max: largest sigma, >= sigma_min.
    """

    own_law = "smoothmix draws the width of its spot in place of lam"
    sigma_min: float = 0.25
    sigma_max: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.sigma_min <= self.sigma_max or not math.isfinite(self.sigma_max):
            raise ValueError(f"0 < sigma_min <= sigma_max must hold, got {self.sigma_min} and {self.sigma_max}")

    def masks(self, rng: np.random.Generator, lam: np.ndarray, height: int, width: int) -> np.ndarray:
        n, longer = len(lam), max(height, width)
        centre = rng.random((2, n, 1, 1))
        sigma = longer * rng.uniform(self.sigma_min, self.sigma_max, (n, 1, 1))
        down, right = np.arange(height)[None, :, None] + 0.5, np.arange(width)[None, None, :] + 0.5
        square = (down - centre[0] * height) ** 2 + (right - centre[1] * width) ** 2
        spot = np.exp(-square / (2 * sigma**2))
        return np.asarray(1 - np.where(lam < 1, 1, 0)[:, None, None] * spot)

    def strips(self) -> list[Strip]:
        """Over sigma. It is drawn with the mask, so each value needs a mixer of its own."""

        def apply(batch: Batch, draw: Draw, sigma: float) -> Mixed:
            return replace(self, sigma_min=sigma, sigma_max=sigma).apply(batch, self.with_lam(draw, 0.0))

        title = "One pair over the width of the spot, as a share of the longer side"
        return [Strip(title, "sigma", spread(self.sigma_min, self.sigma_max), self, apply)]
