"""A trial of a run's parts on a few examples before the first step, so that a mistake in one of them is a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.mixer import at_step, upload
from mixup_lab.training.ingredients import Ingredients
from mixup_lab.types import UserError

EXAMPLES = 3


@torch.no_grad()
def try_parts(made: Ingredients, rng: np.random.Generator) -> None:
    """Send the first examples of train through transform, encoder, model and loss, and check what each returns.

    It leaves no trace: nothing is trained, the model is in evaluation mode, and torch's generator is put back.

    Args:
        made: without its mixing method, which has a trial of its own.
        rng: not one of the run's own streams.

    Raises:
        UserError: if a part fails, or if a result has another type or shape than the next part needs.
    """
    data, model, task = made.data, made.model, made.task
    n = min(EXAMPLES, len(data.train))
    stored = next(data.train.batches([np.arange(n)]))
    was_training = model.training
    with torch.random.fork_rng(devices=[]):
        with _part("transform", made.transform, n):
            draw = at_step(upload(made.transform.draw(rng, 1, n), made.device), 0)
            batch = made.transformed(stored, draw)
        _same("transform", made.transform, batch.inputs, tuple(stored.inputs.shape), stored.inputs.dtype)
        with _part("dataset", data.encode, n):
            inputs = data.encode(batch.inputs)
        if data.train.lengths is None:  # texts are trimmed
            _same("dataset", data.encode, inputs, (n, *data.encode.shape), inputs.dtype)
        with _part("model", model, n):
            output = model.eval()(inputs)
        model.train(was_training)
        if not isinstance(output, Tensor) or task.num_outputs not in output.shape[1:]:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            wanted = f"{n} examples with {task.num_outputs} output{'s' * (task.num_outputs > 1)} each"
            raise UserError(f"model: {type(model).__name__} must return {wanted}, got {shape}")
        with _part("dataset", task, n):
            loss = task.loss(output.float(), batch.target)
        if loss.shape[:1] != (n,) or loss.dim() not in (1, 3):
            raise UserError(
                f"dataset: the loss of {type(task).__name__} must have the shape (B,), or (B, H, W) for pixels;"
                f" of {n} examples it is {tuple(loss.shape)}"
            )


@contextmanager
def _part(group: str, part: Any, n: int) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{group}: {type(part).__name__} fails on {n} examples: {reason}") from error


def _same(group: str, part: Any, value: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tuple(value.shape) != shape or value.dtype != dtype:
        got = f"{value.dtype} {tuple(value.shape)}".removeprefix("torch.")
        wanted = f"{dtype} {shape}".removeprefix("torch.")
        raise UserError(f"{group}: {type(part).__name__} must return {wanted} for {shape[0]} examples, got {got}")
