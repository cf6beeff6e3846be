"""ResizeMix (Qin et al.: ResizeMix: Mixing Data with Preserved Object Information, 2020, arXiv:2012.11101)."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mixup_lab.mixing.functional import paste
from mixup_lab.mixing.mixer import Draw, Strip
from mixup_lab.mixing.pairs import PictureMixer, spread
from mixup_lab.mixing.rectangles import outside
from mixup_lab.types import Inputs


@dataclass
class ResizeMix(PictureMixer):
    """Paste the whole partner, scaled down, at a random place.

    Its sides are tau times those of the picture, with one tau for the batch, uniform between `tau_min` and `tau_max`;
    lam is the share of the picture's own pixels. alpha = 0 turns it off; other values make no difference.

    Args:
        tau_min: the smallest scale, > 0; 0.1 in the paper.
        tau_max: the largest scale, <= 1; 0.8 in the paper.
    """

    own_law = "resizemix draws its scale in place of lam"
    tau_min: float = 0.1
    tau_max: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.tau_min <= self.tau_max <= 1:
            raise ValueError(f"0 < tau_min <= tau_max <= 1 must hold, got {self.tau_min} and {self.tau_max}")
        if self.lam_per != "batch":
            raise ValueError(f"resizemix has one size for the whole batch, got lam_per={self.lam_per}")

    def extras(self, rng: np.random.Generator, lam: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """`tau`, 0 for no pasting, and the place as shares of the free range: `row` and `column`, each (S,)."""
        tau = rng.uniform(self.tau_min, self.tau_max, len(lam))
        return {
            "tau": np.where(lam[:, 0] < 1, tau, 0.0),
            "row": rng.random(len(lam)),
            "column": rng.random(len(lam)),
        }

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        pictures = self.pictures(inputs)
        height, width = pictures.shape[-2:]
        if draw["tau"] == 0:
            return pictures, outside(pictures, draw["target"], 0, 0, 0, 0)
        high, wide = (max(1, int(draw["tau"] * size)) for size in (height, width))
        top, left = int(draw["row"] * (height - high + 1)), int(draw["column"] * (width - wide + 1))
        # Antialiasing supports only these dtypes.
        full = pictures if pictures.dtype in (torch.float32, torch.float64) else pictures.float()
        small = F.interpolate(full, (high, wide), mode="bilinear", antialias=True).to(pictures.dtype)
        mixed = paste(pictures, small, perm, top, left)
        return mixed, outside(pictures, draw["target"], top, top + high, left, left + wide)

    def note(self, draw: Draw) -> str:
        return f"tau {draw['tau']:.2f}"

    def strips(self) -> list[Strip]:
        title, scales = "One pair over the scale of the pasted picture", spread(self.tau_min, self.tau_max)
        return [self.strip(title, "tau", scales, lambda draw, tau: {**draw, "tau": tau})]
