"""What can be read from the draws of each method: the partners, the law of lam, the layer.

A method that is not known here is shown all the same: its partners if it is a `PairMixer`, else its mixtures alone.
"""

from __future__ import annotations

import warnings

import numpy as np
from torch import Tensor

from mixup_lab.mixing.boxes import ResizeMix
from mixup_lab.mixing.features import features
from mixup_lab.mixing.kfold_mixup import KFoldMixup
from mixup_lab.mixing.law import Law
from mixup_lab.mixing.manifold_mixup import ManifoldMixup
from mixup_lab.mixing.masks import SmoothMix
from mixup_lab.mixing.mixer import Draw, Mixer, PairMixer
from mixup_lab.mixing.mixup_cutmix import MixupCutMix
from mixup_lab.mixing.noise import Noise, NoiseMix
from mixup_lab.mixing.partners import BY_DISTANCE, nearest
from mixup_lab.mixing.regmixup import RegMixup
from mixup_lab.mixing.saliencymix import SaliencyMix
from mixup_lab.types import Mixed

CHOICES = ("mixup", "cutmix", "unmixed")  # of MixupCutMix, by number
Laws = list[tuple[float, Law, float]]  # weight, law, alpha; the weights sum to 1


def asks_model(mixer: Mixer) -> bool:
    """Whether lam depends on what the model thinks of the pictures."""
    return isinstance(mixer, SaliencyMix)


def perms(mixer: Mixer, draw: Draw) -> list[Tensor]:
    """The partners that a step's draw holds, each (B,) int64; none where nothing is mixed or nothing is known."""
    if isinstance(mixer, KFoldMixup):
        return list(draw["perms"])
    name = f"{draw['choice']}.perm" if isinstance(mixer, MixupCutMix) else "perm"
    return [draw[name]] if name in draw else []


def with_partners(mixer: Mixer, draw: Draw, inputs: Tensor, model: object) -> Draw:
    """The draw with `perm` also where partners are found by the distance of inputs or of the model's features."""
    if not isinstance(mixer, PairMixer) or mixer.partner not in BY_DISTANCE:
        return draw
    return {**draw, "perm": nearest(inputs if mixer.partner == "nearest_input" else features(model, inputs))}  # type: ignore[arg-type]


def draw_unheard(mixer: Mixer, rng: np.random.Generator, steps: int, targets: np.ndarray) -> dict[str, np.ndarray]:
    """Draws for `targets` (steps, B) that no run has: what the method has to say about these labels is not so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mixer.draw(rng, steps, targets.shape[1], targets=targets)


def last_rows(mixed: Mixed, count: int) -> Mixed:
    """The mixed ones of a batch of `count` examples: RegMixup has the clean ones in front."""
    weight = None if mixed.weight is None else mixed.weight[-count:]
    return Mixed(mixed.inputs[-count:], mixed.target[-count:], mixed.partner[-count:], mixed.lam[-count:], weight)


def laws(mixer: Mixer) -> Laws:
    """The law of lam as it is drawn, as a mixture of laws; empty where lam follows from something else."""
    whole = Law("fixed", value=1.0)
    if isinstance(mixer, MixupCutMix):
        found = [
            (mixer.prob_mixup, Law(), mixer.alpha),
            (mixer.prob_cutmix, Law(), mixer.cutmix_alpha),
            (mixer.prob_none, whole, 1.0),
        ]
    elif isinstance(mixer, KFoldMixup):  # the own share of a Dirichlet law
        found = [(mixer.prob, Law(beta=(mixer.k - 1) * mixer.alpha), mixer.alpha), (1 - mixer.prob, whole, 1.0)]
    elif isinstance(mixer, PairMixer) and not isinstance(mixer, (ResizeMix, SmoothMix)):
        own = Law(mixer.law, mixer.beta, mixer.lam, mixer.lam_min, mixer.lam_max, mixer.fold)
        found = [(mixer.prob, own, mixer.alpha), (1 - mixer.prob, whole, 1.0)]
    else:
        found = []
    return [part for part in found if part[0] > 0]


def layer(mixer: Mixer, draw: Draw) -> str | None:
    """The layer inside the model where this batch is mixed, as tokens always are; None: at the input."""
    return mixer.layer(draw) if isinstance(mixer, PairMixer) else None


def layer_shares(mixer: Mixer, draws: dict[str, np.ndarray]) -> dict[str, float]:
    """How often each layer is chosen in these draws."""
    if not isinstance(mixer, ManifoldMixup) or mixer.layers is None:
        return {}
    counts = np.bincount(draws["layer"], minlength=len(mixer.layers)) / len(draws["layer"])
    return dict(zip(mixer.layers, counts.tolist(), strict=True))


def largest_share(mixer: Mixer, draws: dict[str, np.ndarray], lam: np.ndarray) -> np.ndarray:
    """The largest share of one picture in each mixture."""
    if isinstance(mixer, KFoldMixup):
        return np.asarray(draws["weights"].max(axis=2)).ravel()
    return np.asarray(np.maximum(lam, 1 - lam))


def kind(mixer: Mixer, draw: Draw) -> str:
    """What tells batches of a method apart beside lam: where or how they are mixed."""
    if isinstance(mixer, MixupCutMix):
        return CHOICES[draw["choice"]]
    return layer(mixer, draw) or ""


def facts(mixer: Mixer) -> list[tuple[str, str]]:
    """What a sheet says of how the method mixes."""
    per = {"batch": "one for each batch", "sample": "one for each example", "pair": "one for each pair of examples"}
    found = [("lam", per[mixer.lam_per])] if isinstance(mixer, (PairMixer, MixupCutMix)) else []
    if isinstance(mixer, PairMixer):
        found += [("partner", mixer.partner), ("labels", mixer.labels)]
    return found


def note(mixer: Mixer, draw: Draw) -> str:
    """What else a step's draw says, in a word or two."""
    if isinstance(mixer, MixupCutMix):
        return kind(mixer, draw)
    if isinstance(mixer, ResizeMix):
        return f"tau {draw['tau']:.2f}"
    if isinstance(mixer, NoiseMix):
        return f"noise {draw['add']:.2f}"
    return ""


def row_title(mixer: Mixer) -> str:
    """What the pictures that the method has changed are called."""
    if isinstance(mixer, Noise):
        return "with noise"
    return "mixed,\nwith noise" if isinstance(mixer, NoiseMix) else "mixed"


def own_title(mixer: Mixer, untouched: bool) -> str:
    """What the row of the own pictures is called; `untouched`: none of them is changed."""
    if untouched:
        return "trained on"
    return "own, and\ntrained on\nas it is" if isinstance(mixer, RegMixup) else "own"
