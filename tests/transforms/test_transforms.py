from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.cases import each
from torch import Tensor
from torch.nn import functional as F

from mixup_lab.inputs.pictures import Pictures
from mixup_lab.inputs.tokens import Tokens
from mixup_lab.transforms.crop_flip import CropFlip
from mixup_lab.transforms.none import NoTransform
from mixup_lab.transforms.randaugment import RandAugment


def inputs(batch: int = 7, channels: int = 3, height: int = 9, width: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (batch, channels, height, width), dtype=torch.uint8, generator=generator)


def one_step(transform: CropFlip, batch: int, seed: int = 0) -> dict[str, Tensor]:
    draw = transform.draw(np.random.default_rng(seed), 3, batch)
    return {key: torch.from_numpy(values[1]) for key, values in draw.items()}


def _reference_crop_flip(pictures: Tensor, padding: int, mode: str, draw: dict[str, Tensor]) -> Tensor:
    height, width = pictures.shape[2:]
    out = []
    for i in range(len(pictures)):
        picture = pictures[i : i + 1].float()
        padded = F.pad(picture, (padding,) * 4, mode="constant" if mode == "zeros" else "reflect")
        top, left = int(draw["top"][i]), int(draw["left"][i])
        crop = padded[0, :, top : top + height, left : left + width]
        out.append(crop.flip(-1) if draw["flip"][i] else crop)
    return torch.stack(out).to(torch.uint8)


@each("mode", ["zeros", "reflect"])
@each(
    "batch, channels, height, width, padding",
    [(7, 3, 9, 6, 4), (1, 1, 5, 5, 2), (64, 3, 8, 8, 0), (33, 1, 4, 9, 3)],
)
def test_crop_flip_is_what_a_loop_would_do(
    mode: str, batch: int, channels: int, height: int, width: int, padding: int
) -> None:
    transform = CropFlip(padding, mode)
    pictures = inputs(batch, channels, height, width)
    draw = one_step(transform, batch)
    before = pictures.clone()
    out = transform.apply(pictures, draw)
    assert torch.equal(out, _reference_crop_flip(pictures, padding, mode, draw))
    assert torch.equal(pictures, before)
    assert out.dtype == torch.uint8


def test_crop_flip_takes_any_memory_format() -> None:
    transform = CropFlip(2)
    draw = one_step(transform, 7)
    out = transform.apply(inputs().contiguous(memory_format=torch.channels_last), draw)
    assert torch.equal(out, transform.apply(inputs(), draw))


def test_crop_flip_draws_every_corner_and_side() -> None:
    draw = CropFlip(2).draw(np.random.default_rng(0), 10, 200)
    assert {key: (values.shape, values.dtype.name) for key, values in draw.items()} == {
        "top": ((10, 200), "int64"),
        "left": ((10, 200), "int64"),
        "flip": ((10, 200), "bool"),
    }
    corners = np.bincount((5 * draw["top"] + draw["left"]).ravel(), minlength=25)
    assert len(corners) == 25
    assert corners.min() > 40  # 80 expected
    assert 0.45 < draw["flip"].mean() < 0.55


def test_crops_do_not_depend_on_flip() -> None:
    flipping, not_flipping = (CropFlip(2, flip=flip).draw(np.random.default_rng(0), 4, 50) for flip in (True, False))
    np.testing.assert_array_equal(flipping["top"], not_flipping["top"])
    np.testing.assert_array_equal(flipping["left"], not_flipping["left"])
    assert not not_flipping["flip"].any()


def test_no_transform_changes_nothing() -> None:
    transform = NoTransform()
    pictures = inputs()
    assert transform.draw(np.random.default_rng(0), 3, 7) == {}
    assert transform.apply(pictures, {}) is pictures


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"padding": -1}, "padding must be 0 or more, got -1"),
        ({"mode": "wrap"}, "mode must be one of zeros, reflect, got wrap"),
    ],
)
def test_crop_flip_refuses(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        CropFlip(**arguments)


def test_padding_as_large_as_the_picture() -> None:
    with pytest.raises(ValueError, match=r"^padding must be smaller than the pictures \(9x6\), got 6$"):
        CropFlip(6).bind(Pictures((3, 9, 6), [0.5] * 3, [1] * 3))


def test_transforms_are_for_pictures() -> None:
    rows = Tokens(("", "[?]", "word"), 5)
    for transform in (CropFlip(), RandAugment()):
        sentence = f"^{type(transform).__name__} changes pictures, and the examples are texts; use transform=none$"
        with pytest.raises(ValueError, match=sentence):
            transform.bind(rows)
    NoTransform().bind(rows)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_standardize_and_back(memory_format: torch.memory_format) -> None:
    mean, std = (0.1, 0.5, 0.7), (0.2, 0.3, 0.25)
    pictures = inputs().contiguous(memory_format=memory_format)
    standardize = Pictures((3, 9, 6), mean, std)
    out = standardize(pictures)
    expected = (pictures.numpy() / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=memory_format)
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(standardize.inverse(out).numpy(), pictures.numpy() / 255, atol=1e-6)
    assert torch.equal(pictures, inputs())


def test_inverse_stays_within_what_can_be_shown() -> None:
    standardize = Pictures((1, 1, 1), [0.5], [0.1])
    shown = standardize.inverse(torch.tensor([-100.0, 0.0, 100.0]).view(3, 1, 1, 1)).flatten()
    assert shown.tolist() == pytest.approx([0.0, 0.5, 1.0])
