"""ResNeXt for small pictures."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from mixup_lab.models.checks import check_at_least, check_depth, check_pictures
from mixup_lab.models.layers import conv_norm_relu, he_normal, norm_relu, pooled_linear

EXPANSION = 4  # the stages have this times 64, 128, 256 channels, whatever the groups


class ResNeXtBlock(nn.Module):
    """1x1 - grouped 3x3 - 1x1, each with BN, plus the input. `(B, C, H, W)` to `(B, num_out, H', W')`.

    Xie et al. (2017), figure 3(c). ReLU after each BN but the last, which comes before the sum. Where the shape changes
    the shortcut is a 1x1 convolution with BN (option B).

    Args:
        num_in: input channels.
        num_out: output channels.
        inner: channels of the 3x3 convolution, a multiple of `groups`.
        groups: the cardinality.
        stride: of the 3x3 convolution, 1 or 2.
    """

    def __init__(self, num_in: int, num_out: int, inner: int, groups: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(num_in, inner, 1, bias=False),
            *norm_relu(inner),
            nn.Conv2d(inner, inner, 3, stride=stride, padding=1, groups=groups, bias=False),
            *norm_relu(inner),
            nn.Conv2d(inner, num_out, 1, bias=False),
            nn.BatchNorm2d(num_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or num_in != num_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(num_in, num_out, 1, stride=stride, bias=False), nn.BatchNorm2d(num_out)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """`(B, num_in, H, W)` to `(B, num_out, H / stride, W / stride)`."""
        return F.relu(self.residual(inputs) + self.shortcut(inputs))


class ResNeXt(nn.Sequential):
    """ResNeXt-depth, cardinality x base_width d, in the CIFAR form: `(B, C, H, W)` to `(B, num_outputs)`.

    Xie et al. (2017), section 5.3: 3x3 stem of 64 channels, three stages of (depth - 2) / 9 blocks of 256, 512 and
    1024 channels. The 3x3 convolution of stage s = 0, 1, 2 has cardinality * base_width * 2**s channels. For 10 classes
    of RGB that is 34,426,698 parameters for 29, 8x64d and 68,155,210 for 29, 16x64d (34.4 M and 68.1 M in the paper).
    By the same rule the 29, 4x24d of the PuzzleMix and Co-Mixup papers has 96, 192, 384 channels inside and 4,845,002
    parameters. Weights: `he_normal`, as in the authors' code.

    Args:
        input_shape: `(C, H, W)`, any sizes >= 1.
        depth: 9 n + 2: 11, 20, 29, 38, ...
        cardinality: number of groups, >= 1.
        base_width: channels of each group in the first stage, >= 1.
    """

    mixup_layers = ("stages.0", "stages.1")

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        num_outputs: int,
        depth: int = 29,
        cardinality: int = 4,
        base_width: int = 24,
    ) -> None:
        super().__init__()
        channels, _, _ = check_pictures("ResNeXt", input_shape, num_outputs)
        num_blocks = check_depth(depth, base=2, step=9)
        check_at_least(1, cardinality=cardinality, base_width=base_width)
        num_in = 64
        self.stem = conv_norm_relu(channels, num_in)
        stages: list[nn.Module] = []
        for index in range(3):
            blocks: list[nn.Module] = []
            num_out, inner = EXPANSION * 64 * 2**index, cardinality * base_width * 2**index
            for block in range(num_blocks):
                stride = 2 if index > 0 and block == 0 else 1
                blocks.append(ResNeXtBlock(num_in, num_out, inner, cardinality, stride))
                num_in = num_out
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.head = pooled_linear(num_in, num_outputs)
        he_normal(self)
