"""Densely connected networks with bottlenecks and compression (DenseNet-BC)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mixup_lab.models.checks import check_at_least, check_depth, check_pictures, check_probability
from mixup_lab.models.layers import drop, he_normal, norm_relu, pooled_linear

BOTTLENECK = 4  # the 1x1 convolution gives this times `growth` channels (section 3, "Bottleneck layers")


class DenseLayer(nn.Module):
    """BN - ReLU - 1x1 - BN - ReLU - 3x3, joined to its input. `(B, C, H, W)` to `(B, C + growth, H, W)`."""

    def __init__(self, num_in: int, growth: int, dropout: float) -> None:
        super().__init__()
        self.new = nn.Sequential(
            *norm_relu(num_in),
            nn.Conv2d(num_in, BOTTLENECK * growth, 1, bias=False),
            drop(dropout),
            *norm_relu(BOTTLENECK * growth),
            nn.Conv2d(BOTTLENECK * growth, growth, 3, padding=1, bias=False),
            drop(dropout),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """The input and `growth` new channels, along the channel axis."""
        return torch.cat([inputs, self.new(inputs)], dim=1)


class DenseNetBC(nn.Sequential):
    """DenseNet-BC for small pictures, three dense blocks with transitions: `(B, C, H, W)` to `(B, num_outputs)`.

    Huang et al. (2017), section 3 and "Implementation details": stem of 2 * growth channels, 3x3, no pooling.
    DenseNet-BC-190 with growth 40 has 25,624,430 parameters for 10 classes of RGB (25.6 M in the paper's table 2).
    It needs much memory for its many activations. Weights: `he_normal`.

    Args:
        input_shape: `(C, H, W)`, H and W >= 4.
        depth: 6 n + 4: 10, ..., 100, 190, 250.
        growth: new channels of each layer, >= 1.
        reduction: share of the channels that a transition keeps, in (0, 1].
        dropout: probability in [0, 1) after every convolution but the stem; the paper has 0.2 without augmentation.
    """

    mixup_layers = ("stages.0", "stages.1")

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        num_outputs: int,
        depth: int = 190,
        growth: int = 40,
        reduction: float = 0.5,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, _, _ = check_pictures("DenseNetBC", input_shape, num_outputs, smallest=4)
        num_layers = check_depth(depth, base=4, step=6)  # per block, of two convolutions each
        if not 0 < reduction <= 1:
            raise ValueError(f"reduction must be in (0, 1], got {reduction}")
        check_at_least(1, growth=growth)
        check_probability(dropout=dropout)
        width = 2 * growth
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        stages: list[nn.Module] = []
        for index in range(3):
            layers: list[nn.Module] = [DenseLayer(width + i * growth, growth, dropout) for i in range(num_layers)]
            width += num_layers * growth
            if index < 2:
                kept = max(1, int(width * reduction))
                convolution = nn.Conv2d(width, kept, 1, bias=False)
                layers.append(nn.Sequential(*norm_relu(width), convolution, drop(dropout), nn.AvgPool2d(2)))
                width = kept
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.norm = norm_relu(width)
        self.head = pooled_linear(width, num_outputs)
        he_normal(self)
