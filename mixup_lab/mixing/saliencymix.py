"""SaliencyMix: CutMix with the rectangle where the partner has something to show (Uddin et al., ICLR 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mixup_lab.mixing.boxes import CutMix, boxes, paste_boxes
from mixup_lab.mixing.checks import check_pictures, check_tensor
from mixup_lab.mixing.features import undisturbed
from mixup_lab.mixing.mixer import Bound, Draw
from mixup_lab.types import Inputs


@dataclass
class SaliencyMix(CutMix):
    """The rectangle is centred at the partner's most salient pixel and pasted at the same place.

    Saliency is the size of the gradient of the loss with respect to the pixels, with the model as it is (Simonyan et
    al., 2014), smoothed over `smooth` pixels; the paper uses a detector of OpenCV. It costs a forward and a backward
    pass more for each batch, in evaluation mode and float32, so BatchNorm and dropout notice nothing of it.

    Args:
        smooth: width of the window that the saliency is averaged over, odd and >= 1.
    """

    name = "saliencymix"
    smooth: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.smooth < 1 or self.smooth % 2 == 0:
            raise ValueError(f"smooth must be odd and at least 1, got {self.smooth}")

    def extras(self, rng: np.random.Generator, lam: np.ndarray) -> dict[str, np.ndarray]:
        """The place is not left to chance."""
        return {}

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        """Paste what is salient in the partner."""
        check_pictures(self.name, check_tensor(self.name, inputs).shape[1:])
        height, width = inputs.shape[-2:]
        row, column = peaks(self.saliency(inputs, draw["target"]))
        edges = boxes((row[perm] + 0.5) / height, (column[perm] + 0.5) / width, lam, height, width)
        return paste_boxes(inputs, draw["target"], perm, edges)

    def saliency(self, inputs: Tensor, target: Tensor) -> Tensor:
        """(B, C, H, W), (B, ...) -> (B, H, W), >= 0."""
        bound: Bound = self._known("saliencymix")
        with undisturbed(bound.model), torch.enable_grad():
            pixels = inputs.detach().requires_grad_(True)
            loss = bound.loss(bound.model(pixels).float(), target).sum()
            (gradient,) = torch.autograd.grad(loss, pixels)
        size = gradient.abs().sum(1, keepdim=True).float()
        return F.avg_pool2d(size, self.smooth, 1, self.smooth // 2).squeeze(1)


def peaks(saliency: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of the largest value: (B, H, W) -> (B,), (B,)."""
    place = saliency.flatten(1).argmax(1)
    return place // saliency.shape[2], place % saliency.shape[2]
