"""Policies that choose operations for each picture at random: AutoAugment and what came after it.

What is drawn are operations, levels of strength and directions; `mixup_lab.transforms.operations` carries them out.
Strengths are those of torchvision. All take uint8 pictures of 1 or 3 channels; what a warp brings in from outside is
black.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mixup_lab.transforms.augment import Augment
from mixup_lab.transforms.operations import NAMES, NUMBER, Space, operate, settings
from mixup_lab.transforms.searched import POLICIES

IDENTITY = NUMBER["Identity"]
WITHOUT_INVERT = np.array([NUMBER[name] for name in NAMES if name != "Invert"])  # what RandAugment chooses from
# AugMix leaves out what tests of robustness (ImageNet-C and its like) do to pictures.
ENHANCEMENTS = ("Brightness", "Color", "Contrast", "Sharpness")
MIXED = np.array([NUMBER[name] for name in NAMES if name not in (*ENHANCEMENTS, "Invert", "Identity")])
ALL_MIXED = np.array([NUMBER[name] for name in NAMES if name not in ("Invert", "Identity")])


@dataclass(kw_only=True)
class Policy(Augment):
    """A number of operations on each picture, one after another; a subclass says how they are drawn.

    Some turn, shear or shift the picture, and masks and boxes cannot follow.
    """

    apply_mask = None  # type: ignore[assignment]
    apply_boxes = None  # type: ignore[assignment]
    space: ClassVar[Space]
    smooth: ClassVar[bool] = False

    def bind(self, input_shape: Sequence[int], mean: Sequence[float]) -> None:
        """Refuses pictures that are neither grey nor RGB, beside what `Augment` refuses."""
        super().bind(input_shape, mean)
        _check_channels(self, input_shape[0])

    def apply_policy(self, inputs: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """uint8 (B, C, H, W) to the same, in the same memory format."""
        return self.operated(inputs, draw["operation"], draw["level"], draw["negative"])

    def operated(self, inputs: Tensor, operation: Tensor, level: Tensor, negative: Tensor) -> Tensor:
        """The pictures after operations, levels and directions of shape (B, rounds).

        Raises:
            ValueError: for pictures that are neither grey nor RGB.
        """
        _check_channels(self, inputs.shape[1])
        table = settings(self.space, *inputs.shape[2:], inputs.device)
        operation = operation.long()
        return operate(inputs, operation, table[operation, level.long(), negative.long()], self.smooth)


def _check_channels(policy: Policy, channels: int) -> None:
    if channels not in (1, 3):
        raise ValueError(f"{type(policy).__name__} takes pictures of 1 or 3 channels, got {channels}")


def _check_count(name: str, value: int, smallest: int, besides: str = "") -> None:
    if not isinstance(value, int) or value < smallest:
        raise ValueError(f"{name} must be a whole number >= {smallest}{besides}, got {value}")


def _drawn(rng: np.random.Generator, operation: np.ndarray, level: np.ndarray) -> dict[str, np.ndarray]:
    """As they are stored, a byte each, with a direction that is forth or back with probability 1/2."""
    negative = rng.random(operation.shape) < 0.5
    return {"operation": operation.astype(np.uint8), "level": level.astype(np.uint8), "negative": negative}


@dataclass(kw_only=True)
class RandAugment(Policy):
    """`num_ops` operations, each uniform among 14 (one of them does nothing), all of one strength (Cubuk et al., 2020).

    Args:
        num_ops: >= 0; 1 to 3 in the paper.
        magnitude: in 0..30; what is best depends on model and data, and grows with both.
    """

    num_ops: int = 2
    magnitude: int = 9
    space: ClassVar[Space] = Space(31, 0.3, 150 / 331, 0, 30, 0.9, (8, 4))

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_count("num_ops", self.num_ops, 0)
        if self.magnitude not in range(self.space.levels):
            raise ValueError(f"magnitude must be in 0..{self.space.levels - 1}, got {self.magnitude}")

    def draw_policy(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """`operation` and `level` uint8, `negative` bool, each (S, B, num_ops)."""
        operation = rng.choice(WITHOUT_INVERT, (steps, batch_size, self.num_ops))
        return _drawn(rng, operation, np.full_like(operation, self.magnitude))


@dataclass(kw_only=True)
class TrivialAugment(Policy):
    """One operation, uniform among 14, of uniform strength (Müller & Hutter, 2021: the wide space). Nothing is tuned.

    Translations go up to 32 pixels whatever the size of the picture, as in the paper: of a small one nothing may stay.
    """

    space: ClassVar[Space] = Space(31, 0.99, 0, 32, 135, 0.99, (8, 6))

    def draw_policy(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """`operation` and `level` uint8, `negative` bool, each (S, B, 1)."""
        operation = rng.choice(WITHOUT_INVERT, (steps, batch_size, 1))
        return _drawn(rng, operation, rng.integers(self.space.levels, size=operation.shape))


@dataclass(kw_only=True)
class AutoAugment(Policy):
    """One of 25 pairs of operations, each of them done with a probability of its own (Cubuk et al., 2019).

    The pairs were found by a search with the labels of the data that they are named after, or of a part of it.

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
        return _drawn(rng, np.where(done, operation, IDENTITY), level)


@dataclass(kw_only=True)
class AugMix(Policy):
    """A mixture of the picture and of chains of operations on it (Hendrycks et al., 2020).

    The result is m of the picture itself and 1 - m of the mean of `width` chains; m is from Beta(alpha, alpha), the
    weights of the chains are from Dirichlet(alpha, ..., alpha), an operation is uniform among nine. The paper also adds
    a loss, that the model answers alike for the picture and two such mixtures of it; that is not done here.

    Args:
        severity: in 1..10: strengths are uniform among that many of the weakest ten.
        width: number of chains, >= 1.
        depth: operations in each, >= 1; -1: 1, 2 or 3 at random.
        alpha: > 0.
        all_ops: whether brightness, colour, contrast and sharpness are among the operations too; the paper leaves them
            out, for tests of robustness use them.
    """

    severity: int = 3
    width: int = 3
    depth: int = -1
    alpha: float = 1.0
    all_ops: bool = False
    space: ClassVar[Space] = Space(10, 0.3, 1 / 3, 0, 30, 0.9, (4, 4))
    smooth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.severity not in range(1, self.space.levels + 1):
            raise ValueError(f"severity must be in 1..{self.space.levels}, got {self.severity}")
        _check_count("width", self.width, 1)
        if self.depth != -1:
            _check_count("depth", self.depth, 1, " (or -1: 1 to 3 at random)")
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha must be a finite number > 0, got {self.alpha}")

    def draw_policy(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """`operation`, `level` uint8, `negative` bool, all (S, B, width, depth), `weight` float32 (S, B, width + 1).

        A chain that is shorter ends with operations that do nothing. The weights sum to 1, the first is the picture's.
        """
        chains = (steps, batch_size, self.width)
        own = rng.beta(self.alpha, self.alpha, (steps, batch_size, 1))
        weight = np.concatenate([own, (1 - own) * rng.dirichlet(np.full(self.width, self.alpha), chains[:2])], -1)
        depth = np.full(chains, self.depth) if self.depth > 0 else rng.integers(1, 4, chains)
        longest = self.depth if self.depth > 0 else 3
        operation = rng.choice(ALL_MIXED if self.all_ops else MIXED, (*chains, longest))
        operation[np.arange(longest) >= depth[..., None]] = IDENTITY
        level = rng.integers(self.severity, size=operation.shape)
        return {**_drawn(rng, operation, level), "weight": weight.astype(np.float32)}

    def apply_policy(self, inputs: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """uint8 (B, C, H, W) to the same, in the same memory format."""
        batch = len(inputs)
        # The chains are independent: one large batch.
        copies = inputs.repeat_interleave(self.width, 0)
        chains = (draw[name].flatten(0, 1) for name in ("operation", "level", "negative"))
        done = self.operated(copies, *chains).view(batch, self.width, *inputs.shape[1:])
        weight = draw["weight"][..., None, None, None]
        mixed = inputs * weight[:, 0]
        for i in range(self.width):
            mixed += done[:, i] * weight[:, 1 + i]
        return torch.empty_like(inputs).copy_(mixed.round_().clamp_(0, 255))
