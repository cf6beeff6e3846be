"""Gaussian noise on the inputs, labels unchanged: a control for the effect of mixing (Zhang et al., 2018, table 5)."""

from dataclasses import dataclass

import numpy as np
import torch

from mixup_lab.mixing.checks import check_tensor
from mixup_lab.mixing.mixer import Draw, Mixer, Request, Strip, at_least_zero
from mixup_lab.mixing.pairs import spread
from mixup_lab.types import Batch, Mixed


@dataclass
class Noise(Mixer):
    """Inputs plus noise; nothing is mixed. There is no alpha, but a schedule may scale the noise.

    Args:
        sigma: standard deviation in units of the standardised inputs, >= 0.
    """

    scheduled = True
    keeps_inputs_whole = True
    mixed_title = "with noise"
    sigma: float = 0.1

    def __post_init__(self) -> None:
        at_least_zero(sigma=self.sigma)

    def draw(self, rng: np.random.Generator, request: Request) -> dict[str, np.ndarray]:
        """`noise_seed` and `sigma`, each (S,)."""
        sigma = request.alphas(self.sigma) * request.probs(1.0)[:, 0]
        return {"noise_seed": rng.integers(2**62, size=request.steps), "sigma": sigma}

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        inputs = check_tensor("noise", batch.inputs)
        generator = torch.Generator(inputs.device).manual_seed(draw["noise_seed"])
        noise = torch.randn(inputs.shape, generator=generator, device=inputs.device)
        disturbed = inputs + noise.mul_(draw["sigma"]).to(inputs.dtype)
        whole = torch.ones(len(batch.target), device=batch.target.device)
        return Mixed(disturbed, batch.target, batch.target, whole)

    def strips(self) -> list[Strip]:
        title, levels = "One example over the strength of the noise", spread(0, 2 * self.sigma)
        return [
            Strip(title, "sigma", levels, self, lambda batch, draw, sigma: self.apply(batch, {**draw, "sigma": sigma}))
        ]
