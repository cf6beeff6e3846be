"""Wide residual networks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mixup_lab.models.checks import check_at_least, check_dropout, check_pictures
from mixup_lab.models.initialise import he_normal
from mixup_lab.models.preact_resnet import pre_act_stage


class WideResNet(nn.Module):
    """WRN-depth-widen_factor: three stages of pre-activation blocks, then BN - ReLU - pooling - linear.

    Zagoruyko & Komodakis (2016), table 1. WRN-28-10 has 36,479,194 parameters for 10 classes of RGB (36.5 M in the
    paper's table 4). Weights: `he_normal`, as in the authors' code.

    Args:
        input_shape: `(C, H, W)`, any sizes >= 1.
        num_outputs: number of logits, >= 1.
        depth: convolutions on the longest path, 6 n + 4: 10, 16, 22, 28, 34, 40, ...
        widen_factor: channels are 16, 32, 64 times this, >= 1.
        dropout: probability in [0, 1) between the two convolutions of a block; the paper has 0 and 0.3.
    """

    mixup_layers = ("stages.0", "stages.1")  # where manifold_mixup mixes, beside the input

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        num_outputs: int,
        depth: int = 28,
        widen_factor: int = 10,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, _, _ = check_pictures("WideResNet", input_shape, num_outputs)
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth must be 6 n + 4 with n >= 1 (10, 16, 22, 28, ...), got {depth}")
        check_at_least("widen_factor", widen_factor, 1)
        check_dropout(dropout)

        num_blocks = (depth - 4) // 6
        num_in = 16
        self.stem = nn.Conv2d(channels, num_in, 3, padding=1, bias=False)
        stages: list[nn.Module] = []
        for base, stride in ((16, 1), (32, 2), (64, 2)):
            num_out = base * widen_factor
            stages.append(pre_act_stage(num_blocks, num_in, num_out, stride, dropout))
            num_in = num_out
        self.stages = nn.Sequential(*stages)
        self.norm = nn.Sequential(nn.BatchNorm2d(num_in), nn.ReLU(inplace=True))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(num_in, num_outputs))
        he_normal(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """`(B, C, H, W)` to logits `(B, num_outputs)`."""
        logits: Tensor = self.head(self.norm(self.stages(self.stem(inputs))))
        return logits
