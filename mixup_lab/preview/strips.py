"""One example over the values of a parameter; everything else that is random stays the same."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mixup_lab.mixing.mixer import Draw, Mixer, Strip, at_step, upload
from mixup_lab.preview.shares import silent_draw
from mixup_lab.seeding import stream
from mixup_lab.types import Batch, Mixed

TRIED = 16  # draws of places; the one whose lam is nearest to 1/2 in the middle of the strip is shown


@dataclass(frozen=True)
class DrawnStrip:
    """One example under several values of one parameter."""

    title: str
    parameter: str
    values: tuple[float, ...]
    inputs: Tensor  # (values, ...) standardised
    lam: tuple[float, ...]  # as really mixed
    answers: tuple[tuple[Tensor, Tensor, Tensor], ...]  # labels of each: own, partner, and lam, () or (H, W)


def strips(mixer: Mixer, batch: Batch, seed: int, values: Sequence[float] = ()) -> list[DrawnStrip]:
    """The strips of a method: none if it has no parameter to vary.

    Args:
        mixer: bound to the run's model.
        batch: the example and its partners, (1 + partners, ...).
        seed: of the run; decides masks and places, which are the same throughout a strip.
        values: of the parameter; by default those of the method.
    """
    return [_drawn(replace(s, values=tuple(values) or s.values), batch, seed) for s in mixer.strips()]


def _drawn(strip: Strip, batch: Batch, seed: int) -> DrawnStrip:
    def mixed(draw: Draw, value: float) -> Mixed:
        return strip.apply(batch, draw, value).last(len(batch.target))

    def from_half(draw: Draw) -> float:  # a rectangle may stick out, for example
        return round(abs(float(mixed(draw, strip.values[len(strip.values) // 2]).lam.mean()) - 0.5), 3)

    draw = min((_one_draw(strip.mixer, batch, seed, number) for number in range(TRIED)), key=from_half)
    done = [mixed(draw, value) for value in strip.values]
    inputs = torch.stack([mixture.inputs[0] for mixture in done])
    lam = tuple(float(mixture.lam[0].mean()) for mixture in done)
    answers = tuple((mixture.target[0], mixture.partner[0], mixture.lam[0]) for mixture in done)
    return DrawnStrip(strip.title, strip.parameter, strip.values, inputs, lam, answers)


def _one_draw(mixer: Mixer, batch: Batch, seed: int, number: int) -> Draw:
    """A draw in which the first example has the others as partners."""
    size, device = len(batch.target), batch.target.device
    targets, shape = batch.target.cpu().numpy()[None], tuple(batch.inputs.shape[1:])
    drawn = silent_draw(mixer, stream(seed, "preview", 1 + number), 1, targets, shape)
    draw = at_step(upload(drawn, device), 0)
    for k, perm in enumerate(mixer.partners(draw), 1):
        perm.copy_(torch.arange(size, device=device).roll(-k))
    return draw
