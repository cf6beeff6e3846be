"""The VGG-11 of the mixup paper's experiments with speech."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mixup_lab.models.checks import check_at_least, check_pictures
from mixup_lab.models.initialise import he_normal
from mixup_lab.models.padding import zeros_around

STAGES = ((1,), (2,), (4, 4), (8, 8), (8, 8))  # channels of the convolutions in widths; pooling after each stage
HALVED = 2 ** len(STAGES)


class SpeechVGG11(nn.Module):
    """Eight 3x3 convolutions in five stages, two linear layers.

    13,170,142 parameters for 30 classes of (1, 161, 101). Network A of Simonyan & Zisserman (2015). As in Y. Adi's
    GCommandsPytorch, for the data of Zhang et al. (2018, section 3.3), there is BatchNorm behind each convolution, and
    one hidden layer of 512 units in place of two of 4096; torchvision's `vgg11_bn` with those has 128.8 M parameters.
    Between the linear layers stands a ReLU, which GCommandsPytorch leaves out. Weights: `he_normal`. What is smaller
    than 32x32 gets zeros around it.

    Args:
        input_shape: `(C, M, T)`, any sizes >= 1.
        num_outputs: number of logits, >= 1.
        width: channels of the first convolution, >= 1; 64 in the paper.
    """

    mixup_layers = ("stages.0", "stages.1", "stages.2")  # where manifold_mixup mixes, beside the input

    def __init__(self, *, input_shape: Sequence[int], num_outputs: int, width: int = 64) -> None:
        super().__init__()
        channels, height, width_in = check_pictures("SpeechVGG11", input_shape, num_outputs)
        check_at_least("width", width, 1)
        self.pad, height, width_in = zeros_around(height, width_in, HALVED)
        stages = []
        for factors in STAGES:
            layers: list[nn.Module] = []
            for factor in factors:
                layers += _convolution(channels, factor * width)
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

    def forward(self, inputs: Tensor) -> Tensor:
        """`(B, C, M, T)` to logits `(B, num_outputs)`."""
        logits: Tensor = self.head(self.stages(self.pad(inputs)))
        return logits


def _convolution(num_in: int, num_out: int) -> list[nn.Module]:
    """No bias: BN would take it away again."""
    return [nn.Conv2d(num_in, num_out, 3, padding=1, bias=False), nn.BatchNorm2d(num_out), nn.ReLU(inplace=True)]
