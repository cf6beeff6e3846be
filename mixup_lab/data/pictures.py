"""Pictures on their way into a model, and back to be looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mixup_lab.data.transforms import Standardize


class Pictures:
    """The encoder of pictures: standardised by channel.

    Args:
        shape: (C, H, W).
        mean: per channel, for pixels on the scale [0, 1].
        std: likewise, > 0.
        device: where the pictures will be.
    """

    def __init__(
        self, shape: tuple[int, ...], mean: Sequence[float], std: Sequence[float], device: torch.device | str = "cpu"
    ) -> None:
        self.shape = shape
        self._moments = mean, std
        self._standardize = Standardize(mean, std, device)

    def to(self, device: torch.device) -> Pictures:
        """The same on a device."""
        return Pictures(self.shape, *self._moments, device)

    def __call__(self, inputs: Tensor) -> Tensor:
        """uint8 (B, C, H, W) to float32; the memory format stays as it is."""
        return self._standardize(inputs)

    def draw(self, inputs: Tensor, box: int) -> np.ndarray:
        """Standardised back with the data's own mean and std: uint8 (n, height, width, 3)."""
        return picture_tiles(self._standardize.inverse(inputs.float()), box)


def picture_tiles(pictures: Tensor, box: int) -> np.ndarray:
    """Pictures (n, C, H, W) in [0, 1] as uint8 tiles (n, height, width, 3).

    Small ones are enlarged by a whole factor, each pixel to a square; those larger than the box are made smaller.
    Channels that are neither 1 nor 3 have no colours, so their mean is shown.
    """
    values = pictures if pictures.shape[1] in (1, 3) else pictures.mean(1, keepdim=True)
    pixels = (values * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    pixels = np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels
    larger = max(pixels.shape[1:3])
    if larger <= box:
        return pixels.repeat(box // larger, axis=1).repeat(box // larger, axis=2)
    height, width = (max(1, round(side * box / larger)) for side in pixels.shape[1:3])
    return np.stack([np.asarray(Image.fromarray(p).resize((width, height), Image.Resampling.BOX)) for p in pixels])
