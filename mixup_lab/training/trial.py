"""A trial of a run's parts on a few examples before the first step, to report a mistake in one sentence."""

import copy
import inspect
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.mixer import Mixer, Request, at_step, upload
from mixup_lab.targets.target import Task
from mixup_lab.training.device import limit
from mixup_lab.training.ingredients import Ingredients
from mixup_lab.types import Batch, Mixed, UserError

EXAMPLES = 3  # an odd number, so in pairs one example has no partner
STEPS = 3  # a faulty mixing method may pass once by chance


@torch.no_grad()
def try_parts(made: Ingredients, rng: np.random.Generator) -> Batch:
    """Send the first examples of train through transform, encoder, model and loss, and check what each returns.

    It leaves no trace: nothing is trained, the model is in evaluation mode, and torch's generator is restored.

    Args:
        made: without its mixing method, which has a trial of its own.
        rng: not one of the run's own streams.

    Returns:
        The examples as a training step has them, for `try_mixer`.

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
        if not isinstance(output, Tensor) or not task.accepts(output):
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            wanted = f"{n} examples with {task.num_outputs} output{'s' * (task.num_outputs > 1)} each"
            raise UserError(f"model: {type(model).__name__} must return {wanted}, got {shape}")
        with _part("dataset", task, n):
            loss = task.loss(output.float(), batch.target)
        if loss.shape[:1] != (n,) or loss.dim() not in (1, 3):
            raise UserError(
                f"dataset: the loss of {type(task).__name__} must have the shape (B,), or (B, H, W) for pixels;"
                f" for {n} examples it is {tuple(loss.shape)}"
            )
        _check_metrics(task, output.float(), batch.target)
    return Batch(made.encoded(batch.inputs), batch.target)


def _check_metrics(task: Task, output: Tensor, target: Tensor) -> None:
    """Raise UserError if a metric is missing that training needs."""
    with _part("dataset", task, len(target)):
        kept = task.observe(output, target)
    try:
        metrics = task.metrics(kept)
    except Exception:  # of a few examples there may be none, such as an AUROC of one class
        return
    for name in ("loss", task.primary):
        if name not in metrics:
            raise UserError(
                f"dataset: the metrics of {type(task).__name__} must hold loss and its primary, {task.primary};"
                f" they hold {', '.join(metrics) or 'nothing'}"
            )


@contextmanager
def _part(group: str, part: Any, n: int) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if limit(error):  # not a fault of the part
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{group}: {type(part).__name__} fails on {n} examples: {reason}") from error


def _same(group: str, part: Any, value: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tuple(value.shape) != shape or value.dtype != dtype:
        got = f"{value.dtype} {tuple(value.shape)}".removeprefix("torch.")
        wanted = f"{dtype} {shape}".removeprefix("torch.")
        raise UserError(f"{group}: {type(part).__name__} must return {wanted} for {shape[0]} examples, got {got}")


def try_mixer(mixer: Mixer, batch: Batch, rng: np.random.Generator) -> None:
    """Draw for a batch and mix it a few times, and check everything that the method returns.

    It leaves no trace in the mixer, the model, the batch and torch's generator.

    Args:
        mixer: bound to the run's model.
        batch: a few encoded examples, as a training step has them.
        rng: not one of the run's own streams.

    Raises:
        ValueError: if a return value is wrong, if the batch was changed, and if a method of the user's own fails.
    """
    name, size, steps = type(mixer).__name__, len(batch.target), 1 if mixer.asks_model else STEPS
    tried = copy.copy(mixer)  # its warnings here do not count: they are given again when training starts
    targets = np.stack([batch.target.cpu().numpy()] * steps)
    before = Batch(batch.inputs.clone(), batch.target.clone())
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.no_grad():
            warnings.simplefilter("ignore")
            drawn = tried.draw(rng, Request(steps, size, targets, tuple(batch.inputs.shape[1:])))
            for key, values in drawn.items():
                if not isinstance(values, np.ndarray) or values.shape[:1] != (steps,):
                    raise ValueError(f"{key} must be an array with a row for each step, got {_described(values)}")
            uploaded = upload(drawn, batch.target.device)
            for step in range(steps):
                _check_mixed(tried.apply(batch, at_step(uploaded, step)), before, size * mixer.rows)
    except Exception as error:
        if type(mixer).__module__.startswith("mixup_lab.") or limit(error):
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{name} fails on {size} examples{_place(error, mixer)}: {reason}") from error
    finally:
        tried.disarm()
    if not (torch.equal(batch.inputs, before.inputs) and torch.equal(batch.target, before.target)):
        raise ValueError(f"{name} changes the batch in place; let it return new tensors")


def _check_mixed(mixed: Any, batch: Batch, rows: int) -> None:
    if not isinstance(mixed, Mixed):
        raise ValueError(f"apply must return a Mixed, got {_described(mixed)}")
    _check_tensor("inputs", mixed.inputs, batch.inputs.dtype, (rows, *batch.inputs.shape[1:]))
    target = mixed.target
    labels = (rows, *target.shape[1:]) if isinstance(target, Tensor) else (rows,)
    dtype = batch.target.dtype if not labels[1:] else None  # averaged labels have another dtype
    _check_tensor("target", target, dtype, labels)
    _check_tensor("partner", mixed.partner, target.dtype, labels)
    per_pixel = (rows, *labels[-2:]) if len(labels) > 2 else (rows,)
    _check_tensor("lam", mixed.lam, None, (rows,), per_pixel)
    if not ((mixed.lam >= 0) & (mixed.lam <= 1)).all():
        raise ValueError(f"lam must lie in [0, 1], got {float(mixed.lam.min()):g} to {float(mixed.lam.max()):g}")
    if mixed.weight is not None:
        _check_tensor("weight", mixed.weight, None, (rows,))


def _check_tensor(what: str, value: Any, dtype: torch.dtype | None, *shapes: tuple[int, ...]) -> None:
    if not isinstance(value, Tensor) or tuple(value.shape) not in shapes or dtype not in (None, value.dtype):
        wanted = " or ".join(str(shape) for shape in dict.fromkeys(shapes))
        kind = "" if dtype is None else f" and dtype {dtype}"
        raise ValueError(f"{what} must be a tensor of shape {wanted}{kind}, got {_described(value)}")


def _described(value: Any) -> str:
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{value.dtype} {tuple(value.shape)}"
    return type(value).__name__


def _place(error: Exception, mixer: Mixer) -> str:
    """The line of the user's file that the error comes from."""
    file = inspect.getfile(type(mixer))
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({Path(file).name}, line {lines[-1]})" if lines else ""
