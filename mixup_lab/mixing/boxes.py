"""Methods that paste a rectangle of the partner: CutMix and ResizeMix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mixup_lab.mixing.checks import check_pictures, check_tensor
from mixup_lab.mixing.functional import blend, paste
from mixup_lab.mixing.law import Law
from mixup_lab.mixing.mixer import Bound, Draw, PairMixer
from mixup_lab.types import Inputs

ONE_BY_ONE = 2**15  # values in a picture from which a CPU copies rectangles one by one faster than it blends by a mask


@dataclass
class CutMix(PairMixer):
    """Paste a rectangle of the partner at the same place (Yun et al., ICCV 2019).

    The rectangle has the area 1 - lam, the shape of the picture and a uniform random centre; what sticks out is cut
    off, and lam becomes the share of the pixels that are really the picture's own. See `PairMixer` for the arguments.
    """

    name = "cutmix"  # in messages

    def bind(self, bound: Bound) -> None:
        """Refuse what are no pictures."""
        super().bind(bound)
        check_pictures(self.name, bound.input_shape)

    def extras(self, rng: np.random.Generator, lam: np.ndarray) -> dict[str, np.ndarray]:
        """The centre, in shares of height and width: `row` and `column` (S,), or (S, B) where each sample has one."""
        if self.lam_per == "batch":
            row, column = rng.random((2, len(lam)))
            return {"row": row, "column": column, "share": lam[:, 0]}
        row, column = rng.random((2, *lam.shape)).astype(np.float32)
        return {"row": row, "column": column}

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        """Paste."""
        check_pictures(self.name, check_tensor(self.name, inputs).shape[1:])
        if "share" not in draw:
            edges = boxes(draw["row"], draw["column"], lam, *inputs.shape[-2:])
            return paste_boxes(inputs, draw["target"], perm, edges)
        height, width = inputs.shape[-2:]
        top, bottom = _cut(draw["row"], draw["share"], height)
        left, right = _cut(draw["column"], draw["share"], width)
        mixed = paste(inputs, inputs[..., top:bottom, left:right], perm, top, left)
        return mixed, outside(inputs, draw["target"], top, bottom, left, right)


def _cut(centre: float, lam: float, size: int) -> tuple[int, int]:
    """Where the rectangle begins and ends along one side."""
    length = int(size * math.sqrt(1 - lam))
    start = int(centre * size) - length // 2
    return max(start, 0), min(start + length, size)


def outside(inputs: Tensor, target: Tensor, top: int, bottom: int, left: int, right: int) -> Tensor:
    """The share of the own picture outside one rectangle: (B,), or (H, W) for targets that have pixels."""
    height, width = inputs.shape[-2:]
    if target.dim() <= 2:
        share = 1 - (bottom - top) * (right - left) / (height * width)
        return torch.full((len(inputs),), share, device=inputs.device)
    mask = torch.ones(height, width, device=inputs.device)
    mask[top:bottom, left:right] = 0
    return mask


def boxes(row: Tensor, column: Tensor, lam: Tensor, height: int, width: int) -> Tensor:
    """One rectangle for each sample: centres and shares (B,) to top, bottom, left and right, (B, 4) int64."""
    edges = []
    for centre, size in ((row, height), (column, width)):
        length = (size * (1 - lam).sqrt()).floor()
        start = (centre * size).floor() - (length / 2).floor()
        edges += [start.clamp(min=0), (start + length).clamp(max=size)]
    return torch.stack(edges, dim=1).long()


def box_mask(edges: Tensor, height: int, width: int) -> Tensor:
    """1 outside and 0 inside one rectangle for each sample: (B, 4) to (B, H, W) float32."""
    top, bottom, left, right = edges[:, :, None].unbind(1)
    row, column = (torch.arange(size, device=edges.device) for size in (height, width))
    down, across = ((row >= top) & (row < bottom)).float(), ((column >= left) & (column < right)).float()
    return (down[:, :, None] * across[:, None]).neg_().add_(1)


def paste_boxes(inputs: Tensor, target: Tensor, perm: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Paste a rectangle for each sample, as `boxes` gives them.

    Returns:
        A new tensor, and the share that is the picture's own: (B, H, W), or (B,) where that is cheaper and targets have
        no pixels.
    """
    height, width = inputs.shape[-2:]
    if not inputs.is_cpu or inputs[0].numel() < ONE_BY_ONE:
        mask = box_mask(edges, height, width)
        return blend(inputs, perm, mask), mask
    mixed = inputs.clone()
    for i, (j, (top, bottom, left, right)) in enumerate(zip(perm.tolist(), edges.tolist(), strict=True)):
        mixed[i, :, top:bottom, left:right] = inputs[j, :, top:bottom, left:right]
    if target.dim() > 2:
        return mixed, box_mask(edges, height, width)
    area = (edges[:, 1::2] - edges[:, ::2]).prod(1)
    return mixed, (height * width - area) / (height * width)


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
        self._refuse_law("resizemix draws its scale in place of lam")
        self._law = Law("fixed", value=0.0)  # lam as drawn says no more than whether to paste: 0, or 1 for not

    def bind(self, bound: Bound) -> None:
        """Refuse what are no pictures."""
        super().bind(bound)
        check_pictures("resizemix", bound.input_shape)

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
        check_pictures("resizemix", check_tensor("resizemix", inputs).shape[1:])
        height, width = inputs.shape[-2:]
        if draw["tau"] == 0:
            return inputs, outside(inputs, draw["target"], 0, 0, 0, 0)
        high, wide = (max(1, int(draw["tau"] * size)) for size in (height, width))
        top, left = int(draw["row"] * (height - high + 1)), int(draw["column"] * (width - wide + 1))
        full = inputs if inputs.dtype in (torch.float32, torch.float64) else inputs.float()  # what antialiasing knows
        small = F.interpolate(full, (high, wide), mode="bilinear", antialias=True).to(inputs.dtype)
        mixed = paste(inputs, small, perm, top, left)
        return mixed, outside(inputs, draw["target"], top, top + high, left, left + wide)
