"""The LeNet of the mixup paper's experiments with speech."""

from collections.abc import Sequence

from torch import nn

from mixup_lab.models.checks import check_pictures, check_probability
from mixup_lab.models.layers import zeros_around
from mixup_lab.models.simple_net import LENET_SIZE, size_after


class SpeechLeNet(nn.Sequential):
    """Two 5x5 convolutions of 20 channels with pooling, two linear layers: `(B, C, M, T)` to `(B, num_outputs)`.

    16,321,570 parameters for 30 classes of (1, 161, 101). Zhang et al. (2018, section 3.3) give the number of layers
    only; channels, the 1000 units and the dropout are those of Y. Adi's GCommandsPytorch, for spectrograms of the same
    size and data. Most parameters are in the first linear layer, which grows with the spectrogram. A spectrogram
    smaller than 32x32 is padded with zeros.

    Args:
        input_shape: `(C, M, T)`, any sizes >= 1.
        dropout: probability in [0, 1) of zeroing a channel of the second convolution, and a hidden unit, in training.
    """

    mixup_layers = ("features.2", "features.6")

    def __init__(self, *, input_shape: Sequence[int], num_outputs: int, dropout: float = 0.5) -> None:
        super().__init__()
        channels, height, width = check_pictures("SpeechLeNet", input_shape, num_outputs)
        check_probability(dropout=dropout)
        self.pad, height, width = zeros_around(height, width, LENET_SIZE)
        self.features = nn.Sequential(
            nn.Conv2d(channels, 20, 5),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Conv2d(20, 20, 5),
            nn.Dropout2d(dropout),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(20 * size_after(height) * size_after(width), 1000),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(1000, num_outputs),
        )
