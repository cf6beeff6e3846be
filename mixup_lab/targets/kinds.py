"""The kinds of targets: what a source says of its labels, and all that splits and checks need to know of them.

N: examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mixup_lab.types import VOID, UserError

BINS = 10  # of equal counts, by which numbers are stratified


class Kind(Protocol):
    """One kind of target. `names` are those of the classes, columns or tags."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes, columns or tags."""

    def check(self, where: str, target: np.ndarray) -> None:
        """Raise UserError unless these are valid targets; `where` is train, val or test, for the message."""

    def strata(self, target: np.ndarray) -> np.ndarray:
        """(N,) int64 >= 0: splits get an even share of the examples of each."""

    def say(self, target: np.ndarray) -> str:
        """One target (...) in a few words."""


@dataclass(frozen=True)
class Classes:
    """One class for each example: int64 (N,)."""

    names: tuple[str, ...]

    def check(self, where: str, target: np.ndarray) -> None:
        """At least two classes, and all within range."""
        _at_least_two(self.names)
        _require_shape(where, target, np.int64, 1)
        low, high = int(target.min()), int(target.max())
        if low < 0 or high >= len(self.names):
            raise UserError(f"targets of {where} must lie in 0..{len(self.names) - 1}, found {low}..{high}")

    def strata(self, target: np.ndarray) -> np.ndarray:
        """The classes."""
        return target

    def say(self, target: np.ndarray) -> str:
        """In a few words."""
        return self.names[int(target)]


@dataclass(frozen=True)
class Numbers:
    """One number or several for each example, to be predicted: float32 (N, T)."""

    names: tuple[str, ...]

    def check(self, where: str, target: np.ndarray) -> None:
        """Finite, and in train not all the same."""
        _require_shape(where, target, np.float32, 2, len(self.names))
        if not np.isfinite(target).all():
            row, column = np.argwhere(~np.isfinite(target))[0].tolist()
            raise UserError(f"the target {self.names[column]} of {where} is {target[row, column]} in example {row}")
        if where == "train":
            for name, values in zip(self.names, target.T, strict=True):
                if values.min() == values.max():
                    raise UserError(f"the target {name} is {values[0]:g} in all of train: there is nothing to learn")

    def strata(self, target: np.ndarray) -> np.ndarray:
        """Tenths of the first target by rank; fewer parts of few examples, so that each is enough for every split."""
        rank = np.argsort(np.argsort(target[:, 0], kind="stable"), kind="stable")
        return rank * max(1, min(BINS, len(rank) // 4)) // max(1, len(rank))

    def say(self, target: np.ndarray) -> str:
        """In a few words."""
        return ", ".join(f"{value:.4g}" for value in target.tolist())


@dataclass(frozen=True)
class Tags:
    """Any number of tags for each example: float32 (N, T) of 0 and 1."""

    names: tuple[str, ...]

    def check(self, where: str, target: np.ndarray) -> None:
        """Zeros and ones, some of them ones; in train every tag has examples of both."""
        _require_shape(where, target, np.float32, 2, len(self.names))
        if not np.isin(target, (0, 1)).all():
            raise UserError(f"tags of {where} must be 0 or 1, found {target[~np.isin(target, (0, 1))][0]:g}")
        if not target.any():
            raise UserError(f"no example of {where} has any tag: there is nothing to measure")
        if where == "train":
            for name, values in zip(self.names, target.T, strict=True):
                if values.min() == values.max():
                    raise UserError(f"the tag {name} is {values[0]:g} in all of train: there is nothing to learn")

    def strata(self, target: np.ndarray) -> np.ndarray:
        """The rarest tag that an example has, after the idea of Sechidis et al. (2011); one more for those without."""
        counts = np.where(target > 0, target.sum(0), np.inf)
        rarest: np.ndarray = np.where(target.any(1), counts.argmin(1), target.shape[1]).astype(np.int64)
        return rarest

    def say(self, target: np.ndarray) -> str:
        """In a few words."""
        return ", ".join(name for name, value in zip(self.names, target.tolist(), strict=True) if value > 0) or "no tag"


@dataclass(frozen=True)
class Pixels:
    """A class for each pixel: uint8 (N, H, W), 255 for pixels that count nowhere."""

    names: tuple[str, ...]

    def check(self, where: str, target: np.ndarray) -> None:
        """At least two classes, all within range or void; not void alone, and in train not one class alone."""
        _at_least_two(self.names)
        _require_shape(where, target, np.uint8, 3)
        found = label_counts(target).nonzero()[0]
        wrong = found[(found >= len(self.names)) & (found != VOID)]
        if len(wrong):
            raise UserError(f"masks of {where} must hold 0..{len(self.names) - 1} or {VOID} (void), found {wrong[0]}")
        real = found[found != VOID]
        if not len(real):
            raise UserError(f"masks of {where} are void everywhere: there is nothing to measure")
        if where == "train" and len(real) == 1:
            raise UserError(f"masks of train are {self.names[real[0]]} everywhere: there is nothing to learn")

    def strata(self, target: np.ndarray) -> np.ndarray:
        """All alike."""
        return np.zeros(len(target), dtype=np.int64)

    def say(self, target: np.ndarray) -> str:
        """The class of the largest area, and how many others; of a soft label (C, H, W) likewise."""
        soft = np.issubdtype(target.dtype, np.floating)
        counts = target.sum((1, 2)) if soft else label_counts(target)[: len(self.names)]
        found = [self.names[k] for k in np.argsort(-counts, kind="stable")[: (counts > 0).sum()]]
        return ", ".join(found) if len(found) <= 2 else f"{found[0]} +{len(found) - 1}"


@dataclass(frozen=True)
class Boxes:
    """Boxes with a class: float32 (N, M, 5) of class, left, top, right, bottom in pixels; class -1: none."""

    names: tuple[str, ...]

    def check(self, where: str, target: np.ndarray) -> None:
        """Classes within range, boxes of some area."""
        _require_shape(where, target, np.float32, 3, 5)
        real = target[target[..., 0] >= 0]
        if len(real) and real[:, 0].max() >= len(self.names):
            most = real[:, 0].max()
            raise UserError(f"classes of boxes of {where} must lie in 0..{len(self.names) - 1}, found {most:g}")
        if len(real) and not (real[:, 1:3] < real[:, 3:5]).all():
            raise UserError(f"a box of {where} has no area")
        if where == "train" and not len(real):
            raise UserError("train has no box at all: there is nothing to learn")

    def strata(self, target: np.ndarray) -> np.ndarray:
        """All alike."""
        return np.zeros(len(target), dtype=np.int64)

    def say(self, target: np.ndarray) -> str:
        """How many boxes of each class."""
        counts = np.bincount(target[target[:, 0] >= 0, 0].astype(np.int64), minlength=len(self.names)).tolist()
        return ", ".join(f"{n} {name}" for n, name in zip(counts, self.names, strict=True) if n) or "no box"


def label_counts(masks: np.ndarray) -> np.ndarray:
    """How many pixels have each label: uint8 (..., H, W) to int64 (256,). One mask at a time: counting takes memory."""
    counts: np.ndarray = np.zeros(256, dtype=np.int64)
    for mask in masks.reshape(-1, masks.shape[-2] * masks.shape[-1]):
        counts += np.bincount(mask, minlength=256)
    return counts


def _at_least_two(names: tuple[str, ...]) -> None:
    if len(names) < 2:
        raise UserError(f"the dataset has {len(names)} class{'' if len(names) == 1 else 'es'}, at least 2 are needed")


def _require_shape(where: str, target: np.ndarray, dtype: type, dims: int, last: int | None = None) -> None:
    if target.dtype != dtype or target.ndim != dims or (last is not None and target.shape[-1] != last):
        wanted = f"{np.dtype(dtype)} of {dims} dimensions" + ("" if last is None else f", the last of {last}")
        raise UserError(f"targets of {where} must be {wanted}; the source gave {target.dtype} {target.shape}")
