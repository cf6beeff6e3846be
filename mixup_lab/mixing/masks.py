"""Methods that choose each pixel by a mask: FMix, GridMix, SmoothMix."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.checks import check_pictures, check_tensor
from mixup_lab.mixing.functional import blend
from mixup_lab.mixing.law import Law
from mixup_lab.mixing.mixer import Bound, Draw, PairMixer
from mixup_lab.types import Inputs


@dataclass
class MaskMixer(PairMixer):
    """The mask is drawn on the host, batch by batch, from a seed of its own; a method says how in `masks`."""

    @abstractmethod
    def masks(self, rng: np.random.Generator, lam: np.ndarray, height: int, width: int) -> np.ndarray:
        """One mask for each lam: (n,) to (n, H, W) in [0, 1], the share of the own picture; all 1 where lam is 1."""

    def bind(self, bound: Bound) -> None:
        """Refuse what are no pictures."""
        super().bind(bound)
        check_pictures(type(self).__name__.lower(), bound.input_shape)

    def extras(self, rng: np.random.Generator, lam: np.ndarray) -> dict[str, np.ndarray]:
        """`mask_seed` (S,), and `share` (S,): lam for the host where the batch has one."""
        drawn = {"mask_seed": rng.integers(2**62, size=len(lam))}
        return drawn | {"share": lam[:, 0]} if self.lam_per == "batch" else drawn

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        """Blend by the mask."""
        name = type(self).__name__.lower()
        check_pictures(name, check_tensor(name, inputs).shape[1:])
        shares = np.array([draw["share"]]) if "share" in draw else lam.cpu().numpy()
        made = self.masks(np.random.default_rng(draw["mask_seed"]), shares, *inputs.shape[-2:])
        mask = torch.from_numpy(made.astype(np.float32)).to(inputs.device)
        if self.lam_per == "pair":
            mask = mask[torch.minimum(perm, torch.arange(len(perm), device=perm.device))]
        mask = mask[0] if "share" in draw else mask
        return blend(inputs, perm, mask), mask


@dataclass
class FMix(MaskMixer):
    """Binary masks of random shape with soft outlines, by low-pass noise (Harris et al., 2020, arXiv:2002.12047).

    White noise whose amplitude falls with frequency ** decay; the lam * H * W largest values are the own pixels.

    Args:
        decay: > 0; the paper's 3. Less gives many small islands.
    """

    decay: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.decay > 0:
            raise ValueError(f"decay must be greater than 0, got {self.decay}")

    def masks(self, rng: np.random.Generator, lam: np.ndarray, height: int, width: int) -> np.ndarray:
        """The largest values of the noise, which are those not below the smallest of them."""
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
        amplitude = np.maximum(frequency, 1 / max(height, width)) ** -self.decay
        noise = rng.normal(size=(2, len(lam), *frequency.shape))
        grey = np.fft.irfft2((noise[0] + 1j * noise[1]) * amplitude, (height, width)).reshape(len(lam), -1)
        pixels = height * width
        ascending = np.column_stack([np.sort(grey, axis=1), np.full(len(lam), np.inf)])
        others = pixels - np.rint(lam * pixels).astype(np.int64)
        own = grey >= np.take_along_axis(ascending, others[:, None], axis=1)
        return np.asarray(own).reshape(-1, height, width)


@dataclass
class GridMix(MaskMixer):
    """Each cell of a grid is the own picture's with probability lam (Baek et al., Pattern Recognition 2021).

    lam is then the share of the pixels. Their second loss, on the cells, is not part of this.

    Args:
        grid: cells along each side, >= 1.
    """

    grid: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grid < 1:
            raise ValueError(f"grid must be at least 1, got {self.grid}")

    def masks(self, rng: np.random.Generator, lam: np.ndarray, height: int, width: int) -> np.ndarray:
        """A coin for each cell."""
        cells = rng.random((len(lam), self.grid, self.grid)) < lam[:, None, None]
        row, column = (np.arange(size) * self.grid // size for size in (height, width))
        return np.asarray(cells[:, row][:, :, column])


@dataclass
class SmoothMix(MaskMixer):
    """The partner shines through a Gaussian spot (Lee et al., CVPR Workshops 2020).

    The mask is 1 - exp(-d^2 / (2 sigma^2)) of the distance d to a uniform random centre, sigma uniform between
    `sigma_min` and `sigma_max` times the longer side; lam is its mean. It has no alpha but 0, which turns it off.

    Args:
        sigma_min: > 0; 0.25.
        sigma_max: >= sigma_min; 0.5.
    """

    sigma_min: float = 0.25
    sigma_max: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.sigma_min <= self.sigma_max or not math.isfinite(self.sigma_max):
            raise ValueError(f"0 < sigma_min <= sigma_max must hold, got {self.sigma_min} and {self.sigma_max}")
        self._refuse_law("smoothmix draws the width of its spot in place of lam")
        self._law = Law("fixed", value=0.0)  # lam as drawn says no more than whether to mix: 0, or 1 for not

    def masks(self, rng: np.random.Generator, lam: np.ndarray, height: int, width: int) -> np.ndarray:
        """1 less the spot."""
        n, longer = len(lam), max(height, width)
        centre = rng.random((2, n, 1, 1))
        sigma = longer * rng.uniform(self.sigma_min, self.sigma_max, (n, 1, 1))
        down, right = np.arange(height)[None, :, None] + 0.5, np.arange(width)[None, None, :] + 0.5
        square = (down - centre[0] * height) ** 2 + (right - centre[1] * width) ** 2
        spot = np.exp(-square / (2 * sigma**2))
        return np.asarray(1 - np.where(lam < 1, 1, 0)[:, None, None] * spot)
