"""What the loss becomes: two terms against soft labels, labels of pixels, numbers as targets, weights of classes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.cases import each
from helpers.trainings import config_of
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from mixup_lab.config.assemble import assemble
from mixup_lab.mixing import CutMix, FMix, GridMix, KFoldMixup, LabelSmoothing, Mixup, RegMixup, SmoothMix
from mixup_lab.targets.classes import Classification, weights_of
from mixup_lab.training.device import Precision
from mixup_lab.training.step import train_step
from mixup_lab.types import UserError

CLASSES = 4
METHODS = [Mixup, CutMix, FMix, GridMix, SmoothMix, RegMixup]
WEIGHTS = torch.tensor([0.2, 3.0, 1.0, 0.5])


def batch(batch_size=6, target=(), classes=CLASSES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(batch_size, 3, 8, 8, generator=generator)
    return inputs, torch.randint(classes, (batch_size, *target), generator=generator)


def twice(method, labels, inputs, target, **more):
    """The same draw with two kinds of labels."""
    return [method(labels=kind, num_classes=CLASSES, seed=3, **more)(inputs, target) for kind in ("two_term", labels)]


# ---- classes --------------------------------------------------------------------------------------------------------


@each("weights", [None, WEIGHTS])
@each("smoothing", [0.0, 0.2])
@each("lam_per", ["batch", "sample"])
@each("method", METHODS)
def test_soft_labels_have_the_loss_of_two_terms(method, lam_per, smoothing, weights):
    task = Classification(CLASSES, smoothing, weights)
    two_term, soft = twice(method, "soft", *batch(), lam_per=lam_per)
    output = torch.randn(len(two_term.lam), CLASSES, requires_grad=True)
    a, b = (mixed.loss(task.loss, output) for mixed in (two_term, soft))
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(*(torch.autograd.grad(x.mean(), output)[0] for x in (a, b)), rtol=1e-6, atol=1e-6)
    assert torch.equal(soft.target, soft.partner)
    torch.testing.assert_close(soft.target.sum(1), torch.ones(len(output)))


@each("lam_per", ["batch", "sample"])
@each("method", [Mixup, CutMix, SmoothMix])
def test_dominant_label(method, lam_per):
    inputs, target = batch(40)
    for seed in range(4):
        two_term, dominant = (
            method(labels=labels, seed=seed, lam_per=lam_per)(inputs, target) for labels in ("two_term", "dominant")
        )
        expected = torch.where(two_term.lam >= 0.5, two_term.target, two_term.partner)
        assert torch.equal(dominant.target, expected)
        assert torch.equal(dominant.partner, expected)
        assert torch.equal(dominant.inputs, two_term.inputs)


@pytest.mark.parametrize("method", [Mixup, CutMix, FMix])
def test_inputs_only_and_labels_only(method):
    inputs, target = batch()
    two_term, inputs_only = twice(method, "inputs_only", inputs, target)
    _, labels_only = twice(method, "labels_only", inputs, target)
    output = torch.randn(6, CLASSES)
    losses = nn.CrossEntropyLoss(reduction="none")
    assert torch.equal(inputs_only.inputs, two_term.inputs)
    torch.testing.assert_close(inputs_only.loss(losses, output), losses(output, target))
    assert torch.equal(labels_only.inputs, inputs)
    torch.testing.assert_close(labels_only.loss(losses, output), two_term.loss(losses, output))


@pytest.mark.parametrize("method", [Mixup, KFoldMixup, LabelSmoothing])
def test_soft_labels_of_classes_need_their_number(method):
    mixer = method(labels="soft") if method is Mixup else method()
    with pytest.raises(ValueError, match="soft labels of class indices need num_classes"):
        mixer(*batch())


def test_targets_that_are_soft_already():
    inputs, target = batch()
    one_hot = F.one_hot(target, CLASSES).float()
    hard, soft = Mixup(seed=0)(inputs, target), Mixup(seed=0)(inputs, one_hot)
    between = Mixup(seed=0, labels="soft")(inputs, one_hot)
    output = torch.randn(6, CLASSES)
    losses = nn.CrossEntropyLoss(reduction="none")
    torch.testing.assert_close(hard.loss(losses, output), soft.loss(losses, output))
    torch.testing.assert_close(hard.loss(losses, output), between.loss(losses, output))


# ---- numbers --------------------------------------------------------------------------------------------------------


def gradients(mixed, criterion, output):
    """Of the mean of the losses, with respect to the outputs."""
    (gradient,) = torch.autograd.grad(mixed.loss(criterion, output).mean(), output)
    return gradient


@pytest.mark.parametrize("shape", [(), (3,)])
def test_squared_error_has_the_gradient_of_the_mixed_target(shape):
    inputs, target = torch.randn(6, 5), torch.randn(6, *shape)
    two_term, soft = (Mixup(labels=labels, lam_per="sample", seed=0)(inputs, target) for labels in ("two_term", "soft"))
    output = torch.randn(6, *shape, requires_grad=True)
    squared = nn.MSELoss(reduction="none")
    torch.testing.assert_close(gradients(two_term, squared, output), gradients(soft, squared, output))
    assert (two_term.loss(squared, output) > soft.loss(squared, output) - 1e-6).all(), "they differ by a constant"


def test_absolute_error_has_another():
    """Between two targets L1 pulls towards the one of the larger share, and not towards the value in between."""
    mixer = [Mixup(labels=labels, law="fixed", lam=0.75, partner="roll") for labels in ("two_term", "soft")]
    two_term, soft = (m(torch.randn(2, 3), torch.tensor([0.0, 1.0])) for m in mixer)
    assert soft.target.tolist() == [0.25, 0.75]
    output = torch.tensor([0.5, 0.5], requires_grad=True)
    absolute = nn.L1Loss(reduction="none")
    assert gradients(two_term, absolute, output).tolist() == [0.25, -0.25]
    assert gradients(soft, absolute, output).tolist() == [0.5, -0.5]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_losses_of_other_dtypes(dtype):
    mixed = Mixup(seed=0)(torch.randn(4, 3, dtype=dtype), torch.randn(4, 2, dtype=dtype))
    loss = mixed.loss(nn.MSELoss(reduction="none"), torch.zeros(4, 2, dtype=dtype))
    assert loss.dtype == mixed.inputs.dtype == dtype
    expected = mixed.lam[:, None] * mixed.target.float() ** 2 + (1 - mixed.lam[:, None]) * mixed.partner.float() ** 2
    torch.testing.assert_close(loss.float(), expected, rtol=2e-2, atol=2e-2)


# ---- pixels ---------------------------------------------------------------------------------------------------------


def pasted(mixed, inputs):
    """Which pixels are the own picture's, read from the mixed pictures."""
    return (mixed.inputs == inputs).all(1)


@each("lam_per", ["batch", "sample"])
@each("method", [CutMix, FMix, GridMix])
def test_segmentation_has_the_loss_of_labels_pasted_by_hand(method, lam_per):
    inputs, target = batch(5, target=(8, 8))
    losses = nn.CrossEntropyLoss(reduction="none", label_smoothing=0.1)
    for seed in range(5):
        mixer = method(lam_per=lam_per, partner="no_self", seed=seed)
        mixed = mixer(inputs, target)
        own = pasted(mixed, inputs)
        assert mixed.lam.shape == (5, 8, 8)
        assert torch.equal(mixed.lam == 1, own)
        by_hand = torch.where(own, target, mixed.partner)
        output = torch.randn(5, CLASSES, 8, 8)
        assert torch.equal(mixed.loss(losses, output), losses(output, by_hand))


def test_segmentation_with_a_smooth_mask_soft_labels_and_mixup():
    inputs, target = batch(5, target=(8, 8))
    losses = nn.CrossEntropyLoss(reduction="none")
    output = torch.randn(5, CLASSES, 8, 8)
    for method, per_pixel in ((SmoothMix, True), (CutMix, True), (Mixup, False)):
        two_term, soft = twice(method, "soft", inputs, target, lam_per="sample")
        assert two_term.lam.dim() == (3 if per_pixel else 1)
        assert soft.target.shape == (5, CLASSES, 8, 8)
        torch.testing.assert_close(two_term.loss(losses, output), soft.loss(losses, output), rtol=1e-6, atol=1e-6)
    _, dominant = twice(SmoothMix, "dominant", inputs, target, lam_per="sample")
    two_term = SmoothMix(lam_per="sample", seed=3)(inputs, target)
    assert torch.equal(dominant.target, torch.where(two_term.lam >= 0.5, target, two_term.partner))


def test_maps_of_several_channels_share_the_lam_of_their_pixel():
    inputs, _ = batch(4)
    target = torch.randn(4, 8, 8, 8)  # as many channels as rows: a lam on the wrong axis would not be noticed by shape
    mixed = CutMix(lam_per="sample", partner="no_self", seed=1)(inputs, target)
    own = pasted(mixed, inputs)[:, None]
    output, squared = torch.randn(4, 8, 8, 8), nn.MSELoss(reduction="none")
    by_hand = torch.where(own, target, mixed.partner)
    assert torch.equal(mixed.loss(squared, output), squared(output, by_hand))


def test_targets_that_have_no_pixels_get_the_share_of_the_picture():
    inputs, _ = batch(4)
    for target in (torch.randn(4), torch.randn(4, 2), torch.randn(4, 5, 4)):
        mixed = CutMix(partner="no_self", seed=1)(inputs, target)
        assert mixed.lam.tolist() == pytest.approx(pasted(mixed, inputs).float().mean((1, 2)).tolist())
        assert mixed.loss(nn.MSELoss(reduction="none"), torch.zeros_like(target)).shape == target.shape


# ---- weights of classes ---------------------------------------------------------------------------------------------


def test_balanced_weights_are_scikit_learns():
    target = np.repeat([0, 1, 3], [70, 20, 10])
    weights = weights_of("balanced", np.bincount(target, minlength=4))
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=target)
    np.testing.assert_allclose(weights[[0, 1, 3]], expected, rtol=1e-6)
    assert weights[2] == 0


@pytest.mark.parametrize("kind", ["balanced", [1, 1, 1, 1], [5.0, 0.0, 1, 2]])
def test_weights_have_the_mean_one_over_the_training_examples(kind):
    target = np.repeat([0, 1, 2, 3], [70, 20, 9, 1])
    weights = weights_of(kind, np.bincount(target, minlength=4))
    assert weights[target].mean() == pytest.approx(1)
    if kind != "balanced":
        torch.testing.assert_close(weights / weights[0], torch.tensor(kind).float() / kind[0])


def test_the_loss_of_an_example_is_its_weight_times_its_cross_entropy():
    output, target = torch.randn(9, CLASSES), torch.arange(9) % CLASSES
    task, plain = Classification(CLASSES, class_weights=WEIGHTS), Classification(CLASSES)
    torch.testing.assert_close(task.loss(output, target), WEIGHTS[target] * plain.loss(output, target))
    assert task.metrics(task.observe(output, target))["loss"] == plain.metrics(plain.observe(output, target))["loss"]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_one_normaliser_for_both_terms(accumulate):
    """The step divides by the number of examples, not by the weights of one term: so it equals weighted soft labels."""
    inputs, target = batch()
    two_term, soft = twice(Mixup, "soft", inputs.flatten(1), target, lam_per="sample")
    torch.manual_seed(0)
    start = nn.Linear(192, CLASSES)
    after = []
    for mixed in (two_term, soft):
        model = nn.Linear(192, CLASSES)
        model.load_state_dict(start.state_dict())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        precision = Precision("fp32", torch.device("cpu"))
        loss, _ = train_step(model, Classification(CLASSES, 0.1, WEIGHTS), optimizer, mixed, precision, accumulate)
        after.append((loss, *model.parameters()))
    for a, b in zip(*after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    log = start(two_term.inputs).log_softmax(1)
    smooth = 0.9 * soft.target + 0.1 / CLASSES
    assert after[0][0].item() == pytest.approx(-(WEIGHTS * smooth * log).sum().item() / 6, rel=1e-5)


def test_weights_in_a_run(train):
    """Weights of 1 are no weights, to the last bit; `balanced` trains otherwise and is evaluated alike."""
    common = ("model=mlp", "aug=mixup", "trainer.epochs=1")
    plain = train(*common)
    ones = train(*common, "trainer.class_weights=[2,2,2,2]")
    some = train(*common, "trainer.class_weights=[1,0,0,0]")
    timeless = [{k: v for k, v in t.scalars.items() if not k.startswith("time")} for t in (plain, ones)]
    assert timeless[0] == timeless[1]
    assert some.scalars["train/loss"] < plain.scalars["train/loss"]
    task = some.fit.parts.task
    counts = np.bincount(some.fit.parts.data.train.target, minlength=4)
    assert task.class_weights.tolist() == pytest.approx([counts.sum() / counts[0], 0.0, 0.0, 0.0])
    balanced = assemble(config_of("dataset=fake", "model=mlp", "trainer.class_weights=balanced"), "f").task
    assert balanced.class_weights.shape == (4,)


@each(
    "value, sentence",
    [
        (
            "-1",
            "trainer.class_weights must be null, balanced or a number >= 0 for each class, not all 0, got -1",
        ),
        ("even", "trainer.class_weights must be null, balanced or a number .*, got even"),
        ("[1,-1]", r"trainer.class_weights must be null, balanced or .*, got \[1, -1\]"),
        ("[0,0,0]", r"trainer.class_weights must be null, balanced or .* not all 0, got \[0, 0, 0\]"),
        ("[1,true]", "trainer.class_weights must be null, balanced or"),
        ("[nan]", "trainer.class_weights must be null, balanced or"),
        ("[1,2]", "trainer.class_weights must be one number for each of 4 classes, got 2"),
    ],
)
def test_weights_that_are_none(value, sentence):
    with pytest.raises(UserError, match=sentence):
        assemble(config_of("dataset=fake", "model=mlp", f"trainer.class_weights={value}"), "f")


def test_weights_for_classes_without_examples_alone():
    with pytest.raises(ValueError, match="greater than 0 for at least one class that has training examples"):
        weights_of([0, 0, 1], np.array([1, 2, 0]))
    with pytest.raises(ValueError, match="class_weights must be 3 numbers"):
        Classification(3, class_weights=torch.ones(2))
