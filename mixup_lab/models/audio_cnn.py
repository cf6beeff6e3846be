"""A small convolutional network for spectrograms."""

from collections.abc import Sequence

from torch import nn

from mixup_lab.models.checks import check_at_least, check_pictures, check_probability
from mixup_lab.models.layers import conv_pool_norm_relu, drop, he_normal


class AudioCNN(nn.Sequential):
    """Three 3x3 convolutions with pooling, a mean over time, a linear layer: `(B, C, M, T)` to `(B, num_outputs)`.

    Our own design; 26,618 parameters for 10 classes and 40 bands. The mean is over time only, since the frequency of a
    sound matters and its time does not; a mean over both would lose the frequency. Weights: `he_normal`.

    Args:
        input_shape: `(C, M, T)`: bands and frames, both >= 8; C is 1 for one spectrogram.
        width: channels of the first stage, >= 1; the others have 2 and 4 times as many.
        dropout: probability in [0, 1) of zeroing a feature before the last layer in training.
    """

    mixup_layers = ("stages.0", "stages.1", "stages.2")

    def __init__(self, *, input_shape: Sequence[int], num_outputs: int, width: int = 16, dropout: float = 0.0) -> None:
        super().__init__()
        channels, bands, frames = check_pictures("AudioCNN", input_shape, num_outputs, smallest=8)
        check_at_least(1, width=width)
        check_probability(dropout=dropout)
        self.stages = nn.Sequential(
            conv_pool_norm_relu(channels, width),
            conv_pool_norm_relu(width, 2 * width),
            conv_pool_norm_relu(2 * width, 4 * width),
        )
        self.head = nn.Sequential(
            nn.AvgPool2d((1, frames // 8)),  # adaptive pooling has no deterministic gradient on a GPU
            nn.Flatten(),
            drop(dropout),
            nn.Linear(4 * width * (bands // 8), num_outputs),
        )
        he_normal(self)
