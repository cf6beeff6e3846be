"""The corruptions of pictures of Hendrycks and Dietterich (2019), with the parameters of CIFAR-10-C.

Their parameters are for pictures of 32 pixels; lengths in pixels grow with the shorter side of a picture. The code is
our own, for whole batches. Frost lies in textures that are generated; theirs are cut from five photographs.

B: pictures in a batch, C: channels. Pictures are float32 (B, C, H, W) in [0, 1], on any device; random numbers are
drawn on the host, so that they are the same on every device.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

Corruption = Callable[[Tensor, int, np.random.Generator], Tensor]  # pictures, severity 1..5, random numbers -> pictures
SIDE = 32  # of the pictures that the parameters are for
TRUNCATE = 4.0  # standard deviations of a Gaussian at which its kernel ends


def _on(x: Tensor, values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(x.device)


def _scale(x: Tensor) -> float:
    """The length of a pixel of a picture of 32 pixels, in pixels."""
    return min(x.shape[-2:]) / SIDE


# ---- noise ----------------------------------------------------------------------------------------------------------


def gaussian_noise(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """Normal noise on every value."""
    sigma = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
    return x + sigma * _on(x, rng.standard_normal(x.shape, dtype=np.float32))


def shot_noise(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """Poisson noise: a value is a count of photons."""
    photons = (500, 250, 100, 75, 50)[severity - 1]
    return _on(x, rng.poisson(x.cpu().numpy().astype(np.float64) * photons) / photons)


def impulse_noise(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """Salt and pepper: some values become 0 or 1."""
    amount = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    chance = _on(x, rng.random(x.shape, dtype=np.float32))
    return torch.where(chance < amount, (chance < amount / 2).float(), x)


# ---- blur -----------------------------------------------------------------------------------------------------------


def _padded(x: Tensor, up: int, left: int, mode: str = "reflect") -> Tensor:
    """A border of `up` rows and `left` columns on each side: mirrored at the edge pixels, several times if need be."""
    rows, columns = (_mirrored(n, border, mode, x.device) for n, border in zip(x.shape[-2:], (up, left), strict=True))
    return x[..., rows, :][..., columns]


def _mirrored(size: int, border: int, mode: str, device: torch.device) -> Tensor:
    """Indices of pixels with a border: `reflect` (d c b | a b c d | c b a) or `edge` (a a a | a b c d | d d)."""
    places = torch.arange(-border, size + border, device=device)
    if mode == "edge" or size == 1:
        return places.clamp(0, size - 1)
    places = places.abs() % (2 * (size - 1))
    return torch.minimum(places, 2 * (size - 1) - places)


def _filtered(x: Tensor, kernel: np.ndarray, mode: str = "reflect") -> Tensor:
    """Every channel under a kernel of odd sides."""
    height, width = kernel.shape
    padded = _padded(x, height // 2, width // 2, mode)
    planes = F.conv2d(padded.flatten(0, 1).unsqueeze(1), _on(x, kernel)[None, None])
    return planes.view(x.shape)


def gaussian(x: Tensor, sigma: float, mode: str = "edge", truncate: float = TRUNCATE) -> Tensor:
    """A Gaussian blur of planes (..., H, W) with a standard deviation in pixels."""
    radius = int(truncate * sigma + 0.5)
    if radius == 0:
        return x
    line = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    line = (line / line.sum())[None]
    return _filtered(_filtered(x, line, mode), line.T, mode)


def _disk(radius: float, blur: float) -> np.ndarray:
    """A disk that sums to 1, with an edge that is blurred by a Gaussian over 3 x 3 pixels."""
    size = max(1, math.ceil(radius))
    places = np.arange(-size - 1, size + 2)
    disk = (places[:, None] ** 2 + places**2 <= radius**2).astype(float)
    line = np.exp(-0.5 * (np.arange(-1, 2) / blur) ** 2)
    line /= line.sum()
    smooth = [np.convolve(row, line, mode="same") for row in disk / disk.sum()]
    return np.stack([np.convolve(column, line, mode="same") for column in np.array(smooth).T]).T


def defocus_blur(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """A lens out of focus: every point becomes a disk."""
    radius, blur = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))[severity - 1]
    return _filtered(x, _disk(radius * _scale(x), blur))


def glass_blur(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """Frosted glass: each pixel is taken from a near place, between two small blurs.

    The published code means to exchange two pixels, but copies one over the other; this does the same.
    """
    sigma, reach, times = ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))[severity - 1]
    sigma, reach = sigma * _scale(x), max(1, round(reach * _scale(x)))
    x, (height, width) = gaussian(x, sigma), x.shape[-2:]
    for _ in range(times):
        down, right = rng.integers(-reach, reach, (2, len(x), height, width))
        row, column = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        inside = (row > reach) & (row <= height - reach) & (column > reach) & (column <= width - reach)
        places = (row + inside * down) * width + column + inside * right
        index = torch.from_numpy(places.reshape(len(x), 1, -1)).to(x.device)
        x = x.flatten(2).gather(2, index.expand(-1, x.shape[1], -1)).view(x.shape)
    return gaussian(x, sigma)


def _moved(x: Tensor, radius: float, sigma: float, angle: np.ndarray) -> Tensor:
    """Half a Gaussian along a line from each pixel, at an angle (B,) in degrees for each picture."""
    length = 2 * math.ceil(radius) + 1
    weights = np.exp(-0.5 * (np.arange(length) / sigma) ** 2)
    weights /= weights.sum()
    height, width = x.shape[-2:]
    out = torch.zeros_like(x)
    steps = np.arange(length)[:, None]
    down, right = (np.ceil(steps * f(np.deg2rad(angle)) - 0.5).astype(np.int64) for f in (np.sin, np.cos))  # (K, B)
    rows = (torch.from_numpy(down)[..., None] + torch.arange(height)).clamp(0, height - 1).to(x.device)
    columns = (torch.from_numpy(right)[..., None] + torch.arange(width)).clamp(0, width - 1).to(x.device)
    flat = x.flatten(2)
    for weight, row, column in zip(weights.tolist(), rows, columns, strict=True):
        places = (row[:, :, None] * width + column[:, None, :]).flatten(1)  # (B, H * W)
        out += weight * flat.gather(2, places[:, None].expand(-1, x.shape[1], -1)).view(x.shape)
    return out


def motion_blur(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """A camera that moves in a random direction, at most 45 degrees from the horizontal."""
    radius, sigma = ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))[severity - 1]
    return _moved(x, radius * _scale(x), sigma * _scale(x), rng.uniform(-45, 45, len(x)))


def _zoomed(x: Tensor, factor: float) -> Tensor:
    """The middle of the pictures, `factor` times as large, in the size of the pictures."""
    height, width = x.shape[-2:]
    inner = [math.ceil(side / factor) for side in (height, width)]
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    crop = x[..., top : top + inner[0], left : left + inner[1]]
    large = F.interpolate(crop, [round(side * factor) for side in inner], mode="bilinear", align_corners=True)
    top, left = (large.shape[-2] - height) // 2, (large.shape[-1] - width) // 2
    return large[..., top : top + height, left : left + width]


def zoom_blur(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """A camera that moves towards the middle: the mean over zoomed pictures."""
    factors = np.arange(1, (1.06, 1.11, 1.16, 1.21, 1.26)[severity - 1], 0.01)  # as published, with its rounding
    total = x.clone()
    for factor in factors.tolist():
        total += _zoomed(x, factor)
    return total / (len(factors) + 1)


# ---- weather --------------------------------------------------------------------------------------------------------


def snow(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """Flakes that fall, in front of a paler picture."""
    mean, spread, zoom, least, radius, sigma, keep = (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95), (0.1, 0.2, 1, 0.5, 10, 4, 0.9), (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    )[severity - 1]  # fmt: skip
    layer = _zoomed(_on(x, rng.normal(mean, spread, (len(x), 1, *x.shape[-2:]))), zoom)
    layer = torch.where(layer < least, 0.0, layer).clamp(0, 1)
    layer = _moved(layer, radius * _scale(x), sigma * _scale(x), rng.uniform(-135, -45, len(x)))
    pale = torch.maximum(x, _grey(x) * 1.5 + 0.5)
    return keep * x + (1 - keep) * pale + layer + layer.flip((-2, -1))


def _grey(x: Tensor) -> Tensor:
    """The luma (B, 1, H, W) of ITU-R BT.601 of pictures with three channels, else their mean."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    return (x * x.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)


def frost(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """Ice on a window: the picture and a texture of ice, added."""
    keep, more = ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))[severity - 1]
    return keep * x + more * ice(x, rng)


def ice(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Textures of ice (B, C, H, W) for pictures: needles in three directions at 60 degrees, and clouds.

    Lightness, contrast, length of structures and the blue tint are about those of the photographs of the published
    code, as it cuts them to 32 pixels.
    """
    count, channels, height, width = x.shape
    scale, first = _scale(x), rng.uniform(0, 60, count)
    border = 2 * math.ceil(4 * scale)  # as far as a needle reaches
    noise = _on(x, rng.standard_normal((3, count, 1, height + 2 * border, width + 2 * border)))
    needles = torch.stack(
        [_moved(gaussian(one, 0.6 * scale), 4 * scale, 3 * scale, first + 60 * k) for k, one in enumerate(noise)]
    ).amax(0)[..., border:-border, border:-border]
    cloud = plasma(count, 2 ** math.ceil(math.log2(max(2, height, width))), 2.0, rng)[:, None, :height, :width]
    texture = _standardised(needles) + _standardised(_on(x, cloud))
    lightness, contrast = (_on(x, rng.uniform(*ends, (count, 1, 1, 1))) for ends in ((0.45, 0.8), (0.03, 0.06)))
    tint = _on(x, np.array([-1.0, 0.0, 1.0])).view(3, 1, 1) if channels == 3 else 0.0
    return (lightness + contrast * texture + _on(x, rng.uniform(0, 0.1, (count, 1, 1, 1))) * tint).clamp(0, 1)


def _standardised(x: Tensor) -> Tensor:
    """Each plane with mean 0 and standard deviation 1; a constant one is 0."""
    centred = x - x.mean((2, 3), keepdim=True)
    return centred / centred.square().mean((2, 3), keepdim=True).sqrt().clamp(min=1e-6)


def fog(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """A cloud in front of the picture, with less contrast."""
    strength, decay = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))[severity - 1]
    largest = x.amax((1, 2, 3), keepdim=True)
    height, width = x.shape[-2:]
    cloud = plasma(len(x), 2 ** math.ceil(math.log2(max(2, height, width))), decay, rng)
    return (x + strength * _on(x, cloud[:, None, :height, :width])) * largest / (largest + strength)


def plasma(count: int, size: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """Clouds in [0, 1] by the diamond-square algorithm, (count, size, size); `size` is a power of 2.

    The grid is a torus. At each scale the middle of four points becomes their mean plus noise, whose size is then
    divided by `decay`.
    """
    heights = np.zeros((count, size, size))
    step, wobble = size, 100.0

    def middles(total: np.ndarray) -> np.ndarray:
        return np.asarray(total / 4 + wobble * rng.uniform(-wobble, wobble, total.shape))

    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        total = corners + np.roll(corners, -1, axis=1)
        heights[:, half::step, half::step] = middles(total + np.roll(total, -1, axis=2))
        centres = heights[:, half::step, half::step]
        across = corners + np.roll(corners, -1, axis=2)
        heights[:, ::step, half::step] = middles(centres + np.roll(centres, 1, axis=1) + across)
        along = corners + np.roll(corners, -1, axis=1)
        heights[:, half::step, ::step] = middles(centres + np.roll(centres, 1, axis=2) + along)
        step, wobble = half, wobble / decay
    heights -= heights.min((1, 2), keepdims=True)
    return np.asarray(heights / heights.max((1, 2), keepdims=True))


def brightness(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """More light: the value of HSV, the largest channel, rises; hue and saturation stay."""
    more = (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]
    value = x.amax(1, keepdim=True)
    lighter = (value + more).clamp(max=1)
    return torch.where(value > 0, x * lighter / value.clamp(min=1e-6), lighter)


def contrast(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """Less contrast: closer to the mean of each channel."""
    keep = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) * keep + mean


# ---- digital --------------------------------------------------------------------------------------------------------


def elastic(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """A random affine map, then a smooth random shift of every pixel."""
    strength, sigma, affine = (
        (0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)
    )[severity - 1]  # fmt: skip
    height, width = x.shape[-2:]
    side, reach = min(height, width), min(height, width) // 3
    centre = np.array([width // 2, height // 2])
    points = (centre + reach * np.array([[1, 1], [1, -1], [-1, -1]])).astype(float)  # column and row
    moved = points + rng.uniform(-affine * side, affine * side, (len(x), 3, 2))
    back = np.linalg.solve(np.concatenate([moved, np.ones((len(x), 3, 1))], 2), np.broadcast_to(points, moved.shape))
    grid = np.stack([*np.meshgrid(np.arange(width), np.arange(height)), np.ones((height, width))], -1)
    warped = _sampled(x, _on(x, np.einsum("hwk,bkc->bhwc", grid, back)))
    shifts = _on(x, rng.uniform(-1, 1, (2, len(x), height, width)))
    shifts = gaussian(shifts, sigma * side, "reflect", 3.0) * strength * side
    return _sampled(warped, _on(x, grid[None, ..., :2]) + shifts.movedim(0, -1))


def _sampled(x: Tensor, places: Tensor) -> Tensor:
    """Pictures at places (B, H, W, 2), column and row in pixels: bilinear, mirrored beyond the edges."""
    ends = places.new_tensor([max(1, x.shape[-1] - 1), max(1, x.shape[-2] - 1)])
    return F.grid_sample(x, 2 * places / ends - 1, mode="bilinear", padding_mode="reflection", align_corners=True)


def pixelate(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """Fewer pixels."""
    keep = (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1]
    height, width = x.shape[-2:]
    small = max(1, int(width * keep)), max(1, int(height * keep))
    box = Image.Resampling.BOX
    return _by_pillow(x, lambda picture: picture.resize(small, box).resize((width, height), box))


def jpeg(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """Compressed as a JPEG."""
    return _by_pillow(x, partial(_compressed, quality=(80, 65, 58, 50, 40)[severity - 1]))


def _compressed(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def _by_pillow(x: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """Every picture changed by Pillow: in colour if it has three channels, else each channel in grey."""
    pixels = as_bytes(x).cpu()
    pictures = pixels.movedim(1, -1) if x.shape[1] == 3 else pixels.flatten(0, 1)
    done = np.stack([np.asarray(change(Image.fromarray(picture))) for picture in pictures.numpy()])
    out = _on(x, done / 255)
    return out.movedim(-1, 1) if x.shape[1] == 3 else out.view(x.shape)


def as_bytes(x: Tensor) -> Tensor:
    """Pictures as uint8, cut to 0..255. Rounded; the published files are rounded down."""
    return (x.clamp(0, 1) * 255).round().to(torch.uint8)


NOISE: dict[str, Corruption] = {
    "gaussian_noise": gaussian_noise, "shot_noise": shot_noise, "impulse_noise": impulse_noise,
}  # fmt: skip
BLUR: dict[str, Corruption] = {
    "defocus_blur": defocus_blur, "glass_blur": glass_blur, "motion_blur": motion_blur, "zoom_blur": zoom_blur,
}  # fmt: skip
WEATHER: dict[str, Corruption] = {"snow": snow, "frost": frost, "fog": fog, "brightness": brightness}
DIGITAL: dict[str, Corruption] = {"contrast": contrast, "elastic": elastic, "pixelate": pixelate, "jpeg": jpeg}
SEVERITIES: Sequence[int] = range(1, 6)
