"""The dense detector FCOS of torchvision, with one tensor as its output."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mixup_lab.models.checks import BOX_OUTPUTS, check_detector
from mixup_lab.models.torchvision import check_weights, downloads, load_backbone
from mixup_lab.models.weights import is_file, load_weights, read_weights

LEVELS = (8, 16, 32, 64, 128)  # pixels from one point of a map to the next
WHOLE = "fcos_resnet50_fpn"  # the only one with weights for the whole detector


class TorchvisionDetection(nn.Module):
    """FCOS on a feature pyramid of five maps (Tian et al., 2019), with the head of torchvision.

    Resizing, standardising, losses and the choice of boxes are the program's own; torchvision's code for them is not
    used.

    Args:
        input_shape: `(3, H, W)`, H and W >= 32.
        num_outputs: classes + 5, >= 6.
        name: `fcos_BACKBONE_fpn` with a backbone of the family resnet*, resnext*, wide_resnet*; torchvision itself has
            `fcos_resnet50_fpn`.
        weights: `DEFAULT` or `COCO_V1` of `fcos_resnet50_fpn` (downloaded at first use), with a new layer for classes.
            A path loads a state dict of the whole detector, of any name, from that file.
        weights_backbone: `DEFAULT` or a name such as `IMAGENET1K_V1` of the backbone alone. A path loads those of a
            classification model.
        trainable_layers: how many of the five stages of a pretrained backbone are trained, in 0..5; None: 3. Without
            weights all are trained. BatchNorm of a pretrained backbone is frozen.
    """

    answers = "boxes"
    mixup_layers = ("model.backbone.body.layer1", "model.backbone.body.layer2")

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        num_outputs: int,
        name: str = WHOLE,
        weights: str | None = None,
        weights_backbone: str | None = None,
        trainable_layers: int | None = None,
    ) -> None:
        super().__init__()
        channels = check_detector("torchvision's FCOS", input_shape, num_outputs)
        if channels != 3:
            raise ValueError(
                f"torchvision's FCOS takes pictures in RGB, got {channels} channels; set dataset.channels=3"
            )
        if trainable_layers is not None and not 0 <= trainable_layers <= 5:
            raise ValueError(f"trainable_layers must be in 0..5 or null, got {trainable_layers}")
        self.model = _fcos(name, num_outputs - BOX_OUTPUTS, weights, weights_backbone, trainable_layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """`(B, 3, H, W)` to `(B, P, num_outputs + 3)`, P the points of all maps, finest first.

        Logits of the classes, distances >= 0 to left, top, right and bottom edge in cells, logit of the centerness, and
        x, y and size of the point's cell in pixels. As in torchvision, a point lies at the upper left of its cell.
        """
        maps = list(self.model.backbone(inputs).values())
        head = self.model.head(maps)
        columns = [head["cls_logits"], head["bbox_regression"], head["bbox_ctrness"]]
        places = [_places(feature.shape[2:], step, inputs.device) for feature, step in zip(maps, LEVELS, strict=True)]
        return torch.cat([*columns, torch.cat(places).expand(inputs.shape[0], -1, -1)], 2)


def _places(size: torch.Size, step: int, device: torch.device) -> Tensor:
    """x, y and size of the cells of one map, row by row: (h * w, 3) float32."""
    rows, columns = (torch.arange(count, device=device, dtype=torch.float32) * step for count in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y, torch.full_like(x, step)], 2).flatten(0, 1)


def _fcos(name: str, num_classes: int, weights: str | None, weights_backbone: str | None, trainable: int | None) -> Any:
    # Imported late: torchvision takes long, and runs with other models do not need it.
    from torchvision import models
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.models.detection.fcos import FCOS
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7
    from torchvision.ops.misc import FrozenBatchNorm2d

    match = re.fullmatch(r"fcos_((?:wide_)?resne[x]?t\w+)_fpn", name)
    if match is None or match[1] not in models.list_models(module=models):
        raise ValueError(f"name must be fcos_BACKBONE_fpn such as {WHOLE} or fcos_resnet18_fpn, got {name}")
    if weights is not None and weights_backbone is not None:
        raise ValueError(f"weights={weights} are those of the whole detector; leave weights_backbone out")
    file = weights if is_file(weights) else None
    if weights is not None and file is None and name != WHOLE:
        raise ValueError(f"weights={weights} need name={WHOLE}; for others set weights_backbone, or weights=FILE")
    check_weights(name, weights)
    check_weights(match[1], weights_backbone)
    trained = weights is not None or weights_backbone is not None
    layers = 5 if not trained else 3 if trainable is None else trainable
    with downloads(name):
        if weights is None or file is not None:
            published = None if is_file(weights_backbone) else weights_backbone
            backbone = resnet_fpn_backbone(
                backbone_name=match[1],
                weights=published and models.get_model_weights(match[1])[published],
                norm_layer=FrozenBatchNorm2d if trained else nn.BatchNorm2d,
                trainable_layers=layers,
                returned_layers=[2, 3, 4],
                extra_blocks=LastLevelP6P7(256, 256),
            )
            detector = FCOS(backbone, num_classes)
            if weights_backbone is not None and is_file(weights_backbone):
                load_backbone(backbone.body, match[1], weights_backbone)
            if file is not None:
                heads = ("head.classification_head.cls_logits",)
                load_weights(f"torchvision's {name}", detector, "weights", file, read_weights("weights", file), heads)
            return detector
        model = models.get_model(name, weights=weights, trainable_backbone_layers=layers)
    head = model.head.classification_head
    head.cls_logits = nn.Conv2d(head.cls_logits.in_channels, num_classes, 3, padding=1)
    nn.init.normal_(head.cls_logits.weight, std=0.01)
    nn.init.constant_(head.cls_logits.bias, -4.595)  # as in torchvision: a probability of 0.01
    head.num_classes = num_classes
    return model
