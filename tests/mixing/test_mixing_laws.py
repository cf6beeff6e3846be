"""The law of lam: its distribution function against scipy's, draws against both, and what shares one lam."""

import numpy as np
import pytest
import torch
from helpers.cases import each
from scipy import integrate, special, stats

from mixup_lab.mixing import CutMix, FMix, Mixup, Request
from mixup_lab.mixing.law import Law, mean_minor_share
from mixup_lab.seeding import stream


def beta_cdf(alpha, beta):
    return stats.beta(alpha, beta).cdf


def truncated(cdf, low, high):
    return lambda x: (cdf(np.clip(x, low, high)) - cdf(low)) / (cdf(high) - cdf(low))


def folded(cdf):
    """P(max(lam, 1 - lam) <= x) = P(1 - x <= lam <= x) for a continuous law."""
    return lambda x: np.where(x < 0.5, 0.0, cdf(x) - cdf(1 - x))


def uniform(x):
    return np.clip(x, 0, 1)


# name: the law, alpha, and its distribution function by hand
LAWS = {
    "beta(0.05)": (Law(), 0.05, beta_cdf(0.05, 0.05)),
    "beta(1)": (Law(), 1.0, beta_cdf(1, 1)),
    "beta(32)": (Law(), 32.0, beta_cdf(32, 32)),
    "beta(2, 5)": (Law(beta=5.0), 2.0, beta_cdf(2, 5)),
    "beta(0.3, 4)": (Law(beta=4.0), 0.3, beta_cdf(0.3, 4)),
    "uniform": (Law("uniform"), 0.7, uniform),
    "uniform in 0.2..0.9": (Law("uniform", low=0.2, high=0.9), 0.7, truncated(uniform, 0.2, 0.9)),
    "beta(0.2) in 0.1..0.95": (Law(low=0.1, high=0.95), 0.2, truncated(beta_cdf(0.2, 0.2), 0.1, 0.95)),
    "beta(3) in 0.5..1": (Law(low=0.5), 3.0, truncated(beta_cdf(3, 3), 0.5, 1)),
    "beta(2, 5) in 0..0.2": (Law(beta=5.0, high=0.2), 2.0, truncated(beta_cdf(2, 5), 0, 0.2)),
    "beta(2, 5) in 0.6..0.8": (Law(beta=5.0, low=0.6, high=0.8), 2.0, truncated(beta_cdf(2, 5), 0.6, 0.8)),
    "folded beta(0.4)": (Law(fold=True), 0.4, folded(beta_cdf(0.4, 0.4))),
    "folded beta(2, 5)": (Law(beta=5.0, fold=True), 2.0, folded(beta_cdf(2, 5))),
    "folded uniform": (Law("uniform", fold=True), 1.0, folded(uniform)),
    "folded beta(1.5) in 0.2..0.7": (
        Law(low=0.2, high=0.7, fold=True), 1.5, folded(truncated(beta_cdf(1.5, 1.5), 0.2, 0.7))
    ),
}  # fmt: skip
GRID = np.unique(np.concatenate([np.linspace(0, 1, 401), np.logspace(-6, -1, 200), 1 - np.logspace(-6, -1, 200)]))


def p_value(lam, cdf):
    """Kolmogorov and Smirnov's, over a grid: nearer to 1 than 1e-6 float32 has too few numbers for small alphas."""
    grid = GRID[(GRID >= 1e-6) & (GRID <= 1 - 1e-6)]
    distance = np.abs(np.searchsorted(np.sort(lam.astype(float)), grid, side="right") / len(lam) - cdf(grid)).max()
    return stats.kstwo.sf(distance, len(lam))


@each("name", LAWS)
def test_distribution_function(name):
    law, alpha, cdf = LAWS[name]
    np.testing.assert_allclose(law.cdf(GRID, alpha), cdf(GRID), atol=1e-9)
    np.testing.assert_allclose(law.cdf(np.array([0.0, 1.0]), int(np.ceil(alpha))), [0, 1], atol=1e-12)


@each("name", LAWS)
def test_draws_follow_their_law(name):
    law, alpha, cdf = LAWS[name]
    lam = law.draw(stream(0, "mixing"), np.full(300, alpha), 30).ravel()
    assert lam.dtype == np.float32
    assert p_value(lam, cdf) > 1e-3
    assert p_value(lam, lambda x: law.cdf(x, alpha)) > 1e-3
    assert p_value(lam, lambda x: cdf(x) ** 1.1) < 1e-3, "9000 draws tell a law from its neighbour"


def test_fixed_law():
    assert (Law("fixed", value=0.3).draw(stream(0, "mixing"), np.full(3, 0.1), 2) == np.float32(0.3)).all()
    assert (Law("fixed", value=0.25, fold=True).draw(stream(0, "mixing"), np.full(3, 0.1), 2) == 0.75).all()
    np.testing.assert_array_equal(Law("fixed", value=0.25).cdf(np.array([0.2, 0.25, 0.3]), 1.0), [0, 1, 1])
    np.testing.assert_array_equal(Law("fixed", value=0.25, fold=True).cdf(np.array([0.7, 0.75, 0.8]), 1.0), [0, 1, 1])


@pytest.mark.parametrize(("low", "high"), [(0.8, 1.0), (0.0, 0.2)])
def test_truncation_to_a_tail_keeps_its_digits(low, high):
    """Beta(200, 200) has 1e-37 of its mass there, all of it close to the inner edge: log density is known."""
    lam = Law(low=low, high=high).draw(stream(0, "mixing"), np.full(100, 200.0), 50).ravel()
    inner = np.abs(lam - (low if low else high))
    rate = 199 * (1 / 0.2 - 1 / 0.8)  # of the exponential law that the tail is close to
    assert inner.mean() == pytest.approx(1 / rate, rel=0.05)
    assert inner.max() < 0.02
    assert ((lam >= np.float32(low)) & (lam <= np.float32(high))).all()


def test_truncation_that_leaves_nothing_is_refused():
    sentence = r"Beta\(3000, 3000\) has no mass between lam_min=0.9 and lam_max=1.0"
    with pytest.raises(ValueError, match=sentence):
        Mixup(3000.0, lam_min=0.9)
    Mixup(0.0, lam_min=0.9)


def test_every_step_has_the_law_of_its_own_alpha():
    alphas = np.repeat([0.1, 1.0, 8.0, 0.0], 200)
    for law in (Law(), Law(low=0.05, high=0.9), Law(beta=2.0)):
        lam = law.draw(stream(0, "mixing"), alphas, 40)
        for alpha in (0.1, 1.0, 8.0):
            assert p_value(lam[alphas == alpha].ravel(), lambda x, a=alpha, law=law: law.cdf(x, a)) > 1e-3
        assert (lam[alphas == 0] == 1).all()


@each("law", ["beta", "uniform", "fixed"])
@each("lam_per", ["batch", "sample", "pair"])
def test_alpha_zero_anywhere_is_exactly_one(law, lam_per):
    scale = np.array([1.0, 0.0, 0.5, 0.0, 1.0])
    lam = Mixup(0.5, law=law, lam_per=lam_per, lam_max=0.9).draw(stream(0, "mixing"), Request(5, 6, scale_alpha=scale))[
        "lam"
    ]
    assert (lam[scale == 0] == 1).all()
    assert (lam[scale > 0] < 1).all()


def test_scaled_alpha_and_share():
    scale = np.repeat([0.1, 1.0], 2000)
    lam = Mixup(2.0).draw(stream(0, "mixing"), Request(4000, 2, scale_alpha=scale))["lam"][:, 0]
    assert p_value(lam[:2000], beta_cdf(0.2, 0.2)) > 1e-3
    assert p_value(lam[2000:], beta_cdf(2, 2)) > 1e-3
    mixed = Mixup(2.0, prob=0.8).draw(stream(0, "mixing"), Request(4000, 2, scale_prob=scale))["lam"][:, 0] < 1
    for rows, expected in ((mixed[:2000], 0.08), (mixed[2000:], 0.8)):
        assert abs(rows.mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / 2000)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 8])
def test_couples_share_lam_and_place(batch_size):
    drawn = CutMix(1.0, lam_per="pair", prob=0.7).draw(stream(0, "mixing"), Request(400, batch_size))
    perm, lam = drawn["perm"], drawn["lam"]
    rows = np.arange(400)[:, None]
    assert (perm[rows, perm] == np.arange(batch_size)).all(), "an involution"
    assert ((perm == np.arange(batch_size)).sum(axis=1) == batch_size % 2).all(), "an odd one is alone"
    for name in ("lam", "row", "column"):
        assert (drawn[name][rows, perm] == drawn[name]).all(), name
    first = np.argsort(np.minimum(perm, np.arange(batch_size)), axis=1, kind="stable")[:, ::2]
    couples = np.take_along_axis(lam, first, axis=1).ravel()
    assert abs((couples < 1).mean() - 0.7) < 4 * np.sqrt(0.21 / len(couples)), "prob counts couples"
    if len(couples) > 1000:
        assert p_value(couples[couples < 1], uniform) > 1e-3
        assert (lam != lam[:, :1]).any(axis=1).mean() > 0.5, "couples differ"


def test_couples_share_their_mask():
    inputs = torch.rand(6, 1, 8, 8)
    mixed = FMix(1.0, lam_per="pair", seed=0)(inputs, torch.arange(6))
    partner = mixed.partner
    torch.testing.assert_close(mixed.inputs + mixed.inputs[partner], inputs + inputs[partner])
    assert torch.equal(mixed.lam, mixed.lam[partner])
    assert len(mixed.lam.unique()) > 1


@pytest.mark.parametrize("lam_per", ["batch", "sample"])
def test_what_has_one_lam(lam_per):
    lam = Mixup(1.0, lam_per=lam_per).draw(stream(0, "mixing"), Request(50, 6))["lam"]
    assert {len(set(row)) for row in lam} == {1 if lam_per == "batch" else 6}


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 3.0, 40.0])
def test_mean_minor_share_by_integration(alpha):
    # Twice the part below 1/2, over t = lam ** alpha, which leaves no pole at 0.
    def minor(t):
        lam = t ** (1 / alpha)
        return 2 * lam * (1 - lam) ** (alpha - 1) / (alpha * special.beta(alpha, alpha))

    expected, _ = integrate.quad(minor, 0, 0.5**alpha)
    assert mean_minor_share(alpha) == pytest.approx(expected, rel=1e-5)
    lam = stats.beta(alpha, alpha).rvs(20000, random_state=0)
    assert mean_minor_share(alpha) == pytest.approx(np.minimum(lam, 1 - lam).mean(), abs=0.01)


MISTAKES = [
    ({"law": "gauss"}, "law must be one of beta, uniform, fixed, got gauss"),
    ({"beta": 0.0}, "beta must be null"),
    ({"beta": float("nan")}, "beta must be null"),
    ({"law": "uniform", "beta": 2.0}, "beta=2.0 belongs to law=beta, not to law=uniform"),
    ({"lam": 1.5}, "lam must be in"),
    ({"lam_min": 0.6, "lam_max": 0.4}, "lam_min and lam_max must be 0 <= lam_min < lam_max <= 1, got 0.6 and 0.4"),
    ({"law": "fixed", "lam": 0.2, "lam_min": 0.5}, "lam=0.2 is outside lam_min=0.5 .. lam_max=1.0"),
]


@each("arguments, sentence", MISTAKES)
def test_arguments_that_make_no_law(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Mixup(1.0, **arguments)
