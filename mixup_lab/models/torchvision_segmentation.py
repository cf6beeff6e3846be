"""The segmentation models of torchvision, fitted to the pictures and classes at hand."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mixup_lab.models.checks import check_name, check_pictures
from mixup_lab.models.torchvision import change_input_channels, check_weights, downloads, load_backbone
from mixup_lab.models.weights import is_file, load_weights, read_weights


class TorchvisionSegmentation(nn.Module):
    """One of `torchvision.models.segmentation` with one output tensor: `(B, C, H, W)` to `(B, num_outputs, H, W)`.

    FCN (Long et al., 2015), DeepLabv3 (Chen et al., 2017) and LR-ASPP (Howard et al., 2019), without the auxiliary loss
    that some recipes add. If C is not 3, the first convolution is replaced as in `torchvision_model`.

    Args:
        input_shape: `(C, H, W)`.
        name: any name of `torchvision.models.list_models(module=torchvision.models.segmentation)`.
        weights: `DEFAULT` or a name such as `COCO_WITH_VOC_LABELS_V1` loads pretrained weights (downloaded at first
            use) and puts new last layers on them. A path loads a state dict of the whole model from that file.
        weights_backbone: `DEFAULT` or a name such as `IMAGENET1K_V1`: pretrained weights of the backbone alone. A path
            loads those of a classification model.

    Raises:
        ValueError: for an unknown name or weights, for a failed download, and for a file that does not fit.
    """

    answers = "masks"

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        num_outputs: int,
        name: str = "deeplabv3_mobilenet_v3_large",
        weights: str | None = None,
        weights_backbone: str | None = None,
    ) -> None:
        super().__init__()
        # Imported late: torchvision takes long, and runs with other models do not need it.
        from torchvision import models

        channels, _, _ = check_pictures(f"torchvision's {name}", input_shape, num_outputs)
        check_name("segmentation models of torchvision", name, models.list_models(module=models.segmentation))
        check_weights(name, weights)
        backbone = next(kind for kind in ("resnet50", "resnet101", "mobilenet_v3_large") if name.endswith(kind))
        check_weights(backbone, weights_backbone)
        published = None if is_file(weights) else weights
        # Published weights can only be loaded into torchvision's own last layers.
        facts: dict[str, Any] = {} if published else {"num_classes": num_outputs}
        facts["weights_backbone"] = None if is_file(weights_backbone) else weights_backbone
        with downloads(name):
            self.net: nn.Module = models.get_model(name, weights=published, **facts)
        if published is not None:
            self.net.aux_classifier = None
            _replace_last(self.net, num_outputs)
        if weights_backbone is not None and is_file(weights_backbone):
            load_backbone(self.net.get_submodule("backbone"), backbone, weights_backbone)
        if weights is not None and is_file(weights):
            heads = [f"classifier.{last}" for last in _last(self.net)] + ["aux_classifier"]
            content = read_weights("weights", weights)
            load_weights(f"torchvision's {name}", self.net, "weights", weights, content, heads)
        if channels != 3:
            change_input_channels(self.net, channels, pretrained=bool(weights or weights_backbone))
        # Not deeper: LR-ASPP has a skip connection from block 4.
        inner = ("0", "2") if "mobilenet" in name else ("layer1", "layer2", "layer3")
        self.mixup_layers = tuple(f"net.backbone.{layer}" for layer in inner)

    def forward(self, inputs: Tensor) -> Tensor:
        """`(B, C, H, W)` to logits `(B, num_outputs, H, W)`, scaled up to the size of the pictures."""
        logits: Tensor = self.net(inputs)["out"]
        return logits


def _last(net: nn.Module) -> list[str]:
    """The 1x1 convolutions of the classifier with one channel for each class: the last one, or the two of LR-ASPP."""
    names = [name for name, _ in net.get_submodule("classifier").named_children()]
    return [name for name in names if name.endswith("_classifier")] or names[-1:]


def _replace_last(net: nn.Module, num_outputs: int) -> None:
    """New convolutions instead of the last ones."""
    head = net.get_submodule("classifier")
    for name in _last(net):
        old = head.get_submodule(name)
        assert isinstance(old, nn.Conv2d)
        setattr(head, name, nn.Conv2d(old.in_channels, num_outputs, 1))
