"""What a model thinks of a batch, without leaving a trace in it."""

from __future__ import annotations

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


def features(model: nn.Module, inputs: Tensor) -> Tensor:
    """What the last linear layer of the model reads, (B, features): one forward pass more.

    Raises:
        ValueError: if the model has no linear layer.
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError("partner=nearest_feature needs a model with a linear layer; this one has none")
    found: list[Tensor] = []
    handle = linear[-1].register_forward_pre_hook(lambda _, args: found.append(args[0]))
    try:
        with undisturbed(model), torch.no_grad():
            model(inputs)
    finally:
        handle.remove()
    return found[-1]
