"""One pair over all values of lam, everything else that is random held still."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.boxes import CutMix, ResizeMix
from mixup_lab.mixing.inside import INPUT
from mixup_lab.mixing.kfold_mixup import KFoldMixup
from mixup_lab.mixing.manifold_mixup import ManifoldMixup
from mixup_lab.mixing.masks import SmoothMix
from mixup_lab.mixing.mixer import Draw, Mixer, PairMixer, at_step, upload
from mixup_lab.mixing.mixup import Mixup
from mixup_lab.mixing.mixup_cutmix import MixupCutMix
from mixup_lab.mixing.noise import Noise, NoiseMix
from mixup_lab.preview import methods
from mixup_lab.seeding import stream
from mixup_lab.types import Batch

TRIED = 16  # draws of places, of which the one that fits lam best is shown
MEAN_LEVEL = 2 / 7  # of Beta(2, 5), which NoiseMix draws the strength of its noise from
LAMS = tuple(round(1 - k / 10, 1) for k in range(11))


@dataclass(frozen=True)
class Strip:
    """One example under several values of one parameter."""

    title: str
    parameter: str
    values: tuple[float, ...]
    inputs: Tensor  # (values, ...) standardised
    lam: tuple[float, ...]  # what was really done


def strips(mixer: Mixer, batch: Batch, seed: int, values: Sequence[float] = ()) -> list[Strip]:
    """The strips of a method: none where it has nothing that could be varied.

    Args:
        mixer: bound to the run's model.
        batch: the example and its partners, (1 + partners, ...).
        seed: of the run; decides masks and places, which are the same in all of a strip.
        values: of the parameter; by default lam from 1 to 0, or the range of the method's own parameter.
    """
    if isinstance(mixer, MixupCutMix):
        pasting = CutMix(mixer.cutmix_alpha)
        both = ((mixer.prob_mixup, "Mixup", Mixup(mixer.alpha)), (mixer.prob_cutmix, "CutMix", pasting))
        return [
            replace(strip, title=f"{name}: {strip.title.lower()}")
            for prob, name, method in both
            if prob > 0
            for strip in strips(method, batch, seed, values)
        ]
    draw = _one_draw(mixer, batch, seed)
    over = partial(_strip, mixer, batch, draw)
    if isinstance(mixer, Noise):
        levels = tuple(values) or _spread(0, 2 * mixer.sigma)
        return [over("One example over the strength of the noise", "sigma", levels, _sigma)]
    if isinstance(mixer, ResizeMix):
        sizes = tuple(values) or _spread(mixer.tau_min, mixer.tau_max)
        return [over("One pair over the scale of the pasted picture", "tau", sizes, _tau)]
    if isinstance(mixer, SmoothMix):
        widths = tuple(values) or _spread(mixer.sigma_min, mixer.sigma_max)
        return [_smooth(mixer, batch, draw, widths)]
    if not isinstance(mixer, PairMixer) or mixer.labels == "labels_only":
        return []
    lams = tuple(values) or LAMS
    if not isinstance(mixer, ManifoldMixup) and methods.layer(mixer, draw):  # inside the model nothing can be shown
        return []
    if isinstance(mixer, KFoldMixup):
        return [over("One mixture over the own share", "own", lams, _weights)]
    if isinstance(mixer, ManifoldMixup):
        if mixer.layers is None or INPUT not in mixer.layers:
            return []
        draw["layer"] = list(mixer.layers).index(INPUT)
        return [over("One pair over lam, where it is mixed at the input", "lam", lams, _lam)]
    draw = min((_one_draw(mixer, batch, seed, number) for number in range(TRIED)), key=partial(_unlike, mixer, batch))
    return [_strip(mixer, batch, draw, "One pair over lam", "lam", lams, _lam)]


def _unlike(mixer: Mixer, batch: Batch, draw: Draw) -> float:
    """How far half of the picture is from half, with the places of a draw: what is pasted may stick out."""
    return round(abs(float(mixer.apply(batch, _lam(draw, 0.5)).lam[-len(batch.target)].mean()) - 0.5), 3)


def _spread(first: float, last: float) -> tuple[float, ...]:
    return tuple(np.linspace(first, last, len(LAMS)).tolist())


def _one_draw(mixer: Mixer, batch: Batch, seed: int, number: int = 0) -> Draw:
    """A draw in which the first example has the others as partners."""
    size, device = len(batch.target), batch.target.device
    drawn = methods.draw_unheard(mixer, stream(seed, "preview", 1 + number), 1, batch.target.cpu().numpy()[None])
    draw = at_step(upload(drawn, device), 0)
    around = torch.arange(size, device=device)
    if isinstance(mixer, KFoldMixup):
        draw["perms"] = torch.stack([around.roll(-k) for k in range(1, mixer.k)])
    else:
        draw["perm"] = around.roll(-1)
    if isinstance(mixer, NoiseMix):  # as strong as it is on average
        draw["add"], draw["mult"] = mixer.add_noise * MEAN_LEVEL, mixer.mult_noise * MEAN_LEVEL
    return draw


def _strip(
    mixer: Mixer, batch: Batch, draw: Draw, title: str, parameter: str, values: Sequence[float],
    force: Callable[[Draw, float], Draw],
) -> Strip:  # fmt: skip
    done = [methods.last_rows(mixer.apply(batch, force(draw, value)), len(batch.target)) for value in values]
    inputs = torch.stack([mixed.inputs[0] for mixed in done])
    return Strip(title, parameter, tuple(values), inputs, tuple(float(mixed.lam[0].mean()) for mixed in done))


def _lam(draw: Draw, lam: float) -> Draw:
    forced = {**draw, "lam": torch.full_like(draw["lam"], lam)}
    return forced | {"share": lam} if "share" in draw else forced


def _tau(draw: Draw, tau: float) -> Draw:
    return {**draw, "tau": tau}


def _sigma(draw: Draw, sigma: float) -> Draw:
    return {**draw, "sigma": sigma}


def _weights(draw: Draw, own: float) -> Draw:
    """The others share what the own sample leaves, evenly."""
    weights = torch.full_like(draw["weights"], (1 - own) / (draw["weights"].shape[1] - 1))
    weights[:, 0] = own
    return {**draw, "weights": weights}


def _smooth(mixer: SmoothMix, batch: Batch, draw: Draw, widths: Sequence[float]) -> Strip:
    """The width is drawn inside the method, so each one has a method of its own."""
    draw = _lam(draw, 0.5)
    each = [
        _strip(replace(mixer, sigma_min=width, sigma_max=width), batch, draw, "", "", (width,), lambda draw, _: draw)
        for width in widths
    ]
    lam = tuple(share for strip in each for share in strip.lam)
    title = "One pair over the width of the spot, as a share of the longer side"
    return Strip(title, "sigma", tuple(widths), torch.cat([strip.inputs for strip in each]), lam)
