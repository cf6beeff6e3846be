"""Features of a batch from a model, without changing the model's state."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside: BatchNorm keeps its statistics and dropout draws nothing."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def last_linear(model: nn.Module) -> nn.Linear:
    """The last linear layer of the model.

    Raises:
        ValueError: if it has none.
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError("partner=nearest_feature needs a model with a linear layer; this one has none")
    return linear[-1]


def features(model: nn.Module, inputs: Tensor) -> Tensor:
    """The inputs of the last linear layer of the model, (B, features): one more forward pass."""
    inputs_seen: list[Tensor] = []
    handle = last_linear(model).register_forward_pre_hook(lambda _, args: inputs_seen.append(args[0]))
    try:
        with undisturbed(model), torch.no_grad():
            model.forward(inputs)  # calling a compiled model would skip the hook
    finally:
        handle.remove()
    return inputs_seen[-1]
