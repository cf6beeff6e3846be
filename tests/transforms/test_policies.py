"""Operations and policies against torchvision's own, picture by picture, and how often each policy chooses what."""

from collections import Counter

import numpy as np
import pytest
import torch
from helpers.cases import each
from scipy import stats
from torchvision.transforms import v2

from mixup_lab.inputs.pictures import Pictures
from mixup_lab.transforms.augmix import AugMix
from mixup_lab.transforms.autoaugment import POLICIES, AutoAugment
from mixup_lab.transforms.operations import NAMES, NUMBER, SIGNED, WARPS, Space, operate, settings
from mixup_lab.transforms.randaugment import RandAugment
from mixup_lab.transforms.trivialaugment import TrivialAugment

THEIRS = {
    "randaugment": (RandAugment(), v2.RandAugment()),
    "trivialaugment": (TrivialAugment(), v2.TrivialAugmentWide()),
    "cifar10": (AutoAugment(policy="cifar10"), v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)),
    "imagenet": (AutoAugment(policy="imagenet"), v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET)),
    "svhn": (AutoAugment(policy="svhn"), v2.AutoAugment(v2.AutoAugmentPolicy.SVHN)),
    "augmix": (AugMix(), v2.AugMix(all_ops=False)),
    "augmix_all": (AugMix(all_ops=True), v2.AugMix()),
}
SHAPES = [(3, 32, 32), (1, 8, 8), (3, 9, 13), (1, 28, 28), (3, 2, 5), (3, 64, 64)]


def pictures(batch, *shape):
    """Noise, a ramp of few levels, and one grey level."""
    out = np.random.default_rng(0).integers(0, 256, (batch, *shape), dtype=np.uint8)
    out[1 % batch] = 60 + np.arange(shape[-1]) * 7
    out[2 % batch] = 77
    return torch.from_numpy(out)


def rows_of(transform, batch, seed=0):
    draw = transform.draw(np.random.default_rng(seed), 2, batch)
    return {key: torch.from_numpy(values[1]) for key, values in draw.items()}


def theirs(name, magnitude, smooth=False):
    """torchvision's operation of this name, on one picture or many."""
    transform = v2.RandAugment(interpolation="bilinear" if smooth else "nearest")

    def done(x):
        mode, fill = transform.interpolation, transform._fill
        return transform._apply_image_or_video_transform(x, name, magnitude, interpolation=mode, fill=fill)

    return done


# ---- operations ---------------------------------------------------------------------------------------------------

# Strengths at which no pixel lies half-way between two others, where a rounding error would choose.
ODD = Space(7, 0.3137, 0.4321, 0, 29.37, 0.8713, (8, 5))


@each("smooth", [False, True])
@each("name", NAMES)
@each("shape", SHAPES)
def test_operations_are_torchvisions(name, shape, smooth):
    x = pictures(5, *shape)
    table = settings(ODD, *shape[1:], x.device)
    operation = torch.full((5, 1), NUMBER[name])
    different, count = 0, 0
    for level in range(ODD.levels):
        for negative in range(1 + (name in SIGNED)):
            side = shape[2] if name == "TranslateX" else shape[1]
            expected = theirs(name, (1 - 2 * negative) * ODD.magnitude(name, level, side), smooth)(x)
            out = operate(x, operation, table[operation, level, negative], smooth)
            if name in ("Brightness", "Color", "Contrast", "Sharpness") or (name in WARPS and smooth):
                apart = (out.int() - expected.int()).abs()
                assert apart.max() <= 1, "torchvision rounds at other places"
                different += int(apart.sum())
                count += apart.numel()
            else:
                assert torch.equal(out, expected), (level, negative)
    assert different <= 0.01 * count
    assert torch.equal(x, pictures(5, *shape))


@pytest.mark.parametrize("option", THEIRS)
def test_strengths_are_torchvisions(option):
    ours, reference = THEIRS[option]
    levels = 31 if option in ("randaugment", "trivialaugment") else 10
    assert ours.space.levels == levels
    for height, width in [(8, 8), (9, 13), (32, 32), (96, 64), *((side, side) for side in range(1, 40))]:
        for name, (magnitudes, signed) in reference._AUGMENTATION_SPACE.items():
            assert signed == (name in SIGNED)
            expected = magnitudes(levels, height, width)
            side = width if name == "TranslateX" else height
            for level in range(levels if expected is not None else 0):
                magnitude = float(expected[level])
                if name.startswith("Translate"):  # whole pixels; 15.999999 of torchvision's are 16
                    magnitude = int(magnitude + 1e-4)
                assert ours.space.magnitude(name, level, side) == pytest.approx(magnitude, abs=1e-5)


def test_solarize_inverts_from_its_threshold_on():
    space = RandAugment.space
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    table = settings(space, 16, 16, ramp.device)
    operation = torch.tensor([[NUMBER["Solarize"]]])
    for level in range(31):
        out = operate(ramp, operation, table[operation, level, 0]).flatten().int()
        values = torch.arange(256, dtype=torch.int32)
        # 255 * (1 - level / 30), in whole numbers
        assert torch.equal(out, torch.where(30 * values >= 255 * (30 - level), 255 - values, values))


def test_several_rounds_follow_one_another():
    x = pictures(40, 3, 16, 16)
    rng = np.random.default_rng(1)
    operation = torch.from_numpy(rng.integers(0, len(NAMES), (40, 3)))
    setting = settings(ODD, 16, 16, x.device)[operation, torch.from_numpy(rng.integers(0, 7, (40, 3))), 1]
    step = x
    for i in range(3):
        step = operate(step, operation[:, i : i + 1], setting[:, i : i + 1])
    assert torch.equal(operate(x, operation, setting), step)


# ---- policies -----------------------------------------------------------------------------------------------------


def noted(transform, count):
    """What torchvision chooses for pictures of 60 x 60, which it does not touch: (name, magnitude) of each step."""
    rows = []

    def note(image, name, magnitude, **_):
        whole = name.startswith("Translate")  # pixels; 15.999999 of torchvision's are 16
        rows[-1].append(step(name, int(magnitude * (1 + 1e-6)) if whole else magnitude))
        return image

    transform._apply_image_or_video_transform = note
    picture = torch.zeros(1, 60, 60, dtype=torch.uint8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(count):
            rows.append([])
            transform(picture)
    return without_identity(rows)


def chosen_by(policy, count):
    """The same of ours."""
    draw = policy.draw(np.random.default_rng(0), 1, count)
    rows = []
    for triples in zip(*(draw[k][0].reshape(count, -1) for k in ("operation", "level", "negative")), strict=True):
        rows.append([])
        for o, level, negative in zip(*triples, strict=True):
            magnitude = policy.space.magnitude(NAMES[o], int(level), 60)
            rows[-1].append(step(NAMES[o], -magnitude if negative and NAMES[o] in SIGNED else magnitude))
    return without_identity(rows)


def step(name, magnitude):
    """Zero has no sign, and torchvision's magnitudes are float32."""
    return name, round(magnitude, 3) + 0.0


def without_identity(rows):
    return [tuple(step for step in row if step[0] != "Identity") for row in rows]


def alike(ours, reference):
    """p of a chi-squared test that two samples of anything have one law; what is rare is put together."""
    first, second = Counter(ours), Counter(reference)
    keys = [key for key in first | second if first[key] + second[key] >= 20]
    table = [[c[key] for key in keys] + [c.total() - sum(c[key] for key in keys) + 1] for c in (first, second)]
    return stats.chi2_contingency(table).pvalue


@pytest.mark.parametrize("option", THEIRS)
def test_choices_have_torchvisions_law(option):
    ours, reference = THEIRS[option]
    both = chosen_by(ours, 4000), noted(reference, 4000)
    assert alike(*([step for row in rows for step in row] for rows in both)) > 1e-3, "names, strengths, directions"
    assert alike(*([tuple(name for name, _ in row[:2]) for row in rows] for rows in both)) > 1e-3, "in order"
    assert alike(*([len(row) for row in rows] for rows in both)) > 1e-3, "how many"


@pytest.mark.parametrize(("policy", "levels"), [(TrivialAugment(), 31), (AugMix(severity=4), 4)])
def test_levels_are_uniform(policy, levels):
    level = policy.draw(np.random.default_rng(0), 2, 2000)["level"].ravel()
    assert stats.chisquare(np.bincount(level, minlength=levels)).pvalue > 1e-4
    assert level.max() == levels - 1


@pytest.mark.parametrize("policy", POLICIES)
def test_autoaugment_has_the_published_pairs(policy):
    reference = v2.AutoAugment(v2.AutoAugmentPolicy(policy))._policies
    pairs = [tuple((name, prob, level or 0) for name, prob, level in pair) for pair in reference]
    assert pairs == list(POLICIES[policy])


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8)])
@pytest.mark.parametrize("option", ["randaugment", "trivialaugment", "cifar10"])
def test_a_policy_does_what_it_has_drawn(option, shape):
    """Each picture by itself through torchvision's operations, as our draws say."""
    policy = THEIRS[option][0]
    x, draw = pictures(60, *shape), rows_of(policy, 60)
    out = policy.apply(x, draw)
    apart = 0
    for i in range(60):
        expected = x[i]
        for o, level, negative in zip(*(draw[k][i].tolist() for k in ("operation", "level", "negative")), strict=True):
            name = NAMES[o]
            magnitude = policy.space.magnitude(name, level, shape[2] if name == "TranslateX" else shape[1])
            expected = theirs(name, -magnitude if negative and name in SIGNED else magnitude)(expected)
        apart += float((out[i] != expected).float().mean())
    assert apart / 60 < 0.01


def test_augmix_mixes_what_it_has_drawn():
    policy = AugMix(width=2, depth=2, severity=10)
    x, draw = pictures(30, 3, 20, 20), rows_of(AugMix(width=2, depth=2, severity=10), 30)
    out = policy.apply(x, draw)
    for i in range(30):
        mixed = x[i].double() * float(draw["weight"][i, 0])
        for j in range(2):
            chain = x[i]
            triples = zip(*(draw[k][i, j].tolist() for k in ("operation", "level", "negative")), strict=True)
            for o, level, negative in triples:
                name = NAMES[o]
                magnitude = policy.space.magnitude(name, level, 20)
                chain = theirs(name, -magnitude if negative and name in SIGNED else magnitude, smooth=True)(chain)
            mixed += chain.double() * float(draw["weight"][i, 1 + j])
        apart = (out[i].double() - mixed).abs()
        assert (apart > 1.5).double().mean() < 0.01, "but where an operation makes much of another rounding"
        assert apart.mean() < 0.4, "rounded, not cut off"


def test_augmix_weights_have_their_law():
    weight = AugMix(width=3, alpha=0.7).draw(np.random.default_rng(0), 1, 5000)["weight"][0].astype(float)
    np.testing.assert_allclose(weight.sum(1), 1, atol=1e-5)
    assert stats.kstest(weight[:, 0], stats.beta(0.7, 0.7).cdf).pvalue > 1e-4
    shares = weight[:, 1:] / np.maximum(1 - weight[:, :1], 1e-9)
    for j in range(3):  # of Dirichlet(0.7, 0.7, 0.7)
        assert stats.kstest(shares[weight[:, 0] < 0.99, j], stats.beta(0.7, 1.4).cdf).pvalue > 1e-4


def test_augmix_leaves_one_grey_level_alone():
    policy = AugMix(severity=1)  # the weakest of everything
    level = torch.full((50, 3, 8, 8), 200, dtype=torch.uint8)
    draw = rows_of(policy, 50)
    draw["operation"] = torch.full_like(draw["operation"], NUMBER["Equalize"])
    assert torch.equal(policy.apply(level, draw), level)


@pytest.mark.parametrize("depth", [1, 3, -1])
def test_augmix_depth(depth):
    operation = AugMix(depth=depth, width=4).draw(np.random.default_rng(0), 1, 900)["operation"][0]
    lengths = (operation != NUMBER["Identity"]).sum(-1)
    assert operation.shape[:2] == (900, 4)
    if depth > 0:
        assert (lengths == depth).all()
    else:
        assert stats.chisquare(np.bincount(lengths.ravel(), minlength=4)[1:]).pvalue > 1e-4


def test_magnitude_and_number_of_operations():
    draw = RandAugment(num_ops=4, magnitude=17).draw(np.random.default_rng(0), 2, 5)
    assert draw["operation"].shape == (2, 5, 4)
    assert (draw["level"] == 17).all()
    x = pictures(5, 3, 8, 8)
    assert torch.equal(RandAugment(num_ops=0).apply(x, rows_of(RandAugment(num_ops=0), 5)), x)


@each(
    "policy, keys, sentence",
    [
        (RandAugment, {"num_ops": -1}, "num_ops must be a whole number >= 0, got -1"),
        (RandAugment, {"magnitude": 31}, r"magnitude must be in 0\.\.30, got 31"),
        (RandAugment, {"magnitude": 9.5}, r"magnitude must be in 0\.\.30, got 9.5"),
        (AutoAugment, {"policy": "mnist"}, "policy must be one of cifar10, imagenet, svhn, got mnist"),
        (AugMix, {"severity": 0}, r"severity must be in 1\.\.10, got 0"),
        (AugMix, {"width": 0}, "width must be a whole number >= 1, got 0"),
        (AugMix, {"depth": 0}, r"depth must be a whole number >= 1 \(or -1: 1 to 3 at random\), got 0"),
        (AugMix, {"alpha": 0}, "alpha must be a finite number > 0, got 0"),
    ],
)
def test_policies_refuse(policy, keys, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        policy(**keys)


@pytest.mark.parametrize(
    "policy", [RandAugment(), TrivialAugment(), AutoAugment(), AugMix()], ids=lambda p: type(p).__name__
)
def test_pictures_of_other_channels(policy):
    sentence = f"{type(policy).__name__} takes pictures of 1 or 3 channels, got 4"
    with pytest.raises(ValueError, match=sentence):
        policy.bind(Pictures((4, 8, 8), [0.5] * 4, [1] * 4))
    with pytest.raises(ValueError, match=sentence):
        policy.apply(pictures(2, 4, 8, 8), rows_of(policy, 2))
