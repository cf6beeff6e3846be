"""SmoothMix (Lee et al.: SmoothMix: a Simple Yet Effective Data Augmentation, CVPR Workshops 2020)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.masks import MaskMixer
from mixup_lab.mixing.mixer import Draw, Strip
from mixup_lab.mixing.pairs import spread


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

    capturable = True
    own_law = "smoothmix draws the width of its spot in place of lam"
    sigma_min: float = 0.25
    sigma_max: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.sigma_min <= self.sigma_max or not math.isfinite(self.sigma_max):
            raise ValueError(f"0 < sigma_min <= sigma_max must hold, got {self.sigma_min} and {self.sigma_max}")

    def extras(self, rng: np.random.Generator, lam: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """`row`, `column`: the centre, in shares of height and width, and `sigma`, each (S, n)."""
        row, column = rng.random((2, *lam.shape), dtype=np.float32)
        sigma = rng.uniform(self.sigma_min, self.sigma_max, lam.shape).astype(np.float32)
        return {"row": row, "column": column, "sigma": sigma}

    def masks(self, draw: Draw, lam: Tensor, height: int, width: int) -> Tensor:
        down, right = (torch.arange(size, device=lam.device) + 0.5 for size in (height, width))
        square = (down - draw["row"][:, None] * height).square()[:, :, None]
        square = square + (right - draw["column"][:, None] * width).square()[:, None]
        sigma = max(height, width) * draw["sigma"][:, None, None]
        return 1 - (lam < 1)[:, None, None] * torch.exp(-square / (2 * sigma.square()))

    def strips(self) -> list[Strip]:
        title = "One pair over the width of the spot, as a share of the longer side"
        return [self.strip(title, "sigma", spread(self.sigma_min, self.sigma_max), self._with_sigma)]

    def _with_sigma(self, draw: Draw, sigma: float) -> Draw:
        return self.with_lam(draw, 0.0) | {"sigma": torch.full_like(draw["sigma"], sigma)}
