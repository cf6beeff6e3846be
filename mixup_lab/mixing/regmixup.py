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
        alpha: as in Mixup; the paper's 20 for CIFAR-10, 10 for CIFAR-100.
        eta: weight of the mixed loss, >= 0 and finite; the paper's 1.
    """

    rows = 2
    own_title = "own, and\ntrained on\nas it is"
    alpha: float = 20.0
    eta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_zero(eta=self.eta)

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        """The clean examples, then the mixed ones. The mean over both rows of weight 2 and 2 * eta is the sum above."""
        mixed = super().apply(batch, draw)
        whole = torch.ones_like(mixed.lam)
        own = self._labelled(batch, batch.inputs, torch.arange(len(whole), device=whole.device), whole)
        target, partner, lam = (torch.cat(pair) for pair in zip(own[1:4], mixed[1:4], strict=True))
        inputs = each(lambda *pair: torch.cat(pair), own.inputs, mixed.inputs)
        one = torch.ones(len(batch.target), device=lam.device)
        return Mixed(inputs, target, partner, lam, torch.cat([2 * one, 2 * self.eta * one]))

    def mix_inside(self, layer: str, mix: Callable[[Tensor], Tensor]) -> None:
        """Mix the second half of the layer's output; the first are the clean examples."""

        def mix_second(values: Tensor) -> Tensor:
            clean, second = values.chunk(2)
            return torch.cat([clean, mix(second)])

        super().mix_inside(layer, mix_second)
