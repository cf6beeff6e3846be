"""A small convolutional network with a good accuracy for its cost, on a CPU too."""

from collections.abc import Sequence

from torch import nn

from mixup_lab.models.checks import check_at_least, check_pictures, check_probability
from mixup_lab.models.layers import conv_pool_norm_relu, drop, he_normal


class SmallCNN(nn.Sequential):
    """Four 3x3 convolutions with BatchNorm, the first three with pooling: `(B, C, H, W)` to `(B, num_outputs)`.

    Our own design; 391,466 parameters for 10 classes of RGB. Channels double as the picture halves, so the last three
    convolutions cost the same. Pooling before BatchNorm and ReLU saves a fifth of the time for a step on a CPU. The
    last pooling is a mean over the picture: with a max, training collapsed at the default learning rate of 0.1.
    Weights: `he_normal`.

    Args:
        input_shape: `(C, H, W)`, H and W >= 8.
        width: channels of the first stage, >= 1; the others have 2, 4, 8 times as many.
        dropout: probability in [0, 1) of zeroing a feature before the last layer in training.
    """

    mixup_layers = ("stages.0", "stages.1", "stages.2")

    def __init__(self, *, input_shape: Sequence[int], num_outputs: int, width: int = 32, dropout: float = 0.0) -> None:
        super().__init__()
        channels, _, _ = check_pictures("SmallCNN", input_shape, num_outputs, smallest=8)
        check_at_least(1, width=width)
        check_probability(dropout=dropout)
        self.stages = nn.Sequential(
            conv_pool_norm_relu(channels, width),
            conv_pool_norm_relu(width, 2 * width),
            conv_pool_norm_relu(2 * width, 4 * width),
            conv_pool_norm_relu(4 * width, 8 * width, pool=False),
        )
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), drop(dropout), nn.Linear(8 * width, num_outputs)
        )
        he_normal(self)
