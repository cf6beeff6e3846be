"""The encoder of pictures, and the tiles that show them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mixup_lab.inputs.encoder import Encoder


class Pictures(Encoder):
    """Standardises pictures by channel.

    Args:
        shape: (C, H, W).
        mean: per channel, for pixels on the scale [0, 1].
        std: likewise, > 0.
        device: where the pictures will be.
    """

    noun = "pictures"
    pictures = True
    planar = True

    def __init__(
        self, shape: tuple[int, ...], mean: Sequence[float], std: Sequence[float], device: torch.device | str = "cpu"
    ) -> None:
        self.shape, self.mean, self.std = shape, tuple(mean), tuple(std)
        centre, width = (np.asarray(v, dtype=np.float64).reshape(-1, 1, 1) for v in (mean, std))
        self._scale = torch.from_numpy((1 / (255 * width)).astype(np.float32)).to(device)
        self._shift = torch.from_numpy((-centre / width).astype(np.float32)).to(device)
        # For channels_last: repeated along a row of pixels, as wide as in the last call.
        self._row = self._scale.flatten(), self._shift.flatten()

    def to(self, device: torch.device) -> Pictures:
        return Pictures(self.shape, self.mean, self.std, device)

    def __call__(self, inputs: Tensor) -> Tensor:
        """uint8 (B, C, H, W) to float32, `(x / 255 - mean) / std`; the memory format stays as it is."""
        planes = in_memory_order(inputs)
        if planes.shape[4] == 1:
            return inputs.float().mul_(self._scale).add_(self._shift)
        # A row of the picture at a time: vector arithmetic needs more values side by side than a pixel has.
        rows = planes.flatten(3).float()
        if len(self._row[0]) != rows.shape[3]:
            self._row = self._scale.flatten().repeat(inputs.shape[3]), self._shift.flatten().repeat(inputs.shape[3])
        rows.mul_(self._row[0]).add_(self._row[1])
        return as_pictures(rows.view(planes.shape))

    def about(self) -> dict[str, object]:
        """`mean` and `std` per channel, for pixels on the scale [0, 1]."""
        return {"mean": list(self.mean), "std": list(self.std)}

    def inverse(self, inputs: Tensor) -> Tensor:
        """Undo the standardisation: float32 in [0, 1]."""
        return inputs.float().sub(self._shift).div_(self._scale).div_(255).clamp_(0, 1)

    def draw(self, inputs: Tensor, box: int) -> np.ndarray:
        """Tiles of the pictures without the standardisation: uint8 (n, height, width, 3)."""
        return picture_tiles(self.inverse(inputs), box)


def picture_tiles(pictures: Tensor, box: int) -> np.ndarray:
    """Pictures (n, C, H, W) in [0, 1] as uint8 tiles (n, height, width, 3).

    Small ones are enlarged by a whole factor, each pixel to a square; those larger than the box are reduced. If there
    are neither 1 nor 3 channels, their mean is shown in grey.
    """
    values = pictures if pictures.shape[1] in (1, 3) else pictures.mean(1, keepdim=True)
    pixels = (values * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    pixels = np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels
    larger = max(pixels.shape[1:3])
    if larger <= box:
        return pixels.repeat(box // larger, axis=1).repeat(box // larger, axis=2)
    height, width = (max(1, round(side * box / larger)) for side in pixels.shape[1:3])
    return np.stack([np.asarray(Image.fromarray(p).resize((width, height), Image.Resampling.BOX)) for p in pixels])


def in_memory_order(inputs: Tensor) -> Tensor:
    """Pictures by their layout in memory: contiguous ones as (B, C, H, W, 1), channels_last ones as (B, 1, H, W, C)."""
    if not inputs.is_contiguous() and inputs.is_contiguous(memory_format=torch.channels_last):
        return inputs.movedim(1, -1).unsqueeze(1)
    return inputs.contiguous().unsqueeze(4)


def as_pictures(planes: Tensor) -> Tensor:
    """The inverse of `in_memory_order`: a view (B, C, H, W)."""
    return planes.squeeze(4) if planes.shape[4] == 1 else planes.squeeze(1).movedim(-1, 1)
