"""Mixup or CutMix, by chance for each batch, as in recipes for ImageNet (Touvron et al.: DeiT, ICML 2021)."""

import math
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from mixup_lab.mixing.cutmix import CutMix
from mixup_lab.mixing.law import Law
from mixup_lab.mixing.mixer import UNMIXED, Bound, Draw, Laws, Mixer, Request, Strip
from mixup_lab.mixing.mixup import Mixup
from mixup_lab.mixing.none import NoMixing
from mixup_lab.mixing.pairs import LAM_PER
from mixup_lab.types import Batch, Mixed

NAMES = ("Mixup", "CutMix", "unmixed")


@dataclass
class MixupCutMix(Mixer):
    """One of Mixup, CutMix and no mixing for each batch.

    Args:
        alpha: of Mixup, >= 0; 0 is the baseline, CutMix included.
        cutmix_alpha: of CutMix, > 0.
        prob_mixup: probability of Mixup. The three probabilities sum to 1.
        prob_cutmix: probability of CutMix.
        prob_none: probability of not mixing.
        lam_per: `batch`, `sample` or `pair`, for both.
        seed: of the generator for direct calls; None: a different one each time.

    Raises:
        ValueError: for probabilities that do not sum to 1, and for arguments that Mixup or CutMix refuse.
    """

    capturable = True
    scheduled = True
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
        self.prob = self.prob_mixup + self.prob_cutmix
        self._methods: tuple[Mixer, ...] = (
            Mixup(self.alpha, lam_per=self.lam_per),
            CutMix(self.cutmix_alpha if self.alpha else 0.0, lam_per=self.lam_per),
            NoMixing(),
        )

    def bind(self, bound: Bound) -> None:
        for method in self._methods:
            method.bind(bound)

    def draw(self, rng: np.random.Generator, request: Request) -> dict[str, np.ndarray]:
        """The draws of each method, with its number before their names, and `choice` (S,)."""
        drawn: dict[str, np.ndarray] = {}
        for number, method in enumerate(self._methods):
            own = method.draw(rng, replace(request, scale_prob=1.0))
            drawn |= {f"{number}.{name}": values for name, values in own.items()}
        mixing = np.array([self.prob_mixup, self.prob_cutmix]) * request.probs(1.0)
        return drawn | {"choice": (rng.random((request.steps, 1)) >= np.cumsum(mixing, axis=1)).sum(axis=1)}

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        method, own = self._chosen(draw)
        return method.apply(batch, own)

    def laws(self) -> Laws:
        beta = Law()
        return [
            (self.prob_mixup, beta, self.alpha),
            (self.prob_cutmix, beta, self.cutmix_alpha),
            (self.prob_none, UNMIXED, 1.0),
        ]

    def partners(self, draw: Draw) -> list[Tensor]:
        method, own = self._chosen(draw)
        return method.partners(own)

    def variety(self, draw: Draw) -> str:
        return NAMES[draw["choice"]].lower()

    def note(self, draw: Draw) -> str:
        return self.variety(draw)

    def facts(self) -> list[tuple[str, str]]:
        return [("lam", LAM_PER[self.lam_per])]

    def strips(self) -> list[Strip]:
        parts = zip(NAMES, self._methods, (self.prob_mixup, self.prob_cutmix), strict=False)
        return [
            replace(strip, title=f"{name}: {strip.title.lower()}")
            for name, method, prob in parts
            if prob > 0
            for strip in method.strips()
        ]

    def _chosen(self, draw: Draw) -> tuple[Mixer, Draw]:
        prefix = f"{draw['choice']}."
        own = {name.removeprefix(prefix): value for name, value in draw.items() if name.startswith(prefix)}
        return self._methods[draw["choice"]], own
