"""Any model of timm (PyTorch Image Models), fitted to the pictures and classes at hand."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mixup_lab.models.checks import check_forward, check_name, check_pictures
from mixup_lab.models.weights import check_reachable, load_weights, read_weights


def timm_model(
    *,
    input_shape: Sequence[int],
    num_outputs: int,
    name: str = "resnet18",
    pretrained: bool = False,
    weights: str | None = None,
    model_args: dict[str, Any] | None = None,
) -> nn.Module:
    """Builds `timm.create_model(name)` for pictures `(B, C, H, W)` and logits `(B, num_outputs)`.

    timm adapts the first layer to C and the last one to `num_outputs`, with pretrained weights too. Models with a fixed
    picture size, such as vision transformers, are built for H x W, unless `model_args` has `img_size`.

    Args:
        input_shape: `(C, H, W)`; an empty picture shows whether the family takes this size.
        name: any name of `timm.list_models()`, with or without a tag: `resnet18`, `vit_tiny_patch16_224.augreg_in21k`.
        pretrained: load pretrained weights (downloaded at first use).
        weights: a file with a state dict of this model, as timm saves it; its last layer is kept if it has
            `num_outputs` outputs.
        model_args: more arguments of that model, e.g. `{drop_rate: 0.1, patch_size: 4}`, but none of
            `timm.create_model` itself, which load files.

    Raises:
        ValueError: timm is not installed, the name is unknown, the model does not take the shape or the arguments, or
            the weights cannot be loaded or do not fit.
    """
    try:
        import timm
    except ImportError as error:
        raise ValueError("model=timm needs the package timm: pip install 'mixup-lab[timm]'") from error

    channels, height, width = check_pictures(f"timm's {name}", input_shape, num_outputs)
    if not timm.is_model(name):
        check_name("models of timm", name, timm.list_models())
    of_timm = inspect.signature(timm.create_model).parameters.keys() & (model_args or {})
    if of_timm:
        raise ValueError(
            f"model_args must hold arguments of the network, got {', '.join(sorted(of_timm))} of timm.create_model;"
            " pretrained=true and weights=FILE load weights"
        )
    if weights is not None and pretrained:
        raise ValueError(f"weights={weights} and pretrained=true exclude each other")
    content = None if weights is None else read_weights("weights", weights)
    try:
        arguments: dict[str, Any] = {"num_classes": num_outputs, "in_chans": channels}
        # timm itself uses this flag for models whose constructor takes the picture size.
        published = timm.get_pretrained_cfg(name, allow_unregistered=True)
        if published is not None and published.fixed_input_size:
            arguments["img_size"] = (height, width)
        arguments |= model_args or {}
        overlay = _found(name, published) if pretrained and published is not None else None
        model: nn.Module = timm.create_model(name, pretrained=pretrained, pretrained_cfg_overlay=overlay, **arguments)
    # A download or another package's constructor can fail in many ways; the user needs the original message.
    except Exception as error:
        settings = f"pretrained={pretrained}, {tuple(input_shape)}, model_args={model_args or {}}"
        raise ValueError(f"timm cannot build {name} for {settings}: {error}") from error
    if weights is not None and content is not None:
        facts: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
        own = model.state_dict()
        for key in (f"{path}.weight" for path in _several(facts.get("first_conv"))):
            if key in content and key in own and content[key].shape[1] != own[key].shape[1] == channels:
                content[key] = timm.models.adapt_input_conv(channels, content[key])
        load_weights(f"timm's {name}", model, "weights", weights, content, _several(facts.get("classifier")))
    check_forward(f"timm's {name}", model, input_shape, num_outputs)
    return model


def _several(names: str | Sequence[str] | None) -> Sequence[str]:
    return (names,) if isinstance(names, str) else names or ()


def _found(name: str, published: Any) -> dict[str, Any] | None:
    """Where timm finds downloaded weights without asking the network; None: they have to be downloaded.

    Raises:
        ValueError: if they are not on this machine, and their host does not answer.
    """
    if published.hf_hub_id:
        from huggingface_hub import constants, try_to_load_from_cache

        repo, _, revision = published.hf_hub_id.partition("@")
        for file in filter(None, (published.hf_hub_filename, "model.safetensors", "pytorch_model.bin")):
            path = try_to_load_from_cache(repo, file, revision=revision or None)
            if isinstance(path, str):
                return {"file": path, "custom_load": False}
    if published.url:
        path = Path(torch.hub.get_dir(), "checkpoints", published.url.rpartition("/")[2])
        if path.is_file():
            return {"file": str(path)}
    if published.hf_hub_id:
        check_reachable(f"timm's {name}", f"{constants.ENDPOINT}/{repo}")
    elif published.url:
        check_reachable(f"timm's {name}", published.url)
    return None
