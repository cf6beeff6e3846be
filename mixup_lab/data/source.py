"""The contract of a source of data: it loads pools of examples, one for each split that it has.

A source is any object with `load() -> Loaded` whose constructor takes the keys of its `conf/dataset/NAME.yaml`.
Shapes: `N` examples of a pool, `...` the shape of one stored example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from mixup_lab.inputs.encoder import Encoder
from mixup_lab.targets.target import Target
from mixup_lab.types import Pool, UserError, View


class ArrayPool(Pool):
    """A pool in memory or in a memory-mapped file: `inputs` (N, ...), `target` (N, ...); for the rest see `Pool`.

    Raises:
        UserError: for anything but arrays, arrays of unequal length, and examples without a dimension.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        target: np.ndarray,
        lengths: np.ndarray | None = None,
        groups: np.ndarray | None = None,
    ) -> None:
        for name, array in (("inputs", inputs), ("target", target)):
            if not isinstance(array, np.ndarray):
                raise UserError(f"the {name} of a pool must be a numpy array, got {type(array).__name__}")
        if inputs.ndim < 2 or inputs.shape[:1] != target.shape[:1]:
            raise UserError(
                "a pool needs inputs (N, ...), where an example has at least one dimension, and a target (N, ...) for"
                f" the same N examples; got {inputs.shape} and {target.shape}"
            )
        mirrored = min(inputs.strides) <= 0  # or repeated: torch needs a copy of such arrays
        self.inputs = np.ascontiguousarray(inputs) if mirrored else inputs
        self.target, self.lengths, self.groups = target, lengths, groups
        self.shape = inputs.shape[1:]

    @property
    def nbytes(self) -> int:
        return self.inputs.nbytes

    def load(self) -> Tensor:
        return torch.from_numpy(self.inputs)

    def read(self, i: int) -> Tensor:
        return torch.from_numpy(self.inputs[i])

    def rows(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(self.inputs[rows])


class New(NamedTuple):
    """N new examples, to be predicted, read as those of training were. The targets of the pool mean nothing.

    `view(i)` is the part of a picture that example `i` shows; it raises UserError for a file that cannot be read.
    """

    names: list[str]  # what a table of predictions calls each: the path of a file, or of a table with the row
    ids: list[str]  # short names: the stem of the file, or the number of the row from 1
    pool: Pool
    view: Callable[[int], View] | None = None  # None: examples are not pictures in files


@dataclass(frozen=True)
class Loaded:
    """The data of a source. A split that is None is carved from train.

    `kind` is the kind of the targets. Pools without an `encoder` hold pictures, uint8 (N, C, H, W), with `mean` and
    `std` per channel on the scale [0, 1]; None: both are computed from the training split. Any other input needs an
    `encoder`. If the encoder has to learn something, such as a vocabulary, set `fit` instead: called with the rows of
    the train pool that are the training split, it returns the same examples with an encoder, and perhaps with other
    pools, learnt from these rows alone.
    `times` (N,) are of the train pool: val is later than train, and test later than val.
    `dropped` counts the unreadable files or rows that were left out. `group_pattern` tells whether the source has the
    key of this name, which finds groups in the paths of its pools. `notes` are sentences for the user and the report.
    `new(paths)` reads files, or all suitable files below folders, as new examples. It raises UserError, with the path,
    for what cannot be read. None: this source cannot read others. If `fit` is set, its result has a `new` of its own.
    `keep(name, make)` returns an array computed from the pictures of train: from disk if an earlier start kept it, else
    from `make`; None: nothing is kept.
    `column(split, name)` returns the texts of a column of the table that the examples come from, one for each row of
    the pool of a split ("" where it is missing). It raises UserError for a name that the table lacks. None: no table.
    """

    train: Pool
    val: Pool | None
    test: Pool | None
    kind: Target
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    encoder: Encoder | None = None
    fit: Callable[[np.ndarray], Loaded] | None = None
    times: np.ndarray | None = None
    dropped: int = 0
    group_pattern: bool = False
    notes: tuple[str, ...] = ()
    keep: Callable[[str, Callable[[], np.ndarray]], np.ndarray] | None = None
    new: Callable[[Sequence[Path]], New] | None = None
    column: Callable[[str, str], Sequence[str]] | None = None

    @classmethod
    def of(cls, pools: Mapping[str, Pool], kind: Target, **rest: Any) -> Loaded:
        """From the pools by split, train and perhaps val and test; `rest` are further fields."""
        return cls(pools["train"], pools.get("val"), pools.get("test"), kind, **rest)


class Source(Protocol):
    """Anything that a dataset's `_target_` may name."""

    def load(self) -> Loaded:
        """Find and describe the data; the pools may read the inputs later."""
