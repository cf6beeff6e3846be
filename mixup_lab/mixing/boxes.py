"""Methods that paste a rectangle of the partner: CutMix and ResizeMix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mixup_lab.mixing.functional import blend, rows
from mixup_lab.mixing.masks import check_pictures
from mixup_lab.mixing.mixer import Bound, Draw, PairMixer
from mixup_lab.types import Inputs


@dataclass
class CutMix(PairMixer):
    """Paste a rectangle of the partner at the same place (Yun et al., ICCV 2019).

    The rectangle has the area 1 - lam, the shape of the picture and a uniform random centre; what sticks out is cut
    off, and lam becomes the share of the pixels that are really the picture's own. See `PairMixer` for the arguments.
    """

    def bind(self, bound: Bound) -> None:
        """Refuse what are no pictures."""
        check_pictures("cutmix", bound.input_shape)
        super().bind(bound)

    def extras(self, rng: np.random.Generator, lam: np.ndarray) -> dict[str, np.ndarray]:
        """The centre, in shares of height and width: `row` and `column` (S,), or (S, B) where each sample has one."""
        if self.lam_per == "batch":
            return {"row": rng.random(len(lam)), "column": rng.random(len(lam)), "share": lam[:, 0]}
        row, column = rng.random(lam.shape), rng.random(lam.shape)
        return {"row": row.astype(np.float32), "column": column.astype(np.float32)}

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        """Paste."""
        check_pictures("cutmix", inputs.shape[1:])
        if "share" not in draw:
            mask = box_mask(draw["row"], draw["column"], lam, *inputs.shape[-2:])
            return blend(inputs, perm, mask), mask
        height, width = inputs.shape[-2:]
        top, bottom = _cut(draw["row"], draw["share"], height)
        left, right = _cut(draw["column"], draw["share"], width)
        mixed = inputs.clone()
        mixed[..., top:bottom, left:right] = rows(inputs[..., top:bottom, left:right], perm)
        mask = torch.ones(height, width, device=inputs.device)
        mask[top:bottom, left:right] = 0
        return mixed, mask


def _cut(centre: float, lam: float, size: int) -> tuple[int, int]:
    """Where the rectangle begins and ends along one side."""
    length = int(size * math.sqrt(1 - lam))
    start = int(centre * size) - length // 2
    return max(start, 0), min(start + length, size)


def box_mask(row: Tensor, column: Tensor, lam: Tensor, height: int, width: int) -> Tensor:
    """1 outside and 0 inside one rectangle for each sample: centres and shares (B,) to (B, H, W) float32."""
    outside = []
    for centre, size in ((row, height), (column, width)):
        length = (size * (1 - lam).sqrt()).floor()
        start = (centre * size).floor() - (length / 2).floor()
        place = torch.arange(size, device=lam.device)
        outside.append((place < start[:, None]) | (place >= (start + length)[:, None]))
    return (outside[0][:, :, None] | outside[1][:, None, :]).float()


@dataclass
class ResizeMix(PairMixer):
    """Paste the whole partner, made smaller, at a random place (Qin et al., 2020, arXiv:2012.11101).

    Its sides are tau times those of the picture, tau uniform between `tau_min` and `tau_max`, one for the batch; lam is
    the share of the pixels that remain the picture's own. It has no alpha but 0, which turns it off.

    Args:
        tau_min: the least scale, > 0; the paper's 0.1.
        tau_max: the largest, <= 1; the paper's 0.8.
    """

    tau_min: float = 0.1
    tau_max: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.tau_min <= self.tau_max <= 1:
            raise ValueError(f"0 < tau_min <= tau_max <= 1 must hold, got {self.tau_min} and {self.tau_max}")
        if self.lam_per != "batch":
            raise ValueError(f"resizemix has one size for the whole batch, got lam_per={self.lam_per}")

    def bind(self, bound: Bound) -> None:
        """Refuse what are no pictures."""
        check_pictures("resizemix", bound.input_shape)
        super().bind(bound)

    def extras(self, rng: np.random.Generator, lam: np.ndarray) -> dict[str, np.ndarray]:
        """`tau`, and the place in shares of what is free: `row` and `column`, each (S,). tau = 0: nothing is pasted."""
        tau = rng.uniform(self.tau_min, self.tau_max, len(lam))
        return {
            "tau": np.where(lam[:, 0] < 1, tau, 0.0),
            "row": rng.random(len(lam)),
            "column": rng.random(len(lam)),
        }

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        """Resize and paste."""
        check_pictures("resizemix", inputs.shape[1:])
        height, width = inputs.shape[-2:]
        mask = torch.ones(height, width, device=inputs.device)
        if draw["tau"] == 0:
            return inputs, mask
        high, wide = (max(1, int(draw["tau"] * size)) for size in (height, width))
        top, left = int(draw["row"] * (height - high + 1)), int(draw["column"] * (width - wide + 1))
        small = F.interpolate(inputs, (high, wide), mode="bilinear", antialias=inputs.dtype != torch.bfloat16)
        mixed = inputs.clone()
        mixed[..., top : top + high, left : left + wide] = rows(small, perm)
        mask[top : top + high, left : left + wide] = 0
        return mixed, mask
