"""Layers that several models share, and the initial weights of deep convolutional networks."""

from torch import nn


def drop(probability: float) -> nn.Module:
    """Dropout, or the identity for a probability of 0."""
    return nn.Dropout(probability) if probability else nn.Identity()


def norm_relu(channels: int) -> nn.Sequential:
    """BN - ReLU."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def conv_norm_relu(num_in: int, num_out: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution - BN - ReLU. No bias, which BN would remove."""
    return nn.Sequential(nn.Conv2d(num_in, num_out, 3, stride, padding=1, bias=False), *norm_relu(num_out))


def conv_pool_norm_relu(num_in: int, num_out: int, pool: bool = True) -> nn.Sequential:
    """3x3 convolution - 2x2 max - BN - ReLU. After the pooling, BN and ReLU process a quarter of the values."""
    conv = nn.Conv2d(num_in, num_out, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.MaxPool2d(2) if pool else nn.Identity(), *norm_relu(num_out))


def pooled_linear(channels: int, num_outputs: int) -> nn.Sequential:
    """Mean over the picture - linear: `(B, channels, H, W)` to `(B, num_outputs)`."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_outputs))


def zeros_around(height: int, width: int, smallest: int) -> tuple[nn.ZeroPad2d, int, int]:
    """A layer that pads pictures with zeros to at least `smallest` x `smallest`, and their new height and width."""
    rows, columns = max(0, smallest - height), max(0, smallest - width)
    top, left = rows // 2, columns // 2
    return nn.ZeroPad2d((left, columns - left, top, rows - top)), height + rows, width + columns


def he_normal(module: nn.Module) -> None:
    """Draws the weights of all convolutions from N(0, 2 / fan_out), in place, and sets biases of linear layers to zero.

    He et al. (2015), "Delving deep into rectifiers", eq. 14 (the backward case), as in the authors' code for ResNet,
    ResNeXt, Wide ResNet and DenseNet: fan_out = kernel height * width * output channels, whatever the groups.
    BatchNorm keeps scale 1 and shift 0; linear weights keep U(-1/sqrt(fan_in), 1/sqrt(fan_in)), torch's default.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
