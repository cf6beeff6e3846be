"""The VGG-11 of the mixup paper's experiments with speech."""

from collections.abc import Sequence

from torch import nn

from mixup_lab.models.checks import check_at_least, check_pictures
from mixup_lab.models.layers import conv_norm_relu, he_normal, zeros_around

STAGES = ((1,), (2,), (4, 4), (8, 8), (8, 8))  # channels of the convolutions / width; pooling after each stage
HALVED = 2 ** len(STAGES)


class SpeechVGG11(nn.Sequential):
    """Eight 3x3 convolutions in five stages, two linear layers: `(B, C, M, T)` to `(B, num_outputs)`.

    13,170,142 parameters for 30 classes of (1, 161, 101). Network A of Simonyan & Zisserman (2015). As in Y. Adi's
    GCommandsPytorch, for the data of Zhang et al. (2018, section 3.3), each convolution is followed by BatchNorm, and
    one hidden layer of 512 units replaces two of 4096; torchvision's `vgg11_bn` with those has 128.8 M parameters.
    There is a ReLU between the linear layers, which GCommandsPytorch leaves out. Weights: `he_normal`. A spectrogram
    smaller than 32x32 is padded with zeros.

    Args:
        input_shape: `(C, M, T)`, any sizes >= 1.
        width: channels of the first convolution, >= 1; 64 in the paper.
    """

    mixup_layers = ("stages.0", "stages.1", "stages.2")

    def __init__(self, *, input_shape: Sequence[int], num_outputs: int, width: int = 64) -> None:
        super().__init__()
        channels, height, width_in = check_pictures("SpeechVGG11", input_shape, num_outputs)
        check_at_least(1, width=width)
        self.pad, height, width_in = zeros_around(height, width_in, HALVED)
        stages = []
        for factors in STAGES:
            layers: list[nn.Module] = []
            for factor in factors:
                layers += conv_norm_relu(channels, factor * width)
                channels = factor * width
            stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * (height // HALVED) * (width_in // HALVED), 8 * width),
            nn.ReLU(inplace=True),
            nn.Linear(8 * width, num_outputs),
        )
        he_normal(self)
