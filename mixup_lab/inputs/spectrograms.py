"""The encoder of log-mel spectrograms, and the tiles that show them."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mixup_lab.inputs.encoder import Encoder


class Spectrograms(Encoder):
    """Standardises by one mean and one standard deviation of all values, as in Gong et al. (2021).

    All bands share them, so that silence has one value everywhere and the shape of the spectrum is kept.

    Args:
        shape: (1, M, T).
        mean: in dB.
        std: in dB, > 0.
        low: level in dB that is drawn darkest.
        high: level in dB that is drawn lightest.
    """

    noun = "sounds"
    planar = True

    def __init__(self, shape: tuple[int, ...], mean: float, std: float, low: float, high: float) -> None:
        self.shape = shape
        self.mean_db, self.std_db = mean, std
        self._range = low, high

    def __call__(self, inputs: Tensor) -> Tensor:
        """float16 (B, 1, M, T) in dB to float32."""
        return inputs.to(torch.float32, copy=True).sub_(self.mean_db).mul_(1 / self.std_db)

    def about(self) -> dict[str, object]:
        """`mean` and `std` of log-mel values in dB."""
        return {"mean": self.mean_db, "std": self.std_db}

    def draw(self, inputs: Tensor, box: int) -> np.ndarray:
        """Time runs to the right, low bands are at the bottom: uint8 (n, box, box, 3).

        Time and frequency have no common unit, so a tile fills the box. Mixed examples show their mixed levels.
        """
        low, high = self._range
        level = ((inputs.float() * self.std_db + self.mean_db - low) / (high - low)).clamp(0, 1)
        pixels = coloured(level[:, 0].flip(1).cpu().numpy())
        return np.stack([np.asarray(Image.fromarray(p).resize((box, box), Image.Resampling.BOX)) for p in pixels])


def coloured(level: np.ndarray) -> np.ndarray:
    """Levels (...) in [0, 1] to the colours of magma, uint8 (..., 3): dark is quiet, light is loud."""
    from matplotlib import colormaps  # imported late: it takes long

    return np.asarray(colormaps["magma"](level, bytes=True))[..., :3]
