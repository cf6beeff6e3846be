"""The maths of mixing against plain numpy, and the law of lam against its distribution function."""

import numpy as np
import pytest
import torch
from helpers.cases import each
from scipy import stats

from mixup_lab.mixing.functional import interpolate
from mixup_lab.mixing.mixer import Request
from mixup_lab.mixing.mixup import Mixup
from mixup_lab.mixing.partners import draw_partners
from mixup_lab.seeding import stream
from mixup_lab.types import Batch


def _reference_mixup(inputs, labels, perm, lam):
    """Zhang et al. (2018), eq. 1 and 2, one sample at a time, with one-hot labels."""
    x, y = np.empty_like(inputs), np.empty_like(labels)
    for i in range(len(inputs)):
        x[i] = lam[i] * inputs[i] + (1 - lam[i]) * inputs[perm[i]]
        y[i] = lam[i] * labels[i] + (1 - lam[i]) * labels[perm[i]]
    return x, y


@each("batch_size", [1, 2, 7])
@each("lam_per", ["batch", "sample"])
def test_mixup_equals_the_papers_equations(batch_size, lam_per):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(batch_size, 3, 4, 5)).astype(np.float32)
    labels = rng.integers(0, 4, batch_size)
    mixer = Mixup(alpha=0.7, lam_per=lam_per)
    drawn = mixer.draw(stream(3, "mixing"), Request(steps=5, batch_size=batch_size))
    for step in range(5):
        draw = {name: torch.from_numpy(values[step]) for name, values in drawn.items()}
        mixed = mixer.apply(Batch(torch.from_numpy(inputs), torch.from_numpy(labels)), draw)
        x, y = _reference_mixup(inputs, np.eye(4)[labels], draw["perm"].numpy(), draw["lam"].numpy())
        np.testing.assert_allclose(mixed.inputs.numpy(), x, atol=1e-6)
        lam = mixed.lam.numpy()[:, None]
        np.testing.assert_allclose(lam * np.eye(4)[mixed.target] + (1 - lam) * np.eye(4)[mixed.partner], y, atol=1e-6)


def _kolmogorov_smirnov_p(lam, alpha):
    """The test's p value over [1e-6, 1 - 1e-6]: nearer to 1 float32 has too few numbers for the law of small alpha."""
    grid = np.concatenate([np.logspace(-6, -0.31, 2000), 1 - np.logspace(-0.31, -6, 2000)])
    distance = np.abs(np.searchsorted(np.sort(lam), grid, side="right") / len(lam) - stats.beta(alpha, alpha).cdf(grid))
    return stats.kstwo.sf(distance.max(), len(lam))


@each("alpha", [0.05, 0.1, 0.2, 0.4, 1.0, 2.0, 8.0, 32.0])
@each("lam_per", ["batch", "sample"])
def test_lam_follows_its_law(alpha, lam_per):
    drawn = Mixup(alpha, lam_per=lam_per).draw(stream(1, "mixing"), Request(steps=4000, batch_size=5))["lam"]
    lam = drawn.ravel() if lam_per == "sample" else drawn[:, 0]
    assert drawn.dtype == np.float32
    assert _kolmogorov_smirnov_p(lam.astype(float), alpha) > 1e-3
    assert (drawn == drawn[:, :1]).all() == (lam_per == "batch")


@pytest.mark.parametrize("alpha", [0.05, 0.4, 8.0])
def test_a_wrong_law_is_noticed(alpha):
    lam = Mixup(alpha).draw(stream(1, "mixing"), Request(4000, 1))["lam"][:, 0].astype(float)
    assert _kolmogorov_smirnov_p(np.maximum(lam, 1 - lam), alpha) < 1e-6
    assert _kolmogorov_smirnov_p(lam, alpha * 1.25) < 1e-3


def test_partners_are_uniform_random_permutations():
    perm = draw_partners("random", stream(0, "mixing"), 6000, 3)[0]
    assert (np.sort(perm, axis=1) == np.arange(3)).all()
    _, counts = np.unique(perm, axis=0, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3


def test_alphas_share_their_partners_and_epochs_do_not():
    a, b = (Mixup(alpha).draw(stream(0, "mixing", 2), Request(10, 8))["perm"] for alpha in (0.1, 1.0))
    c = Mixup(1.0).draw(stream(0, "mixing", 3), Request(10, 8))["perm"]
    assert (a == b).all()
    assert (b != c).any()


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_prob_is_the_share_that_is_mixed(lam_per):
    lam = Mixup(1.0, lam_per=lam_per, prob=0.3).draw(stream(0, "mixing"), Request(5000, 4))["lam"]
    units = lam.ravel() if lam_per == "sample" else lam[:, 0]
    assert abs((units < 1).mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / len(units))
    assert (Mixup(1.0, lam_per=lam_per, prob=0.0).draw(stream(0, "mixing"), Request(50, 4))["lam"] == 1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_lam_one_returns_the_own_input_bit_for_bit(dtype):
    inputs = torch.randn(6, 3, 5, 5, dtype=torch.float64).to(dtype) * 1e3
    perm = torch.randperm(6)
    assert torch.equal(interpolate(inputs, perm, torch.ones(6)), inputs)
    assert torch.equal(interpolate(inputs, perm, torch.zeros(6)), inputs[perm])


def test_any_rank_and_layout_of_inputs():
    for shape in [(4,), (4, 3), (4, 2, 3), (4, 3, 2, 2), (4, 3, 2, 2, 2)]:
        inputs = torch.arange(np.prod(shape), dtype=torch.float32).reshape(shape)
        mixed = interpolate(inputs, torch.tensor([1, 0, 3, 2]), torch.full((4,), 0.25))
        torch.testing.assert_close(mixed, 0.25 * inputs + 0.75 * inputs[[1, 0, 3, 2]])
    pictures = torch.randn(4, 3, 8, 8).to(memory_format=torch.channels_last)
    mixed = interpolate(pictures, torch.randperm(4), torch.rand(4))
    assert mixed.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("alpha", [-0.1, float("nan"), float("inf")])
def test_alpha_out_of_range(alpha):
    with pytest.raises(ValueError, match="alpha must be a finite number >= 0, got"):
        Mixup(alpha)


@pytest.mark.parametrize("prob", [-0.1, 1.1, float("nan")])
def test_prob_out_of_range(prob):
    with pytest.raises(ValueError, match=r"prob must be in \[0, 1\], got"):
        Mixup(1.0, prob=prob)
