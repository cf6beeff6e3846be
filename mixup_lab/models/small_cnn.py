"""A small convolutional network that learns much for its cost, on a CPU too."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mixup_lab.models.checks import check_at_least, check_dropout, check_pictures
from mixup_lab.models.initialise import he_normal


class SmallCNN(nn.Module):
    """Four 3x3 convolutions with BatchNorm, the first three with pooling: 391,466 parameters for 10 classes of RGB.

    Our own design. Channels double as the picture halves, so the last three convolutions cost the same. Pooling comes
    before BatchNorm and ReLU, which then see a quarter of the values: a fifth less time for a step on a CPU.
    The last pooling is a mean over the picture: with a max the default learning rate of 0.1 made training collapse.
    Weights: `he_normal`.

    Args:
        input_shape: `(C, H, W)`, H and W >= 8.
        num_outputs: number of logits, >= 1.
        width: channels of the first stage, >= 1; the others have 2, 4, 8 times as many.
        dropout: probability in [0, 1) of zeroing a feature before the last layer in training.
    """

    mixup_layers = ("stages.0", "stages.1", "stages.2")  # where manifold_mixup mixes, beside the input

    def __init__(self, *, input_shape: Sequence[int], num_outputs: int, width: int = 32, dropout: float = 0.0) -> None:
        super().__init__()
        channels, _, _ = check_pictures("SmallCNN", input_shape, num_outputs, smallest=8)
        check_at_least("width", width, 1)
        check_dropout(dropout)

        self.stages = nn.Sequential(
            _stage(channels, width, pool=True),
            _stage(width, 2 * width, pool=True),
            _stage(2 * width, 4 * width, pool=True),
            _stage(4 * width, 8 * width, pool=False),
        )
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout) if dropout else nn.Identity(),
            nn.Linear(8 * width, num_outputs),
        )
        he_normal(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """`(B, C, H, W)` to logits `(B, num_outputs)`."""
        logits: Tensor = self.head(self.stages(inputs))
        return logits


def _stage(num_in: int, num_out: int, pool: bool) -> nn.Sequential:
    """3x3 convolution - (2x2 max) - BN - ReLU. No bias: BN would take it away again."""
    return nn.Sequential(
        nn.Conv2d(num_in, num_out, 3, padding=1, bias=False),
        nn.MaxPool2d(2) if pool else nn.Identity(),
        nn.BatchNorm2d(num_out),
        nn.ReLU(inplace=True),
    )
