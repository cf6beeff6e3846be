"""Checks of inputs; errors name the remedy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def check_call(inputs: Any, target: Any) -> tuple[int, torch.device]:
    """Check a batch from a user's own loop; returns its size and device.

    Raises:
        TypeError: for numpy arrays, lists and integers.
        ValueError: for an empty batch, a target of another length, or tensors on more than one device.
    """
    parts = (
        {f"inputs[{name!r}]": part for name, part in inputs.items()} if isinstance(inputs, dict) else {"inputs": inputs}
    )
    if not parts:
        raise ValueError("inputs is an empty dict")
    for name, part in (*parts.items(), ("target", target)):
        if isinstance(part, np.ndarray):
            raise TypeError(f"{name} is a numpy array; hand over torch.from_numpy({name})")
        if not isinstance(part, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(part).__name__}")
    for name, part in parts.items():
        if part.dtype == torch.uint8:
            raise TypeError(f"{name} is uint8, which cannot hold a mixture; divide first: {name}.float() / 255")
        if not part.is_floating_point():
            raise TypeError(f"{name} is {part.dtype}, which cannot hold a mixture; mix its embedding, or call .float()")
    size = len(target) if target.dim() else 0
    if not size or any(part.shape[:1] != target.shape[:1] for part in parts.values()):
        tensors = {**parts, "target": target}
        shown = ", ".join(f"{name} {len(part) if part.dim() else 0}" for name, part in tensors.items())
        raise ValueError(f"inputs and target must hold the same number of examples, at least 1; got {shown}")
    if any(part.device != target.device for part in parts.values()):
        devices = sorted({str(part.device) for part in (*parts.values(), target)})
        raise ValueError(f"inputs and target must be on one device, got {' and '.join(devices)}")
    return size, target.device


def check_pictures(method: str, shape: Sequence[int]) -> None:
    """Raise ValueError unless an example has the shape (C, H, W)."""
    if len(shape) != 3:
        shown = " x ".join(map(str, shape)) or "one number"
        raise ValueError(f"{method} needs pictures (channels x height x width), the examples are {shown}")


def check_tensor(method: str, inputs: Any) -> Tensor:
    """The inputs; raises ValueError unless they are one tensor."""
    if not isinstance(inputs, Tensor):
        raise ValueError(f"{method} needs inputs that are one tensor, got {type(inputs).__name__}")
    return inputs
