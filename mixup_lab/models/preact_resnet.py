"""Pre-activation ResNets for small pictures."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from mixup_lab.models.checks import check_at_least, check_pictures
from mixup_lab.models.layers import drop, he_normal, norm_relu, pooled_linear


class PreActBlock(nn.Module):
    """BN - ReLU - 3x3 - BN - ReLU - (dropout) - 3x3, plus the input. `(B, C, H, W)` to `(B, num_out, H', W')`.

    He et al. (2016), "Identity mappings in deep residual networks", figure 4(e). Where the shape changes, the shortcut
    is a 1x1 convolution of the activated input, as in the authors' code; elsewhere it is the input, untouched.

    Args:
        num_in: input channels.
        num_out: output channels.
        stride: 1, or 2 to halve height and width (rounded up).
        dropout: probability before the second convolution (Zagoruyko & Komodakis, 2016, section 2.4).
    """

    def __init__(self, num_in: int, num_out: int, stride: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(num_in)
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(num_out)
        self.dropout = drop(dropout)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.shortcut: nn.Conv2d | None = None
        if stride != 1 or num_in != num_out:
            self.shortcut = nn.Conv2d(num_in, num_out, 1, stride=stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """`(B, num_in, H, W)` to `(B, num_out, H / stride, W / stride)`."""
        active = F.relu(self.norm1(inputs), inplace=True)
        skip = inputs if self.shortcut is None else self.shortcut(active)
        residual = self.dropout(F.relu(self.norm2(self.conv1(active)), inplace=True))
        out: Tensor = self.conv2(residual) + skip
        return out


class PreActResNet(nn.Sequential):
    """Pre-activation ResNet, by default the PreAct ResNet-18 of the mixup paper: `(B, C, H, W)` to `(B, num_outputs)`.

    He et al. (2016) for the blocks; Zhang et al. (2018), section 3.2, for the network: a 3x3 stem without pooling, 64
    channels that double at each of three halvings. He et al. put one more BatchNorm and ReLU after the last block; the
    network of the mixup authors' code has none. We follow the latter: 11,171,146 parameters for 10 classes of RGB;
    `final_norm=true` follows the former, 11,172,170. Weights: `he_normal`.

    Args:
        input_shape: `(C, H, W)`, any sizes >= 1; 8x8 leaves a map of 1x1 for the last stage.
        blocks: two-convolution blocks in each stage; every stage but the first halves the picture.
        width: channels of the first stage, >= 1.
        final_norm: BatchNorm and ReLU before the pooling.
    """

    mixup_layers = ("stages.0", "stages.1")

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        num_outputs: int,
        blocks: Sequence[int] = (2, 2, 2, 2),
        width: int = 64,
        final_norm: bool = False,
    ) -> None:
        super().__init__()
        channels, _, _ = check_pictures("PreActResNet", input_shape, num_outputs)
        if not blocks or min(blocks) < 1:
            raise ValueError(f"blocks must hold a number >= 1 for each stage, got {list(blocks)}")
        check_at_least(1, width=width)
        widths = [width * 2**stage for stage in range(len(blocks))]
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.stages = pre_act_stages(blocks, width, widths)
        self.norm = norm_relu(widths[-1]) if final_norm else nn.Identity()
        self.head = pooled_linear(widths[-1], num_outputs)
        he_normal(self)


def pre_act_stages(blocks: Sequence[int], num_in: int, widths: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """One stage for each number of blocks and width; every stage but the first halves the picture."""
    stages: list[nn.Module] = []
    for num_blocks, num_out in zip(blocks, widths, strict=True):
        first = PreActBlock(num_in, num_out, 2 if stages else 1, dropout)
        stages.append(nn.Sequential(first, *(PreActBlock(num_out, num_out, 1, dropout) for _ in range(1, num_blocks))))
        num_in = num_out
    return nn.Sequential(*stages)
