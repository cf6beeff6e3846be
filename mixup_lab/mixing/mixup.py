"""Mixup (Zhang, Cisse, Dauphin, Lopez-Paz: mixup: Beyond Empirical Risk Minimization, ICLR 2018)."""

from dataclasses import dataclass
from functools import partial

from torch import Tensor

from mixup_lab.mixing.functional import each, interpolate
from mixup_lab.mixing.mixer import Draw
from mixup_lab.mixing.pairs import PairMixer
from mixup_lab.types import Inputs


@dataclass
class Mixup(PairMixer):
    """`lam * x_i + (1 - lam) * x_j` with the labels mixed alike (eq. 2); see `PairMixer` for the arguments.

    Token ids cannot be averaged. For texts the output of the first of the model's `mixup_layers` is mixed instead, the
    embedding: wordMixup (Guo, Mao, Zhang: Augmenting Data with Mixup for Sentence Classification, 2019).

    >>> import torch
    >>> mixup = Mixup(law="fixed", lam=0.75, partner="roll")
    >>> mixed = mixup(torch.tensor([[0.0], [4.0]]), torch.tensor([0, 1]))
    >>> mixed.inputs.tolist(), mixed.lam.tolist()
    ([[1.0], [3.0]], [0.75, 0.75])
    >>> mixed.target.tolist(), mixed.partner.tolist()
    ([0, 1], [1, 0])
    """

    on_tokens = True
    keeps_inputs_whole = True
    capturable = True
    by_example = True

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        mix = partial(interpolate, perm=perm, lam=lam)
        layer = self.layer(draw)
        if layer is None:
            return each(mix, inputs), lam
        self.mix_inside(layer, mix)
        return inputs, lam
