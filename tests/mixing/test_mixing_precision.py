"""The passes of the model that a mixing method adds are computed in the run's precision."""

from functools import partial

import pytest
import torch
from helpers.trainings import TINY, config_of
from torch import nn
from torch.nn import functional as F

from mixup_lab.config.assemble import assemble
from mixup_lab.mixing.mixer import Bound
from mixup_lab.mixing.mixup import Mixup
from mixup_lab.mixing.saliencymix import SaliencyMix, peaks
from mixup_lab.training.fit import Fit
from mixup_lab.types import Labels

BF16, FP16 = (partial(torch.autocast, "cpu", dtype) for dtype in (torch.bfloat16, torch.float16))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(6, 3, 8, 8, generator=generator), torch.tensor([0, 1, 2, 3, 0, 1])


def losses(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    assert output.dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu"), "a loss is computed in full"
    return F.cross_entropy(output, target, reduction="none")


def bound(model: nn.Module, *autocast) -> Bound:
    return Bound(model, losses, (3, 8, 8), Labels(4), False, *autocast)


def saliency(model, batch, *autocast) -> torch.Tensor:
    mixer = SaliencyMix(smooth=1)
    mixer.bind(bound(model, *autocast))
    return mixer.saliency(*batch)


@pytest.mark.parametrize("autocast", [None, BF16], ids=["fp32", "bf16"])
def test_saliency_is_the_gradient_in_the_precision_of_the_run(model, batch, autocast):
    pixels = batch[0].clone().requires_grad_()
    if autocast is None:
        output = model(pixels)
    else:
        with autocast():
            output = model(pixels)
    (gradient,) = torch.autograd.grad(F.cross_entropy(output.float(), batch[1], reduction="sum"), pixels)
    found = saliency(model, batch, *([autocast] if autocast else []))
    assert torch.equal(found, gradient.abs().sum(1))
    assert not torch.is_autocast_enabled("cpu")


def test_fp16_keeps_the_small_gradients_of_a_model_that_is_sure(model, batch):
    pixels, sure = batch[0].clone().requires_grad_(), torch.zeros(6, dtype=torch.int64)
    with torch.no_grad():
        model[3].bias[0] += 15  # the probability of class 0 is 1 - 1e-6
    with FP16():
        output = model(pixels)
    (lost,) = torch.autograd.grad(F.cross_entropy(output.float(), sure, reduction="sum"), pixels)
    assert (lost == 0).float().mean() > 0.9, "what a loss without a scale gives"
    full, half = (saliency(model, (batch[0], sure), *way) for way in ([], [FP16]))
    for a, b in zip(peaks(full), peaks(half), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("autocast", "dtype"), [((), torch.float32), ((BF16,), torch.bfloat16)], ids=["fp32", "bf16"])
def test_features_for_partners_are_in_the_precision_of_the_run(model, batch, autocast, dtype):
    mixer, seen = Mixup(partner="nearest_feature"), []
    model[3].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    mixer.bind(bound(model, *autocast))
    perm = mixer.find_partners({}, batch[0])["perm"]
    assert seen == [dtype]
    rows = model[:3](batch[0]).detach().double()
    distance = torch.cdist(rows, rows).fill_diagonal_(torch.inf)
    assert (perm == distance.argmin(1)).float().mean() >= 0.8


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("aug", ["aug=saliencymix", "aug=mixup aug.partner=nearest_feature"])
def test_a_run_passes_its_precision_on(tmp_path, aug, precision):
    words = (*aug.split(), f"trainer.precision={precision}", "trainer.epochs=1", "dataset.train_size=64")
    fit, seen = Fit(assemble(config_of(*TINY, *words), "f"), tmp_path), []
    fit.parts.model.stages[1].register_forward_hook(lambda module, _, out: seen.append((module.training, out.dtype)))
    fit.parts.model.train()
    next(iter(fit.batches.mixed(fit.batches.plan(0))))
    assert seen == [(False, torch.bfloat16 if precision == "bf16" else torch.float32)], "one pass, in evaluation mode"
