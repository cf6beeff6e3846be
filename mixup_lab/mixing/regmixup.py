"""RegMixup (Pinto et al.: Using Mixup as a Regularizer Can Surprisingly Improve Accuracy and OOD, NeurIPS 2022)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mixup_lab.mixing.functional import each
from mixup_lab.mixing.mixer import Draw, at_least_zero
from mixup_lab.mixing.mixup import Mixup
from mixup_lab.types import Batch, Mixed


@dataclass
class RegMixup(Mixup):
    """`L(clean) + eta * L(mixed)` in one pass of twice the batch, with a large alpha: eq. 3 of the paper.

    Args:
        alpha: as in Mixup; in the paper 20 for CIFAR-10 and 10 for CIFAR-100.
        eta: weight of the mixed loss, >= 0 and finite; 1 in the paper.
    """

    capturable = True
    rows = 2
    own_title = "own, and\ntrained on\nas it is"
    alpha: float = 20.0
    eta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_zero(eta=self.eta)

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        """Clean examples, weight 2, then mixed ones, weight 2 * eta: the mean over all rows is the sum above."""
        mixed = super().apply(batch, draw)
        whole = torch.ones_like(mixed.lam)
        clean = self._labelled(batch, batch.inputs, torch.arange(len(whole), device=whole.device), whole)
        target, partner, lam = (torch.cat(pair) for pair in zip(clean[1:4], mixed[1:4], strict=True))
        inputs = each(lambda *pair: torch.cat(pair), clean.inputs, mixed.inputs)
        ones = torch.ones(len(batch.target), device=lam.device)
        return Mixed(inputs, target, partner, lam, torch.cat([2 * ones, 2 * self.eta * ones]))

    def mix_inside(self, layer: str, mix: Callable[[Tensor], Tensor]) -> None:
        """Mix the second half of the layer's output; the first half is from the clean examples."""

        def mix_second(values: Tensor) -> Tensor:
            clean, second = values.chunk(2)
            return torch.cat([clean, mix(second)])

        super().mix_inside(layer, mix_second)
