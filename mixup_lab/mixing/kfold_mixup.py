"""Mixup of three or more samples, with weights from a Dirichlet law (mentioned by Zhang et al., 2018)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.functional import each, rows, soft
from mixup_lab.mixing.law import Law
from mixup_lab.mixing.mixer import LAMS, UNMIXED, Draw, Laws, Request, Strip
from mixup_lab.mixing.pairs import PairMixer
from mixup_lab.mixing.partners import draw_partners
from mixup_lab.types import Batch, Inputs, Mixed, like


@dataclass
class KFoldMixup(PairMixer):
    """`sum_k w_k * x_k` with w ~ Dirichlet(alpha, ..., alpha) over the own sample and k - 1 partners; labels alike.

    Labels are always soft: for cross-entropy the loss equals the weighted sum of k losses. For k = 2 it is Mixup.

    Args:
        k: samples in a mixture, >= 2.
        alpha: of the Dirichlet law, the same for each sample.
    """

    capturable = True
    own_law = "kfold draws from a Dirichlet law"
    on_tokens = True
    k: int = 3
    labels: str = "soft"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 2:
            raise ValueError(f"k must be at least 2, got {self.k}")
        if self.labels != "soft" or self.partner not in ("random", "no_self") or self.lam_per == "pair":
            raise ValueError("kfold has soft labels, partner=random or no_self, and lam_per=batch or sample")

    def draw(self, rng: np.random.Generator, request: Request) -> dict[str, np.ndarray]:
        """`perms` (S, k - 1, B) int64 and `weights` (S, B, k) float32 that sum to 1; the first is the own sample's."""
        steps, batch_size = request.steps, request.batch_size
        drawn = [draw_partners(self.partner, rng, steps, batch_size)[0] for _ in range(self.k - 1)]
        units = 1 if self.lam_per == "batch" else batch_size
        unmixed = rng.random((steps, units)) >= request.probs(self.prob)
        alpha = request.alphas(self.alpha)
        # Gamma variables divided by their sum have a Dirichlet law. In logarithms, since small alphas underflow:
        # Gamma(a) = Gamma(a + 1) * U ** (1 / a).
        shape = (steps, units, self.k)
        positive = np.where(alpha > 0, alpha, 1.0)[:, None, None]
        log = np.log(rng.gamma(positive + 1, size=shape)) + np.log(1 - rng.random(shape)) / positive
        weights = np.exp(log - log.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        weights[unmixed | (alpha == 0)[:, None]] = [1.0, *[0.0] * (self.k - 1)]
        spread = np.broadcast_to(weights, (steps, batch_size, self.k)).astype(np.float32)
        return {"perms": np.stack(drawn, axis=1), "weights": spread}

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        target = self._sum(soft(batch.target, self.num_classes), draw)
        inputs, layer = batch.inputs, self.layer(draw)
        if layer is None:
            inputs = each(lambda values: self._sum(values, draw), inputs)
        else:
            self.mix_inside(layer, lambda values: self._sum(values, draw))
        return Mixed(inputs, target, target, draw["weights"][:, 0])

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        """Not used: `apply` mixes more than pairs."""
        raise NotImplementedError

    def laws(self) -> Laws:
        own = Law(beta=(self.k - 1) * self.alpha)
        return [(self.prob, own, self.alpha), (1 - self.prob, UNMIXED, 1.0)]

    def partners(self, draw: Draw) -> list[Tensor]:
        return list(draw["perms"])

    def largest_share(self, draws: dict[str, np.ndarray], lam: np.ndarray) -> np.ndarray:
        return np.asarray(draws["weights"].max(axis=2)).ravel()

    def strips(self) -> list[Strip]:
        """Over the own share, unless it is mixed inside the model."""
        return [] if self._layers else [self.strip("One mixture over the own share", "own", LAMS, self.with_lam)]

    def with_lam(self, draw: Draw, lam: float) -> Draw:
        """The draw with this own share for all examples; the partners share the rest evenly."""
        weights = torch.full_like(draw["weights"], (1 - lam) / (self.k - 1))
        weights[:, 0] = lam
        return {**draw, "weights": weights}

    def _sum(self, values: Tensor, draw: Draw) -> Tensor:
        weights = draw["weights"]
        total = values * like(weights[:, 0], values)
        for k, perm in enumerate(draw["perms"], 1):
            total = torch.addcmul(total, rows(values, perm), like(weights[:, k], values))
        return total
