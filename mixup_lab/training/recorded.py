"""A training step as a CUDA graph: recorded once, then replayed with a single launch.

An eager step of a small model takes longer to launch, operation by operation, than to compute. A graph holds all of its
operations with fixed addresses: encoding, mixing, forward, loss, backward, update and the moving average. Only what
differs from step to step is copied into place before it is replayed: the batch, its draws and the learning rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mixup_lab.training.batches import Prepared
from mixup_lab.types import Batch, Mixed, RunFailed

EAGER = 3  # steps of a kind before it is recorded: cuDNN chooses its algorithms, optimizers allocate their state


class Done(NamedTuple):
    """The result of a training step, detached and on the device."""

    loss: Tensor  # () float32, as it was optimized
    output: Tensor  # (B, ...) of the model
    mixed: Mixed


@dataclass
class _Recording:
    """The steps of one kind: they differ in the values of tensors alone."""

    inputs: Prepared  # in place
    eager: int = 0  # steps done so far
    graph: Any = None
    done: Done | None = None  # in place


class Recorded:
    """Runs steps: the first ones of a kind eagerly, then recorded as a CUDA graph, one for each kind.

    Steps are of one kind if their tensors have the same shapes and their numbers on the host are equal, such as the
    layer that Manifold Mixup chose. All steps are real ones, so results are those of eager steps.

    Args:
        optimizer: of the step; its learning rates become tensors on the device, see `set_lr`.
        device: a CUDA device.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self._optimizer, self._device = optimizer, device
        for group in optimizer.param_groups:
            group["lr"] = torch.full((), float(group["lr"]), device=device)
        self._recordings: dict[Any, _Recording] = {}
        self._stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, prepared: Prepared, step: Callable[[Prepared], Done]) -> Done:
        """One step. The next step of its kind overwrites the mixed inputs and weights that it returns, nothing else.

        Args:
            prepared: the batch and its draw.
            step: always the same function of tensors: nothing may vary from call to call but the numbers on the host.
                It is not kept: it belongs to a run, which would hold itself alive.

        Raises:
            RunFailed: if an operation cannot be part of a graph.
        """
        recording = self._recordings.get(key := _kind(prepared))
        if recording is None:
            recording = self._recordings[key] = _Recording(_map(torch.clone, prepared))
        else:
            for place, value in zip(_tensors(recording.inputs), _tensors(prepared), strict=True):
                place.copy_(value)
        if recording.eager < EAGER:
            recording.eager += 1
            return _kept(self._eagerly(recording.inputs, step))
        if recording.graph is None:
            self._record(recording, step)
        recording.graph.replay()
        assert recording.done is not None
        return _kept(recording.done)

    def _eagerly(self, inputs: Prepared, step: Callable[[Prepared], Done]) -> Done:
        """Not on the stream of everything else: autograd would remember that one, and recording cannot use it."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            done = step(inputs)
        current.wait_stream(self._stream)
        return done

    def _record(self, recording: _Recording, step: Callable[[Prepared], Done]) -> None:
        """No operation runs while it is recorded."""
        graph = torch.cuda.CUDAGraph()
        try:
            # Only this thread is recorded: another one may upload something meanwhile.
            with (
                _capturable(self._optimizer),
                torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
            ):
                recording.done = step(recording.inputs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise RunFailed(
                f"the step of this run cannot be recorded as a CUDA graph ({reason}); use trainer.accelerate=none"
            ) from error
        recording.graph = graph


def set_lr(group: dict[str, Any], lr: float) -> None:
    """Set the learning rate of a group of an optimizer, in place if it is a tensor; float32, so that both are equal."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(lr)
    else:
        group["lr"] = float(np.float32(lr))


@contextmanager
def _capturable(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Adam refuses to be recorded without this word, and warns of it at all other times; fused, it is the same."""
    groups = [group for group in optimizer.param_groups if "capturable" in group]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in groups:
            group["capturable"] = False


def _kind(prepared: Prepared) -> tuple[Any, ...]:
    numbers = tuple((name, value) for name, value in prepared.draw.items() if not isinstance(value, Tensor))
    return numbers, tuple((tensor.shape, tensor.dtype) for tensor in _tensors(prepared))


def _tensors(prepared: Prepared) -> list[Tensor]:
    return [*prepared.batch, *(value for value in prepared.draw.values() if isinstance(value, Tensor))]


def _kept(done: Done) -> Done:
    loss, output, (inputs, target, partner, lam, weight) = done
    return Done(loss.clone(), output.clone(), Mixed(inputs, target.clone(), partner.clone(), lam.clone(), weight))


def _map(function: Callable[[Tensor], Tensor], prepared: Prepared) -> Prepared:
    batch = Batch(*map(function, prepared.batch))
    draw = {name: function(v) if isinstance(v, Tensor) else v for name, v in prepared.draw.items()}
    return Prepared(batch, draw)
