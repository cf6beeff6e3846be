"""Any classification model of torchvision, fitted to the pictures and classes at hand."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mixup_lab.models.checks import check_forward, check_name, check_pictures
from mixup_lab.models.weights import check_reachable, is_file, load_weights, read_weights

SMALL_STEM_FAMILIES = "resnet*, resnext*, wide_resnet*, densenet*"


def torchvision_model(
    *,
    input_shape: Sequence[int],
    num_outputs: int,
    name: str = "resnet18",
    small_stem: bool = False,
    weights: str | None = None,
    model_args: dict[str, Any] | None = None,
) -> nn.Module:
    """Builds `torchvision.models.<name>` for pictures `(B, C, H, W)` and logits `(B, num_outputs)`.

    Without `weights` the initial weights are torchvision's own. If C is not 3, the first convolution is replaced: by
    random filters of the same response variance or, with `weights`, by the mean of the pretrained filters over colours,
    so that a grey picture gets the same output as in RGB. A small stem is always random.

    Args:
        input_shape: `(C, H, W)`; an empty picture shows whether the family takes this size. The positional embedding of
            vision transformers is built for H x W, which must be square.
        name: any name of `torchvision.models.list_models(module=torchvision.models)`.
        small_stem: for small pictures, a 3x3 stem of stride 1 without max pooling instead of 7x7, stride 2 and pooling
            (He et al., 2016, section 4.2). Only for resnet*, resnext*, wide_resnet*, densenet*.
        weights: `DEFAULT` or a name such as `IMAGENET1K_V1` loads pretrained weights (downloaded at first use) and puts
            a new last layer on them. A path loads a state dict for pictures in RGB from that file; its last layer is
            kept if it has `num_outputs` outputs.
        model_args: more arguments of that model, e.g. `{dropout: 0.3}` for vgg*, efficientnet*, mobilenet*.

    Raises:
        ValueError: an unknown name or weights, a shape or arguments that the model does not take, a failed download, a
            file that does not fit.
    """
    # Imported late: torchvision takes long, and runs with other models do not need it.
    from torchvision import models

    channels, height, width = check_pictures(f"torchvision's {name}", input_shape, num_outputs)
    check_name("models of torchvision", name, models.list_models(module=models))
    check_weights(name, weights)

    file = weights if is_file(weights) else None
    published = None if file else weights
    # Published weights can only be loaded into torchvision's own head.
    arguments: dict[str, Any] = {} if published else {"num_classes": num_outputs}
    arguments |= _family_arguments(name, height, width, pretrained=weights is not None)
    arguments |= model_args or {}
    with downloads(name):
        try:
            model: nn.Module = models.get_model(name, weights=published, **arguments)
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise ValueError(f"torchvision cannot build {name} for {tuple(input_shape)}: {error}") from error

    if file is not None:
        heads = (_head(model)[0], "aux1", "aux2", "AuxLogits")
        load_weights(f"torchvision's {name}", model, "weights", file, read_weights("weights", file), heads)
    if published is not None:
        _replace_head(model, num_outputs)
    if small_stem:
        _put_small_stem(name, model, channels)
    elif channels != 3:
        change_input_channels(model, channels, pretrained=weights is not None)
    check_forward(f"torchvision's {name}", model, input_shape, num_outputs)
    return model


def check_weights(name: str, weights: str | None) -> None:
    """Raises `ValueError` unless these weights of a model are a file, or published and can be had, or None."""
    from torchvision import models

    if weights is None or is_file(weights):
        return
    entries = models.get_model_weights(name).__members__
    check_name(f"weights of torchvision's {name}", weights, list(entries))
    url = entries[weights].url
    if not Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2]).is_file():
        check_reachable(f"torchvision's {name}", url)


@contextmanager
def downloads(name: str) -> Iterator[None]:
    """Turns a failed download of the weights of a model into a `ValueError`."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"weights of torchvision's {name} could not be downloaded: {error}; set model.weights=FILE to load a file"
        ) from error


def load_backbone(body: nn.Module, name: str, file: str) -> None:
    """Puts the layers that a backbone shares with a classification model into it, from a state dict of that model."""
    content = read_weights("weights_backbone", file)
    load_weights(f"torchvision's {name}", body, "weights_backbone", file, content, ("fc", "classifier"))


def _family_arguments(name: str, height: int, width: int, pretrained: bool) -> dict[str, Any]:
    """Arguments that the constructors of a few families need."""
    if name in ("googlenet", "inception_v3"):
        # With auxiliary logits the output in training is a tuple; the transform assumes ImageNet's mean and RGB.
        return {"aux_logits": False, "transform_input": False, "init_weights": not pretrained}
    if name.startswith("vit_"):
        if height != width:
            raise ValueError(f"torchvision's {name} takes square pictures, got {height}x{width}")
        return {"image_size": height}
    if name.startswith("maxvit_"):
        return {"input_size": (height, width)}
    return {}


def _head(model: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """The last layer and its place. In every family it is the last linear or 1x1 convolution."""
    return [(path, m) for path, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))][-1]


def _replace_head(model: nn.Module, num_outputs: int) -> None:
    """Puts a new last layer on a pretrained model."""
    path, old = _head(model)
    new: nn.Module
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, num_outputs, bias=old.bias is not None)
    else:
        new = nn.Conv2d(old.in_channels, num_outputs, 1)  # SqueezeNet
    model.set_submodule(path, new)


def _put_small_stem(name: str, model: nn.Module, channels: int) -> None:
    """Replaces the stem by 3x3, stride 1, no max pooling."""
    from torchvision import models

    if isinstance(model, models.ResNet):
        conv, pool = "conv1", "maxpool"
    elif isinstance(model, models.DenseNet):
        conv, pool = "features.conv0", "features.pool0"
    else:
        raise ValueError(f"small_stem is defined for {SMALL_STEM_FAMILIES} only, not for {name}")
    old = model.get_submodule(conv)
    assert isinstance(old, nn.Conv2d)
    stem = nn.Conv2d(channels, old.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    model.set_submodule(conv, stem)
    model.set_submodule(pool, nn.Identity())


def change_input_channels(model: nn.Module, channels: int, pretrained: bool) -> None:
    """Replaces the first convolution by one for `channels` input channels instead of 3."""
    path, old = next((path, m) for path, m in model.named_modules() if isinstance(m, nn.Conv2d))
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        stride=old.stride,  # type: ignore[arg-type]
        padding=old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    with torch.no_grad():
        if pretrained:
            new.weight.copy_(old.weight.mean(1, keepdim=True) * (3 / channels))
        else:
            new.weight.copy_(torch.randn_like(new.weight) * old.weight.std() * math.sqrt(3 / channels))
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    model.set_submodule(path, new)
