"""How the inputs of a model are drawn: the one place that knows what kind of data they are."""

from __future__ import annotations

import numpy as np
from PIL import Image
from torch import Tensor

from mixup_lab.data.transforms import Standardize
from mixup_lab.types import UserError


def draw_inputs(inputs: Tensor, standardize: Standardize, box: int) -> np.ndarray:
    """Examples as the model sees them, as tiles that can be looked at.

    Pictures are the only kind so far; another one, such as a table's row or a sound, gets a branch here that draws it
    into tiles of the same size. Pictures are standardised back with the data's own mean and std.

    Args:
        inputs: (n, ...) as a batch holds them.
        standardize: of the run.
        box: the larger side of a tile in pixels, at most.

    Returns:
        uint8 (n, height, width, 3).

    Raises:
        UserError: for a kind of data that cannot be drawn yet.
    """
    if inputs.dim() != 4:
        shape = " x ".join(map(str, inputs.shape[1:])) or "one number"
        raise UserError(f"preview draws pictures (channels x height x width) only, and these examples are {shape}")
    return picture_tiles(standardize.inverse(inputs.float()), box)


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
