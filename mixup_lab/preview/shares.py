"""lam over many draws against its law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mixup_lab.mixing.mixer import Mixer, at_step, upload
from mixup_lab.preview import methods
from mixup_lab.seeding import stream
from mixup_lab.types import Batch

DRAWS = 4096
ASKED = 512  # draws of a method whose lam depends on the model's opinion of the pictures
TOGETHER = 8  # of them in a batch
SIDE = 64  # pixels; on larger pictures areas are measured on smaller ones of the same shape
BINS = 40
EDGES = np.arange(BINS + 1) / BINS
NEARLY = 0.05  # with less of either picture, an example is nearly unmixed


@dataclass(frozen=True)
class Shares:
    """What many draws give."""

    lam: np.ndarray  # (n,) as it was really done
    law: np.ndarray | None  # (BINS,) the probability of each bin by the law of lam
    alpha: float | None  # of the law, where it has one
    nearly_unmixed: float  # share of the draws with less than NEARLY of one picture: of k, of all but one
    layers: dict[str, float]  # how often each layer is chosen, where layers are

    @property
    def counts(self) -> np.ndarray:
        """How many of the draws lie in each bin."""
        return np.histogram(np.round(self.lam.astype(float), 6), EDGES)[0]

    @property
    def mean(self) -> float:
        """E[lam]."""
        return float(self.lam.mean(dtype=float))


def measure(mixer: Mixer, batch: Batch, seed: int) -> Shares:
    """Draw lam many times and apply the method, so that what is counted is what was really done.

    Args:
        mixer: bound to the run's model.
        batch: real examples, for a method that looks at them; of others the shape alone counts.
        seed: of the run; the draws are others than the run's own.
    """
    if methods.asks_model(mixer):
        size = min(TOGETHER, len(batch.target))
        steps = -(-ASKED // size)
        groups = [Batch(*(part[k : k + size] for part in batch)) for k in range(0, len(batch.target) - size + 1, size)]
    else:
        size = 1 if getattr(mixer, "lam_per", "batch") == "batch" else 64
        steps = DRAWS // size
        shape = batch.inputs.shape[1:]
        shrink = max(1.0, max(shape[1:]) / SIDE) if len(shape) == 3 else 1.0
        small = (shape[0], *(max(1, round(side / shrink)) for side in shape[1:])) if len(shape) == 3 else shape
        blank = torch.zeros((size, *small), device=batch.target.device)
        labels = small[1:] if batch.target.shape[1:] == shape[1:] else batch.target.shape[1:]  # of masks likewise
        groups = [Batch(blank, batch.target.new_zeros((size, *labels)))]
    draws = methods.draw_unheard(mixer, stream(seed, "preview"), steps, np.zeros((steps, size), dtype=np.int64))
    draws.setdefault("perm", np.tile(np.arange(size), (steps, 1)))  # who is mixed does not matter here
    uploaded = upload(draws, batch.target.device)
    done = [
        methods.last_rows(mixer.apply(groups[step % len(groups)], at_step(uploaded, step)), size).lam
        for step in range(steps)
    ]
    flat = [lam.flatten(1).mean(1) if lam.dim() > 1 else lam for lam in done]
    lam, known = torch.cat(flat).cpu().numpy(), methods.laws(mixer)
    largest = methods.largest_share(mixer, draws, lam)
    return Shares(
        lam=lam,
        law=expected(known),
        alpha=mixer.alpha if any(law.kind == "beta" for _, law, _ in known) else None,
        nearly_unmixed=float((largest > 1 - NEARLY).mean()),
        layers=methods.layer_shares(mixer, draws),
    )


def expected(laws: methods.Laws) -> np.ndarray | None:
    """The probability of each bin, differences of the distribution function; None without a law."""
    if not laws:
        return None
    below = np.append(np.nextafter(EDGES[:-1], -1), 1.0)  # a bin holds its left edge, and the last one both
    return np.asarray(sum(weight * np.diff(law.cdf(below, alpha)) for weight, law, alpha in laws))
