"""CUDA graphs and streams that are not there; `pretended_cuda` puts them in the place of torch's.

A graph records operations with the memory that they read and write, as on a GPU. A capture changes nothing: what it
writes is restored, and the memory of its results is NaN until the first replay. Whatever Python computed during the
capture, such as a float, stays as it was then.

Private names of torch (2.14): `_C._DisableTorchDispatch`, `OpOverload._schema`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor


def memory(tensor: Tensor) -> Tensor:
    """The memory of a tensor, as a tensor of the CPU."""
    with torch._C._DisableTorchDispatch(), torch.no_grad():
        return tensor.detach()


def address(tensor: Tensor) -> int:
    """Where the memory begins that a tensor is a view of."""
    return tensor.untyped_storage().data_ptr()


def tensors(values: Any) -> list[Tensor]:
    """All tensors in the arguments or results of an operation."""
    found: list[Tensor] = []
    changed(found.append, values)
    return found


def changed(function: Callable[[Tensor], Any], values: Any) -> Any:
    """The same with other tensors."""
    if isinstance(values, Tensor):
        return function(values)
    if isinstance(values, (list, tuple)):
        return type(values)([changed(function, value) for value in values])
    if isinstance(values, dict):
        return {name: changed(function, value) for name, value in values.items()}
    return values


class CUDAGraph:
    """Operations in the order of a capture."""

    now: ClassVar[CUDAGraph | None] = None  # that captures
    replays: ClassVar[int] = 0  # of all graphs since CUDA exists

    def __init__(self, keep_graph: bool = False) -> None:
        self.generators: list[torch.Generator] = []
        self._operations: list[tuple[Any, Any, Any, list[Tensor | None]]] = []
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}  # memory, and what it held
        self._random: list[tuple[Callable[[Tensor], Any], Tensor]] = []
        self._thread = 0

    @classmethod
    def capturing(cls) -> CUDAGraph | None:
        """The graph that captures the operations of this thread."""
        return cls.now if cls.now is not None and cls.now._thread == threading.get_ident() else None

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.generators.append(generator)

    def capture_begin(self, pool: Any = None, capture_error_mode: str = "global") -> None:
        states = [(generator.set_state, generator.get_state()) for generator in self.generators]
        self._random = [(torch.set_rng_state, torch.get_rng_state()), *states]
        self._thread, CUDAGraph.now = threading.get_ident(), self

    def record(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Compute the results, since Python needs them, and keep what is needed to compute them again."""
        given, places = {address(tensor) for tensor in tensors((args, kwargs))}, written(func, args, kwargs)
        for tensor in places:
            storage = tensor.untyped_storage()
            self._before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        fixed = changed(held, (args, kwargs))
        result = func(*args, **kwargs)
        results = [None if address(tensor) in given else memory(tensor) for tensor in tensors(result)]  # None: a view
        if places or any(tensor is not None for tensor in results):
            self._operations.append((func, *fixed, results))
        return result

    def capture_end(self) -> None:
        CUDAGraph.now = None
        for storage, values in self._before.values():
            storage.copy_(values)
        self._before.clear()
        for restore, state in self._random:
            restore(state)
        for *_, results in self._operations:
            for tensor in results:
                if tensor is not None and tensor.is_floating_point():
                    tensor.fill_(float("nan"))

    @torch.no_grad()
    def replay(self) -> None:
        CUDAGraph.replays += 1
        with torch._C._DisableTorchDispatch():
            for func, args, kwargs, results in self._operations:
                for tensor, values in zip(results, tensors(func(*args, **kwargs)), strict=True):
                    if tensor is not None:
                        tensor.copy_(values)

    def reset(self) -> None:
        self._operations.clear()

    def pool(self) -> tuple[int, int]:
        return (0, 0)


@contextmanager
def graph(made: CUDAGraph, pool: Any = None, stream: Any = None, capture_error_mode: str = "global") -> Iterator[None]:
    """Capture what happens meanwhile."""
    with stream or Stream():
        made.capture_begin(pool, capture_error_mode)
        try:
            yield
        finally:
            made.capture_end()


def held(tensor: Tensor) -> Tensor:
    """As a kernel gets it: a place in memory on the GPU, or the value of a scalar on the CPU."""
    return memory(tensor) if tensor.is_cuda else tensor.clone()


def written(func: Any, args: Any, kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that an operation changes in place."""
    if func.overloadpacket is torch.ops.aten.native_batch_norm:  # running mean and var, which its schema hides
        return tensors(args[3:5])
    schema = func._schema.arguments
    values = dict(zip((argument.name for argument in schema), args, strict=False)) | kwargs
    named = [a.name for a in schema if a.alias_info is not None and a.alias_info.is_write]
    return tensors([values[name] for name in named if name in values])


class Stream:
    """All operations of all streams are done at once, in the order of the program."""

    current: ClassVar[Stream]

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        self._outer: list[Stream] = []

    def __enter__(self) -> Stream:
        self._outer.append(Stream.current)
        Stream.current = self
        return self

    def __exit__(self, *error: Any) -> None:
        Stream.current = self._outer.pop()

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_stream(self, stream: Stream) -> None: ...

    def wait_event(self, event: Event) -> None: ...

    def query(self) -> bool:
        return True

    def is_capturing(self) -> bool:
        return CUDAGraph.capturing() is not None

    def synchronize(self) -> None:
        torch.cuda.synchronize()


Stream.current = Stream()


class Event:
    """A point in a stream."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False) -> None:
        self._time = 0.0

    def record(self, stream: Stream | None = None) -> None:
        self._time = time.perf_counter()

    def wait(self, stream: Stream | None = None) -> None: ...

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        torch.cuda.synchronize()

    def elapsed_time(self, end: Event) -> float:
        return 1000 * (end._time - self._time)
