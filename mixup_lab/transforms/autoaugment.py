"""AutoAugment: pairs of operations that a search found on three data sets (Cubuk et al., 2019).

A policy is 25 pairs of operations; each has a name, the probability of applying it, and a level in 0..9 (0 if the
operation has no levels).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixup_lab.transforms.operations import NUMBER, Space
from mixup_lab.transforms.policy import IDENTITY, Policy, drawn

# For each policy its pairs of operations: name, percent, level.
_SEARCHED = {
    "cifar10": """
        Invert 10 0 + Contrast 20 6, Rotate 70 2 + TranslateX 30 9, Sharpness 80 1 + Sharpness 90 3,
        ShearY 50 8 + TranslateY 70 9, AutoContrast 50 0 + Equalize 90 0, ShearY 20 7 + Posterize 30 7,
        Color 40 3 + Brightness 60 7, Sharpness 30 9 + Brightness 70 9, Equalize 60 0 + Equalize 50 0,
        Contrast 60 7 + Sharpness 60 5, Color 70 7 + TranslateX 50 8, Equalize 30 0 + AutoContrast 40 0,
        TranslateY 40 3 + Sharpness 20 6, Brightness 90 6 + Color 20 8, Solarize 50 2 + Invert 0 0,
        Equalize 20 0 + AutoContrast 60 0, Equalize 20 0 + Equalize 60 0, Color 90 9 + Equalize 60 0,
        AutoContrast 80 0 + Solarize 20 8, Brightness 10 3 + Color 70 0, Solarize 40 5 + AutoContrast 90 0,
        TranslateY 90 9 + TranslateY 70 9, AutoContrast 90 0 + Solarize 80 3, Equalize 80 0 + Invert 10 0,
        TranslateY 70 9 + AutoContrast 90 0
    """,
    "imagenet": """
        Posterize 40 8 + Rotate 60 9, Solarize 60 5 + AutoContrast 60 0, Equalize 80 0 + Equalize 60 0,
        Posterize 60 7 + Posterize 60 6, Equalize 40 0 + Solarize 20 4, Equalize 40 0 + Rotate 80 8,
        Solarize 60 3 + Equalize 60 0, Posterize 80 5 + Equalize 100 0, Rotate 20 3 + Solarize 60 8,
        Equalize 60 0 + Posterize 40 6, Rotate 80 8 + Color 40 0, Rotate 40 9 + Equalize 60 0,
        Equalize 0 0 + Equalize 80 0, Invert 60 0 + Equalize 100 0, Color 60 4 + Contrast 100 8,
        Rotate 80 8 + Color 100 2, Color 80 8 + Solarize 80 7, Sharpness 40 7 + Invert 60 0,
        ShearX 60 5 + Equalize 100 0, Color 40 0 + Equalize 60 0, Equalize 40 0 + Solarize 20 4,
        Solarize 60 5 + AutoContrast 60 0, Invert 60 0 + Equalize 100 0, Color 60 4 + Contrast 100 8,
        Equalize 80 0 + Equalize 60 0
    """,
    "svhn": """
        ShearX 90 4 + Invert 20 0, ShearY 90 8 + Invert 70 0, Equalize 60 0 + Solarize 60 6,
        Invert 90 0 + Equalize 60 0, Equalize 60 0 + Rotate 90 3, ShearX 90 4 + AutoContrast 80 0,
        ShearY 90 8 + Invert 40 0, ShearY 90 5 + Solarize 20 6, Invert 90 0 + AutoContrast 80 0,
        Equalize 60 0 + Rotate 90 3, ShearX 90 4 + Solarize 30 3, ShearY 80 8 + Invert 70 0,
        Equalize 90 0 + TranslateY 60 6, Invert 90 0 + Equalize 60 0, Contrast 30 3 + Rotate 80 4,
        Invert 80 0 + TranslateY 0 2, ShearY 70 6 + Solarize 40 8, Invert 60 0 + Rotate 80 4,
        ShearY 30 7 + TranslateX 90 3, ShearX 10 6 + Invert 60 0, Solarize 70 2 + TranslateY 60 7,
        ShearY 80 4 + Invert 80 0, ShearX 70 9 + TranslateY 80 3, ShearY 80 5 + AutoContrast 70 0,
        ShearX 70 2 + Invert 10 0
    """,
}
POLICIES = {
    name: [
        tuple((step.split()[0], int(step.split()[1]) / 100, int(step.split()[2])) for step in pair.split("+"))
        for pair in text.split(",")
    ]
    for name, text in _SEARCHED.items()
}


@dataclass(kw_only=True)
class AutoAugment(Policy):
    """One of 25 pairs of operations, each applied with a probability of its own (Cubuk et al., 2019).

    The pairs were found by a search that used the labels of the data they are named after, or of a part of them.

    Args:
        policy: named after the data of the search: `cifar10`, `imagenet` or `svhn`.
    """

    policy: str = "cifar10"
    space: ClassVar[Space] = Space(10, 0.3, 150 / 331, 0, 30, 0.9, (8, 4))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.policy not in POLICIES:
            raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {self.policy}")

    def draw_policy(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """`operation` and `level` uint8, `negative` bool, each (S, B, 2)."""
        pairs = POLICIES[self.policy]
        chosen = rng.integers(len(pairs), size=(steps, batch_size))
        operation = np.array([[NUMBER[name] for name, _, _ in pair] for pair in pairs])[chosen]
        prob = np.array([[prob for _, prob, _ in pair] for pair in pairs])[chosen]
        level = np.array([[level for _, _, level in pair] for pair in pairs])[chosen]
        done = rng.random(operation.shape) < prob
        return drawn(rng, np.where(done, operation, IDENTITY), level)
