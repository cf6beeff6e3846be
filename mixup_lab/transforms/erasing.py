"""Blank a rectangle of each picture: the parts of `Augment` for Cutout and Random Erasing.

Both draw the place of the rectangle in shares of the picture, whose size is not known before `apply`, and blank all
pictures of a batch at once. S: steps; B: pictures of C, H, W in a batch.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mixup_lab.inputs.pictures import as_pictures, in_memory_order

FILLS = ("mean", "noise")
ATTEMPTS = 4  # rectangles drawn for each picture; the first that fits is used
MIDDLE_GREY = 128  # stands for the mean before `bind`


class Filled:
    """Fills with the mean of the data, a uint8 level for each channel."""

    def __init__(self) -> None:
        self.levels = torch.tensor([MIDDLE_GREY], dtype=torch.uint8)  # (C,) or (1,)

    def bind(self, mean: Sequence[float]) -> None:
        """Set the mean of each channel, on the scale [0, 1]: standardised it is 0, to within half a level."""
        self.levels = torch.tensor([round(255 * value) for value in mean], dtype=torch.uint8)

    def fill(self, inputs: Tensor) -> Tensor:
        """(C,) on the device of the inputs."""
        self.levels = self.levels.to(inputs.device)
        return self.levels.expand(inputs.shape[1])


class BlankSquare(Filled):
    """A square at a uniformly random centre becomes the mean of the data (DeVries & Taylor, 2017).

    The square may extend beyond the border, so that less is blanked there; the paper finds this important.

    Args:
        size: side of the square: an int >= 1 of pixels, or a float in (0, 1), the share of the picture's shorter side.
            The paper has 16 for CIFAR-10 and 8 for CIFAR-100 (a half and a quarter), after crop and flip.

    Raises:
        ValueError: for a size outside its range.
    """

    def __init__(self, size: int | float = 0.5) -> None:
        super().__init__()
        if not (size >= 1 if isinstance(size, int) else 0 < size < 1):
            raise ValueError(f"cutout must be a whole number of pixels or a share of the side in [0, 1), got {size}")
        self.size = size

    def pixels(self, height: int, width: int) -> int:
        """Side of the square in pictures of this size."""
        return self.size if isinstance(self.size, int) else max(1, round(self.size * min(height, width)))

    def draw(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """`centre` float32 (S, B, 2) in [0, 1): row and column as shares of height and width."""
        return {"centre": rng.random((steps, batch_size, 2), dtype=np.float32)}

    def apply(self, inputs: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """uint8 (B, C, H, W) to the same, in the same memory format."""
        height, width = inputs.shape[2:]
        size = self.pixels(height, width)
        top = (draw["centre"][:, 0] * height).floor() - size // 2
        left = (draw["centre"][:, 1] * width).floor() - size // 2
        return blanked(inputs, top, top + size, left, left + size, self.fill(inputs))


class BlankRectangle(Filled):
    """With a probability, a rectangle of random area, aspect and place is erased (Zhong et al., 2020).

    The area is uniform, the aspect log-uniform (as in torchvision, so that upright and flat ones are equally likely;
    uniform in the paper), the place uniform inside the picture. A rectangle that is as high or as wide as the picture
    is drawn again; after four attempts the picture is left as it is.

    Args:
        prob: share of the pictures in which a rectangle is erased, in [0, 1].
        area: smallest and largest share of the picture, 0 < smallest <= largest < 1.
        aspect: smallest and largest height / width, 0 < smallest <= largest.
        fill: `noise`, a random level for each pixel and channel (best in the paper), or `mean` of the data.

    Raises:
        ValueError: for values outside their range.
    """

    def __init__(
        self,
        prob: float = 0.5,
        area: Sequence[float] = (0.02, 0.33),
        aspect: Sequence[float] = (0.3, 3.3),
        fill: str = "noise",
    ) -> None:
        super().__init__()
        if not 0 <= prob <= 1:
            raise ValueError(f"erasing must be in [0, 1], got {prob}")
        _check_range("erasing_area", area, 1)
        _check_range("erasing_aspect", aspect, math.inf)
        if fill not in FILLS:
            raise ValueError(f"erasing_fill must be one of {', '.join(FILLS)}, got {fill}")
        self.prob, self.area, self.aspect, self.filling = prob, area, aspect, fill

    def draw(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """`erased` bool (S, B), `sides` float32 (S, B, 4, 2), `place` float32 (S, B, 2), `noise` int32 (S, B).

        `sides` are height and width of the rectangles of all attempts in a picture of area 1, `place` is in [0, 1),
        `noise` is the seed of an example's noise.
        """
        shape = (steps, batch_size)
        erased = rng.random(shape) < self.prob
        place = rng.random((*shape, 2), dtype=np.float32)
        noise = rng.integers(-(2**31), 2**31, shape, dtype=np.int32)
        area = rng.uniform(self.area[0], self.area[1], (*shape, ATTEMPTS))
        aspect = np.exp(rng.uniform(math.log(self.aspect[0]), math.log(self.aspect[1]), (*shape, ATTEMPTS)))
        sides = np.sqrt(np.stack([area * aspect, area / aspect], -1)).astype(np.float32)
        return {"erased": erased, "sides": sides, "place": place, "noise": noise}

    def apply(self, inputs: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """uint8 (B, C, H, W) to the same, in the same memory format."""
        height, width = inputs.shape[2:]
        high, wide = (draw["sides"] * math.sqrt(height * width)).round().unbind(2)  # (B, 4) in pixels
        fits = (high < height) & (wide < width)
        first = fits.to(torch.uint8).argmax(1, keepdim=True)  # that fits
        erased = draw["erased"] & fits.any(1)
        high, wide = (side.gather(1, first).squeeze(1) * erased for side in (high, wide))
        top = (draw["place"][:, 0] * (height - high + 1)).floor()
        left = (draw["place"][:, 1] * (width - wide + 1)).floor()
        fill = self.fill(inputs) if self.filling == "mean" else _noise(draw["noise"], inputs.shape)
        return blanked(inputs, top, top + high, left, left + wide, fill)


def _check_range(name: str, pair: Sequence[float], limit: float) -> None:
    """Raise ValueError unless `pair` is [smallest, largest], both in (0, limit)."""
    if not (isinstance(pair, Sequence) and len(pair) == 2 and 0 < pair[0] <= pair[1] < limit):
        raise ValueError(f"{name} must be [smallest, largest] with 0 < smallest <= largest < {limit}, got {pair}")


def blanked(inputs: Tensor, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor, fill: Tensor) -> Tensor:
    """Copies of the pictures with a rectangle of each replaced by `fill`, in the same memory format.

    Args:
        inputs: uint8 (B, C, H, W).
        top: (B,) the first row; the rectangle may lie partly or wholly outside the picture.
        bottom: (B,) the row after the last.
        left: (B,) the first column.
        right: (B,) the column after the last.
        fill: uint8 (C,), or (B, C, H, W) with a value of its own for each pixel.
    """
    planes = in_memory_order(inputs)
    _, count, height, width, values = planes.shape
    if fill.dim() == 1:
        fill = fill.view(count, 1, 1, values).expand(-1, -1, width, -1)
    else:
        fill = fill.unsqueeze(4) if values == 1 else fill.movedim(1, -1).unsqueeze(1)
    rows = _between(height, top, bottom)
    columns = _between(width, left, right).repeat_interleave(values, 1)
    mask = rows[:, None, :, None] & columns[:, None, None, :]  # (B, 1, H, W * values)
    # Operations on bits are several times as fast as torch.where.
    lines = planes.flatten(3)
    out = (lines ^ fill.flatten(-2)).bitwise_and_(mask).bitwise_xor_(lines)
    return as_pictures(out.view(planes.shape))


def _between(size: int, first: Tensor, end: Tensor) -> Tensor:
    """uint8 (B, size): 255 from `first` up to, but not including, `end`; else 0."""
    place = torch.arange(size, device=first.device)
    return ((place >= first[:, None]) & (place < end[:, None])).to(torch.uint8) * 255


def _noise(seed: Tensor, shape: torch.Size) -> Tensor:
    """uint8 (B, C, H, W) that looks random: a hash of an example's seed and the place, four bytes at a time.

    Unlike numbers from a torch generator, it is the same on every device and in every batch.
    """
    batch, channels, height, width = shape
    count = height * width * channels
    bits = torch.arange(-(-count // 4), dtype=torch.int32, device=seed.device) * -1640531527 + seed[:, None]
    for _ in range(2):
        bits = ((bits >> 16) & 0xFFFF).bitwise_xor_(bits).mul_(0x45D9F3B)  # integers wrap around
    bits = ((bits >> 16) & 0xFFFF).bitwise_xor_(bits)
    return bits.view(torch.uint8)[:, :count].reshape(batch, height, width, channels).movedim(-1, 1)
