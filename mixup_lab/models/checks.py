"""Checks that several models share; each raises a `ValueError` that names argument, value and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def check_pictures(model: str, input_shape: Sequence[int], num_outputs: int, smallest: int = 1) -> tuple[int, int, int]:
    """The picture shape `(C, H, W)` as a tuple, once it is known to suit `model`.

    Args:
        model: name for the error message.
        input_shape: `(C, H, W)`, all >= 1, and H and W >= `smallest`.
        num_outputs: number of logits, >= 1.
        smallest: the smallest height and width that the layers of `model` leave something of.
    """
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ValueError(f"{model} takes pictures (C, H, W), got input_shape={tuple(input_shape)}")
    channels, height, width = input_shape
    if min(height, width) < smallest:
        raise ValueError(f"{model} needs pictures of at least {smallest}x{smallest} pixels, got {height}x{width}")
    check_at_least("num_outputs", num_outputs, 1)
    return channels, height, width


def check_at_least(name: str, value: int, smallest: int) -> None:
    """Raises unless `value >= smallest`."""
    if value < smallest:
        raise ValueError(f"{name} must be >= {smallest}, got {value}")


def check_dropout(dropout: float) -> None:
    """Raises unless `dropout` is a probability that leaves something: in [0, 1)."""
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")


def check_forward(model: str, module: nn.Module, input_shape: Sequence[int], num_outputs: int) -> None:
    """Runs one empty picture through `module`, so that a shape it cannot take is told before data are loaded.

    For models whose layers we did not write: what sizes they take is known to them alone. Runs in eval mode, so no
    running statistic changes and no random number is drawn. Raises `ValueError` if the pass fails or gives anything but
    `(1, num_outputs)`.
    """
    was_training = module.training
    picture = torch.zeros(1, *input_shape, device=next(module.parameters()).device)  # (1, C, H, W)
    try:
        with torch.no_grad():
            logits = module.eval()(picture)
    # What a foreign model raises for a wrong size is not ours to know: RuntimeError, AssertionError, IndexError, ...
    except Exception as error:
        raise ValueError(f"{model} cannot take pictures of shape {tuple(input_shape)}: {error}") from error
    finally:
        module.train(was_training)
    shape = tuple(getattr(logits, "shape", ()))
    if shape != (1, num_outputs):
        raise ValueError(f"{model} is no classifier for {tuple(input_shape)}: it gives {shape}, not (1, {num_outputs})")
