"""Mixing the examples of a batch, in runs of this program and in your own training loop.

>>> import torch
>>> from torch import nn
>>> mixup, model = Mixup(alpha=0.4, seed=0), nn.Linear(2, 3)
>>> loader = [(torch.randn(8, 2), torch.randint(3, (8,)))]
>>> for inputs, target in loader:
...     mixed = mixup(inputs, target)
...     loss = mixed.loss(nn.CrossEntropyLoss(reduction="none"), model(mixed.inputs)).mean()
...     loss.backward()

One file for each option of `conf/aug`; `mixer` holds the contract, and `pairs` the code that most methods share.
"""

from mixup_lab.mixing.cutmix import CutMix
from mixup_lab.mixing.fmix import FMix
from mixup_lab.mixing.gridmix import GridMix
from mixup_lab.mixing.kfold_mixup import KFoldMixup
from mixup_lab.mixing.label_smoothing import LabelSmoothing
from mixup_lab.mixing.manifold_mixup import ManifoldMixup
from mixup_lab.mixing.mixer import Bound, Mixer, Request
from mixup_lab.mixing.mixup import Mixup
from mixup_lab.mixing.mixup_cutmix import MixupCutMix
from mixup_lab.mixing.noise import Noise
from mixup_lab.mixing.noise_mix import NoiseMix
from mixup_lab.mixing.none import NoMixing
from mixup_lab.mixing.pairs import PairMixer
from mixup_lab.mixing.regmixup import RegMixup
from mixup_lab.mixing.resizemix import ResizeMix
from mixup_lab.mixing.saliencymix import SaliencyMix
from mixup_lab.mixing.smoothmix import SmoothMix
from mixup_lab.types import Batch, Labels, Mixed

__all__ = [
    "Batch",
    "Bound",
    "CutMix",
    "FMix",
    "GridMix",
    "KFoldMixup",
    "LabelSmoothing",
    "Labels",
    "ManifoldMixup",
    "Mixed",
    "Mixer",
    "Mixup",
    "MixupCutMix",
    "NoMixing",
    "Noise",
    "NoiseMix",
    "PairMixer",
    "RegMixup",
    "Request",
    "ResizeMix",
    "SaliencyMix",
    "SmoothMix",
]
