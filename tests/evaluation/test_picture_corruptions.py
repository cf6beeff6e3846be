"""Corruptions of pictures against scipy, Pillow, colorsys and loops over pixels."""

import colorsys
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from mixup_lab.evaluation import picture_corruptions as kinds

ALL = {**kinds.NOISE, **kinds.BLUR, **kinds.WEATHER, **kinds.DIGITAL}


def pictures(count=2, channels=3, height=32, width=32, seed=0):
    """Smooth random pictures, so that a blur leaves something."""
    drawn = np.random.default_rng(seed).random((count, channels, height, width))
    smooth = ndimage.gaussian_filter(drawn, (0, 0, 1, 1), mode="mirror")
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return torch.from_numpy(smooth.astype(np.float32))


def rng():
    return np.random.default_rng(5)


def test_there_are_15_kinds():
    assert len(ALL) == 15


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (3, 65, 48), (4, 5, 1)])
def test_shape_chance_and_severity(name, shape):
    x = pictures(3, *shape)
    kept = x.clone()
    out = [kinds.as_bytes(ALL[name](x, severity, rng())) for severity in kinds.SEVERITIES]
    assert torch.equal(x, kept)
    assert all(one.shape == x.shape and one.dtype == torch.uint8 for one in out)
    assert torch.equal(out[2], kinds.as_bytes(ALL[name](x, 3, rng())))
    if shape == (3, 32, 32):
        change = [float((one.float() / 255 - x).abs().mean()) for one in out]
        assert min(change) > 0.001
        # Two kinds are not in order by this measure: their later levels change other things.
        assert change[4] > change[0] or name == "elastic"


@pytest.mark.parametrize(("severity", "c"), [(1, 0.04), (5, 0.1)])
def test_gaussian_noise(severity, c):
    noise = kinds.gaussian_noise(torch.full((4, 3, 32, 32), 0.5), severity, rng()) - 0.5
    assert float(noise.std()) == pytest.approx(c, rel=0.03)
    assert abs(float(noise.mean())) < 0.003


def test_shot_noise_has_the_variance_of_poisson():
    noisy = kinds.shot_noise(torch.full((8, 3, 32, 32), 0.4), 4, rng())
    assert float(noisy.mean()) == pytest.approx(0.4, rel=0.01)
    assert float(noisy.var()) == pytest.approx(0.4 / 75, rel=0.05)


def test_impulse_noise_is_half_salt_and_half_pepper():
    noisy = kinds.impulse_noise(torch.full((8, 3, 32, 32), 0.4), 5, rng())
    for value, share in ((0.0, 0.035), (1.0, 0.035), (0.4, 0.93)):
        assert float((noisy == np.float32(value)).float().mean()) == pytest.approx(share, rel=0.1)


@pytest.mark.parametrize("sigma", [0.4, 2.0, 9.0])
def test_gaussian_blur_is_that_of_scipy(sigma):
    x = pictures(height=20, width=32)
    for mode, name, truncate in (("edge", "nearest", 4.0), ("reflect", "mirror", 3.0)):
        expected = ndimage.gaussian_filter(x.numpy(), (0, 0, sigma, sigma), mode=name, truncate=truncate)
        assert np.allclose(kinds.gaussian(x, sigma, mode, truncate), expected, atol=1e-5)


@pytest.mark.parametrize(("severity", "radius", "blur"), [(1, 0.3, 0.4), (3, 0.5, 0.6), (5, 1.5, 0.1)])
def test_defocus_blur(severity, radius, blur):
    x = pictures(height=64, width=80)  # twice 32 pixels
    disk = np.array([[float(a * a + b * b <= (2 * radius) ** 2) for a in range(-8, 9)] for b in range(-8, 9)])
    line = np.exp(-(np.array([-1, 0, 1]) ** 2) / (2 * blur**2))
    smooth = ndimage.convolve(disk / disk.sum(), np.outer(line, line) / line.sum() ** 2, mode="constant")
    expected = ndimage.convolve(x.numpy().astype(float), smooth[None, None], mode="mirror")
    assert np.allclose(kinds.defocus_blur(x, severity, rng()), expected, atol=1e-5)


def test_glass_takes_near_pixels():
    x = torch.arange(32 * 32).view(1, 1, 32, 32).float()
    out = kinds.glass_blur(x, 1, rng()).numpy()[0, 0]  # its blur is narrower than a pixel
    row, column = np.divmod(out, 32)
    here = np.mgrid[:32, :32]
    moved = np.stack([row, column]) - here
    inside = (here > 1).all(0)
    assert set(np.unique(moved[:, inside])) == {-1, 0}
    assert not moved[:, ~inside].any()
    assert (moved[:, inside] == -1).mean() == pytest.approx(0.5, abs=0.05)
    twice = kinds.glass_blur(pictures(height=64, width=64), 4, rng())
    assert twice.shape == (2, 3, 64, 64)


def moved(picture, radius, sigma, angle):
    """The motion blur of ImageMagick for one plane, by loops."""
    width = 2 * math.ceil(radius) + 1
    weights = [math.exp(-(k**2) / (2 * sigma**2)) for k in range(width)]
    out = np.zeros_like(picture)
    for row in range(picture.shape[0]):
        for column in range(picture.shape[1]):
            for k, weight in enumerate(weights):
                down = math.ceil(k * math.sin(math.radians(angle)) - 0.5)
                right = math.ceil(k * math.cos(math.radians(angle)) - 0.5)
                r = min(max(row + down, 0), picture.shape[0] - 1)
                c = min(max(column + right, 0), picture.shape[1] - 1)
                out[row, column] += weight / sum(weights) * picture[r, c]
    return out


def test_motion_blur_has_half_a_gaussian_along_a_line():
    x = pictures(channels=1, height=40, width=32)
    angles = rng().uniform(-45, 45, 2)
    expected = [moved(one[0], 8, 2, angle) for one, angle in zip(x.numpy().astype(float), angles, strict=True)]
    assert np.allclose(kinds.motion_blur(x, 4, rng())[:, 0], expected, atol=1e-5)


def zoomed(x, factor):
    """`clipped_zoom` of the published code for square pictures (B, C, S, S)."""
    side = x.shape[-1]
    inner = int(np.ceil(side / factor))
    top = (side - inner) // 2
    large = ndimage.zoom(x[..., top : top + inner, top : top + inner], (1, 1, factor, factor), order=1)
    trim = (large.shape[-1] - side) // 2
    return large[..., trim : trim + side, trim : trim + side]


def test_zoom_blur_is_that_of_scipy():
    x = pictures()
    for severity, end in zip(kinds.SEVERITIES, (1.06, 1.11, 1.16, 1.21, 1.26), strict=True):
        factors = np.arange(1, end, 0.01)
        expected = (x.numpy() + sum(zoomed(x.numpy(), f) for f in factors)) / (len(factors) + 1)
        assert np.allclose(kinds.zoom_blur(x, severity, rng()), expected, atol=1e-5)


def test_snow():
    x, drawn = pictures(), rng()
    layer = drawn.normal(0.15, 0.3, (2, 1, 32, 32)).astype(np.float32)
    layer = zoomed(layer, 1.75)
    layer = np.where(layer < 0.55, 0, layer).clip(0, 1)
    angles = drawn.uniform(-135, -45, 2)
    layer = np.stack([moved(one[0], 10, 4, angle)[None] for one, angle in zip(layer, angles, strict=True)])
    grey = (x.numpy() * np.array([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdims=True)
    expected = 0.9 * x.numpy() + 0.1 * np.maximum(x.numpy(), grey * 1.5 + 0.5) + layer + layer[..., ::-1, ::-1]
    assert np.allclose(kinds.snow(x, 3, rng()), expected, atol=1e-4)


def test_frost_adds_a_texture_like_the_published_photographs():
    """Measured on 200 crops of 32 pixels of each of the five photographs: the smallest and the largest of the five."""
    black, x = torch.zeros(200, 3, 32, 32), pictures(200)
    texture = kinds.frost(black, 1, rng()) / 0.2
    for severity, (keep, more) in enumerate([(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)], 1):
        assert torch.allclose(kinds.frost(x, severity, rng()), keep * x + more * texture, atol=1e-5)
    grey = texture.mean(1)
    assert 0.44 < float(grey.mean((1, 2)).min()) < float(grey.mean((1, 2)).max()) < 0.81
    assert 0.047 < float(texture.std((2, 3)).mean()) < 0.092
    assert 0.012 < float(grey.diff(dim=2).abs().mean()) < 0.050
    centred = grey - grey.mean((1, 2), keepdim=True)
    for lag, low, high in ((1, 0.73, 0.91), (4, 0.29, 0.62)):
        assert low < float((centred[..., :-lag] * centred[..., lag:]).mean() / centred.square().mean()) < high
    assert 0.05 < float((texture[:, 2] - texture[:, 0]).mean()) < 0.35


def diamonds(size, decay, drawn):
    """The diamond-square algorithm on a torus, point by point."""
    heights, step, wobble = np.zeros((size, size)), size, 100.0
    while step >= 2:
        half, count = step // 2, size // step
        for first, second, corners in (
            (half, half, [(-half, -half), (-half, half), (half, -half), (half, half)]),
            (0, half, [(-half, 0), (half, 0), (0, -half), (0, half)]),
            (half, 0, [(-half, 0), (half, 0), (0, -half), (0, half)]),
        ):
            noise = wobble * drawn.uniform(-wobble, wobble, (count, count))
            for i in range(count):
                for j in range(count):
                    r, c = first + i * step, second + j * step
                    around = [heights[(r + a) % size, (c + b) % size] for a, b in corners]
                    heights[r, c] = np.mean(around) + noise[i, j]
        step, wobble = half, wobble / decay
    heights -= heights.min()
    return heights / heights.max()


def test_fog():
    cloud = diamonds(32, 2.5, rng())
    assert np.allclose(kinds.plasma(1, 32, 2.5, rng())[0], cloud)
    x = pictures(count=1, height=32, width=20)
    largest = float(x.max())
    expected = (x.numpy() + 0.75 * cloud[:, :20]) * largest / (largest + 0.75)
    assert np.allclose(kinds.fog(x, 3, rng()), expected, atol=1e-5)


def test_brightness_is_the_value_of_hsv():
    x = pictures(height=6, width=6)
    x[0, :, 0, 0] = 0.0
    out = kinds.brightness(x, 4, rng()).movedim(1, -1).numpy().reshape(-1, 3)
    for before, after in zip(x.movedim(1, -1).numpy().reshape(-1, 3), out, strict=True):
        h, s, v = colorsys.rgb_to_hsv(*before.tolist())
        assert after.tolist() == pytest.approx(colorsys.hsv_to_rgb(h, s, min(1, v + 0.2)), abs=1e-5)
    grey = kinds.brightness(torch.tensor([0.0, 0.3, 0.9]).view(3, 1, 1, 1), 4, rng())
    assert grey.flatten().tolist() == pytest.approx([0.2, 0.5, 1.0])


def test_contrast():
    x = pictures().numpy()
    mean = x.mean((2, 3), keepdims=True)
    assert np.allclose(kinds.contrast(torch.from_numpy(x), 4, rng()), 0.3 * x + 0.7 * mean, atol=1e-6)


@pytest.mark.parametrize(("severity", "c"), [(1, (0.0, 0.0, 0.08)), (5, (0.1, 0.03, 0.03))])
def test_elastic(severity, c):
    x, side = pictures(count=1, height=32, width=32), 32
    drawn = rng()
    points = np.array([[26, 26], [26, 6], [6, 6]], dtype=float)  # column, row: 16 +- 10
    target = points + drawn.uniform(-c[2] * side, c[2] * side, (1, 3, 2))[0]
    forth = np.linalg.solve(np.c_[points, np.ones(3)], target)  # as cv2.getAffineTransform
    back = np.linalg.inv(np.c_[forth, [0, 0, 1]])
    row, column = np.mgrid[:side, :side]
    from_column, from_row, _ = np.einsum("khw,kc->chw", np.stack([column, row, np.ones_like(row)]), back)
    shifts = drawn.uniform(-1, 1, (2, 1, side, side))[:, 0]
    if c[1]:
        shifts = ndimage.gaussian_filter(shifts, (0, c[1] * side, c[1] * side), mode="mirror", truncate=3)
    out = kinds.elastic(x, severity, rng())[0].numpy()
    for plane, got in zip(x[0].numpy(), out, strict=True):
        warped = ndimage.map_coordinates(plane, [from_row, from_column], order=1, mode="mirror")
        right, down = c[0] * side * shifts
        expected = ndimage.map_coordinates(warped, [row + down, column + right], order=1, mode="mirror")
        assert np.allclose(got, expected, atol=2e-3)


def test_pixelate_and_jpeg_are_those_of_pillow():
    x = pictures(count=1)
    picture = Image.fromarray((x[0] * 255).round().byte().movedim(0, -1).numpy())
    small = picture.resize((27, 27), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BOX)
    assert np.array_equal(kinds.as_bytes(kinds.pixelate(x, 3, rng()))[0].movedim(0, -1).numpy(), np.asarray(small))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=50)
    out = kinds.as_bytes(kinds.jpeg(x, 4, rng()))[0].movedim(0, -1).numpy()
    assert np.array_equal(out, np.asarray(Image.open(file)))
    four = kinds.as_bytes(kinds.jpeg(pictures(1, 4), 4, rng()))  # each channel by itself
    file = io.BytesIO()
    Image.fromarray(kinds.as_bytes(pictures(1, 4))[0, 3].numpy()).save(file, "JPEG", quality=50)
    assert np.array_equal(four[0, 3].numpy(), np.asarray(Image.open(file)))
