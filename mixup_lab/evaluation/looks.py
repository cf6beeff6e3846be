"""Shared by the lenses that give a model inputs of their own: what they need, and the units that they measure in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixup_lab.evaluation.finished import Finished
from mixup_lab.evaluation.lens import Unsuited
from mixup_lab.inputs.encoder import Encoder


def need_classes(run: Finished, lens: str) -> None:
    """Raise Unsuited unless each example has one class."""
    if run.kind != "classes":
        raise Unsuited(f"{lens} is for classes, and these targets are {run.kind}")


def need_numbers(run: Finished, lens: str) -> None:
    """Raise Unsuited for inputs that are token ids, which cannot be changed by a little."""
    if run.parts.data.encode.tokens:
        raise Unsuited(f"{lens} needs inputs that are numbers, such as pixels, and these are {_noun(run)}")


def _noun(run: Finished) -> str:
    return run.parts.data.encode.noun


def chosen(run: Finished, lens: str, count: int, split: str = "test") -> np.ndarray:
    """Positions of at most `count` examples of a split, in increasing order; the same in all runs of a seed."""
    size = len(run.split(split))
    if count >= size:
        return np.arange(size)
    return np.sort(run.stream(f"{lens} examples").choice(size, count, replace=False))


def among_all(run: Finished, positions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (n,) at these positions of test as float64 (N,), NaN for the other examples."""
    out = np.full(len(run.split("test")), np.nan)
    out[positions] = values
    return out


@dataclass(frozen=True)
class Units:
    """The units of the inputs as they are stored: the range of a pixel for pictures, else the model's own inputs.

    Rows of a table and spectrograms are standardised, so that their unit is one standard deviation.

    Args:
        scale: of one unit in the model's inputs, (1, C, H, W) or 1.
        low: least valid values of the model's inputs, (1, C, H, W) or -inf.
        high: largest ones.
    """

    scale: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, encode: Encoder, device: torch.device) -> Units:
        """The units of an encoder's inputs. For pictures they follow from those of a black and a white one."""
        if encode.pictures:
            ends = torch.tensor([0, 255], dtype=torch.uint8, device=device)
            black, white = encode(ends.reshape(2, 1, 1, 1).expand(2, *encode.shape).contiguous())
            return cls((white - black)[None], black[None], white[None])
        one = torch.ones((), device=device)
        return cls(one, -torch.inf * one, torch.inf * one)

    def moved(self, inputs: Tensor, delta: Tensor) -> Tensor:
        """The model's inputs (B, ...) after a change in these units (B, ...)."""
        return inputs + delta * self.scale

    def clipped(self, inputs: Tensor, delta: Tensor) -> Tensor:
        """The change (B, ...), cut so that the changed inputs (B, ...) are valid."""
        return torch.minimum(torch.maximum(delta, (self.low - inputs) / self.scale), (self.high - inputs) / self.scale)
