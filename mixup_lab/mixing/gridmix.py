"""GridMix (Baek, Bang, Shim: Strong regularization through local context mapping, Pattern Recognition, 2021)."""

from dataclasses import dataclass

import numpy as np

from mixup_lab.mixing.masks import MaskMixer


@dataclass
class GridMix(MaskMixer):
    """Each cell of a grid shows the own picture with probability lam; lam becomes the actual share of its pixels.

    The paper's second loss, on the cells, is left out.

    Args:
        grid: cells along each side, >= 1.
    """

    grid: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grid < 1:
            raise ValueError(f"grid must be at least 1, got {self.grid}")

    def masks(self, rng: np.random.Generator, lam: np.ndarray, height: int, width: int) -> np.ndarray:
        cells = rng.random((len(lam), self.grid, self.grid)) < lam[:, None, None]
        row, column = (np.arange(size) * self.grid // size for size in (height, width))
        return np.asarray(cells[:, row][:, :, column])
