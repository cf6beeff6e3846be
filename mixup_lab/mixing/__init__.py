"""Mixing the examples of a batch, in runs of this program and in anyone's own training loop.

mixup = Mixup(alpha=0.4)
for inputs, target in loader:
    mixed = mixup(inputs, target)
    loss = mixed.loss(nn.CrossEntropyLoss(reduction="none"), model(mixed.inputs)).mean()
"""

from mixup_lab.mixing.boxes import CutMix, ResizeMix
from mixup_lab.mixing.kfold_mixup import KFoldMixup
from mixup_lab.mixing.label_smoothing import LabelSmoothing
from mixup_lab.mixing.manifold_mixup import ManifoldMixup
from mixup_lab.mixing.masks import FMix, GridMix, SmoothMix
from mixup_lab.mixing.mixer import Bound
from mixup_lab.mixing.mixup import Mixup
from mixup_lab.mixing.mixup_cutmix import MixupCutMix
from mixup_lab.mixing.noise import Noise, NoiseMix
from mixup_lab.mixing.regmixup import RegMixup
from mixup_lab.mixing.saliencymix import SaliencyMix
from mixup_lab.types import Mixed

__all__ = [
    "Bound",
    "CutMix",
    "FMix",
    "GridMix",
    "KFoldMixup",
    "LabelSmoothing",
    "ManifoldMixup",
    "Mixed",
    "Mixup",
    "MixupCutMix",
    "Noise",
    "NoiseMix",
    "RegMixup",
    "ResizeMix",
    "SaliencyMix",
    "SmoothMix",
]
