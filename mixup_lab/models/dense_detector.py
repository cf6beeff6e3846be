"""A dense object detector on one map of features."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mixup_lab.models.checks import BOX_OUTPUTS, check_at_least, check_detector
from mixup_lab.models.layers import conv_norm_relu, he_normal

STRIDES = (4, 8, 16, 32)  # of the four stages of every trunk
RARE = 0.01  # initial probability of a class, since nearly all points are background (Lin et al., 2017)


class DenseDetector(nn.Module):
    """FCOS (Tian et al., 2019) on a single map, for pictures with objects of similar size.

    1x1 convolutions map the features of all stages from `stride` on to one width; they are added from the coarsest to
    the finest (Lin et al., 2017, Feature Pyramid Networks). Two 3x3 convolutions and one 1x1 compute the outputs from
    the finest map. Softplus keeps distances positive, with a gradient everywhere.

    Args:
        input_shape: `(C, H, W)`, H and W >= 32.
        num_outputs: classes + 5, >= 6.
        backbone: `small`, two convolutions in each stage, or a torchvision model of the family resnet*, resnext*,
            wide_resnet*, such as `resnet18`.
        width: channels of the sum of features and of the head, >= 1, and of the last three stages of `small`.
        stride: pixels from one point of the map to the next, 4 or 8.
        weights: of a torchvision backbone, see `torchvision_model`; None: drawn at random.
    """

    answers = "boxes"
    mixup_layers = ("stages.0", "stages.1")

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        num_outputs: int,
        backbone: str = "resnet18",
        width: int = 64,
        stride: int = 4,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        channels = check_detector("DenseDetector", input_shape, num_outputs)
        check_at_least(1, width=width)
        if stride not in STRIDES[:2]:
            raise ValueError(f"stride must be one of {', '.join(map(str, STRIDES[:2]))}, got {stride}")
        if backbone == "small":
            if weights is not None:
                raise ValueError(f"backbone=small has no weights={weights}")
            self.stem, self.stages, sizes = _small(channels, width)
        else:
            self.stem, self.stages, sizes = _resnet(backbone, input_shape, weights)
        self.first = STRIDES.index(stride)
        self.lateral = nn.ModuleList(nn.Conv2d(size, width, 1, bias=False) for size in sizes[self.first :])
        self.head = nn.Sequential(
            conv_norm_relu(width, width), conv_norm_relu(width, width), nn.Conv2d(width, num_outputs, 1)
        )
        fresh: list[nn.Module] = [self.lateral, self.head] + ([self.stem, self.stages] if backbone == "small" else [])
        for module in fresh:
            he_normal(module)
        last = self.head[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.normal_(last.weight, std=0.01)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        nn.init.constant_(last.bias[: num_outputs - BOX_OUTPUTS], math.log(RARE / (1 - RARE)))

    def forward(self, inputs: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, num_outputs, ceil(H / stride), ceil(W / stride))`.

        Logits of the classes, distances >= 0 to left, top, right and bottom edge in cells, logit of the centerness.
        """
        features, kept = self.stem(inputs), []
        for number, stage in enumerate(self.stages):
            features = stage(features)
            if number >= self.first:
                kept.append(features)
        added: Tensor | None = None
        for lateral, features in reversed(list(zip(self.lateral, kept, strict=True))):
            own = lateral(features)
            added = own if added is None else own + F.interpolate(added, size=own.shape[2:], mode="nearest")
        output: Tensor = self.head(added)
        classes = output.shape[1] - BOX_OUTPUTS
        return torch.cat([output[:, :classes], F.softplus(output[:, classes:-1]), output[:, -1:]], 1)


def _small(channels: int, width: int) -> tuple[nn.Module, nn.ModuleList, list[int]]:
    sizes = [max(1, width // 2), width, width, width]
    stem = conv_norm_relu(channels, max(1, width // 4), stride=2)
    before = [max(1, width // 4), *sizes]
    stages = [
        nn.Sequential(conv_norm_relu(a, b, stride=2), conv_norm_relu(b, b)) for a, b in zip(before, sizes, strict=False)
    ]
    return stem, nn.ModuleList(stages), sizes


def _resnet(name: str, input_shape: Sequence[int], weights: str | None) -> tuple[nn.Module, nn.ModuleList, list[int]]:
    # Imported late: torchvision takes long, and the small trunk does not need it.
    from torchvision.models import ResNet

    from mixup_lab.models.torchvision import torchvision_model

    model = torchvision_model(input_shape=input_shape, num_outputs=1, name=name, weights=weights)
    if not isinstance(model, ResNet):
        raise ValueError(f"backbone must be small or of the family resnet*, resnext*, wide_resnet*, got {name}")
    stages = nn.ModuleList([model.layer1, model.layer2, model.layer3, model.layer4])
    last = model.fc.in_features
    return nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool), stages, [last >> k for k in (3, 2, 1, 0)]
