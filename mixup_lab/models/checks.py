"""Checks that several models share. Each raises a `ValueError` that names the argument, its value and what is allowed.

`model` is always the name of the model in the message; the other arguments are those of the model's constructor.
"""

import difflib
from collections.abc import Sequence
from math import prod

import torch
from torch import nn

BOX_OUTPUTS = 5  # outputs of a detector besides the classes: distances to four edges, and centerness


def check_pictures(model: str, input_shape: Sequence[int], num_outputs: int, smallest: int = 1) -> tuple[int, int, int]:
    """`(C, H, W)`, all >= 1, with H and W at least `smallest`: the model's layers would reduce fewer pixels to none."""
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ValueError(f"{model} takes pictures (C, H, W), got input_shape={tuple(input_shape)}")
    channels, height, width = input_shape
    if min(height, width) < smallest:
        raise ValueError(f"{model} needs pictures of at least {smallest}x{smallest} pixels, got {height}x{width}")
    check_at_least(1, num_outputs=num_outputs)
    return channels, height, width


def check_detector(model: str, input_shape: Sequence[int], num_outputs: int) -> int:
    """The number of channels of pictures of at least 32x32 pixels; `num_outputs` allows at least one class."""
    channels, _, _ = check_pictures(model, input_shape, num_outputs, smallest=32)
    if num_outputs <= BOX_OUTPUTS:
        raise ValueError(f"{model} finds boxes: num_outputs must be classes + {BOX_OUTPUTS}, got {num_outputs}")
    return channels


def check_flat(model: str, input_shape: Sequence[int], num_outputs: int) -> int:
    """The number of values of an example of any shape."""
    if not input_shape or min(input_shape) < 1:
        raise ValueError(f"{model} takes a shape of positive sizes, got input_shape={tuple(input_shape)}")
    check_at_least(1, num_outputs=num_outputs)
    return prod(input_shape)


def check_tokens(model: str, input_shape: Sequence[int], num_outputs: int, num_tokens: int | None) -> tuple[int, int]:
    """The length L of the longest text and the size of the vocabulary, which includes padding and unknown."""
    if num_tokens is None or len(input_shape) != 1:
        raise ValueError(
            f"{model} takes texts, such as those of dataset=text_table; the examples are of shape {tuple(input_shape)}"
        )
    check_at_least(3, num_tokens=num_tokens)
    check_at_least(1, num_outputs=num_outputs)
    return input_shape[0], num_tokens


def check_at_least(smallest: int, **values: int) -> None:
    """Each of the named values is >= `smallest`."""
    for name, value in values.items():
        if value < smallest:
            raise ValueError(f"{name} must be >= {smallest}, got {value}")


def check_probability(**values: float) -> None:
    """Each of the named values is a probability of dropout, in [0, 1)."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be in [0, 1), got {value}")


def check_depth(depth: int, base: int, step: int) -> int:
    """The n of a `depth` that is `step` n + `base`, n >= 1."""
    n, rest = divmod(depth - base, step)
    if n < 1 or rest:
        examples = ", ".join(str(base + step * k) for k in (1, 2, 3))
        raise ValueError(f"depth must be {step} n + {base} with n >= 1 ({examples}, ...), got {depth}")
    return n


def check_name(kind: str, name: str, allowed: Sequence[str]) -> None:
    """`name` is in `allowed`; the message lists the nearest. `kind` is a plural, such as "models of timm"."""
    if name not in allowed:
        nearest = difflib.get_close_matches(name, allowed, n=5, cutoff=0.5) or sorted(allowed)[:5]
        raise ValueError(f"{name!r} is not among the {kind}; the nearest: {', '.join(nearest)}")


def check_forward(model: str, module: nn.Module, input_shape: Sequence[int], num_outputs: int) -> None:
    """`module` maps one empty picture to `(1, num_outputs)`, so that a wrong size is an error before training.

    For models from other packages, where only a trial shows which sizes they take. It runs in eval mode, so no running
    statistic changes and no random number is drawn.
    """
    was_training = module.training
    picture = torch.zeros(1, *input_shape, device=next(module.parameters()).device)  # (1, C, H, W)
    try:
        with torch.no_grad():
            logits = module.eval()(picture)
    # For a wrong size, models raise RuntimeError, AssertionError, IndexError and more.
    except Exception as error:
        raise ValueError(f"{model} cannot take pictures of shape {tuple(input_shape)}: {error}") from error
    finally:
        module.train(was_training)
    shape = tuple(getattr(logits, "shape", ()))
    if shape != (1, num_outputs):
        raise ValueError(f"{model} returns {shape} for pictures {tuple(input_shape)}, and not (1, {num_outputs})")
