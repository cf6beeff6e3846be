"""The mixers in anyone's own training loop: what works, what repeats, and what a mistake is told."""

import pickle
import shutil
import warnings

import numpy as np
import pytest
import torch
from helpers.cases import each
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import mixup_lab.mixing as library
from mixup_lab.mixing import (
    Bound,
    CutMix,
    KFoldMixup,
    Labels,
    LabelSmoothing,
    ManifoldMixup,
    Mixup,
    MixupCutMix,
    Noise,
    NoiseMix,
    RegMixup,
)

losses = nn.CrossEntropyLoss(reduction="none")


def two_moons(n=400):
    """Two classes that a small network can tell apart."""
    generator = torch.Generator().manual_seed(0)
    angle = torch.rand(n, generator=generator) * torch.pi
    target = torch.arange(n) % 2
    inputs = torch.stack([angle.cos() + target, angle.sin() * (1 - 2 * target) + 0.3 * target], 1)
    return TensorDataset(inputs + 0.1 * torch.randn(n, 2, generator=generator), target)


@pytest.mark.parametrize(
    "mixer",
    [
        Mixup(alpha=0.4, seed=0),
        Mixup(alpha=0.4, labels="soft", num_classes=2, seed=0),
        KFoldMixup(alpha=0.2, num_classes=2, seed=0),
        RegMixup(alpha=5.0, seed=0),
        NoiseMix(alpha=0.4, add_noise=0.1, seed=0),
        LabelSmoothing(alpha=0.2, num_classes=2),
        Noise(sigma=0.1),
    ],
    ids=lambda mixer: type(mixer).__name__,
)
def test_four_lines_train_a_model(mixer):
    torch.manual_seed(0)
    data = two_moons()
    model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    criterion = nn.CrossEntropyLoss(reduction="none")
    for _ in range(12):
        for inputs, target in DataLoader(data, batch_size=50, shuffle=True):
            mixed = mixer(inputs, target)
            loss = mixed.loss(criterion, model(mixed.inputs)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert (model(data.tensors[0]).argmax(1) == data.tensors[1]).float().mean() > 0.95


def test_all_that_is_offered_is_there_and_documented():
    assert sorted(library.__all__) == library.__all__
    for name in library.__all__:
        assert getattr(library, name).__doc__


def test_a_seed_repeats_and_no_seed_does_not():
    inputs, target = torch.randn(8, 3, 6, 6), torch.arange(8)
    for method in (Mixup, CutMix, MixupCutMix, KFoldMixup):
        more = {"num_classes": 8} if method is KFoldMixup else {}
        first, second = method(seed=5, **more), method(seed=5, **more)
        one = [first(inputs, target) for _ in range(3)]
        two = [second(inputs, target) for _ in range(3)]
        assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(one, two, strict=True))
        assert not torch.equal(one[0].inputs, one[1].inputs), "each call draws anew"
    assert not torch.equal(Mixup()(inputs, target).inputs, Mixup()(inputs, target).inputs)


def test_global_generators_are_left_alone():
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    for mixer in (Mixup(), NoiseMix(), Noise(), MixupCutMix()):
        mixer(torch.randn(2, 1, 4, 4, generator=torch.Generator()), torch.arange(2))
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()


@each("shape", [(), (3,), (3, 2), (3, 4, 4), (2, 3, 4, 4), (1, 2, 3, 4, 4)])
def test_inputs_of_any_number_of_dimensions(shape):
    inputs = torch.randn(5, *shape, dtype=torch.float64)
    mixed = Mixup(lam_per="sample", partner="roll", seed=0)(inputs, torch.arange(5))
    lam = mixed.lam.double().reshape(-1, *[1] * len(shape))
    torch.testing.assert_close(mixed.inputs, lam * inputs + (1 - lam) * inputs.roll(1, 0))


def test_tensors_that_are_views_of_others():
    table = torch.randn(6, 4)
    strided = table[:, 0]  # not contiguous, of one dimension
    mixed = Mixup(seed=0)(table[:, 1:], strided)
    assert torch.equal(mixed.target, strided)
    assert set(mixed.partner.tolist()) == set(strided.tolist())
    turned = torch.randn(3, 6).T
    torch.testing.assert_close(
        Mixup(seed=0)(turned, strided).inputs, Mixup(seed=0)(turned.contiguous(), strided).inputs
    )
    one = torch.randn(1, 3).expand(4, 3)
    torch.testing.assert_close(Mixup(seed=0)(one, torch.arange(4)).inputs, one)


def test_inputs_that_need_a_gradient():
    inputs = torch.randn(4, 3, requires_grad=True)
    mixed = Mixup(partner="roll", law="fixed", lam=0.25)(inputs, torch.arange(4))
    mixed.inputs[0].sum().backward()
    assert inputs.grad[:, 0].tolist() == [0.25, 0.0, 0.0, 0.75]


def test_a_dict_of_tensors_is_mixed_alike():
    inputs = {"image": torch.randn(5, 3, 4, 4), "table": torch.randn(5, 7)}
    target = torch.arange(5)
    whole = Mixup(seed=1, lam_per="sample")(inputs, target)
    for name, part in inputs.items():
        alone = Mixup(seed=1, lam_per="sample")(part, target)
        assert torch.equal(whole.inputs[name], alone.inputs)
        assert torch.equal(whole.lam, alone.lam)
    both = RegMixup(seed=1)(inputs, target)
    assert both.inputs["table"].shape == (10, 7)
    assert torch.equal(both.inputs["image"][:5], inputs["image"])
    three = KFoldMixup(seed=1, num_classes=5)(inputs, target)
    assert three.inputs["table"].shape == (5, 7)


IMAGES = torch.rand(4, 3, 8, 8)
CLASSES = torch.arange(4)
MISTAKES = [
    (IMAGES.numpy(), CLASSES, TypeError, r"inputs is a numpy array; hand over torch.from_numpy\(inputs\)"),
    (IMAGES, CLASSES.numpy(), TypeError, r"target is a numpy array; hand over torch.from_numpy\(target\)"),
    ([1.0, 2.0], CLASSES, TypeError, "inputs must be a tensor, got list"),
    (IMAGES, [0, 1, 2, 3], TypeError, "target must be a tensor, got list"),
    ((IMAGES * 255).byte(), CLASSES, TypeError, "inputs is uint8, .* divide first: inputs.float\\(\\) / 255"),
    (CLASSES, CLASSES, TypeError, r"inputs is torch.int64, which cannot hold a mixture; mix its embedding, or call .f"),
    (IMAGES > 0.5, CLASSES, TypeError, "inputs is torch.bool, which cannot hold a mixture"),
    (IMAGES, CLASSES[:3], ValueError, "the same number of examples, at least 1; got inputs 4, target 3"),
    (IMAGES[:0], CLASSES[:0], ValueError, "at least 1; got inputs 0, target 0"),
    (IMAGES, torch.tensor(3), ValueError, "at least 1; got inputs 4, target 0"),
    ({}, CLASSES, ValueError, "inputs is an empty dict"),
    ({"a": IMAGES, "b": IMAGES[:2]}, CLASSES, ValueError, r"got inputs\['a'\] 4, inputs\['b'\] 2, target 4"),
    ({"a": IMAGES.numpy()}, CLASSES, TypeError, r"inputs\['a'\] is a numpy array; hand over torch.from_numpy\("),
    ({"a": (IMAGES * 255).byte()}, CLASSES, TypeError, r"inputs\['a'\] is uint8, .*: inputs\['a'\].float\(\) / 255"),
    (IMAGES.to("meta"), CLASSES, ValueError, "inputs and target must be on one device, got cpu and meta"),
]  # fmt: skip


@each("inputs, target, kind, sentence", MISTAKES)
def test_what_cannot_be_mixed_is_told_the_remedy(inputs, target, kind, sentence):
    for mixer in (Mixup(), MixupCutMix()):
        with pytest.raises(kind, match=sentence) as error:
            mixer(inputs, target)
        assert "\n" not in str(error.value)


def test_a_criterion_that_reduces_is_refused():
    mixed = Mixup()(IMAGES, CLASSES)
    with pytest.raises(ValueError, match='the criterion reduces its losses to one; make it with reduction="none"'):
        mixed.loss(nn.CrossEntropyLoss(), torch.randn(4, 4))


def test_mixers_can_be_pickled_and_compared():
    mixer = pickle.loads(pickle.dumps(Mixup(0.3, seed=2)))
    assert mixer == Mixup(0.3, seed=2)
    assert torch.equal(mixer(IMAGES, CLASSES).inputs, Mixup(0.3, seed=2)(IMAGES, CLASSES).inputs)


# ---- in a loader ----------------------------------------------------------------------------------------------------


def loaded(mixer, workers, seed=0, epochs=2):
    torch.manual_seed(seed)
    loader = DataLoader(two_moons(48), batch_size=8, collate_fn=mixer.collate, num_workers=workers)
    return [[batch.lam[0].item() for batch in loader] for _ in range(epochs)]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_collate_in_a_loader(workers):
    mixer = Mixup(seed=3)
    with pytest.warns(
        UserWarning, match="mixing in collate_fn: .* call the mixer in the training loop instead"
    ) as said:
        lam = loaded(mixer, workers)
    assert len(said) == 1
    assert said[0].filename == __file__, "the warning points at the line that asked for it"
    assert len({share for epoch in lam for share in epoch}) == 12, "workers and epochs do not repeat each other"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(loaded(mixer, workers)) == 2, "the second time nothing is said, and never in a worker"
    with pytest.warns(UserWarning, match="mixing in collate_fn"):
        assert loaded(Mixup(seed=3), workers) == lam, "the seeds of mixer and loader repeat it"
    if workers:
        with pytest.warns(UserWarning, match="mixing in collate_fn"):
            assert loaded(Mixup(seed=3), workers, seed=1) != lam


# ---- compiled -------------------------------------------------------------------------------------------------------


def small_model():
    from mixup_lab.models.small_cnn import SmallCNN

    torch.manual_seed(0)
    return SmallCNN(input_shape=(3, 8, 8), num_outputs=4, width=2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda: ManifoldMixup(seed=0, lam_per="sample"),
        lambda: library.SaliencyMix(seed=0),
        lambda: Mixup(partner="nearest_feature", seed=0),
    ],
    ids=["manifold_mixup", "saliencymix", "nearest_feature"],
)
def test_a_compiled_model_learns_the_same(make):
    ends = []
    for compiled in (False, True):
        model, mixer = small_model(), make()
        mixer.bind(Bound(model, losses, (3, 8, 8), Labels(4)))
        if compiled:
            torch._dynamo.reset()
            model.compile(backend="eager")  # traced and guarded, without the code that takes long to make
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        generator = torch.Generator().manual_seed(0)
        for step in range(8):
            inputs = torch.randn(6, 3, 8, 8, generator=generator)
            mixed = mixer(inputs, torch.randint(4, (6,), generator=generator))
            optimizer.zero_grad()
            mixed.loss(losses, model(mixed.inputs)).mean().backward()
            optimizer.step()
            if step == 4:
                model.eval()
                with torch.no_grad():
                    model(inputs)
                model.train()
        ends.append([p.detach() for p in model.parameters()])
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")
def test_a_model_compiled_to_code():
    model = torch.compile(nn.Linear(3, 2))
    mixed = Mixup(seed=0)(torch.randn(4, 3), torch.tensor([0, 1, 0, 1]))
    loss = mixed.loss(losses, model(mixed.inputs)).mean()
    loss.backward()
    torch.testing.assert_close(loss, mixed.loss(losses, model._orig_mod(mixed.inputs)).mean())
