"""Mixup or CutMix, by chance for each batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mixup_lab.mixing.boxes import CutMix
from mixup_lab.mixing.mixer import Bound, Draw, Mixer, NoMixing
from mixup_lab.mixing.mixup import Mixup
from mixup_lab.types import Batch, Mixed


@dataclass
class MixupCutMix(Mixer):
    """One of Mixup, CutMix and no mixing for each batch, as in the recipes for ImageNet (Touvron et al., 2021).

    Args:
        alpha: of Mixup, >= 0; 0 is the baseline, CutMix included.
        cutmix_alpha: of CutMix, > 0.
        prob_mixup: with the next two: probabilities that sum to 1.
        prob_cutmix: see prob_mixup.
        prob_none: see prob_mixup.
        lam_per: `batch`, `sample` or `pair`, for both.
        seed: of the generator for direct calls; None: another one each time.

    Raises:
        ValueError: for probabilities that do not sum to 1, and what the methods refuse.
    """

    alpha: float = 0.8
    cutmix_alpha: float = 1.0
    prob_mixup: float = 0.5
    prob_cutmix: float = 0.5
    prob_none: float = 0.0
    lam_per: str = "batch"
    seed: int | None = None

    def __post_init__(self) -> None:
        if not self.cutmix_alpha > 0:
            raise ValueError(f"cutmix_alpha must be greater than 0, got {self.cutmix_alpha}")
        probs = [self.prob_mixup, self.prob_cutmix, self.prob_none]
        if not all(0 <= p <= 1 for p in probs) or not math.isclose(sum(probs), 1, abs_tol=1e-9):
            shown = " + ".join(f"{p:g}" for p in probs)
            raise ValueError(f"prob_mixup + prob_cutmix + prob_none must be 1, got {shown} = {sum(probs):g}")
        self.prob = self.prob_mixup + self.prob_cutmix  # the share of the batches that is mixed
        self._methods: tuple[Mixer, ...] = (
            Mixup(self.alpha, lam_per=self.lam_per),
            CutMix(self.cutmix_alpha if self.alpha else 0.0, lam_per=self.lam_per),
            NoMixing(),
        )

    def bind(self, bound: Bound) -> None:
        """Both methods look at it."""
        for method in self._methods:
            method.bind(bound)

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
        """What each method draws, under names of its own, and `choice` (S,)."""
        drawn: dict[str, np.ndarray] = {}
        for number, method in enumerate(self._methods):
            own = method.draw(rng, steps, batch_size, targets=targets, scale_alpha=scale_alpha)
            drawn |= {f"{number}.{name}": values for name, values in own.items()}
        mixing = (
            np.array([self.prob_mixup, self.prob_cutmix])
            * (np.ones(steps) if scale_prob is None else scale_prob)[:, None]
        )
        return drawn | {"choice": (rng.random((steps, 1)) >= np.cumsum(mixing, axis=1)).sum(axis=1)}

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        """The method that is chosen."""
        prefix = f"{draw['choice']}."
        own = {name.removeprefix(prefix): value for name, value in draw.items() if name.startswith(prefix)}
        return self._methods[draw["choice"]].apply(batch, own)
