"""The small LeNet of many tutorials."""

from collections.abc import Sequence

from torch import nn

from mixup_lab.models.checks import check_pictures
from mixup_lab.models.layers import zeros_around

LENET_SIZE = 32


class SimpleNet(nn.Sequential):
    """Two 5x5 convolutions with pooling, three linear layers: `(B, C, H, W)` to `(B, num_outputs)`.

    LeCun et al. (1998), section II.B, in the form of today's tutorials: ReLU, max pooling, full connections; 62,006
    parameters for 10 classes of 3x32x32. LeNet's input is 32x32, with the 28x28 digits of MNIST in the middle. Smaller
    pictures are padded with zeros, the mean grey of standardised data. Larger pictures make the first linear layer
    larger. Pooling comes before ReLU: the same function and the same gradients for a quarter of the values.

    Args:
        input_shape: `(C, H, W)`, any sizes >= 1.
    """

    mixup_layers = ("features.2", "features.5")

    def __init__(self, *, input_shape: Sequence[int], num_outputs: int) -> None:
        super().__init__()
        channels, height, width = check_pictures("SimpleNet", input_shape, num_outputs)
        self.pad, height, width = zeros_around(height, width, LENET_SIZE)
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 16, 5),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * size_after(height) * size_after(width), 120),
            nn.ReLU(inplace=True),
            nn.Linear(120, 84),
            nn.ReLU(inplace=True),
            nn.Linear(84, num_outputs),
        )


def size_after(size: int) -> int:
    """Height or width after two rounds of 5x5 convolution without padding and pooling by 2: 32 gives 5."""
    for _ in range(2):
        size = (size - 4) // 2
    return size
