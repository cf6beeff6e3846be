"""Segmentation: losses, sums and metrics against references, mixing per pixel, transforms of masks, whole runs."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.mask_examples import NAMES, shapes, write
from helpers.trainings import config_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from mixup_lab.config.assemble import assemble, ingredients
from mixup_lab.config.build import build
from mixup_lab.inputs.encoder import Encoder
from mixup_lab.inputs.pictures import Pictures
from mixup_lab.mixing import CutMix, FMix, KFoldMixup, Mixup, RegMixup
from mixup_lab.mixing.mixer import Bound
from mixup_lab.models.torchvision_segmentation import TorchvisionSegmentation
from mixup_lab.models.unet import UNet
from mixup_lab.preview import shares
from mixup_lab.preview.examples import Beginning
from mixup_lab.preview.sheet import Title, draw_sheet
from mixup_lab.runs.log import RunLog
from mixup_lab.runs.progress import ProgressView
from mixup_lab.runs.record import Record
from mixup_lab.runs.tensorboard import TensorBoardView
from mixup_lab.targets.pixels import OPACITY, Pixels, Segmentation, colours
from mixup_lab.training.device import Precision
from mixup_lab.training.fit import Fit
from mixup_lab.training.pictures import mistakes_sheet, mixed_sheet
from mixup_lab.training.step import train_step
from mixup_lab.training.stop import StopRequest
from mixup_lab.training.tally import Tally
from mixup_lab.transforms.crop_flip import CropFlip
from mixup_lab.types import VOID, Batch, Labels, Mixed, UserError

CPU = torch.device("cpu")
B, C, H, W = 5, 4, 6, 7


def _masks(seed=0, classes=C, size=(B, H, W)):
    """With a fifth of void, and one mask that is void everywhere."""
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, classes, size).astype(np.uint8)
    masks[rng.random(size) < 0.2] = VOID
    masks[1] = VOID
    return torch.from_numpy(masks)


def _logits(seed=0, classes=C):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(B, classes, H, W)).astype(np.float32))


def _one_hot(masks, classes=C):
    """Soft labels as float64 (B, C, H, W) by a loop; 0 for every class where a pixel is void."""
    soft = torch.zeros(len(masks), classes, *masks.shape[1:], dtype=torch.float64)
    for i, row, column in np.ndindex(*masks.shape):
        if masks[i, row, column] != VOID:
            soft[i, int(masks[i, row, column]), row, column] = 1
    return soft


# ---- loss -----------------------------------------------------------------------------------------------------------

WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 0.0])


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weights"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_cross_entropy_and_0_for_void(smoothing, weights):
    logits, masks = _logits().requires_grad_(), _masks()
    found = Segmentation(C, smoothing, weights).loss(logits, masks)
    expected = F.cross_entropy(
        logits, masks.long(), weights, ignore_index=VOID, reduction="none", label_smoothing=smoothing
    )
    torch.testing.assert_close(found, expected)
    assert (found[masks == VOID] == 0).all()
    (by_ours,) = torch.autograd.grad(found.sum(), logits, retain_graph=True)
    (by_torch,) = torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(by_ours, by_torch)


@pytest.mark.parametrize("per_pixel", [False, True], ids=["one lam", "lam per pixel"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weights"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_two_terms_equal_the_soft_label_of_each_pixel(smoothing, weights, per_pixel):
    logits, own, partner = _logits(), _masks(), _masks(1)
    lam = torch.rand((B, H, W) if per_pixel else (B,), generator=torch.Generator().manual_seed(0))
    task = Segmentation(C, smoothing, weights)
    two = Mixed(None, own, partner, lam).loss(task.loss, logits)
    share = lam.double().reshape(B, *([1] * 3 if not per_pixel else [1, H, W]))
    soft = share * _one_hot(own) + (1 - share) * _one_hot(partner)
    smooth = soft * (1 - smoothing) + soft.sum(1, keepdim=True) * smoothing / C
    log = logits.double() - logits.double().exp().sum(1, keepdim=True).log()
    w = (torch.ones(C) if weights is None else weights).double()[:, None, None]
    torch.testing.assert_close(two.double(), -(w * smooth * log).sum(1), rtol=1e-5, atol=1e-6)
    one = Mixed(None, soft.float(), soft.float(), lam).loss(task.loss, logits)
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


def _mixer(mixer, shape=(3, H, W)):
    model = nn.Conv2d(shape[0], C, 1)
    mixer.bind(Bound(model, Segmentation(C).loss, shape, Labels(C, one_each=False)))
    return mixer


def _constant_pictures():
    """Picture i is the constant i: a pixel of a mixture tells which picture it comes from."""
    values = torch.arange(B, dtype=torch.float32)
    return values[:, None, None, None].expand(B, 3, H, W).contiguous()


@pytest.mark.parametrize("per", ["batch", "sample", "pair"])
@pytest.mark.parametrize("method", [CutMix, FMix])
def test_a_pasted_pixel_is_asked_for_the_label_of_its_picture(method, per):
    inputs, masks, logits = _constant_pictures(), _masks(), _logits(3)
    mixer = _mixer(method(1.0, lam_per=per, seed=0))
    pasted = 0
    for _ in range(5):
        mixed = mixer(inputs, masks)
        assert mixed.target.dtype == mixed.partner.dtype == torch.uint8
        assert mixed.lam.shape == (B, H, W)
        losses = mixed.loss(Segmentation(C).loss, logits)
        whose = mixed.inputs[:, 0].long()
        for i, row, column in np.ndindex(B, H, W):
            label = int(masks[int(whose[i, row, column]), row, column])
            log = torch.log_softmax(logits[i, :, row, column], 0)
            expected = 0.0 if label == VOID else -float(log[label])
            assert float(losses[i, row, column]) == pytest.approx(expected, abs=1e-5)
            pasted += int(whose[i, row, column]) != i
    assert pasted > 50


@pytest.mark.parametrize("labels", ["two_term", "soft"])
@pytest.mark.parametrize("method", [Mixup, CutMix])
def test_soft_masks_lose_nothing_but_void(method, labels):
    mixed = _mixer(method(1.0, labels=labels, seed=2))(_constant_pictures(), _masks())
    again = _mixer(method(1.0, seed=2))(_constant_pictures(), _masks())
    for task in (Segmentation(C), Segmentation(C, 0.2, WEIGHTS)):
        found, expected = (m.loss(task.loss, _logits(4)) for m in (mixed, again))
        torch.testing.assert_close(found, expected)
        sums = [task.train_sums(_logits(4), *m[1:4]) for m in (mixed, again)]
        for name in sums[0]:
            torch.testing.assert_close(sums[0][name], sums[1][name])


def test_several_pictures_and_smoothed_labels_know_void():
    mixed = _mixer(KFoldMixup(k=3, seed=1))(_constant_pictures(), _masks())
    weights = mixed.target.sum(1)
    assert mixed.target.shape == (B, C, H, W)
    assert float(weights.max()) == pytest.approx(1.0, abs=1e-6)
    assert 0 < float(weights.min()) < 1 or (weights == 0).any()
    smoothed = build("aug", config_of("aug=label_smoothing").aug)
    smoothed.bind(Bound(nn.Conv2d(3, C, 1), Segmentation(C).loss, (3, H, W), Labels(C, one_each=False)))
    target = smoothed(_constant_pictures(), _masks()).target
    torch.testing.assert_close(target.sum(1), (_masks() != VOID).float())


# ---- sums of training -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_pixel", [False, True], ids=["one lam", "lam per pixel"])
def test_train_sums_by_a_loop(per_pixel):
    logits, own, partner = _logits(), _masks(), _masks(1)
    lam = torch.rand((B, H, W) if per_pixel else (B,), generator=torch.Generator().manual_seed(0))
    hit = real = 0.0
    for i, row, column in np.ndindex(B, H, W):
        share = float(lam[i, row, column] if per_pixel else lam[i])
        said = int(logits[i, :, row, column].argmax())
        for mask, part in ((own, share), (partner, 1 - share)):
            label = int(mask[i, row, column])
            hit += part * (said == label)
            real += part * (label != VOID)
    task = Segmentation(C)
    sums = task.train_sums(logits, own, partner, lam)
    assert float(sums["accuracy_mixed"]) == pytest.approx(hit, rel=1e-5)
    assert task.train_scalars({**sums, "lam": lam})["train/accuracy_mixed"] == pytest.approx(hit / real, rel=1e-5)


def test_the_tally_joins_steps_with_one_lam_and_with_one_for_each_pixel():
    task, tally, one_by_one = Segmentation(C), Tally(Segmentation(C), CPU, {}), []
    lams = [torch.rand(B), torch.rand(B, H, W), torch.rand(H, W).expand(B, H, W), torch.ones(B)]
    steps = [Mixed(None, _masks(k), _masks(k + 9), lam) for k, lam in enumerate(lams)]
    for k, mixed in enumerate(steps):
        tally.add(torch.tensor(float(k)), _logits(k), mixed)
        one_by_one.append(task.train_sums(_logits(k), *mixed[1:4]))
    assert len(tally.pending) == len(steps), "they are summed together"
    cut = Tally(task, CPU, tally.state())
    for sums in (tally.read(), cut.read()):
        assert sums["losses"].tolist() == [0, 1, 2, 3]
        torch.testing.assert_close(sums["lam"], torch.cat([lam.reshape(B, -1).mean(1) for lam in lams]))
        for name in ("accuracy_mixed", "label_share"):
            torch.testing.assert_close(sums[name], sum(each[name] for each in one_by_one))


def test_large_outputs_are_not_kept():
    tally = Tally(Segmentation(2), CPU, {})
    mask = torch.zeros(1, 800, 800, dtype=torch.uint8)
    tally.add(torch.tensor(1.0), torch.zeros(1, 2, 800, 800), Mixed(None, mask, mask, torch.ones(1)))
    assert not tally.pending
    assert float(tally.read()["accuracy_mixed"]) == 800 * 800


@pytest.mark.parametrize("accumulate", [1, 2, 5])
@pytest.mark.parametrize("method", [Mixup, CutMix, RegMixup])
def test_step_equals_the_formula_by_hand(method, accumulate):
    inputs = torch.from_numpy(np.random.default_rng(0).normal(size=(B, 3, H, W)).astype(np.float32))
    mixed = _mixer(method(1.0, lam_per="sample", seed=0))(inputs, _masks())
    torch.manual_seed(0)
    ours, reference = nn.Conv2d(3, C, 3, padding=1), nn.Conv2d(3, C, 3, padding=1)
    reference.load_state_dict(ours.state_dict())
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.5)
    loss, output = train_step(ours, Segmentation(C), optimizer, mixed, Precision("fp32", CPU), accumulate)
    logits = reference(mixed.inputs)
    lam = mixed.lam if mixed.lam.dim() == 3 else mixed.lam[:, None, None]
    own, partner = (
        F.cross_entropy(logits, mask.long(), ignore_index=VOID, reduction="none")
        for mask in (mixed.target, mixed.partner)
    )
    each = (lam * own + (1 - lam) * partner) * (1.0 if mixed.weight is None else mixed.weight[:, None, None])
    each.mean().backward()
    with torch.no_grad():
        for p in reference.parameters():
            p -= 0.5 * p.grad
    torch.testing.assert_close(loss, each.mean().detach())
    torch.testing.assert_close(output, logits.detach())
    for p, q in zip(ours.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p, q)


# ---- metrics --------------------------------------------------------------------------------------------------------


def test_metrics_against_torchmetrics_and_loops():
    from torchmetrics.functional.classification import (
        multiclass_accuracy,
        multiclass_confusion_matrix,
        multiclass_f1_score,
        multiclass_jaccard_index,
    )

    classes = C + 2  # of which the masks have C, and the last one is never said either
    logits, masks = _logits(classes=classes), _masks()
    logits[:, -1] = -99
    task = Segmentation(classes)
    kept = task.observe(logits, masks)
    said, wide = logits.argmax(1), masks.long()
    for i in range(B):
        expected = torch.zeros(classes, classes, dtype=torch.int64)
        for row, column in np.ndindex(H, W):
            if masks[i, row, column] != VOID:
                expected[int(masks[i, row, column]), int(said[i, row, column])] += 1
        assert torch.equal(kept["confusion"][i], expected)
    assert torch.equal(kept["confusion"].sum(0), multiclass_confusion_matrix(said, wide, classes, ignore_index=VOID))
    found = task.metrics(kept)
    same = {"num_classes": classes, "ignore_index": VOID}
    assert found["miou"] == pytest.approx(float(multiclass_jaccard_index(said, wide, **same)), abs=1e-6)
    assert found["dice"] == pytest.approx(float(multiclass_f1_score(said, wide, **same)), abs=1e-6)
    accuracy = multiclass_accuracy(said, wide, average="micro", **same)
    assert found["pixel_accuracy"] == pytest.approx(float(accuracy), abs=1e-6)
    assert found["loss"] == pytest.approx(float(F.cross_entropy(logits, wide, ignore_index=VOID)), rel=1e-5)
    halves = [task.observe(logits[part], masks[part]) for part in (slice(0, 2), slice(2, B))]
    joined = {name: torch.cat([half[name] for half in halves]) for name in kept}
    assert task.metrics(joined) == found, "batches of any size give the same"


def test_evaluation_knows_neither_smoothing_nor_weights():
    plain, other = Segmentation(C), Segmentation(C, 0.3, WEIGHTS)
    assert plain.metrics(plain.observe(_logits(), _masks())) == other.metrics(other.observe(_logits(), _masks()))


def test_mistakes_are_the_worst_first():
    confusion = torch.zeros(4, 3, 3, dtype=torch.int64)
    confusion[0] = torch.tensor([[8, 0, 0], [0, 0, 0], [0, 0, 2]])
    confusion[1] = torch.tensor([[5, 0, 0], [3, 0, 0], [0, 1, 1]])
    confusion[2] = torch.tensor([[0, 0, 9], [1, 0, 0], [0, 0, 0]])
    found = Segmentation(3).mistakes({"confusion": confusion}, ("sky", "car", "road"), 9)  # the last one is void
    assert found == [(2, "road\nfor sky, 100% off"), (1, "sky\nfor car, 40% off")]


def test_the_task_follows_from_the_masks():
    masks = _masks().numpy()
    task = Pixels(tuple("abcd")).task(masks, CPU, label_smoothing=0.1, class_weights="balanced")
    counts = np.bincount(masks[masks != VOID], minlength=C)
    assert isinstance(task, Segmentation)
    assert (task.primary, task.maximize, task.num_outputs, task.label_smoothing) == ("miou", True, C, 0.1)
    expected = counts.sum() / counts / C
    np.testing.assert_allclose(task.class_weights.numpy(), expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"class_weights must be one number for each of 4"):
        Pixels(tuple("abcd")).task(masks, CPU, class_weights=[1, 2])


@pytest.mark.parametrize("shape", [(B, C), (B, C, H // 2, W), (B, C + 1, H, W)])
def test_a_model_without_a_map_of_that_size_is_refused(shape):
    for call in (Segmentation(C).loss, Segmentation(C).observe):
        with pytest.raises(UserError, match="choose model=unet"):
            call(torch.zeros(shape), _masks())


def test_masks_that_teach_nothing_are_refused():
    kind, void = Pixels(("sky", "road")), np.full((2, 3, 3), VOID, np.uint8)
    with pytest.raises(UserError, match="masks of val are void everywhere"):
        kind.check("val", void)
    with pytest.raises(UserError, match="masks of train are road everywhere"):
        kind.check("train", np.where(np.arange(18).reshape(2, 3, 3) > 9, 1, void).astype(np.uint8))
    kind.check("test", np.ones((2, 3, 3), np.uint8))
    assert kind.describe_one(np.array([[1, 1], [0, VOID]], np.uint8)) == "road, sky"
    assert Pixels(tuple("abc")).describe_one(np.array([[2, 1], [0, 2]], np.uint8)) == "c +2"


# ---- transforms -----------------------------------------------------------------------------------------------------

TRANSFORMS = [
    ["transform=none"],
    ["transform=crop_flip"],
    ["transform=crop_flip", "transform.mode=reflect"],
    ["transform=cutout", "transform.padding=3", "transform.flip=true"],
    ["transform=random_erasing", "transform.flip=true"],
]


@pytest.mark.parametrize("words", TRANSFORMS, ids=lambda words: " ".join(words))
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["", "channels_last"])
def test_masks_move_as_their_pictures(words, layout):
    """The mask of each pixel is the number of the place it shows, so that where it goes can be read."""
    transform = build("transform", config_of(*words).transform)
    rng = np.random.default_rng(0)
    masks = torch.from_numpy(rng.integers(1, 255, (8, 12, 11)).astype(np.uint8))
    pictures = masks[:, None].repeat(1, 3, 1, 1).contiguous(memory_format=layout)
    transform.bind(Pictures((3, 12, 11), [0.0] * 3, [1.0] * 3))
    draws = {k: torch.from_numpy(v[0]) for k, v in transform.draw(np.random.default_rng(1), 1, 8).items()}
    before = masks.clone()
    moved, shown = transform.move_masks(masks, draws), transform.apply(pictures, draws)[:, 0]
    assert torch.equal(masks, before)
    assert moved.dtype == torch.uint8
    if words[0] in ("transform=none", "transform=crop_flip"):
        assert torch.equal(torch.where(moved == VOID, 0, moved), shown)
        assert (moved == VOID).any() == (words == ["transform=crop_flip"])
        assert words[0] == "transform=none" or not torch.equal(moved, masks)
    else:  # what is blanked keeps its label; all else is where the picture has it
        kept = shown == torch.where(moved == VOID, 0, moved)
        assert 0.5 < kept.float().mean() < 1
        assert (~kept).any((1, 2)).sum() >= 2
    shifted = moved.roll(1, 2)
    assert (shifted != shown)[moved != VOID].float().mean() > 0.5, "a shift by one pixel is seen"


@pytest.mark.parametrize("option", ["autoaugment", "randaugment", "trivialaugment", "augmix"])
def test_policies_that_turn_pictures_are_refused(folder, option):
    with pytest.raises(UserError, match=r"transform: .*none, crop_flip, cutout") as caught:
        ingredients(config_of(*folder, f"transform={option}"))
    assert "\n" not in str(caught.value)


# ---- models ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (17, 31), (24, 40), (45, 60)], ids=str)
def test_unet_gives_a_map_of_any_size(size):
    model = UNet(input_shape=(3, *size), num_outputs=C, width=2).eval()
    inputs = torch.randn(2, 3, *size)
    map_ = model(inputs)
    assert map_.shape == (2, C, *size)
    last = model.to(memory_format=torch.channels_last)(inputs.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(last, map_)


def test_unet_has_the_size_of_the_known_one():
    """31,037,698 is what milesial/Pytorch-UNet has for RGB, 2 classes and transposed convolutions."""
    with torch.device("meta"):
        model = UNet(input_shape=(3, 64, 64), num_outputs=2)
        assert sum(p.numel() for p in model.parameters()) == 31_037_698


def test_a_pixel_of_the_map_sees_around_its_own_place():
    """Crops and halvings do not shift the map: the answer of a pixel depends on pixels on both sides of it alike."""
    torch.manual_seed(0)
    model = UNet(input_shape=(1, 37, 37), num_outputs=1, width=8, depth=2).double().eval()
    inputs = torch.randn(16, 1, 37, 37, dtype=torch.float64, requires_grad=True)
    for place in (11, 12, 18, 25):  # as far from the borders as it sees
        (gradient,) = torch.autograd.grad(model(inputs)[:, 0, place, place].sum(), inputs)
        strength = gradient.abs().sum((0, 1))
        for along in (strength.sum(0), strength.sum(1)):
            centre = float((along * torch.arange(37)).sum() / along.sum())
            assert abs(centre - place) < 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"width": 0}, "width must be >= 1"), ({"depth": 0}, "depth must be >= 1"), ({"dropout": 1.0}, "dropout")],
)
def test_unet_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        UNet(input_shape=(3, 8, 8), num_outputs=2, **arguments)


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "fcn_resnet50"])
def test_models_of_torchvision_give_one_tensor(name):
    with torch.device("meta"):
        model = TorchvisionSegmentation(input_shape=(1, 33, 40), num_outputs=C, name=name)
        assert model(torch.zeros(2, 1, 33, 40)).shape == (2, C, 33, 40)
        assert set(model.mixup_layers) < set(dict(model.named_modules()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"name": "unet"}, "not among the segmentation models"),
     ({"weights": "best"}, "not among the weights of torchvision's deeplab"),
     ({"weights_backbone": "best"}, "not among the weights of torchvision's mobilenet")],
)  # fmt: skip
def test_models_of_torchvision_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        TorchvisionSegmentation(input_shape=(3, 32, 32), num_outputs=2, **arguments)


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_tiles_are_tinted_by_class():
    tiles = np.full((1, 8, 8, 3), 100, np.uint8)
    mask = np.zeros((1, 4, 4), np.uint8)
    mask[0, :2], mask[0, 3] = 1, VOID
    drawn = Pixels(("background", "cell")).draw(tiles, mask, (3, 4, 4))
    tint = (100 * (1 - OPACITY) + colours(2)[1] * OPACITY).round()
    assert (drawn[0, :4] == tint).all(), "each pixel of the mask is two of the tile"
    assert (drawn[0, 4:6] == 100).all(), "the background is as it was"
    assert (drawn[0, 6:] < 80).all(), "void is dark"
    assert len(np.unique(drawn[0, 6:])) > 1, "and striped"
    assert (tiles == 100).all()
    assert [name for name, _ in Pixels(("background", "cell")).legend()] == ["cell"]


def test_mixed_tiles_have_both_masks_by_their_shares():
    tiles, kind = np.zeros((1, 4, 4, 3), np.uint8), Pixels(("a", "b"))
    own, partner = np.zeros((1, 4, 4), np.uint8), np.ones((1, 4, 4), np.uint8)
    first, second = (kind.draw(tiles, mask, (3, 4, 4))[0, 0, 0].astype(float) for mask in (own, partner))
    mixed = kind.draw_mixed(tiles, own, partner, np.array([0.25]), (3, 4, 4))
    assert abs(mixed[0, 0, 0] - (0.25 * first + 0.75 * second)).max() <= 1
    lam = np.zeros((1, 4, 4))
    lam[0, :2] = 1
    pasted = kind.draw_mixed(tiles, own, partner, lam, (3, 4, 4))
    assert abs(pasted[0, :2] - first).max() <= 1
    assert abs(pasted[0, 2:] - second).max() <= 1
    soft = np.moveaxis(np.eye(2)[own], -1, 1)
    assert abs(kind.draw(tiles, soft, (3, 4, 4))[0, 0, 0] - first).max() <= 1


def test_colours_are_told_apart():
    many = colours(30).astype(int)
    apart = np.abs(many[:, None] - many[None]).sum(-1) + 1000 * np.eye(30, dtype=int)
    assert apart.min() > 20


@pytest.mark.parametrize(
    "words",
    [["aug=cutmix", "aug.labels=soft"], ["aug=mixup_cutmix"], ["aug=kfold_mixup"]],
)
def test_the_sheet_of_every_sort_of_mixing(folder, words, monkeypatch):
    monkeypatch.setattr(shares, "DRAWS", 32)
    parts = ingredients(config_of(*folder, *words, "transform=crop_flip", "trainer.batch_size=8"))
    png, (width, height) = draw_sheet(parts, Title("heading", "about", ()))
    assert png.startswith(b"\x89PNG")
    assert min(width, height) > 300


def test_the_sheet_for_tensorboard_has_a_legend():
    inputs, masks = torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.uint8)
    mixed = Mixed(inputs, masks, masks, torch.rand(2, 8, 8))

    class Grey(Encoder):
        shape = (3, 8, 8)

        def __call__(self, inputs):
            return inputs

        def draw(self, inputs, box):
            return np.full((len(inputs), 128, 128, 3), 128, np.uint8)

    sheet = mixed_sheet(mixed, Grey(), Pixels(NAMES))
    for colour in colours(3):
        assert (sheet == colour).all(2).any()


# ---- runs -----------------------------------------------------------------------------------------------------------

SIDE = 16  # pixels
LEARNS = (
    "model=unet", "model.width=8", "model.depth=2", "trainer.epochs=6", "trainer.batch_size=4", "optimizer=adam",
    "optimizer.lr=0.02", "scheduler=one_cycle", "trainer.eval_batch_size=50",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Words for a folder of rectangles on noise, with a network that learns them."""
    root = tmp_path / "shapes"
    for seed, (split, count) in enumerate((("train", 48), ("val", 8), ("test", 24))):
        write(root, split, *shapes(count, seed, SIDE))
    return _words(root)


def _words(root):
    return ("trainer.device=cpu", "trainer.progress=none", "trainer.malloc=default", "dataset=segmentation_folder",
            f"dataset.root='{root}'", "dataset.classes=[ground,red,blue]", "dataset.cache=false", *LEARNS)  # fmt: skip


def run(tmp_path, *words):
    """Train; the scalars and the directory."""
    run_dir = tmp_path / "run"
    fit = Fit(assemble(config_of(*words), "fingerprint"), run_dir)
    log = RunLog(Record(run_dir), TensorBoardView(run_dir), ProgressView())
    log.record.event("start", arm="arm", seed=0)
    try:
        return fit.run(log, StopRequest()), run_dir
    finally:
        log.board.close()
        log.record.close()


def _spoiled(root, how):
    """The folder anew, with a mistake in how train's masks, or the channels of its pictures, are stored."""
    pictures, masks = shapes(48, 0, SIDE)
    if how == "shifted masks":
        masks = np.roll(masks, 2, axis=(1, 2))
    elif how == "shuffled masks":
        masks = masks[np.random.default_rng(0).permutation(len(masks))]
    elif how == "swapped channels":
        pictures = pictures[..., ::-1]
    write(root, "train", pictures, masks)


@pytest.mark.parametrize(
    ("how", "least", "most"),
    [("right", 0.93, 1.0), ("shifted masks", 0, 0.6), ("shuffled masks", 0, 0.5), ("swapped channels", 0, 0.5)],
)
def test_a_right_program_learns_and_a_broken_one_does_not(folder, tmp_path, how, least, most):
    _spoiled(tmp_path / "shapes", how)
    scalars, _ = run(tmp_path, *folder)
    assert least <= scalars["test/miou"] <= most


@pytest.mark.parametrize("words", [["aug=cutmix", "transform=crop_flip"], ["aug=mixup_cutmix", "trainer.accumulate=2"]])
def test_a_mixed_run_from_end_to_end(folder, tmp_path, words):
    scalars, run_dir = run(tmp_path, *folder, *words, "trainer.class_weights=balanced", "trainer.epochs=3")
    assert scalars["test/miou"] > 0.5
    assert 0 < scalars["train/accuracy_mixed"] <= 1
    assert all(math.isfinite(value) for value in scalars.values())
    with np.load(run_dir / "predictions.npz") as arrays:
        confusion = arrays["test_confusion"]
        assert confusion.shape == (24, 3, 3)
        assert np.issubdtype(confusion.dtype, np.integer)
        assert (confusion.sum((1, 2)) == SIDE * SIDE).all()
        total = confusion.sum(0)
        union = total.sum(0) + total.sum(1) - total.diagonal()
        assert scalars["test/miou"] == pytest.approx((total.diagonal() / union).mean())
        some = arrays["test_pixel_logits"].argmax(2) == arrays["test_pixel_target"]
        assert some.size == 24 * 256
        assert some.mean() == pytest.approx(scalars["test/pixel_accuracy"], abs=0.02)


def test_the_mask_that_was_said_stands_above_the_true_one(folder, tmp_path):
    fit = Fit(assemble(config_of(*folder, "trainer.epochs=1"), ""), tmp_path / "run")
    data, model = fit.parts.data, fit.parts.model.eval()
    chosen = [5, 2]
    (batch,) = data.val.batches([np.array(chosen)])
    said = fit.evaluator.answers(model, data.val, np.array(chosen))
    with torch.no_grad():
        assert torch.equal(said.long(), model(data.encode(batch.inputs)).argmax(1))
    sheet = mistakes_sheet(data.val, [(i, "words") for i in chosen], data.encode, data.kind, said)
    plain = data.encode.draw(data.encode(batch.inputs), 128)
    sheet = sheet[::2, ::2]  # twice as large as the tiles
    for k, left in enumerate((4, 128 + 12)):
        for top, masks in ((4, said), (4 + 128 + 2, batch.target)):
            tile = data.kind.draw(plain, masks.numpy(), data.input_shape)[k]
            np.testing.assert_array_equal(sheet[top : top + 128, left : left + 128], tile)
    assert not torch.equal(said, batch.target)


def test_what_the_model_gets_wrong_is_logged_with_both_masks(folder, tmp_path):
    _, run_dir = run(tmp_path, *folder, "trainer.epochs=1")
    (shown,) = EventAccumulator(str(run_dir), size_guidance={"images": 0}).Reload().Images("val/mistakes")
    assert shown.width == 2 * 3 * (128 + 8)
    assert shown.height > 2 * 3 * 2 * 128  # three rows of two pictures, and words


def test_a_model_for_classes_is_told_from_one_for_masks(folder, tmp_path):
    with pytest.raises(UserError, match="masks need a model that returns a map"):
        run(tmp_path, *(word for word in folder if not word.startswith("model.")), "model=small_cnn")


@pytest.mark.parametrize("aug", ["aug=cmixup", "aug.partner=same_class"])
def test_partners_by_label_are_refused(folder, aug):
    words = [aug] if aug == "aug=cmixup" else ["aug=mixup", aug]
    with pytest.raises(UserError, match=r"aug: partner=\w+ needs one label for each example, and these have several"):
        ingredients(config_of(*folder, *words))


def test_a_model_for_masks_is_refused_elsewhere():
    with pytest.raises(UserError, match="model: UNet predicts masks, but the targets are classes"):
        ingredients(config_of("dataset=fake", "model=unet", "model.width=2", "trainer.device=cpu"))


def test_training_sees_masks_where_the_transform_has_moved_them(folder):
    parts = assemble(config_of(*folder, "transform=crop_flip", "optimizer=adam"), "")
    assert isinstance(parts.transform, CropFlip)
    fit = Fit(parts, None)
    plan = fit.batches.plan(0)
    for i, prepared in fit.batches.prepared(plan, 0):
        batch = fit.batches.encoded(prepared.batch)
        draw = {name: values[i] for name, values in plan.transform.items()}
        stored = torch.from_numpy(parts.data.train.target[plan.order[i]])
        assert torch.equal(batch.target, parts.transform.move_masks(stored, draw))
        red = (batch.inputs[:, 0] > batch.inputs[:, 2] + 2.1) & (batch.target != VOID)
        assert red.any()
        assert (batch.target[red] == 1).all()
        _, same = Beginning(parts).batch(plan, i)
        assert isinstance(same, Batch)
        assert torch.equal(same.target, batch.target)
