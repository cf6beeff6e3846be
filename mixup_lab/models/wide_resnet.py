"""Wide residual networks."""

from collections.abc import Sequence

from torch import nn

from mixup_lab.models.checks import check_at_least, check_depth, check_pictures, check_probability
from mixup_lab.models.layers import he_normal, norm_relu, pooled_linear
from mixup_lab.models.preact_resnet import pre_act_stages


class WideResNet(nn.Sequential):
    """WRN-depth-widen_factor: three stages of pre-activation blocks. `(B, C, H, W)` to `(B, num_outputs)`.

    Zagoruyko & Komodakis (2016), table 1. WRN-28-10 has 36,479,194 parameters for 10 classes of RGB (36.5 M in the
    paper's table 4). Weights: `he_normal`, as in the authors' code.

    Args:
        input_shape: `(C, H, W)`, any sizes >= 1.
        depth: convolutions on the longest path, 6 n + 4: 10, 16, 22, 28, 34, 40, ...
        widen_factor: channels are 16, 32, 64 times this, >= 1.
        dropout: probability in [0, 1) between the two convolutions of a block; the paper has 0 and 0.3.
    """

    mixup_layers = ("stages.0", "stages.1")

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
        num_blocks = check_depth(depth, base=4, step=6)
        check_at_least(1, widen_factor=widen_factor)
        check_probability(dropout=dropout)
        widths = [16 * widen_factor, 32 * widen_factor, 64 * widen_factor]
        self.stem = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.stages = pre_act_stages([num_blocks] * 3, 16, widths, dropout)
        self.norm = norm_relu(widths[-1])
        self.head = pooled_linear(widths[-1], num_outputs)
        he_normal(self)
