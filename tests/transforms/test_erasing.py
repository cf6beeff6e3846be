"""Cutout and Random Erasing against plain loops, their laws, and the order in which `Augment` combines everything."""

import numpy as np
import pytest
import torch
from helpers.cases import each
from helpers.trainings import config_of
from scipy import stats
from torchvision.transforms import v2

from mixup_lab.config.assemble import assemble
from mixup_lab.inputs.pictures import Pictures
from mixup_lab.transforms.augment import Augment
from mixup_lab.transforms.crop_flip import CropFlip
from mixup_lab.transforms.erasing import BlankRectangle, BlankSquare
from mixup_lab.transforms.randaugment import RandAugment
from mixup_lab.types import UserError

SHAPES = [(7, 3, 9, 6), (1, 1, 8, 8), (64, 3, 32, 32), (33, 1, 4, 9), (5, 2, 7, 7)]
FORMATS = [torch.contiguous_format, torch.channels_last]


def pictures(*shape):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def one_step(transform, batch, seed=0):
    draw = transform.draw(np.random.default_rng(seed), 3, batch)
    return {key: torch.from_numpy(values[1]) for key, values in draw.items()}


def boxes_of(transform, draws, height, width):
    """Top, bottom, left and right of what is blanked, read from the pixels of blank pictures: int (n, 4)."""
    rows = {name: torch.from_numpy(values).flatten(0, 1) for name, values in draws.items()}
    count = len(next(iter(rows.values())))
    transform.bind([1.0])
    changed = transform.apply(torch.zeros(count, 1, height, width, dtype=torch.uint8), rows)[:, 0] == 255
    across, down = changed.any(1), changed.any(2)  # (n, W), (n, H)
    ends = [down.byte().argmax(1), height - down.flip(1).byte().argmax(1),
            across.byte().argmax(1), width - across.flip(1).byte().argmax(1)]  # fmt: skip
    boxes = torch.stack(ends, 1).numpy()
    area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    assert (changed.sum((1, 2)).numpy() == np.where(changed.any((1, 2)), area, 0)).all(), "rectangles without holes"
    return boxes[changed.any((1, 2)).numpy()]


# ---- Cutout -------------------------------------------------------------------------------------------------------


@each("layout", FORMATS)
@each("size, of_9x6", [(1, 1), (4, 4), (5, 5), (0.5, 3), (0.45, 3), (0.01, 1)])
@each("shape", SHAPES)
def test_cutout_is_what_a_loop_would_do(shape, size, of_9x6, layout):
    batch, channels, height, width = shape
    mean = [0.2, 0.5, 0.9][:channels]
    cutout = BlankSquare(size)
    cutout.bind(mean)
    inputs, draw = pictures(*shape).contiguous(memory_format=layout), one_step(cutout, batch)
    out = cutout.apply(inputs, draw)
    side = cutout.pixels(height, width)
    assert cutout.pixels(9, 6) == of_9x6
    expected = pictures(*shape).numpy().copy()
    for i, (y, x) in enumerate(draw["centre"].numpy()):
        top, left = int(y * height) - side // 2, int(x * width) - side // 2
        for c in range(channels):
            expected[i, c, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = round(255 * mean[c])
    np.testing.assert_array_equal(out.numpy(), expected)
    assert out.dtype == torch.uint8
    assert out.is_contiguous(memory_format=layout)
    assert torch.equal(inputs, pictures(*shape))


def test_every_pixel_is_the_centre_as_often():
    draws = BlankSquare(1).draw(np.random.default_rng(0), 40, 500)
    boxes = boxes_of(BlankSquare(1), draws, 5, 8)
    assert len(boxes) == 20_000
    counts = np.bincount(8 * boxes[:, 0] + boxes[:, 2], minlength=40)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_cutout_is_zero_after_standardisation():
    mean, std = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]
    augment = Augment(cutout=4)
    augment.bind(Pictures((3, 8, 8), mean, [1] * 3))
    inputs = pictures(6, 3, 8, 8)
    out = augment.apply(inputs, one_step(augment, 6))
    blanked = (out != inputs).any(1, keepdim=True).expand(-1, 3, -1, -1)
    assert blanked.sum() > 0
    values = Pictures((3, 8, 8), mean, std)(out)[blanked]
    assert values.abs().max() <= 0.5 / 255 / min(std) + 1e-6, "zero but for rounding to a grey level"


def test_the_mean_is_middle_grey_until_it_is_told():
    out = BlankSquare(8).apply(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), {"centre": torch.tensor([[0.5, 0.5]])})
    assert (out == 128).all()


# ---- Random Erasing -----------------------------------------------------------------------------------------------


@each("layout", FORMATS)
@each("shape", SHAPES)
def test_erasing_is_what_a_loop_would_do(shape, layout):
    batch, channels, height, width = shape
    mean = [0.2, 0.5, 0.9][:channels]
    erasing = BlankRectangle(0.7, (0.1, 0.6), (0.2, 5.0), fill="mean")
    erasing.bind(mean)
    inputs, draw = pictures(*shape).contiguous(memory_format=layout), one_step(erasing, batch)
    expected, tries = pictures(*shape).numpy().copy(), set()
    for i in range(batch):
        sides = np.rint(draw["sides"][i].numpy() * np.float32(np.sqrt(height * width)))
        for attempt, (high, wide) in enumerate(sides.astype(int)):
            if draw["erased"][i] and high < height and wide < width:
                down, across = draw["place"][i].numpy()
                top, left = int(down * (height - high + 1)), int(across * (width - wide + 1))
                for c in range(channels):
                    expected[i, c, top : top + high, left : left + wide] = round(255 * mean[c])
                tries.add(attempt)
                break
    out = erasing.apply(inputs, draw)
    np.testing.assert_array_equal(out.numpy(), expected)
    assert out.is_contiguous(memory_format=layout)
    assert torch.equal(inputs, pictures(*shape))
    assert batch < 30 or len(tries) > 1, "some first attempts do not fit"


def shares_and_aspects(boxes, height, width):
    high, wide = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    return high * wide / (height * width), high / wide


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_erasing_has_torchvisions_law(size):
    height, width = size
    erasing = BlankRectangle(1.0)
    ours = boxes_of(BlankRectangle(1.0, fill="mean"), erasing.draw(np.random.default_rng(0), 1, 3000), height, width)
    reference = v2.RandomErasing(p=1.0, value=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kept = torch.stack([reference(torch.ones(1, height, width)) for _ in range(3000)])[:, 0]
    down, across = (kept == 0).any(2), (kept == 0).any(1)
    theirs = np.stack([down.byte().argmax(1), height - down.flip(1).byte().argmax(1),
                       across.byte().argmax(1), width - across.flip(1).byte().argmax(1)], 1)  # fmt: skip
    assert len(ours) == 3000
    for side in range(4):
        assert stats.ks_2samp(ours[:, side], theirs[:, side]).pvalue > 1e-4
    pairs = zip(*(shares_and_aspects(boxes, height, width) for boxes in (ours, theirs)), strict=True)
    for mine, other in pairs:  # areas, then aspects
        assert stats.ks_2samp(mine, other).pvalue > 1e-4


def test_aspect_is_height_by_width():
    draws = BlankRectangle(1.0, (0.1, 0.2), (2.0, 3.0)).draw(np.random.default_rng(0), 1, 200)
    _, aspect = shares_and_aspects(boxes_of(BlankRectangle(1.0, fill="mean"), draws, 64, 64), 64, 64)
    assert 1.9 < aspect.min() < aspect.max() < 3.2


def test_erasing_has_the_papers_law_of_area_and_aspect():
    draws = BlankRectangle(1.0).draw(np.random.default_rng(0), 1, 4000)
    area, aspect = shares_and_aspects(boxes_of(BlankRectangle(1.0, fill="mean"), draws, 64, 64), 64, 64)
    assert 0.018 < area.min() < 0.025
    assert 0.32 < area.max() < 0.34
    assert stats.kstest(area, stats.uniform(0.02, 0.31).cdf).statistic < 0.04
    # Rectangles that would be too high or too wide are drawn again, which leaves the middle of the aspects alone.
    middle = np.log(aspect)[np.abs(np.log(aspect)) < 0.6]
    assert stats.kstest(middle, stats.uniform(-0.6, 1.2).cdf).statistic < 0.04


@pytest.mark.parametrize("prob", [0.0, 0.25, 1.0])
def test_the_share_that_is_erased(prob):
    erased = BlankRectangle(prob).draw(np.random.default_rng(0), 20, 500)["erased"]
    assert abs(erased.mean() - prob) < 4 * np.sqrt(prob * (1 - prob) / 10_000) + 1e-12


def test_where_no_rectangle_fits_the_picture_stays():
    erasing = BlankRectangle(1.0, (0.5, 0.6), (4.0, 5.0))
    inputs = pictures(4, 1, 8, 8)
    assert torch.equal(erasing.apply(inputs, one_step(erasing, 4)), inputs)


@pytest.mark.parametrize("layout", FORMATS)
def test_noise_is_uniform_and_its_own_everywhere(layout):
    erasing = BlankRectangle(1.0, (0.2, 0.3))
    draw = one_step(erasing, 200)
    blank = torch.full((200, 3, 32, 32), 7, dtype=torch.uint8).contiguous(memory_format=layout)
    out = erasing.apply(blank, draw)
    assert out.is_contiguous(memory_format=layout)
    mean = BlankRectangle(1.0, (0.2, 0.3), fill="mean")
    inside = (mean.apply(blank, draw) != 7).expand(-1, 3, -1, -1)
    assert (out[~inside] == 7).all()
    values = out[inside].numpy()
    assert stats.chisquare(np.bincount(values, minlength=256)).pvalue > 1e-4
    noise = erasing.apply(torch.zeros_like(blank), {**draw, "sides": draw["sides"] * 0 + 31 / 32}).float()[
        :, :, :31, :31
    ]
    flat = noise[(draw["place"] * 2).floor().sum(1) == 0]  # rectangles of 31 x 31 in the upper left corner
    assert len(flat) > 20
    for other in (
        flat[:, :, 1:, :-1],
        flat[:, :, :-1, 1:],
        flat.roll(1, 0)[:, :, :-1, :-1],
        flat.roll(1, 1)[:, :, :-1, :-1],
    ):
        pair = torch.stack([flat[:, :, :-1, :-1].flatten(), other.flatten()])
        assert abs(torch.corrcoef(pair)[0, 1]) < 5 / np.sqrt(pair.shape[1])
    assert torch.equal(out, erasing.apply(blank.contiguous(), draw)), "the same in any memory format"


# ---- all together -------------------------------------------------------------------------------------------------


def test_order_is_crop_policy_cutout_erasing():
    augment = RandAugment(padding=2, flip=True, num_ops=2, magnitude=20, cutout=6, erasing=0.8)
    augment.bind(Pictures((3, 16, 16), [0.3, 0.5, 0.7], [1] * 3))
    inputs, draw = pictures(20, 3, 16, 16), one_step(augment, 20)
    cutout, erasing = BlankSquare(6), BlankRectangle(0.8)
    cutout.bind([0.3, 0.5, 0.7])
    expected = CropFlip(2).apply(inputs, draw)
    expected = RandAugment(magnitude=20).apply(expected, draw)
    expected = erasing.apply(cutout.apply(expected, draw), draw)
    assert torch.equal(augment.apply(inputs, draw), expected)


def test_parts_have_streams_of_their_own():
    def draws(**keys):
        return RandAugment(**keys).draw(np.random.default_rng(3), 2, 5)

    whole = draws(padding=4, flip=True, cutout=8, erasing=0.5)
    for less in (draws(padding=4, flip=True), draws(cutout=8), draws(erasing=0.5), draws()):
        assert set(less) < set(whole)
        for name, values in less.items():
            np.testing.assert_array_equal(values, whole[name])
    for name, values in CropFlip(4).draw(np.random.default_rng(3), 2, 5).items():
        np.testing.assert_array_equal(values, whole[name])


def test_nothing_chosen_is_nothing_done():
    inputs = pictures(3, 1, 8, 8)
    assert Augment().draw(np.random.default_rng(0), 2, 3) == {}
    assert Augment().apply(inputs, {}) is inputs


@each(
    "keys, sentence",
    [
        ({"cutout": -1}, r"cutout must be a whole number of pixels or a share of the side in \[0, 1\), got -1"),
        ({"cutout": 16.0}, r"cutout must be a whole number of pixels or a share of the side in \[0, 1\), got 16.0"),
        ({"erasing": 1.5}, r"erasing must be in \[0, 1\], got 1.5"),
        ({"erasing_area": [0, 0.3]}, r"erasing_area must be \[smallest, largest\] with .* < 1, got \[0, 0.3\]"),
        (
            {"erasing_area": 0.1},
            r"erasing_area must be \[smallest, largest\] with 0 < smallest <= largest < 1, got 0.1",
        ),
        ({"erasing_aspect": [3, 0.3]}, r"erasing_aspect must be \[smallest, largest\] with .* < inf, got \[3, 0.3\]"),
        ({"erasing_fill": "black"}, "erasing_fill must be one of mean, noise, got black"),
    ],
)
def test_augment_refuses(keys, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        Augment(**keys)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("transform=cutout", "transform.cutout=8"), r"cutout must be smaller than the pictures \(8x8\), got 8"),
        (("transform=cutout", "transform.padding=8"), r"padding must be smaller than the pictures \(8x8\), got 8"),
        (("transform=autoaugment", "dataset.shape=[2,8,8]"), "AutoAugment takes pictures of 1 or 3 channels, got 2"),
    ],
)
def test_pictures_that_do_not_suit(words, sentence):
    with pytest.raises(UserError, match=f"^transform: {sentence}$"):
        assemble(config_of("dataset=fake", "dataset.shape=[3,8,8]", "model=mlp", "trainer.device=cpu", *words), "")


def test_a_run_tells_the_mean():
    words = ("dataset=fake", "dataset.shape=[3,8,8]", "dataset.mean=[0.1,0.2,0.9]", "dataset.std=[1,1,1]", "model=mlp",
             "transform=cutout", "transform.cutout=4", "trainer.device=cpu")  # fmt: skip
    transform = assemble(config_of(*words), "").transform
    assert transform._cutout.levels.tolist() == [26, 51, 230]
