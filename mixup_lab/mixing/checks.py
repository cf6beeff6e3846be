"""What a mixer says of inputs that it cannot mix."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def check_call(inputs: Any, target: Any) -> tuple[int, torch.device]:
    """Check a batch that a user's own loop hands over; returns its size and device.

    Raises:
        TypeError: for numpy arrays, lists, and integers, with the remedy.
        ValueError: for an empty batch, or a target of another length.
    """
    parts = (
        {f"inputs[{name!r}]": part for name, part in inputs.items()} if isinstance(inputs, dict) else {"inputs": inputs}
    )
    if not parts:
        raise ValueError("inputs is an empty dict")
    for name, part in (*parts.items(), ("target", target)):
        if isinstance(part, np.ndarray):
            raise TypeError(f"{name} is a numpy array; hand over torch.from_numpy({name.partition('[')[0]})")
        if not isinstance(part, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(part).__name__}")
    for name, part in parts.items():
        if part.dtype == torch.uint8:
            raise TypeError(f"{name} is uint8, which cannot hold a mixture; divide first: inputs.float() / 255")
        if not part.is_floating_point():
            raise TypeError(f"{name} is {part.dtype}, which cannot hold a mixture; mix its embedding, or call .float()")
    sizes = {name: len(part) if part.dim() else 0 for name, part in (*parts.items(), ("target", target))}
    if len(set(sizes.values())) > 1 or not sizes["target"]:
        shown = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ValueError(f"inputs and target must hold the same number of examples, at least 1; got {shown}")
    return sizes["target"], next(iter(parts.values())).device
