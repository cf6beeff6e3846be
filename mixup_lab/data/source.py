"""What a source of pictures hands over: pools of examples, one for each split that it gives.

A source is any object whose constructor takes the keys of its `conf/dataset/NAME.yaml` and which has
`load() -> Loaded`. Shapes: `N` examples of a pool, `C, H, W` channels, height and width of every picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Pool(Protocol):
    """The examples that a source gives for one of train, val and test."""

    @property
    def target(self) -> np.ndarray:
        """Class indices, (N,) int64."""

    @property
    def names(self) -> Sequence[str] | None:
        """A name for each example, such as its path below the root; None: rows have numbers only."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every picture."""

    def load(self) -> Tensor:
        """All pictures, uint8 (N, C, H, W); channels_last in memory is fastest. May take a while, with progress."""

    def read(self, i: int) -> Tensor:
        """Picture number `i`, uint8 (C, H, W), equal to `load()[i]`. Called in worker processes."""


@dataclass(frozen=True)
class ArrayPool:
    """A pool in memory: `images` uint8 (N, C, H, W), `target` int64 (N,)."""

    images: np.ndarray
    target: np.ndarray
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise ValueError(f"images must be uint8 (N, C, H, W), got {self.images.dtype} {self.images.shape}")
        if self.target.dtype != np.int64 or self.target.shape != self.images.shape[:1]:
            raise ValueError(f"target must be int64 ({len(self.images)},), got {self.target.dtype} {self.target.shape}")
        if min(self.images.strides) <= 0:  # a mirrored or repeated array, which torch cannot look at as it is
            object.__setattr__(self, "images", np.ascontiguousarray(self.images))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every picture."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def load(self) -> Tensor:
        """All pictures, without a copy."""
        return torch.from_numpy(self.images)

    def read(self, i: int) -> Tensor:
        """One picture, without a copy."""
        return torch.from_numpy(self.images[i])


@dataclass(frozen=True)
class Loaded:
    """All that a source gives. A split that is None is carved from train.

    `mean` and `std` are per channel on the scale [0, 1]; None means: compute them from the training split.
    `dropped` counts the unreadable files that were left out. `keep(name, make)` gives an array that follows from the
    pictures of train: as it was kept on disk at an earlier start, else from `make`; None: nothing is kept.
    """

    train: Pool
    val: Pool | None
    test: Pool | None
    class_names: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    dropped: int = 0
    keep: Callable[[str, Callable[[], np.ndarray]], np.ndarray] | None = None


class Source(Protocol):
    """Anything that a dataset's `_target_` may name."""

    def load(self) -> Loaded:
        """Find the data and describe it; the pixels may follow later, through the pools."""
