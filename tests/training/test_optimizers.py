"""Optimizers are torch's own, without what they load only to stay out of torch.compile."""

import inspect
import subprocess
import sys

import pytest
import torch
from helpers.cases import each
from helpers.processes import environment
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mixup_lab.training.device import Precision
from mixup_lab.training.optimizers import make_optimizer

NAMES = sorted(
    name
    for name, cls in vars(torch.optim).items()
    if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer) and cls is not torch.optim.Optimizer
)


def trained(make):
    """Weights after a few steps, in which the gradient changes sign and size."""
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 4, bias=False)
    optimizer = make(model)

    def closure():
        optimizer.zero_grad()
        loss = (model(torch.arange(12.0).reshape(2, 6) / 12) - 1).square().mean()
        loss.backward()
        if isinstance(optimizer, torch.optim.SparseAdam):
            model.weight.grad = model.weight.grad.to_sparse()
        return loss

    for _ in range(4):
        optimizer.step(closure)
    return model.weight.detach(), optimizer


@pytest.mark.parametrize("name", NAMES)
def test_steps_are_bit_for_bit_those_of_torch(name):
    ours, optimizer = trained(lambda model: make_optimizer(model, name, lr=0.01))
    fused = {"fused": True} if "fused" in inspect.signature(getattr(torch.optim, name)).parameters else {}
    theirs, reference = trained(lambda model: getattr(torch.optim, name)(model.parameters(), lr=0.01, **fused))
    assert torch.equal(ours, theirs)
    assert isinstance(optimizer, type(reference))
    state, expected = optimizer.state_dict()["state"], reference.state_dict()["state"]
    assert state.keys() == expected.keys()
    reference.load_state_dict(optimizer.state_dict())


def test_gradients_through_a_step_are_left_to_torch():
    model = torch.nn.Linear(2, 1)
    optimizer = make_optimizer(model, "SGD", lr=0.1, differentiable=True, args={"fused": False})
    assert type(optimizer) is torch.optim.SGD


def test_training_does_not_load_the_compiler(tmp_path):
    code = (
        "import sys\nfrom mixup_lab import cli\n"
        "sys.argv = ['mixup-lab', 'train', 'experiment=smoke', 'trainer.progress=none']\n"
        "assert cli.main() in (None, 0)\nassert 'torch._dynamo' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Reads(TorchDispatchMode):
    """Counts the numbers that are read from tensors, each of which waits for the device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@each("name, reads", [("SGD", 0), ("Adam", 0), ("AdamW", 0), ("Adagrad", 0), ("RMSprop", 1), ("Rprop", 1)])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_fp16_waits_for_the_device_only_with_optimizers_that_are_not_fused(name, reads, clip):
    model, precision = nn.Linear(3, 2), Precision("fp16", torch.device("cpu"))
    optimizer = make_optimizer(model, name, lr=0.1)
    for _ in range(2):
        precision.scale(model(torch.ones(4, 3)).sum()).backward()
        precision.step(optimizer, model, clip)
    precision.scale(model(torch.ones(4, 3)).sum()).backward()
    with Reads() as counted:
        precision.step(optimizer, model, clip)
    assert counted.count == reads
