"""Label smoothing (Szegedy et al., 2016) as strong as in Mixup's labels: a control for the effect of mixed inputs."""

from dataclasses import dataclass

import numpy as np
import torch

from mixup_lab.mixing.functional import soft
from mixup_lab.mixing.law import mean_minor_share
from mixup_lab.mixing.mixer import Bound, Draw, Mixer, Request, at_least_zero
from mixup_lab.types import Batch, Mixed


@dataclass
class LabelSmoothing(Mixer):
    """Inputs stay unchanged; the label keeps 1 - eps, and eps is spread evenly over all classes.

    eps = E[min(lam, 1 - lam)] for lam ~ Beta(alpha, alpha): the label mass that Mixup with this alpha moves on average.

    Args:
        alpha: >= 0 and finite; 0 is the baseline.
        num_classes: only needed outside runs; a run fills it in.
    """

    capturable = True
    scheduled = True
    on_tokens = True
    alpha: float = 1.0
    num_classes: int | None = None

    def __post_init__(self) -> None:
        at_least_zero(alpha=self.alpha)

    def bind(self, bound: Bound) -> None:
        if bound.labels.num_classes is None:
            raise ValueError("label_smoothing needs targets that are classes")
        self.num_classes = bound.labels.num_classes

    def draw(self, rng: np.random.Generator, request: Request) -> dict[str, np.ndarray]:
        """`eps` (S, 1), which is not random."""
        eps = np.array([[mean_minor_share(a) if a > 0 else 0.0] for a in request.alphas(self.alpha)])
        return {"eps": (eps * request.probs(1.0)).astype(np.float32)}

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        label = soft(batch.target, self.num_classes)
        # A label sums to 1; that of a void pixel to 0.
        target = label * (1 - draw["eps"]) + label.sum(1, keepdim=True) * (draw["eps"] / label.shape[1])
        return Mixed(batch.inputs, target, target, torch.ones(len(target), device=target.device))
