"""GridMix (Baek, Bang, Shim: Strong regularization through local context mapping, Pattern Recognition, 2021)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.masks import MaskMixer
from mixup_lab.mixing.mixer import Draw


@dataclass
class GridMix(MaskMixer):
    """Each cell of a grid shows the own picture with probability lam; lam becomes the actual share of its pixels.

    The paper's second loss, on the cells, is left out.

    Args:
        grid: cells along each side, >= 1.
    """

    capturable = True
    grid: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grid < 1:
            raise ValueError(f"grid must be at least 1, got {self.grid}")

    def extras(self, rng: np.random.Generator, lam: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """`cells` (S, n, grid, grid): a cell below lam shows the own picture."""
        return {"cells": rng.random((*lam.shape, self.grid, self.grid), dtype=np.float32)}

    def masks(self, draw: Draw, lam: Tensor, height: int, width: int) -> Tensor:
        own: Tensor = (draw["cells"] < lam[:, None, None]).float()
        row, column = (torch.arange(size, device=lam.device) * self.grid // size for size in (height, width))
        return own.index_select(1, row).index_select(2, column)
