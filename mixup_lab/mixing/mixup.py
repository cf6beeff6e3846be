"""Mixup (Zhang, Cisse, Dauphin, Lopez-Paz: mixup: Beyond Empirical Risk Minimization, ICLR 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Tensor

from mixup_lab.mixing.functional import interpolate
from mixup_lab.mixing.mixer import Draw, PairMixer
from mixup_lab.mixing.partners import BY_DISTANCE
from mixup_lab.types import Inputs


@dataclass
class Mixup(PairMixer):
    """`lam * x_i + (1 - lam) * x_j` with the labels mixed alike (eq. 2); see `PairMixer` for the arguments.

    Token ids have no mean. Of texts the output of the first layer that the model declares is mixed in their place, the
    embedding: wordMixup (Guo, Mao, Zhang: Augmenting Data with Mixup for Sentence Classification, 2019).

    >>> mixup = Mixup(alpha=0.4)
    """

    on_tokens = True
    on_boxes = True

    @property
    def by_example(self) -> bool:
        """Not inside the model, not if partners are looked for in the batch; what a subclass does is not known."""
        return type(self) is Mixup and not self._layers and self._partner not in BY_DISTANCE

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        """Interpolate, at once or when the layer is reached."""
        layer = self.layer(draw)
        if layer is not None:
            self.mix_inside(layer, partial(interpolate, perm=perm, lam=lam))
            return inputs, lam
        if isinstance(inputs, dict):
            return {name: interpolate(part, perm, lam) for name, part in inputs.items()}, lam
        return interpolate(inputs, perm, lam), lam
