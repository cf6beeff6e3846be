"""Noisy Feature Mixup at the input (Lim et al.: Noisy Feature Mixup, ICLR 2022)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.checks import check_tensor
from mixup_lab.mixing.mixer import Draw, at_least_zero
from mixup_lab.mixing.mixup import Mixup
from mixup_lab.types import Inputs, like

LEVEL = (2, 5)  # parameters of Beta for the strength of the noise
MEAN_LEVEL = 2 / 7


@dataclass
class NoiseMix(Mixup):
    """Mixup, then noise: `(1 + m) * mixed + a` with uniform m and normal a.

    The levels are multiplied by a draw of Beta(2, 5) for each batch, as in the authors' code. Inputs that are not mixed
    get no noise.

    Args:
        add_noise: standard deviation of a, in units of the standardised inputs, >= 0.
        mult_noise: m lies in [-mult_noise, mult_noise].
    """

    on_tokens = False
    mixed_title = "mixed,\nwith noise"
    add_noise: float = 0.4
    mult_noise: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_zero(add_noise=self.add_noise, mult_noise=self.mult_noise)

    def extras(self, rng: np.random.Generator, lam: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """`noise_seed`, `add` and `mult`, each (S,)."""
        return {
            "noise_seed": rng.integers(2**62, size=len(lam)),
            "add": self.add_noise * rng.beta(*LEVEL, len(lam)),
            "mult": self.mult_noise * rng.beta(*LEVEL, len(lam)),
        }

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        mixed, share = super().mix(check_tensor("noise_mix", inputs), perm, lam, draw)
        generator = torch.Generator(inputs.device).manual_seed(draw["noise_seed"])
        factor = torch.rand(mixed.shape, generator=generator, device=mixed.device).mul_(2).sub_(1).mul_(draw["mult"])
        noise = torch.randn(mixed.shape, generator=generator, device=mixed.device).mul_(draw["add"])
        disturbed = (mixed * (1 + factor) + noise).to(mixed.dtype)
        return torch.where(like(share, mixed) < 1, disturbed, mixed), share

    def note(self, draw: Draw) -> str:
        return f"noise {draw['add']:.2f}"

    def with_lam(self, draw: Draw, lam: float) -> Draw:
        levels = {"add": self.add_noise * MEAN_LEVEL, "mult": self.mult_noise * MEAN_LEVEL}
        return super().with_lam(draw, lam) | levels
