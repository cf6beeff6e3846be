"""A small convolutional network for spectrograms."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mixup_lab.models.checks import check_at_least, check_dropout, check_pictures
from mixup_lab.models.initialise import he_normal


class AudioCNN(nn.Module):
    """Three 3x3 convolutions with pooling, a mean over time, a linear layer.

    26,618 parameters for 10 classes of 40 bands.
    Our own design. The mean is over time alone, so that it matters at which frequency something is heard and not when:
    a picture's mean over height and width would forget both. Pooling comes before BatchNorm and ReLU, which then see a
    quarter of the values. Weights: `he_normal`.

    Args:
        input_shape: `(C, M, T)`: bands and frames, both >= 8; C is 1 for one spectrogram.
        num_outputs: number of logits, >= 1.
        width: channels of the first stage, >= 1; the others have 2 and 4 times as many.
        dropout: probability in [0, 1) of zeroing a feature before the last layer in training.
    """

    mixup_layers = ("stages.0", "stages.1", "stages.2")  # where manifold_mixup mixes, beside the input

    def __init__(self, *, input_shape: Sequence[int], num_outputs: int, width: int = 16, dropout: float = 0.0) -> None:
        super().__init__()
        channels, bands, _ = check_pictures("AudioCNN", input_shape, num_outputs, smallest=8)
        check_at_least("width", width, 1)
        check_dropout(dropout)
        self.stages = nn.Sequential(
            _stage(channels, width),
            _stage(width, 2 * width),
            _stage(2 * width, 4 * width),
        )
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d((bands // 8, 1)),
            nn.Flatten(),
            nn.Dropout(dropout) if dropout else nn.Identity(),
            nn.Linear(4 * width * (bands // 8), num_outputs),
        )
        he_normal(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """`(B, C, M, T)` to logits `(B, num_outputs)`."""
        logits: Tensor = self.head(self.stages(inputs))
        return logits


def _stage(num_in: int, num_out: int) -> nn.Sequential:
    """3x3 convolution - 2x2 max - BN - ReLU. No bias: BN would take it away again."""
    return nn.Sequential(
        nn.Conv2d(num_in, num_out, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(num_out),
        nn.ReLU(inplace=True),
    )
