"""Every method against a reference of its own: plain numpy, one example and one pixel at a time."""

import copy
import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.cases import each
from helpers.options import component
from scipy import ndimage, stats
from torch import nn
from torchvision.transforms.v2 import functional as tv

from mixup_lab.config.build import build
from mixup_lab.mixing import (
    Bound,
    CutMix,
    FMix,
    GridMix,
    KFoldMixup,
    Labels,
    LabelSmoothing,
    ManifoldMixup,
    Mixup,
    MixupCutMix,
    Noise,
    NoiseMix,
    RegMixup,
    Request,
    ResizeMix,
    SaliencyMix,
    SmoothMix,
)
from mixup_lab.mixing.law import mean_minor_share
from mixup_lab.mixing.mixer import at_step, upload
from mixup_lab.models.mlp import MLP
from mixup_lab.models.small_cnn import SmallCNN
from mixup_lab.seeding import stream
from mixup_lab.types import Batch

CLASSES = 4
HEIGHT, WIDTH = 9, 12
losses = nn.CrossEntropyLoss(reduction="none")


def pictures(batch_size=5, seed=0, height=HEIGHT, width=WIDTH):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(batch_size, 3, height, width, generator=generator)
    return Batch(inputs, torch.randint(CLASSES, (batch_size,), generator=generator))


def steps_of(mixer, batch, steps=8, **scales):
    """What a run hands to `apply`, step by step."""
    targets = np.stack([batch.target.numpy()] * steps)
    request = Request(steps, len(batch.target), targets, tuple(batch.inputs.shape[1:]), **scales)
    drawn = mixer.draw(stream(4, "mixing"), request)
    drawn = upload(drawn, torch.device("cpu"))
    return [at_step(drawn, step) for step in range(steps)]


def assert_masked(mixed, batch, perm, masks):
    """Inputs are the own picture where the mask (B, H, W) is 1, the partner's where it is 0; lam is its mean."""
    inputs = batch.inputs.numpy()
    for i, mask in enumerate(masks):
        expected = mask * inputs[i] + (1 - mask) * inputs[perm[i]]
        np.testing.assert_allclose(mixed.inputs[i].numpy(), expected, atol=1e-6)
        assert float(mixed.lam[i]) == pytest.approx(mask.mean(), abs=1e-6)
    assert torch.equal(mixed.target, batch.target)
    assert torch.equal(mixed.partner, batch.target[perm])


# ---- rectangles -----------------------------------------------------------------------------------------------------


def rectangle(row, column, lam, height=HEIGHT, width=WIDTH):
    """Yun et al. (2019), pixel by pixel: sides sqrt(1 - lam) of the picture's, cut off at its border."""
    mask = np.ones((height, width))
    high, wide = (math.floor(size * math.sqrt(1 - lam)) for size in (height, width))
    top, left = math.floor(row * height) - high // 2, math.floor(column * width) - wide // 2
    for r in range(height):
        for c in range(width):
            if top <= r < top + high and left <= c < left + wide:
                mask[r, c] = 0
    return mask


@pytest.mark.parametrize("lam_per", ["batch", "sample", "pair"])
def test_cutmix(lam_per):
    batch = pictures()
    for draw in steps_of(CutMix(1.0, lam_per=lam_per, prob=0.9), batch, 30):
        mixed = CutMix(1.0, lam_per=lam_per).apply(batch, draw)
        places = [np.broadcast_to(np.asarray(draw[name]), 5) for name in ("row", "column")]
        masks = [rectangle(*place, lam) for *place, lam in zip(*places, draw["lam"].tolist(), strict=True)]
        assert_masked(mixed, batch, draw["perm"], masks)


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_cutmix_at_the_border_and_at_the_ends_of_lam(lam_per):
    batch = pictures(2)
    mixer = CutMix(lam_per=lam_per)
    for lam in (0.0, 1 / 3, 0.75, 0.99, 1.0):
        for row in (0.0, 0.5, 0.999):
            for column in (0.0, 0.999):
                share = torch.full((2,), lam)
                n = 1 if lam_per == "batch" else 2
                centre = {"row": torch.full((n,), row), "column": torch.full((n,), column)}
                draw = {"perm": torch.tensor([1, 0]), "lam": share, **centre}
                mixed = mixer.apply(batch, draw)
                assert_masked(mixed, batch, [1, 0], [rectangle(row, column, share[0].item())] * 2)
    assert torch.equal(mixed.inputs, batch.inputs)


def test_cutmix_covers_the_picture_evenly():
    """The centre is uniform, so an inner pixel is covered with the probability that a rectangle without borders has."""
    draws = steps_of(CutMix(law="fixed", lam=0.75, lam_per="sample"), pictures(50), 60)
    size = 16
    masks = [rectangle(r, c, 0.75, size, size) for d in draws for r, c in zip(d["row"], d["column"], strict=True)]
    covered = 1 - np.mean(masks, axis=0)[4:-4, 4:-4]
    assert abs(covered - 1 / 4).max() < 5 * np.sqrt(0.25 * 0.75 / len(masks))


def test_resizemix_against_torchvision():
    batch = pictures(4)
    seen = set()
    for draw in steps_of(ResizeMix(prob=0.8), batch, 40):
        mixed = ResizeMix().apply(batch, draw)
        high, wide = max(1, int(draw["tau"] * HEIGHT)), max(1, int(draw["tau"] * WIDTH))
        if draw["tau"] == 0:
            assert torch.equal(mixed.inputs, batch.inputs)
            assert (mixed.lam == 1).all()
            continue
        assert 0.1 <= draw["tau"] < 0.8
        top, left = int(draw["row"] * (HEIGHT - high + 1)), int(draw["column"] * (WIDTH - wide + 1))
        seen.add((top == 0, top + high == HEIGHT, left == 0, left + wide == WIDTH))
        for i, partner in enumerate(draw["perm"].tolist()):
            expected = batch.inputs[i].clone()
            small = tv.resize(batch.inputs[partner], [high, wide], antialias=True)
            expected[:, top : top + high, left : left + wide] = small
            torch.testing.assert_close(mixed.inputs[i], expected)
        assert mixed.lam.tolist() == pytest.approx([1 - high * wide / (HEIGHT * WIDTH)] * 4)
    assert all(any(s[side] for s in seen) for side in range(4)), "it touches every border"


def test_resizemix_in_half_precision_is_that_of_float32():
    batch = pictures(4)
    for dtype in (torch.bfloat16, torch.float16):
        for draw in steps_of(ResizeMix(), batch, 5):
            exact = ResizeMix().apply(Batch(batch.inputs.to(dtype).float(), batch.target), draw)
            mixed = ResizeMix().apply(Batch(batch.inputs.to(dtype), batch.target), draw)
            assert torch.equal(mixed.inputs, exact.inputs.to(dtype))


@pytest.mark.parametrize("method", [ResizeMix, SmoothMix])
def test_methods_without_alpha_mix_whatever_it_is(method):
    """Only 0 and prob decide: a schedule that scales alpha does not thin them out."""
    batch = pictures(3)
    for alpha in (1e-6, 100.0):
        assert all((method(alpha).apply(batch, draw).lam < 1).all() for draw in steps_of(method(alpha), batch, 20))
    assert all((method(0.0).apply(batch, draw).lam == 1).all() for draw in steps_of(method(0.0), batch, 20))
    scale = {"scale_alpha": np.array([0.0, 1e-9, 1.0])}
    mixed = [method().apply(batch, draw).lam[0] < 1 for draw in steps_of(method(), batch, 3, **scale)]
    assert mixed == [False, True, True]


# ---- masks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
def test_fmix_masks_from_the_same_spectrum(size):
    """Harris et al. (2020): low-pass noise as a sum of waves, then the share lam of the pixels with most of it."""
    height, width = size
    lam = np.array([0.3, 0.5, 0.8, 1.0, 0.0], dtype=np.float32)
    masks = FMix(decay=2.0).drawn(np.random.default_rng(3), lam, height, width)
    u, v = np.fft.fftfreq(height), np.fft.rfftfreq(width)
    noise = np.random.default_rng(3).normal(size=(2, len(lam), height, len(v)))
    rows, columns = np.mgrid[:height, :width]
    for k, share in enumerate(lam):
        grey = np.zeros(size)
        for a in range(height):
            for b in range(len(v)):
                amplitude = max(np.hypot(u[a], v[b]), 1 / max(size)) ** -2.0
                wave = (noise[0, k, a, b] + 1j * noise[1, k, a, b]) * np.exp(
                    2j * np.pi * (u[a] * rows + v[b] * columns)
                )
                twice = 1 if b == 0 or 2 * b == width else 2  # the other half of the spectrum is its mirror image
                grey += twice * amplitude * wave.real
        own = round(float(share) * height * width)
        assert masks[k].sum() == own
        assert set(zip(*np.nonzero(masks[k]), strict=True)) == {
            tuple(map(int, np.unravel_index(place, size))) for place in np.argsort(-grey, axis=None)[:own]
        }


def test_fmix_decay_makes_few_large_islands():
    lam = np.full(60, 0.5, dtype=np.float32)
    islands, low = [], []
    for decay in (0.5, 1.5, 3.0):
        masks = FMix(decay=decay).drawn(np.random.default_rng(0), lam, 32, 32)
        islands.append(np.mean([ndimage.label(mask)[1] + ndimage.label(~mask)[1] for mask in masks]))
        power = np.mean(np.abs(np.fft.fft2(masks - 0.5)) ** 2, axis=0)
        frequency = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32)[None])
        low.append(power[frequency < 0.1].sum() / power.sum())
    assert islands[0] > 60 > 40 > islands[1] > 12 > 8 > islands[2] > 2
    assert low[0] < 0.2 < 0.4 < low[1] < 0.7 < 0.8 < low[2]


@each("lam_per", ["batch", "sample"])
@each("method", [FMix, GridMix, SmoothMix])
def test_mask_methods_blend_by_their_masks(method, lam_per):
    batch = pictures()
    mixer = method(lam_per=lam_per, prob=0.8)
    for draw in steps_of(mixer, batch):
        mixed = mixer.apply(batch, draw)
        masks = mixer.masks(draw, draw["lam"][: 1 if lam_per == "batch" else 5], HEIGHT, WIDTH)
        assert_masked(mixed, batch, draw["perm"], np.broadcast_to(masks, (5, HEIGHT, WIDTH)).astype(float))
        assert torch.equal(mixed.inputs[draw["lam"] == 1], batch.inputs[draw["lam"] == 1])


def test_fmix_draws_the_masks_of_each_step_ahead():
    batch = pictures()
    mixer = FMix(lam_per="sample", prob=0.8)
    for draw in steps_of(mixer, batch):
        rng = np.random.default_rng(int(draw["mask_seed"]))
        drawn = mixer.drawn(rng, draw["lam"].numpy(), HEIGHT, WIDTH)
        assert np.array_equal(mixer.masks(draw, draw["lam"], HEIGHT, WIDTH), drawn)


def test_gridmix_cells():
    lam = np.repeat(np.array([0.2, 0.5, 0.9], dtype=np.float32), 400)
    mixer = GridMix(grid=3)
    (cells,) = mixer.extras(np.random.default_rng(0), lam[None], (3, HEIGHT, WIDTH))["cells"]
    masks = mixer.masks({"cells": torch.from_numpy(cells)}, torch.from_numpy(lam), HEIGHT, WIDTH).bool().numpy()
    cells = masks.reshape(len(lam), 3, 3, 3, 4)  # 9 x 12 pixels: cells of 3 x 4
    assert (cells == cells[:, :, :1, :, :1]).all()
    for share in (0.2, 0.5, 0.9):
        own = cells[lam == np.float32(share), :, 0, :, 0].reshape(-1, 9).sum(axis=1)
        expected = stats.binom(9, share).pmf(np.arange(10)) * len(own)
        often = expected > 4
        seen = np.bincount(own, minlength=10)
        parts = [np.append(counts[often], counts[~often].sum()) for counts in (seen, expected)]
        assert stats.chisquare(*parts).pvalue > 1e-3
    assert GridMix(grid=40).masks({"cells": torch.rand(2, 40, 40)}, torch.ones(2), 5, 7).all()


def test_smoothmix_spots():
    """Lee et al. (2020), eq. 2, pixel by pixel; pixels have their values at their middles."""
    mixer = SmoothMix(sigma_min=0.2, sigma_max=0.6)
    drawn = mixer.extras(np.random.default_rng(5), np.zeros((1, 3), np.float32), (3, HEIGHT, WIDTH))
    draw = {name: torch.from_numpy(values[0]) for name, values in drawn.items()}
    masks = mixer.masks(draw, torch.tensor([0.0, 1.0, 0.4]), HEIGHT, WIDTH)
    rows, columns, sigma = (draw[name].tolist() for name in ("row", "column", "sigma"))
    assert all(0 <= place < 1 for place in rows + columns)
    assert all(0.2 <= width <= 0.6 for width in sigma)
    sigma = [12 * width for width in sigma]
    for k in (0, 2):
        for r in range(HEIGHT):
            for c in range(WIDTH):
                square = (r + 0.5 - rows[k] * HEIGHT) ** 2 + (c + 0.5 - columns[k] * WIDTH) ** 2
                expected = 1 - math.exp(-square / (2 * sigma[k] ** 2))
                assert masks[k, r, c].item() == pytest.approx(expected, abs=1e-6)
    assert (masks[1] == 1).all()


# ---- noise ----------------------------------------------------------------------------------------------------------


def test_noise_mix_moments():
    """Lim et al. (2022): (1 + m) * mixed + a, with m uniform and a normal."""
    batch = pictures(40, height=40, width=40)
    mixer = NoiseMix(1.0, lam_per="sample", prob=0.7, add_noise=0.4, mult_noise=0.5)
    for draw in steps_of(mixer, batch, 3):
        mixed, plain = mixer.apply(batch, draw), Mixup().apply(batch, draw)
        whole = draw["lam"] == 1
        assert 0 < whole.sum() < 40
        assert torch.equal(mixed.inputs[whole], batch.inputs[whole])
        assert torch.equal(mixed.lam, plain.lam)
        value, added = plain.inputs[~whole].flatten().numpy(), (mixed.inputs - plain.inputs)[~whole].flatten().numpy()
        variance = value**2 * draw["mult"] ** 2 / 3 + draw["add"] ** 2
        scaled = added / np.sqrt(variance)
        n = len(scaled)
        assert abs(scaled.mean()) < 4 / np.sqrt(n)
        assert abs((scaled**2).mean() - 1) < 4 * np.sqrt(2 / n)
        large, small = abs(value) > 2, abs(value) < 0.2
        assert (scaled[large] ** 2).mean() == pytest.approx(1, abs=0.05)
        assert (scaled[small] ** 2).mean() == pytest.approx(1, abs=0.05)
    levels = [(d["add"] / 0.4, d["mult"] / 0.5) for d in steps_of(mixer, batch, 2000)]
    for level in np.transpose(levels):
        assert stats.kstest(level, stats.beta(2, 5).cdf).pvalue > 1e-3


def test_noise():
    batch = pictures(20, height=30, width=30)
    for draw in steps_of(Noise(sigma=0.3), batch, 3):
        mixed = Noise().apply(batch, draw)
        added = (mixed.inputs - batch.inputs).flatten().numpy()
        assert stats.kstest(added[::5], stats.norm(0, 0.3).cdf).pvalue > 1e-3
        assert torch.equal(mixed.target, batch.target)
        assert (mixed.lam == 1).all()
    scales = {"scale_alpha": np.array([0.0, 0.5]), "scale_prob": np.array([1.0, 0.5])}
    assert [draw["sigma"] for draw in steps_of(Noise(sigma=0.4), batch, 2, **scales)] == [0.0, pytest.approx(0.1)]


# ---- labels alone ---------------------------------------------------------------------------------------------------


def test_label_smoothing():
    batch = pictures(6)
    mixer = LabelSmoothing(0.4, num_classes=CLASSES)
    first, last = steps_of(mixer, batch, 2, scale_alpha=np.array([1.0, 0.5]), scale_prob=np.array([1.0, 0.5]))
    assert first["eps"].item() == pytest.approx(mean_minor_share(0.4))
    assert last["eps"].item() == pytest.approx(mean_minor_share(0.2) / 2)
    mixed = mixer.apply(batch, first)
    output = torch.randn(6, CLASSES)
    expected = F.cross_entropy(output, batch.target, reduction="none", label_smoothing=first["eps"].item())
    torch.testing.assert_close(mixed.loss(losses, output), expected)
    assert mixed.inputs is batch.inputs
    with pytest.raises(ValueError, match="label_smoothing needs targets that are classes"):
        mixer.bind(Bound(nn.Identity(), losses, (2,), Labels()))


def test_mixup_io_takes_the_label_of_the_larger_share():
    mixer = build("aug", component("aug", "mixup_io", "aug.lam_per=sample"))
    batch = pictures(7)
    for draw in steps_of(mixer, batch):
        mixed, plain = mixer.apply(batch, draw), Mixup().apply(batch, draw)
        assert torch.equal(mixed.inputs, plain.inputs)
        expected = [
            batch.target[i if lam >= 0.5 else draw["perm"][i]].item() for i, lam in enumerate(draw["lam"].tolist())
        ]
        assert mixed.target.tolist() == mixed.partner.tolist() == expected


def test_cmixup_mixes_near_labels():
    batch = Batch(torch.randn(40, 3), torch.arange(40) // 4)
    near, far = build("aug", component("aug", "cmixup", "aug.bandwidth=0.1")), Mixup(2.0)
    distance = [
        np.mean([abs(m.apply(batch, d).partner - batch.target).float().mean() for d in steps_of(m, batch, 20)])
        for m in (near, far)
    ]
    assert distance[0] < 0.5 < 3 < distance[1]
    assert near.alpha == 2.0


# ---- more than two --------------------------------------------------------------------------------------------------


@each("lam_per", ["batch", "sample"])
@each("k", [2, 3, 5])
def test_kfold(k, lam_per):
    batch = pictures()
    mixer = KFoldMixup(0.7, k=k, lam_per=lam_per, prob=0.8, num_classes=CLASSES)
    for draw in steps_of(mixer, batch):
        mixed = mixer.apply(batch, draw)
        weights = draw["weights"].numpy()
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
        output = torch.randn(5, CLASSES)
        for i in range(5):
            members = [i, *(int(perm[i]) for perm in draw["perms"])]
            expected = sum(w * batch.inputs[j].numpy() for w, j in zip(weights[i], members, strict=True))
            np.testing.assert_allclose(mixed.inputs[i].numpy(), expected, atol=1e-5)
            loss = sum(w * losses(output[i], batch.target[j]).item() for w, j in zip(weights[i], members, strict=True))
            assert mixed.loss(losses, output)[i].item() == pytest.approx(loss, rel=1e-5)
        assert mixed.lam.tolist() == weights[:, 0].tolist()
        whole = weights[:, 0] == 1
        assert torch.equal(mixed.inputs[whole], batch.inputs[whole])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_kfold_of_two_has_mixups_law(alpha):
    weights = KFoldMixup(alpha, k=2).draw(stream(0, "mixing"), Request(4000, 1))["weights"][:, 0]
    lam = Mixup(alpha).draw(stream(1, "mixing"), Request(4000, 1))["lam"][:, 0]
    assert stats.ks_2samp(weights[:, 0], lam).pvalue > 1e-3
    three = KFoldMixup(alpha, k=3).draw(stream(0, "mixing"), Request(4000, 1))["weights"][:, 0]
    for column in three.T.astype(float):  # a share of Dirichlet's law has Beta(alpha, (k - 1) * alpha)
        inside = np.clip(column, 1e-6, 1 - 1e-6)
        grid = np.linspace(1e-6, 1 - 1e-6, 2000)
        distance = abs(
            np.searchsorted(np.sort(inside), grid, side="right") / 4000 - stats.beta(alpha, 2 * alpha).cdf(grid)
        )
        assert stats.kstwo.sf(distance.max(), 4000) > 1e-3


def test_kfold_of_tiny_alphas_takes_one():
    scale = np.repeat([1.0, 1e-12], 1500)
    weights = KFoldMixup(1e-4, k=3).draw(stream(0, "mixing"), Request(3000, 1, scale_alpha=scale))["weights"][:, 0]
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert (weights.max(axis=1) > 0.99).mean() > 0.99
    assert stats.chisquare(np.bincount(weights.argmax(axis=1), minlength=3)).pvalue > 1e-3
    off = KFoldMixup(1.0).draw(stream(0, "mixing"), Request(2, 3, scale_alpha=np.array([0.0, 1.0])))["weights"]
    assert (off[0] == [1, 0, 0]).all()
    assert (off[1] < 1).all()


# ---- two losses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", ["two_term", "soft"])
@pytest.mark.parametrize("eta", [0.0, 1.0, 2.5])
def test_regmixup_is_the_sum_of_two_losses(eta, labels):
    batch = pictures(6)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * HEIGHT * WIDTH, CLASSES))
    mixer = RegMixup(2.0, eta=eta, labels=labels, num_classes=CLASSES)
    for draw in steps_of(mixer, batch, 3):
        mixed = mixer.apply(batch, draw)
        plain = Mixup(labels=labels, num_classes=CLASSES).apply(batch, draw)
        ours = mixed.loss(losses, model(mixed.inputs)).mean()
        clean = losses(model(batch.inputs), batch.target).mean()
        theirs = clean + eta * plain.loss(losses, model(plain.inputs)).mean()
        torch.testing.assert_close(ours, theirs)
        for a, b in zip(*(torch.autograd.grad(x, model.parameters()) for x in (ours, theirs)), strict=True):
            torch.testing.assert_close(a, b)


def test_mixup_cutmix_chooses_by_its_probabilities():
    mixer = MixupCutMix(alpha=0.8, cutmix_alpha=0.5, prob_mixup=0.3, prob_cutmix=0.5, prob_none=0.2)
    batch = pictures(4)
    chosen = mixer.draw(stream(0, "mixing"), Request(5000, 4))["choice"]
    assert stats.chisquare(np.bincount(chosen, minlength=3), [1500, 2500, 1000]).pvalue > 1e-3
    half = mixer.draw(stream(0, "mixing"), Request(5000, 4, scale_prob=np.full(5000, 0.5)))["choice"]
    assert stats.chisquare(np.bincount(half, minlength=3), [750, 1250, 3000]).pvalue > 1e-3
    for draw in steps_of(mixer, batch, 30):
        mixed = mixer.apply(batch, draw)
        perm = draw.get(f"{draw['choice']}.perm")
        if draw["choice"] == 0:
            assert_masked(mixed, batch, perm, draw["0.lam"].numpy()[:, None, None] * np.ones((4, HEIGHT, WIDTH)))
        elif draw["choice"] == 1:
            masks = [rectangle(draw["1.row"].item(), draw["1.column"].item(), draw["1.lam"][0].item())] * 4
            assert_masked(mixed, batch, perm, masks)
        else:
            assert mixed.inputs is batch.inputs
    assert mixer.prob == pytest.approx(0.8)
    off = MixupCutMix(alpha=0.0)
    assert all(torch.equal(off.apply(batch, draw).inputs, batch.inputs) for draw in steps_of(off, batch, 20))
    assert (
        stats.kstest(mixer.draw(stream(0, "mixing"), Request(800, 1))["1.lam"][:, 0], stats.beta(0.5, 0.5).cdf).pvalue
        > 1e-3
    )


@pytest.mark.parametrize(
    ("probs", "shown"), [((0.5, 0.6, 0.0), "0.5 + 0.6 + 0 = 1.1"), ((1.5, -0.5, 0.0), "1.5 + -0.5 + 0 = 1")]
)
def test_probabilities_that_do_not_sum_to_one(probs, shown):
    sentence = re.escape(f"prob_mixup + prob_cutmix + prob_none must be 1, got {shown}")
    with pytest.raises(ValueError, match=sentence):
        MixupCutMix(prob_mixup=probs[0], prob_cutmix=probs[1], prob_none=probs[2])


# ---- saliency -------------------------------------------------------------------------------------------------------


def test_saliency_is_the_size_of_the_gradient():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(60, CLASSES)).double()
    inputs, target = torch.randn(3, 2, 4, 5, dtype=torch.float64), torch.tensor([0, 3, 1])
    mixer = SaliencyMix(smooth=1)
    mixer.bind(Bound(model, losses, (2, 4, 5), Labels(CLASSES)))
    expected = torch.zeros(3, 4, 5)
    for place in np.ndindex(2, 4, 5):
        step = torch.zeros(2, 4, 5, dtype=torch.float64)
        step[place] = 1e-5
        with torch.no_grad():
            slope = (losses(model(inputs + step), target) - losses(model(inputs - step), target)) / 2e-5
        expected[:, place[1], place[2]] += slope.abs().float()
    torch.testing.assert_close(mixer.saliency(inputs, target), expected, rtol=1e-4, atol=1e-6)
    wide = SaliencyMix(smooth=3)
    wide.bind(Bound(model, losses, (2, 4, 5), Labels(CLASSES)))
    window = ndimage.uniform_filter(expected.numpy(), (0, 3, 3), mode="constant")
    np.testing.assert_allclose(wide.saliency(inputs, target).numpy(), window, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_saliencymix_pastes_what_the_partner_shows(lam_per):
    """The loss of class c looks at one pixel of its own, so that is the peak of every example of the class."""
    spots = [(0, 0), (4, 7), (8, 11), (2, 10)]
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * HEIGHT * WIDTH, CLASSES, bias=False))
    with torch.no_grad():
        weight = model[1].weight.zero_().view(CLASSES, 3, HEIGHT, WIDTH)
        for c, (row, column) in enumerate(spots):
            weight[c, c % 3, row, column] = -1.0
    mixer = SaliencyMix(1.0, lam_per=lam_per, smooth=1, prob=0.9)
    mixer.bind(Bound(model, lambda out, y: out.gather(1, y[:, None])[:, 0], (3, HEIGHT, WIDTH), Labels(CLASSES)))
    batch = pictures(6)
    for draw in steps_of(mixer, batch):
        mixed = mixer.apply(batch, draw)
        masks = []
        for i, lam in enumerate(draw["lam"].tolist()):
            row, column = spots[batch.target[draw["perm"][i]]]
            masks.append(rectangle((row + 0.5) / HEIGHT, (column + 0.5) / WIDTH, lam))
            if lam < 0.9:
                assert masks[-1][row, column] == 0
        assert_masked(mixed, batch, draw["perm"], masks)


def test_saliency_leaves_no_trace_in_the_model():
    torch.manual_seed(0)
    model = SmallCNN(input_shape=(3, HEIGHT, WIDTH), num_outputs=CLASSES, width=2, dropout=0.5).train()
    model.stages[0].eval()  # as someone who freezes a part has it
    model.stages[1][0].weight.requires_grad_(False)
    losses(model(pictures().inputs), pictures().target).mean().backward()
    batch = pictures(8)
    mixer = SaliencyMix()
    mixer.bind(Bound(model, losses, (3, HEIGHT, WIDTH), Labels(CLASSES)))
    before = {
        "state": copy.deepcopy(model.state_dict()),
        "grad": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "requires": [p.requires_grad for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "random": torch.get_rng_state(),
        "inputs": batch.inputs.clone(),
    }
    (draw,) = steps_of(mixer, batch, 1)
    with torch.no_grad():
        inside = mixer.apply(batch, draw)
    mixed = mixer.apply(batch, draw)
    assert torch.equal(inside.inputs, mixed.inputs)
    assert not mixed.inputs.requires_grad
    assert not batch.inputs.requires_grad
    assert torch.equal(batch.inputs, before["inputs"])
    assert all(torch.equal(value, before["state"][name]) for name, value in model.state_dict().items())
    grads = zip(model.parameters(), before["grad"], strict=True)
    assert all(old is p.grad or torch.equal(p.grad, old) for p, old in grads)
    assert [p.requires_grad for p in model.parameters()] == before["requires"]
    assert [module.training for module in model.modules()] == before["modes"]
    assert torch.equal(torch.get_rng_state(), before["random"])


# ---- inside the model -----------------------------------------------------------------------------------------------


def mixed_rows(values, perm, lam):
    """Row by row, differentiable."""
    return torch.stack([lam[i] * values[i] + (1 - lam[i]) * values[perm[i]] for i in range(len(values))])


def forward_mlp(model, x, mix):
    x = mix("input", x).flatten(1)
    for i, layer in enumerate(model.hidden):
        x = mix(f"hidden.{i}", layer(x))
    return model.head(x)


def forward_small_cnn(model, x, mix):
    x = mix("input", x)
    for i, stage in enumerate(model.stages):
        x = mix(f"stages.{i}", stage(x))
    return model.head(x)


def forward_resnet(model, x, mix):
    x = mix("input", x)
    activation = model.relu if hasattr(model, "relu") else model.act1
    x = model.maxpool(activation(mix("bn1", model.bn1(model.conv1(x)))))
    for name in ("layer1", "layer2", "layer3", "layer4"):
        x = mix(name, getattr(model, name)(x))
    if hasattr(model, "avgpool"):
        return model.fc(mix("avgpool", model.avgpool(x)).flatten(1))
    return model.fc(mix("global_pool", model.global_pool(x)))


def torchvision_resnet():
    from torchvision.models import ResNet
    from torchvision.models.resnet import BasicBlock

    return ResNet(BasicBlock, [2, 2, 2, 2], num_classes=CLASSES)  # resnet18


def timm_resnet():
    timm = pytest.importorskip("timm")
    return timm.create_model("test_resnet", num_classes=CLASSES)


MODELS = {
    "mlp": (lambda: MLP(input_shape=(3, 16, 16), num_outputs=CLASSES, hidden=(8, 7)), forward_mlp, None),
    "small_cnn": (lambda: SmallCNN(input_shape=(3, 16, 16), num_outputs=CLASSES, width=2), forward_small_cnn, None),
    "torchvision": (torchvision_resnet, forward_resnet, ["bn1", "layer3"]),
    "timm": (timm_resnet, forward_resnet, ["bn1", "layer2", "layer4", "global_pool"]),
}


@pytest.mark.parametrize(
    ("name", "lam_per"),
    [("mlp", "batch"), ("mlp", "sample"), ("small_cnn", "sample"), ("torchvision", "sample"), ("timm", "pair")],
)
def test_manifold_mixup_against_a_forward_pass_by_hand(name, lam_per):
    make, forward, layers = MODELS[name]
    torch.manual_seed(0)
    model = make().train().double()  # batch norm over six examples magnifies what float32 rounds off
    twin = copy.deepcopy(model)
    batch = pictures(6, height=16, width=16)
    batch = Batch(batch.inputs.double(), batch.target)
    mixer = ManifoldMixup(2.0, lam_per=lam_per, layers=layers)
    mixer.bind(Bound(model, losses, (3, 16, 16), Labels(CLASSES)))
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), twin.buffers(), strict=True)), (
        "the trial left a trace"
    )
    (draw,) = steps_of(mixer, batch, 1)
    lam = draw["lam"].double()
    for number, layer in enumerate(mixer.layers):
        model.zero_grad()
        twin.zero_grad()
        mixed = mixer.apply(batch, {**draw, "layer": number})
        loss = mixed.loss(losses, model(mixed.inputs)).mean()
        loss.backward()

        def mix(place, values, chosen=layer):
            return mixed_rows(values, draw["perm"], lam) if place == chosen else values

        output = forward(twin, batch.inputs, mix)
        own, partner = losses(output, batch.target), losses(output, batch.target[draw["perm"]])
        expected = (lam * own + (1 - lam) * partner).mean()
        expected.backward()
        torch.testing.assert_close(loss, expected)
        for p, q in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad)
        for p, q in zip(model.buffers(), twin.buffers(), strict=True):
            torch.testing.assert_close(p, q)


def small_model_with(mixer, **more):
    torch.manual_seed(0)
    model = SmallCNN(input_shape=(3, 8, 8), num_outputs=CLASSES, width=2, **more).train()
    mixer.bind(Bound(model, losses, (3, 8, 8), Labels(CLASSES)))
    return model


def plain_output(model, inputs):
    """Of a copy without the statistics that a pass in training mode leaves behind."""
    return copy.deepcopy(model)(inputs)


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_manifold_mixup_mixes_one_forward_pass_and_never_an_evaluation(layer):
    mixer = ManifoldMixup(law="fixed", lam=0.3, partner="no_self")
    model = small_model_with(mixer)
    batch = pictures(6, height=8, width=8)
    (draw,) = steps_of(mixer, batch, 1)
    draw["layer"] = layer
    clean = plain_output(model, batch.inputs)

    mixed = mixer.apply(batch, draw)
    if layer > 0:
        model.eval()
        assert torch.equal(model(batch.inputs), plain_output(model, batch.inputs))
        model.train()
    assert not torch.allclose(plain_output(model, mixed.inputs), clean), "armed until a pass in training mode"
    mixer.apply(batch, {**draw, "lam": torch.ones(6)})
    assert torch.equal(plain_output(model, batch.inputs), clean), "lam = 1 leaves the features bit for bit"

    mixed = mixer.apply(batch, draw)
    assert not torch.allclose(model(mixed.inputs), clean)
    again = plain_output(model, batch.inputs)
    torch.testing.assert_close(again, clean, msg="nothing stays armed")

    mixer.apply(batch, {**draw, "layer": 2})
    mixer.apply(batch, {**draw, "layer": 0})
    torch.testing.assert_close(
        plain_output(model, batch.inputs), clean, msg="a batch that was thrown away is forgotten"
    )


@pytest.mark.parametrize("partner", ["nearest_input", "nearest_feature"])
def test_manifold_mixup_with_partners_by_distance(partner):
    mixer = ManifoldMixup(law="fixed", lam=0.0, partner=partner, layers=["stages.1"], seed=0)
    model = small_model_with(mixer).eval()
    batch = pictures(5, height=8, width=8)
    mixed = mixer(batch.inputs, batch.target)
    by_hand = Mixup(law="fixed", lam=0.0, partner=partner)
    by_hand.bind(Bound(model, losses, (3, 8, 8), Labels(CLASSES)))
    assert torch.equal(mixed.partner, by_hand(*batch).partner)
    assert torch.equal(mixed.inputs, batch.inputs)


def test_manifold_mixup_of_labels_only_leaves_the_features():
    mixer = ManifoldMixup(law="fixed", lam=0.3, labels="labels_only", layers=["stages.1"], partner="no_self", seed=0)
    model = small_model_with(mixer)
    batch = pictures(6, height=8, width=8)
    clean = plain_output(model, batch.inputs)
    mixed = mixer(*batch)
    assert torch.equal(plain_output(model, mixed.inputs), clean)
    assert mixed.lam.tolist() == pytest.approx([0.3] * 6)


def test_every_layer_is_used_equally_often():
    mixer = ManifoldMixup()
    small_model_with(mixer)
    assert mixer.layers == ["input", "stages.0", "stages.1", "stages.2"]
    layers = mixer.draw(stream(0, "mixing"), Request(4000, 2))["layer"]
    assert stats.chisquare(np.bincount(layers, minlength=4)).pvalue > 1e-3


class Odd(nn.Module):
    """A layer that is not used, one that gives a pair, one of another batch size, and one that is used twice."""

    def __init__(self):
        super().__init__()
        self.idle, self.twice, self.last = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, CLASSES)
        self.pair, self.rows = nn.LSTM(2, 2, batch_first=True), nn.Flatten(0, 1)

    def forward(self, x):
        x = self.twice(self.twice(x))
        self.rows(x[:, None].expand(-1, 4, -1))
        return self.last(self.pair(x[:, None])[0][:, 0])


@pytest.mark.parametrize("layer", ["idle", "pair", "rows"])
def test_layers_that_cannot_be_mixed_are_refused_before_training(layer):
    mixer = ManifoldMixup(layers=["input", layer])
    with pytest.raises(ValueError, match=f"layers: '{layer}' does not return one tensor with a row for each example"):
        mixer.bind(Bound(Odd(), losses, (2,), Labels(CLASSES)))


def test_a_layer_that_is_used_twice_is_mixed_once():
    mixer = ManifoldMixup(law="fixed", lam=0.25, layers=["twice"], seed=0)
    torch.manual_seed(0)
    model = Odd().train()
    mixer.bind(Bound(model, losses, (2,), Labels(CLASSES)))
    x, y = torch.randn(4, 2), torch.arange(4)
    mixed = mixer(x, y)
    output = model(mixed.inputs)
    twice = model.twice(mixed_rows(model.twice(x), mixed.partner, mixed.lam))
    torch.testing.assert_close(output, model.last(model.pair(twice[:, None])[0][:, 0]))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"layers": []}, r"layers must be a list of at least one layer, got \[\]"),
        ({"layers": "head"}, "layers must be a list of at least one layer, got head"),
    ],
)
def test_layers_that_are_no_list(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        ManifoldMixup(**arguments)


def test_layers_are_looked_up_in_the_model():
    bound = Bound(SmallCNN(input_shape=(3, 8, 8), num_outputs=2, width=1), losses, (3, 8, 8), Labels(2))
    with pytest.raises(ValueError, match=r"has no layer 'stage\.0'; choose one of: input, stages, stages\.0, "):
        ManifoldMixup(layers=["stage.0"]).bind(bound)
    plain = Bound(nn.Sequential(nn.Linear(3, 2)), losses, (3,), Labels(2))
    with pytest.raises(ValueError, match=r"this model declares no mixup_layers; name some with layers=\[...\]: 0$"):
        ManifoldMixup().bind(plain)
    with pytest.raises(ValueError, match=r"manifold_mixup needs the model; call bind\(Bound\(...\)\) first"):
        ManifoldMixup(layers=["stages.0"])(torch.rand(2, 3, 8, 8), torch.arange(2))


# ---- what is refused ------------------------------------------------------------------------------------------------


@each("method", [CutMix, ResizeMix, FMix, GridMix, SmoothMix, SaliencyMix])
def test_pictures_are_needed(method):
    name = method.__name__.lower()
    sentence = rf"{name} needs pictures \(channels x height x width\), the examples are 7"
    with pytest.raises(ValueError, match=sentence):
        method().bind(Bound(nn.Linear(7, 2), losses, (7,), Labels(2)))
    with pytest.raises(ValueError, match=sentence):
        method()(torch.rand(2, 7), torch.arange(2))
    with pytest.raises(ValueError, match=f"{name} needs inputs that are one tensor, got dict"):
        method()({"x": torch.rand(2, 3, 4, 4)}, torch.arange(2))


@each(
    "make, sentence",
    [
        (lambda: FMix(decay=0.0), "decay must be greater than 0, got 0.0"),
        (lambda: GridMix(grid=0), "grid must be at least 1, got 0"),
        (lambda: SmoothMix(sigma_min=0.5, sigma_max=0.4), "0 < sigma_min <= sigma_max must hold, got 0.5 and 0.4"),
        (lambda: ResizeMix(tau_min=0.0), "0 < tau_min <= tau_max <= 1 must hold, got 0.0 and 0.8"),
        (lambda: ResizeMix(lam_per="sample"), "resizemix has one size for the whole batch, got lam_per=sample"),
        (lambda: ResizeMix(law="uniform"), "resizemix draws its scale in place of lam and has no law=uniform"),
        (lambda: SmoothMix(fold=True), "smoothmix draws the width of its spot in place of lam and has no fold=True"),
        (lambda: KFoldMixup(beta=2.0), "kfold draws from a Dirichlet law and has no beta=2.0"),
        (lambda: KFoldMixup(lam=0.2), "kfold draws from a Dirichlet law and has no lam=0.2"),
        (lambda: KFoldMixup(k=1), "k must be at least 2, got 1"),
        (lambda: KFoldMixup(partner="pairs"), "kfold has soft labels, partner=random or no_self, and lam_per=batch"),
        (lambda: SaliencyMix(smooth=4), "smooth must be odd and at least 1, got 4"),
        (lambda: RegMixup(eta=-1.0), "eta must be a finite number >= 0, got -1.0"),
        (lambda: NoiseMix(add_noise=-1.0), "add_noise must be a finite number >= 0, got -1.0"),
        (lambda: Noise(sigma=float("nan")), "sigma must be a finite number >= 0, got nan"),
        (lambda: LabelSmoothing(-1.0), "alpha must be a finite number >= 0, got -1.0"),
        (lambda: MixupCutMix(cutmix_alpha=0.0), "cutmix_alpha must be greater than 0, got 0.0"),
        (lambda: Mixup(lam_per="row"), "lam_per must be one of batch, sample, pair, got row"),
        (lambda: Mixup(labels="hard"), "labels must be one of two_term, soft, dominant, inputs_only,"),
        (lambda: Mixup(bandwidth=0.0), "bandwidth must be a finite number > 0, got 0.0"),
    ],
)  # fmt: skip
def test_arguments_out_of_range(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
