"""Mixup (Zhang, Cisse, Dauphin, Lopez-Paz: mixup: Beyond Empirical Risk Minimization, ICLR 2018)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mixup_lab.mixing.functional import interpolate
from mixup_lab.mixing.mixer import Draw, PairMixer
from mixup_lab.types import Inputs


@dataclass
class Mixup(PairMixer):
    """`lam * x_i + (1 - lam) * x_j` with the labels mixed alike (eq. 2); see `PairMixer` for the arguments.

    >>> mixup = Mixup(alpha=0.4)
    """

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        """Interpolate."""
        if isinstance(inputs, dict):
            return {name: interpolate(part, perm, lam) for name, part in inputs.items()}, lam
        return interpolate(inputs, perm, lam), lam
