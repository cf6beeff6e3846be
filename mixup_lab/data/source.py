"""What a source of data hands over: pools of examples, one for each split that it gives.

A source is any object whose constructor takes the keys of its `conf/dataset/NAME.yaml` and which has
`load() -> Loaded`. Shapes: `N` examples of a pool, `...` the shape of one example as it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mixup_lab.targets.kinds import Kind


class Pool(Protocol):
    """The examples that a source gives for one of train, val and test.

    A pool that reads many examples faster together may also have `rows(rows: np.ndarray) -> Tensor`, equal to
    `load()[rows]`. One of texts and the like may have `lengths` (N,) int64: what is behind them in an example (L, ...)
    is 0, and means nothing; batches are then made of similar lengths and trimmed.
    """

    @property
    def target(self) -> np.ndarray:
        """What is to be answered, (N, ...), as the source's `kind` says: class indices (N,) int64, for one."""

    @property
    def names(self) -> Sequence[str] | None:
        """A name for each example, such as its path below the root; None: rows have numbers only."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of every example, as it is stored: (C, H, W) of pictures."""

    @property
    def nbytes(self) -> int:
        """Memory that all examples take."""

    def load(self) -> Tensor:
        """All examples, (N, ...): uint8 for pictures, channels_last is fastest. May take a while, with progress."""

    def read(self, i: int) -> Tensor:
        """Example number `i`, (...), equal to `load()[i]`. Called in worker processes."""


@dataclass(frozen=True)
class ArrayPool:
    """A pool in memory, or in a file that is mapped into it: `inputs` (N, ...), `target` (N, ...)."""

    inputs: np.ndarray
    target: np.ndarray
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.inputs.ndim < 2 or self.inputs.shape[:1] != self.target.shape[:1]:
            raise ValueError(
                f"inputs must be (N, ...) and target (N, ...), got {self.inputs.shape} and {self.target.shape}"
            )
        if min(self.inputs.strides) <= 0:  # a mirrored or repeated array, which torch cannot look at as it is
            object.__setattr__(self, "inputs", np.ascontiguousarray(self.inputs))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of every example."""
        return self.inputs.shape[1:]

    @property
    def nbytes(self) -> int:
        """Memory that all examples take."""
        return self.inputs.nbytes

    def load(self) -> Tensor:
        """All examples, without a copy."""
        return torch.from_numpy(self.inputs)

    def read(self, i: int) -> Tensor:
        """One example, without a copy."""
        return torch.from_numpy(self.inputs[i])

    def rows(self, rows: np.ndarray) -> Tensor:
        """A copy of some examples."""
        return torch.from_numpy(self.inputs[rows])


class Encoder(Protocol):
    """From examples as they are stored to what a model takes, with nothing learnt but from the training split."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example, as the model takes it."""

    def to(self, device: torch.device) -> Encoder:
        """The same on a device."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Stored (B, ...) to encoded (B, *shape): float32, or int64 for tokens."""

    def draw(self, inputs: Tensor, box: int) -> np.ndarray:
        """Encoded examples (n, *shape), mixed ones too, as tiles to be looked at: uint8 (n, height, width, 3).

        `box` is the larger side of a tile in pixels, at most.
        """


@dataclass(frozen=True)
class Loaded:
    """All that a source gives. A split that is None is carved from train.

    `kind` says what the targets are. `mean` and `std` are of pictures, per channel on the scale [0, 1]; None means:
    compute them from the training split. Data of another sort bring an `encoder`, and if there is something to learn
    for it, such as a vocabulary, `fit`: given the rows of the train pool that are the training split, it returns the
    same examples, with an encoder and perhaps with pools that follow from these rows alone.
    `groups` (N,) int64 are of the train pool: examples of one group stay in one split. `times` (N,) likewise: val is
    later than train, and test later than val.
    `dropped` counts the unreadable files or rows that were left out. `keep(name, make)` gives an array that follows
    from the pictures of train: as it was kept on disk at an earlier start, else from `make`; None: nothing is kept.
    """

    train: Pool
    val: Pool | None
    test: Pool | None
    kind: Kind
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    encoder: Encoder | None = None
    fit: Callable[[np.ndarray], Loaded] | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    dropped: int = 0
    keep: Callable[[str, Callable[[], np.ndarray]], np.ndarray] | None = None


class Source(Protocol):
    """Anything that a dataset's `_target_` may name."""

    def load(self) -> Loaded:
        """Find the data and describe it; the inputs may follow later, through the pools."""
