"""Shared by methods that mix each pixel by a mask."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.functional import blend
from mixup_lab.mixing.mixer import Draw
from mixup_lab.mixing.pairs import PictureMixer
from mixup_lab.types import Inputs


@dataclass
class MaskMixer(PictureMixer):
    """The mask is drawn on the host, batch by batch, from a seed of its own; a method defines `masks`."""

    @abstractmethod
    def masks(self, rng: np.random.Generator, lam: np.ndarray, height: int, width: int) -> np.ndarray:
        """One mask for each lam: (n,) to (n, H, W) in [0, 1], the share of the own picture; all 1 where lam is 1."""

    def extras(self, rng: np.random.Generator, lam: np.ndarray) -> dict[str, np.ndarray]:
        """`mask_seed` (S,), and if the batch has one lam, `share` (S,): its value on the host."""
        drawn = {"mask_seed": rng.integers(2**62, size=len(lam))}
        return drawn | {"share": lam[:, 0]} if self.lam_per == "batch" else drawn

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        pictures = self.pictures(inputs)
        shares = np.array([draw["share"]]) if "share" in draw else lam.cpu().numpy()
        made = self.masks(np.random.default_rng(draw["mask_seed"]), shares, *pictures.shape[-2:])
        mask = torch.from_numpy(made.astype(np.float32)).to(pictures.device)
        if self.lam_per == "pair":
            mask = mask[torch.minimum(perm, torch.arange(len(perm), device=perm.device))]
        mask = mask[0] if "share" in draw else mask
        return blend(pictures, perm, mask), mask
