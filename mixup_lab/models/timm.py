"""Any model of timm (PyTorch Image Models), fitted to the pictures and classes at hand."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from mixup_lab.models.checks import check_forward, check_name, check_pictures


def timm_model(
    *,
    input_shape: Sequence[int],
    num_outputs: int,
    name: str = "resnet18",
    pretrained: bool = False,
    model_args: dict[str, Any] | None = None,
) -> nn.Module:
    """Builds `timm.create_model(name)` for pictures `(B, C, H, W)` and logits `(B, num_outputs)`.

    timm adapts the first layer to C and the last one to `num_outputs`, with pretrained weights too. Models with a fixed
    picture size, such as vision transformers, are built for H x W, unless `model_args` has `img_size`.

    Args:
        input_shape: `(C, H, W)`; an empty picture shows whether the family takes this size.
        name: any name of `timm.list_models()`, with or without a tag: `resnet18`, `vit_tiny_patch16_224.augreg_in21k`.
        pretrained: load pretrained weights (downloaded at first use).
        model_args: more arguments of that model, e.g. `{drop_rate: 0.1, patch_size: 4}`.

    Raises:
        ValueError: timm is not installed, the name is unknown, the model does not take the shape or the arguments, or
            the weights cannot be loaded.
    """
    try:
        import timm
    except ImportError as error:
        raise ValueError("model=timm needs the package timm: pip install 'mixup-lab[timm]'") from error

    channels, height, width = check_pictures(f"timm's {name}", input_shape, num_outputs)
    if not timm.is_model(name):
        check_name("models of timm", name, timm.list_models())
    try:
        arguments: dict[str, Any] = {"num_classes": num_outputs, "in_chans": channels}
        # timm itself uses this flag for models whose constructor takes the picture size.
        published = timm.get_pretrained_cfg(name, allow_unregistered=True)
        if published is not None and published.fixed_input_size:
            arguments["img_size"] = (height, width)
        arguments |= model_args or {}
        model: nn.Module = timm.create_model(name, pretrained=pretrained, **arguments)
    # A download or another package's constructor can fail in many ways; the user needs the original message.
    except Exception as error:
        settings = f"pretrained={pretrained}, {tuple(input_shape)}, model_args={model_args or {}}"
        raise ValueError(f"timm cannot build {name} for {settings}: {error}") from error
    check_forward(f"timm's {name}", model, input_shape, num_outputs)
    return model
