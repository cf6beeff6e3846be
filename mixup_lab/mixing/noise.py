"""Noise beside mixing, and noise instead of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.checks import check_tensor
from mixup_lab.mixing.functional import like
from mixup_lab.mixing.mixer import Draw, Mixer
from mixup_lab.mixing.mixup import Mixup
from mixup_lab.types import Batch, Inputs, Mixed


def _check_levels(**levels: float) -> None:
    for name, level in levels.items():
        if not (math.isfinite(level) and level >= 0):
            raise ValueError(f"{name} must be a finite number >= 0, got {level}")


def _generator(seed: int, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


@dataclass
class NoiseMix(Mixup):
    """Mixup, then noise: `(1 + m) * mixed + a`, m uniform, a normal (Lim et al., ICLR 2022: NFM).

    The levels are multiplied by a draw of Beta(2, 5) for each batch, as in the authors' code. Inputs that are not mixed
    get no noise.

    Args:
        add_noise: standard deviation of a, in units of the standardised inputs, >= 0; 0.4.
        mult_noise: m lies in [-mult_noise, mult_noise]; 0.2.
    """

    on_tokens = False
    add_noise: float = 0.4
    mult_noise: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_levels(add_noise=self.add_noise, mult_noise=self.mult_noise)

    def extras(self, rng: np.random.Generator, lam: np.ndarray) -> dict[str, np.ndarray]:
        """`noise_seed`, `add` and `mult`, each (S,)."""
        return {
            "noise_seed": rng.integers(2**62, size=len(lam)),
            "add": self.add_noise * rng.beta(2, 5, len(lam)),
            "mult": self.mult_noise * rng.beta(2, 5, len(lam)),
        }

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        """Interpolate, then disturb."""
        mixed, share = super().mix(check_tensor("noise_mix", inputs), perm, lam, draw)
        generator = _generator(draw["noise_seed"], inputs.device)
        factor = torch.rand(mixed.shape, generator=generator, device=mixed.device).mul_(2).sub_(1).mul_(draw["mult"])
        noise = torch.randn(mixed.shape, generator=generator, device=mixed.device).mul_(draw["add"])
        disturbed = (mixed * (1 + factor) + noise).to(mixed.dtype)
        return torch.where(like(share, mixed) < 1, disturbed, mixed), share


@dataclass
class Noise(Mixer):
    """Gaussian noise on the inputs, labels as they are: a control for what mixing does (Zhang et al., 2018, table 5).

    Args:
        sigma: standard deviation in units of the standardised inputs, >= 0.
    """

    on_boxes = True
    sigma: float = 0.1

    def __post_init__(self) -> None:
        _check_levels(sigma=self.sigma)
        self.alpha = 1.0  # there is no law of lam; a schedule may turn it off

    def draw(
        self,
        rng: np.random.Generator,
        steps: int,
        batch_size: int,
        *,
        targets: np.ndarray | None = None,
        scale_alpha: np.ndarray | None = None,
        scale_prob: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """`noise_seed` and `sigma`, each (S,)."""
        scale = np.ones(steps)
        for factor in (scale_alpha, scale_prob):
            scale = scale if factor is None else scale * factor
        return {"noise_seed": rng.integers(2**62, size=steps), "sigma": self.sigma * scale}

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        """Disturb."""
        inputs = check_tensor("noise", batch.inputs)
        generator = _generator(draw["noise_seed"], inputs.device)
        noise = torch.randn(inputs.shape, generator=generator, device=inputs.device)
        disturbed = inputs + noise.mul_(draw["sigma"]).to(inputs.dtype)
        whole = torch.ones(len(batch.target), device=batch.target.device)
        return Mixed(disturbed, batch.target, batch.target, whole)
