"""lam in many draws, compared with its law."""

import warnings
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.inside import INPUT
from mixup_lab.mixing.mixer import Laws, Mixer, Request, at_step, upload
from mixup_lab.seeding import stream
from mixup_lab.types import Batch

DRAWS = 4096
ASKED = 512  # draws of a method whose lam depends on the model
TOGETHER = 8  # of them in a batch
SIDE = 64  # pixels; on larger pictures areas are measured on smaller ones of the same shape
BINS = 40
EDGES = np.arange(BINS + 1) / BINS
NEARLY = 0.05  # with less of either picture, an example is nearly unmixed


@dataclass(frozen=True)
class Shares:
    """lam in many draws."""

    lam: np.ndarray  # (n,) as really mixed
    law: np.ndarray | None  # (BINS,) the probability of each bin by the law of lam
    alpha: float | None  # of the law, where it has one
    nearly_unmixed: float  # share of the draws with less than NEARLY of one picture; of k, of all but one together
    layers: dict[str, float]  # how often each layer is chosen, where there is a choice

    @property
    def counts(self) -> np.ndarray:
        """How many of the draws lie in each bin."""
        return np.histogram(np.round(self.lam.astype(float), 6), EDGES)[0]

    @property
    def mean(self) -> float:
        """E[lam]."""
        return float(self.lam.mean(dtype=float))


def measure(mixer: Mixer, batch: Batch, seed: int) -> Shares:
    """Draw lam many times, apply the method, and measure the lam that results.

    Args:
        mixer: bound to the run's model.
        batch: real examples, for a method that looks at them; for others only their shape counts.
        seed: of the run; these draws are not the run's own.
    """
    if mixer.asks_model:
        size = min(TOGETHER, len(batch.target))
        steps = -(-ASKED // size)
        groups = [Batch(*(part[k : k + size] for part in batch)) for k in range(0, len(batch.target) - size + 1, size)]
    else:
        size = 1 if mixer.lam_per == "batch" else 64
        steps = DRAWS // size
        shape = tuple(batch.inputs.shape[1:])
        shrink = max(1.0, max(shape[1:]) / SIDE) if len(shape) == 3 else 1.0
        groups = [blank(size, shape, tuple(max(1, round(side / shrink)) for side in shape[1:]), batch.target)]
    shape = tuple(groups[0].inputs.shape[1:])
    draws = silent_draw(mixer, stream(seed, "preview"), steps, np.zeros((steps, size), dtype=np.int64), shape)
    draws.setdefault("perm", np.tile(np.arange(size), (steps, 1)))  # who is mixed does not matter here
    uploaded = upload(draws, batch.target.device)
    each = [at_step(uploaded, step) for step in range(steps)]
    done = [mixer.apply(groups[step % len(groups)], draw).last(size).lam for step, draw in enumerate(each)]
    lam = torch.cat([lam.flatten(1).mean(1) if lam.dim() > 1 else lam for lam in done]).cpu().numpy()
    laws, layers = mixer.laws(), mixer.mixed_layers()
    used = Counter(mixer.layer(draw) or INPUT for draw in each)
    return Shares(
        lam=lam,
        law=expected(laws),
        alpha=mixer.alpha if any(law.kind == "beta" for _, law, _ in laws) else None,
        nearly_unmixed=float((mixer.largest_share(draws, lam) > 1 - NEARLY).mean()),
        layers={name: used[name] / steps for name in layers} if len(layers) > 1 else {},
    )


def blank(size: int, shape: tuple[int, ...], sides: tuple[int, ...], target: Tensor) -> Batch:
    """Zeros in place of examples, for methods that do not look at them: enough to measure shares.

    Args:
        size: of the batch.
        shape: of one example.
        sides: (H, W) of the pictures and masks in place of their own.
        target: (n, ...), with the shape and dtype of a label.
    """
    small = (shape[0], *sides) if len(shape) == 3 else shape
    labels = small[1:] if target.shape[1:] == shape[1:] else target.shape[1:]
    return Batch(torch.zeros((size, *small), device=target.device), target.new_zeros((size, *labels)))


def silent_draw(
    mixer: Mixer, rng: np.random.Generator, steps: int, targets: np.ndarray, shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Draws for `targets` (steps, B) that no run has: the method's warnings about these labels mean nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mixer.draw(rng, Request(steps, targets.shape[1], targets, shape))


def expected(laws: Laws) -> np.ndarray | None:
    """The probability of each bin, differences of the distribution function; None without a law."""
    if not laws:
        return None
    below = np.append(np.nextafter(EDGES[:-1], -1), 1.0)  # a bin holds its left edge, and the last one both
    return np.asarray(sum(weight * np.diff(law.cdf(below, alpha)) for weight, law, alpha in laws))
