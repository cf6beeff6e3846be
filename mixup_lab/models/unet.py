"""U-Net (Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mixup_lab.models.checks import check_at_least, check_pictures, check_probability
from mixup_lab.models.layers import conv_norm_relu, drop, he_normal


class UNet(nn.Module):
    """Logits for each pixel: `(B, C, H, W)` to `(B, num_outputs, H, W)`, for any H and W.

    Unlike in the paper, convolutions are padded, so that the map has the size of the picture, and each is followed by
    BatchNorm. Half of an odd side is rounded up, and the extra row or column on the way up is cut off at its end.
    Weights: `he_normal`.

    Args:
        input_shape: `(C, H, W)`.
        width: channels of the first stage, >= 1, doubled by each halving; 64 in the paper.
        depth: how often the picture is halved, >= 1; 4 in the paper.
        dropout: probability in [0, 1) of zeroing a feature at the bottom in training.
    """

    answers = "masks"
    mixup_layers = ("down.0",)  # mixing after a deeper layer would leave the first skip connection unmixed

    def __init__(
        self, *, input_shape: Sequence[int], num_outputs: int, width: int = 64, depth: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        channels, _, _ = check_pictures("UNet", input_shape, num_outputs)
        check_at_least(1, width=width, depth=depth)
        check_probability(dropout=dropout)
        widths = [width * 2**stage for stage in range(depth + 1)]
        self.down = nn.ModuleList(_stage(n_in, n_out) for n_in, n_out in zip([channels, *widths], widths, strict=False))
        self.halve = nn.MaxPool2d(2, ceil_mode=True)
        self.dropout = drop(dropout)
        deeper = list(zip(widths[:0:-1], widths[-2::-1], strict=True))  # from the bottom up: channels below and here
        self.grow = nn.ModuleList(nn.ConvTranspose2d(below, here, 2, stride=2) for below, here in deeper)
        self.up = nn.ModuleList(_stage(2 * here, here) for _, here in deeper)
        self.head = nn.Conv2d(width, num_outputs, 1)
        he_normal(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """`(B, C, H, W)` to logits `(B, num_outputs, H, W)`."""
        skips: list[Tensor] = []
        features = inputs
        for stage in self.down:
            features = stage(self.halve(features) if skips else features)
            skips.append(features)
        features = self.dropout(skips.pop())
        for grow, stage in zip(self.grow, self.up, strict=True):
            skip = skips.pop()
            grown = grow(features)[..., : skip.shape[-2], : skip.shape[-1]]
            features = stage(torch.cat([skip, grown], 1))
        logits: Tensor = self.head(features)
        return logits


def _stage(num_in: int, num_out: int) -> nn.Sequential:
    return nn.Sequential(*conv_norm_relu(num_in, num_out), *conv_norm_relu(num_out, num_out))
