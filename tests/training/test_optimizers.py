"""Optimizers are torch's own, without what they load only to stay out of torch.compile."""

import inspect
import subprocess
import sys

import pytest
import torch
from helpers.processes import environment

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
