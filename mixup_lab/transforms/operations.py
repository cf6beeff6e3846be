"""The operations on pictures of AutoAugment and its successors, each for a whole batch.

Every picture of a batch has an operation and a strength of its own. Pictures with the same operation are processed
together, so that a batch takes some hundred calls of torch and not thousands. The results are those of torchvision's
kernels, except where a rounding error decides. Here no rounding depends on the other pictures in the batch: sums are of
whole numbers, and sines and cosines are computed on the host.

Shapes: `B` pictures of `C, H, W` with C 1 or 3, `n` pictures that get the same operation, `L` levels of strength.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

WARPS = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
SIGNED = (*WARPS, "Brightness", "Color", "Contrast", "Sharpness")  # done in both directions
NAMES = (*SIGNED, "Posterize", "Solarize", "AutoContrast", "Equalize", "Invert", "Identity")
NUMBER = {name: number for number, name in enumerate(NAMES)}


@dataclass(frozen=True)
class Space:
    """The strengths of the operations, from level 0, the weakest or none, to the last, whose strengths are given.

    Args:
        levels: L.
        shear: pixels sideways for each pixel across.
        shift: of a translation, as a share of the side.
        pixels: of a translation, in pixels, added to `shift`.
        degrees: of a rotation.
        enhance: difference of the factor of brightness, colour, contrast and sharpness from 1, the unchanged picture.
        bits: how many posterize keeps at level 0, and how many fewer at the last.
    """

    levels: int
    shear: float
    shift: float
    pixels: float
    degrees: float
    enhance: float
    bits: tuple[int, int]

    def magnitude(self, name: str, level: int, side: int) -> float:
        """The strength of an operation at a level, >= 0, in its own unit; `side` is that along a translation."""
        share = level / (self.levels - 1)
        if name.startswith("Shear"):
            return share * self.shear
        if name.startswith("Translate"):
            return math.floor(share * (self.shift * side + self.pixels))
        if name == "Rotate":
            return share * self.degrees
        if name == "Posterize":
            return round(self.bits[0] - share * self.bits[1])
        if name == "Solarize":
            return 1 - share
        return share * self.enhance if name in SIGNED else 0.0


@lru_cache(maxsize=16)
def settings(space: Space, height: int, width: int, device: torch.device) -> Tensor:
    """The settings of the kernels, float32 (operations, L, 2, 6): for each operation, level and direction, + and -.

    For a warp, six numbers map the place of an output pixel (x, y, 1) to the x and y of its source, both relative to
    the centre. The other operations use the first number only.
    """
    table = [
        [[_setting(name, space, level, sign, height, width) for sign in (1, -1)] for level in range(space.levels)]
        for name in NAMES
    ]
    return torch.tensor(table, dtype=torch.float32, device=device)


def _setting(name: str, space: Space, level: int, sign: int, height: int, width: int) -> tuple[float, ...]:
    m = sign * space.magnitude(name, level, width if name == "TranslateX" else height)
    match name:
        case "ShearX":  # the upper left corner stays, as in PIL
            return 1, m, m * height / 2, 0, 1, 0
        case "ShearY":
            return 1, 0, 0, m, 1, m * width / 2
        case "TranslateX":
            return 1, 0, -m, 0, 1, 0
        case "TranslateY":
            return 1, 0, 0, 0, 1, -m
        case "Rotate":
            cos, sin = math.cos(math.radians(m)), math.sin(math.radians(m))
            return cos, -sin, 0, sin, cos, 0
        case "Posterize":
            return (255 << (8 - abs(round(m)))) & 255, 0, 0, 0, 0, 0
        case "Solarize":
            return math.ceil(round(255 * abs(m), 4)), 0, 0, 0, 0, 0  # the first grey level that is inverted
        case _:
            return 1 + m, 0, 0, 0, 0, 0


def operate(pictures: Tensor, operation: Tensor, setting: Tensor, smooth: bool = False) -> Tensor:
    """One or more operations on each picture, one after another.

    Args:
        pictures: uint8 (B, C, H, W), in any memory format, which is kept; not changed in place.
        operation: int64 (B, rounds), positions in `NAMES`.
        setting: float32 (B, rounds, 6), from `settings`.
        smooth: whether warps interpolate bilinearly; else each pixel takes the nearest one.
    """
    out = pictures.clone(memory_format=torch.contiguous_format)
    numbers = torch.arange(len(NAMES), device=operation.device)
    counts = (operation.unsqueeze(2) == numbers).sum(0).tolist()  # on the host, once for all rounds
    orders = operation.argsort(dim=0).unbind(1)
    for count, order, values in zip(counts, orders, setting.unbind(1), strict=True):
        first = 0
        for names, kernel in KERNELS:
            size = sum(count[NUMBER[name]] for name in names)
            if size:
                rows = order[first : first + size]
                out.index_copy_(0, rows, kernel(out.index_select(0, rows), values.index_select(0, rows), smooth))
            first += size
    return torch.empty_like(pictures).copy_(out)


Kernel = Callable[[Tensor, Tensor, bool], Tensor]  # uint8 (n, C, H, W), their settings (n, 6), smooth -> uint8


def _warp(x: Tensor, setting: Tensor, smooth: bool) -> Tensor:
    """Shear, shift or rotate; areas from outside are black."""
    height, width = x.shape[2:]
    across = torch.arange(width, device=x.device) - (width - 1) / 2  # (W,) places from the centre
    down = (torch.arange(height, device=x.device) - (height - 1) / 2)[:, None]
    a = setting[:, :, None, None]
    column = (a[:, 0] * across + a[:, 2]) * (2 / width) + a[:, 1] * down * (2 / width)  # (n, H, W) in [-1, 1] if inside
    row = (a[:, 4] * down + a[:, 5]) * (2 / height) + a[:, 3] * across * (2 / height)
    grid = torch.stack([column, row], -1)
    out = F.grid_sample(x.float(), grid, "bilinear" if smooth else "nearest", "zeros", align_corners=False)
    return out.round_().to(torch.uint8)


def _color(x: Tensor, setting: Tensor, smooth: bool) -> Tensor:
    """Towards grey, or away from it; grey pictures stay the same."""
    return x if x.shape[1] == 1 else _between(_grey(x), x, setting)


def _contrast(x: Tensor, setting: Tensor, smooth: bool) -> Tensor:
    pixels = x.shape[2] * x.shape[3]
    mean = _grey(x).int().sum((1, 2, 3)).float() / pixels  # whole numbers: exact in any order
    return _between(mean[:, None, None, None], x, setting)


def _sharpness(x: Tensor, setting: Tensor, smooth: bool) -> Tensor:
    """Towards a slight blur, or away from it; pixels at the border stay the same."""
    if min(x.shape[2:]) <= 2:
        return x
    out = x.float()
    inner = out[:, :, 1:-1, 1:-1]
    nine = out[..., :-2] + out[..., 1:-1] + out[..., 2:]
    nine = nine[:, :, :-2] + nine[:, :, 1:-1] + nine[:, :, 2:]
    blur = ((nine + 4 * inner) / 13).round_()
    inner += (blur - inner) * (1 - _factor(setting))
    return _bytes(out)


def _autocontrast(x: Tensor, setting: Tensor, smooth: bool) -> Tensor:
    """Stretch each channel to 0..255; a channel with a single level stays the same."""
    low, high = x.amin((2, 3), keepdim=True).float(), x.amax((2, 3), keepdim=True).float()
    flat = high == low
    return _bytes((x - low.masked_fill(flat, 0)) / ((high - low) * (1 / 255)).masked_fill(flat, 1))


def _equalize(x: Tensor, setting: Tensor, smooth: bool) -> Tensor:
    """Make all levels of a channel about equally frequent, by PIL's arithmetic."""
    levels = x.flatten(2).flatten(0, 1).long()  # (n * C, H * W)
    counts = levels.new_zeros(len(levels), 256, dtype=torch.int32)
    counts.scatter_add_(1, levels, counts.new_ones(1).expand_as(levels))
    step = (levels.shape[1] - counts.gather(1, levels.amax(1, keepdim=True))) // 255
    below = counts.cumsum(1, dtype=torch.int32) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(max=255)
    table = torch.where(step == 0, torch.arange(256, dtype=torch.int32, device=x.device), table)
    return table.to(torch.uint8).gather(1, levels).view(x.shape)


KERNELS: tuple[tuple[tuple[str, ...], Kernel], ...] = (
    (WARPS, _warp),
    (("Brightness",), lambda x, setting, smooth: _bytes(x * _factor(setting))),
    (("Color",), _color),
    (("Contrast",), _contrast),
    (("Sharpness",), _sharpness),
    (("Posterize",), lambda x, setting, smooth: x & _factor(setting).to(torch.uint8)),
    (("Solarize",), lambda x, setting, smooth: x ^ ((x >= _factor(setting).to(torch.uint8)).to(torch.uint8) * 255)),
    (("AutoContrast",), _autocontrast),
    (("Equalize",), _equalize),
    (("Invert",), lambda x, setting, smooth: ~x),
)  # in the order of NAMES, without Identity


def _factor(setting: Tensor) -> Tensor:
    return setting[:, 0, None, None, None]


def _grey(x: Tensor) -> Tensor:
    """Brightness of each pixel in whole grey levels, float32 (n, 1, H, W)."""
    if x.shape[1] == 1:
        return x.float()
    return (x[:, :1] * 0.2989 + x[:, 1:2] * 0.587 + x[:, 2:] * 0.114).floor_()


def _between(start: Tensor, x: Tensor, setting: Tensor) -> Tensor:
    """Interpolate from `start` (factor 0) to the pictures (factor 1), and beyond."""
    factor = _factor(setting)
    return _bytes(x * factor + start * (1 - factor))


def _bytes(x: Tensor) -> Tensor:
    return x.clamp_(0, 255).to(torch.uint8)
