"""SaliencyMix (Uddin et al.: SaliencyMix: A Saliency Guided Data Augmentation Strategy, ICLR 2021)."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mixup_lab.mixing.cutmix import CutMix
from mixup_lab.mixing.features import undisturbed
from mixup_lab.mixing.mixer import Draw
from mixup_lab.mixing.rectangles import paste_rectangles, rectangles
from mixup_lab.types import Inputs

SCALE = 512.0  # of the loss in float16: torch's first scale for means, 65536, over 128 examples


@dataclass
class SaliencyMix(CutMix):
    """CutMix with the rectangle centred at the partner's most salient pixel, pasted at the same place.

    Saliency is the magnitude of the gradient of the loss with respect to the pixels, for the current model (Simonyan et
    al., 2014), smoothed over `smooth` pixels; the paper uses a detector of OpenCV. It costs one more forward and
    backward pass for each batch, in evaluation mode, so BatchNorm and dropout are not affected.

    Args:
        smooth: side in pixels of the window over which saliency is averaged, odd and >= 1.
    """

    capturable = True
    asks_model = True
    smooth: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.smooth < 1 or self.smooth % 2 == 0:
            raise ValueError(f"smooth must be odd and at least 1, got {self.smooth}")

    def extras(self, rng: np.random.Generator, lam: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        return {}

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        pictures = self.pictures(inputs)
        height, width = pictures.shape[-2:]
        row, column = peaks(self.saliency(pictures, draw["target"]))
        edges = rectangles((row[perm] + 0.5) / height, (column[perm] + 0.5) / width, lam, height, width)
        return paste_rectangles(pictures, draw["target"], perm, edges)

    def saliency(self, inputs: Tensor, target: Tensor) -> Tensor:
        """(B, C, H, W), (B, ...) -> (B, H, W), >= 0, up to a factor."""
        bound = self.bound("saliencymix")
        with undisturbed(bound.model), torch.enable_grad():
            pixels = inputs.detach().requires_grad_(True)
            with bound.autocast():
                output = bound.model(pixels)
            scale = SCALE if output.dtype is torch.float16 else 1.0
            loss = bound.loss(output.float(), target).sum() * scale
            (gradient,) = torch.autograd.grad(loss, pixels)
        size = gradient.abs().sum(1, keepdim=True).float()
        return F.avg_pool2d(size, self.smooth, 1, self.smooth // 2).squeeze(1)


def peaks(saliency: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of the largest value: (B, H, W) -> (B,), (B,)."""
    place = saliency.flatten(1).argmax(1)
    return place // saliency.shape[2], place % saliency.shape[2]
