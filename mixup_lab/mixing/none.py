"""No mixing: training as usual, by empirical risk minimisation (ERM)."""

import torch

from mixup_lab.mixing.mixer import Draw, Mixer
from mixup_lab.types import Batch, Mixed


class NoMixing(Mixer):
    """The baseline: examples stay unmixed, lam = 1."""

    capturable = True
    alpha = 0.0
    prob = 0.0
    scheduled = True
    on_tokens = True
    keeps_inputs_whole = True
    by_example = True

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        lam = torch.ones(len(batch.target), device=batch.target.device)
        return Mixed(batch.inputs, batch.target, batch.target, lam)
