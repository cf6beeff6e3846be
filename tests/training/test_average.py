"""The moving average of the weights against torch's own and against its formula."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mixup_lab.training.average import MovingAverage


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def trained(model, steps):
    """The model after each of some steps with large changes."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for step in range(steps):
        torch.manual_seed(step)
        optimizer.zero_grad()
        model(torch.randn(8, 5)).square().mean().backward()
        optimizer.step()
        yield model


def test_it_is_the_average_of_torch_bit_for_bit():
    model = network()
    own = MovingAverage(model, 0.9)
    other = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for now in trained(model, 6):
        own.update(now)
        other.update_parameters(now)
    theirs = other.module.state_dict()
    for name, tensor in own.module.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(tensor, theirs[name]), name
    assert not torch.equal(own.module[0].weight, model[0].weight)


def test_counters_are_copied_and_the_formula_holds():
    model = network()
    own = MovingAverage(model, 0.8)
    expected = None
    for now in trained(model, 4):
        own.update(now)
        weight = now[0].weight.detach().double().clone()
        expected = weight if expected is None else 0.8 * expected + 0.2 * weight
    torch.testing.assert_close(own.module[0].weight.double(), expected, rtol=1e-5, atol=1e-6)
    assert own.module[1].num_batches_tracked == model[1].num_batches_tracked == 4


def test_it_goes_on_from_its_state():
    model = network()
    own, other = MovingAverage(model, 0.9), None
    for k, now in enumerate(trained(model, 6)):
        own.update(now)
        if k == 2:
            other = MovingAverage(network(), 0.9)
            other.load_state_dict(own.state_dict())
        elif other is not None:
            other.update(now)
    for name, tensor in own.module.state_dict().items():
        assert torch.equal(tensor, other.module.state_dict()[name]), name
