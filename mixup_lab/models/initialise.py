"""Initial weights for deep convolutional networks."""

from __future__ import annotations

from torch import nn


def he_normal(module: nn.Module) -> None:
    """Draws every convolution of `module` from N(0, 2 / fan_out), in place, and sets biases of linear layers to zero.

    He et al. (2015), "Delving deep into rectifiers", eq. 14 (the backward case), as in the authors' code for ResNet,
    ResNeXt, Wide ResNet and DenseNet: fan_out = kernel height * width * output channels, whatever the groups.
    BatchNorm keeps scale 1 and shift 0; linear weights keep U(-1/sqrt(fan_in), 1/sqrt(fan_in)), torch's default.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
