"""CUDA that is not there: tensors that Python sees on `cuda:0` and C++ sees on the CPU.

All kernels are those of the CPU, so whole trainings run without a driver, and their numbers can be compared bit for bit
with those of `trainer.device=cpu`.

    with PretendedCuda() as cuda:
        ...  # with trainer.device=cuda
    cuda.waits

What a GPU refuses is refused: tensors of both sides in one operation (a scalar on the CPU is fine), a generator of the
CPU for a tensor on the GPU, `numpy()` of such a tensor, indices on the GPU for a tensor on the CPU. Each wait of the
host for the GPU is noted; in the capture of a CUDA graph it is an error.

Limits: no speed, memory or kernels of CUDA, and no order among streams. A wait within C++ alone is not seen. The
default generator is the CPU's. `torch.zeros_like(x, device="cpu")` stays on the GPU if x is there: C++ passes that
device on its own, too.

Private names of torch (2.14), besides those in `pretended_graphs`: `Tensor._make_subclass`, `_C._nn._parse_to`,
`_C._disabled_torch_function_impl`, `_C._group_tensors_by_device_and_dtype`, `_C.DispatchKey`, `OpOverload._op_dk`,
`_C._dispatch_has_kernel_for_dispatch_key`, `utils._python_dispatch`, `Generator._cdata`, `cuda._lazy_init`,
`optim.optimizer._foreach_supported_types`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.pretended_graphs import CUDAGraph, Event, Stream, address, changed, graph, memory, tensors

aten = torch.ops.aten
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
CHECKOUT = f"{Path(__file__).parents[2]}/"
OURS = (f"{CHECKOUT}mixup_lab/", f"{CHECKOUT}tests/")
PRECISIONS = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
OF_OTHERS = torch._C.DispatchKey.CompositeImplicitAutograd
READ = {aten._local_scalar_dense, aten.equal}  # the first is `item`, `bool`, `float` and `int`
SHAPED = {  # the values decide the shape of the result
    aten.nonzero, aten.masked_select, aten.bincount, aten._unique, aten._unique2, aten.unique_dim,
    aten.unique_consecutive,
}  # fmt: skip
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


@dataclass(frozen=True)
class Wait:
    """The host waits for the GPU."""

    kind: str  # read, download, upload, shape or synchronize
    operation: str
    line: str  # of ours, the innermost: "mixup_lab/training/step.py:37"
    functions: tuple[str, ...]  # ours, the innermost first: ("train_step", "Fit.train_batch", ...)


class PretendedCuda:
    """While entered, `cuda:0` exists, also in threads that start meanwhile; `waits` are those of the host."""

    current: ClassVar[PretendedCuda]

    def __init__(self) -> None:
        self.waits: list[Wait] = []
        self._pinned: dict[int, torch.UntypedStorage] = {}  # by address
        self._patch, self._operations = pytest.MonkeyPatch(), Operations()
        self._precisions: list[str] = []

    def __enter__(self) -> PretendedCuda:
        PretendedCuda.current, CUDAGraph.replays = self, 0
        with CPU:
            torch.empty(0)  # torch makes its list of the functions that follow `with device`, of its own names
        self._precisions = [part.fp32_precision for part in PRECISIONS]  # a training sets them
        for place, names in replacements(self):
            for name, value in names.items():
                self._patch.setattr(place, name, value)
        self._operations.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._operations.__exit__(*error)
        self._patch.undo()
        for part, value in zip(PRECISIONS, self._precisions, strict=True):
            part.fp32_precision = value

    def wait(self, kind: str, operation: str) -> None:
        """The host waits; in a capture it cannot."""
        frame, stack = sys._getframe(1), []
        while frame is not None:
            path = frame.f_code.co_filename
            if path.startswith(OURS) and "/helpers/pretended_" not in path:
                stack.append((f"{path.removeprefix(CHECKOUT)}:{frame.f_lineno}", frame.f_code.co_qualname))
            frame = frame.f_back  # type: ignore[assignment]
        lines, functions = zip(*stack, strict=True) if stack else (("?",), ())
        if CUDAGraph.capturing():
            raise RuntimeError(f"operation not permitted when stream is capturing: {kind}, {operation}, {lines[0]}")
        self.waits.append(Wait(kind, operation, lines[0], functions))

    def pin(self, tensor: Tensor) -> Tensor:
        """A copy in pinned memory."""
        copied = tensor.clone()
        self._pinned[address(copied)] = copied.untyped_storage()
        return copied

    def is_pinned(self, tensor: Tensor) -> bool:
        """Whether a tensor lies in memory from `pin`."""
        return address(tensor) in self._pinned


class OnCuda(Tensor):
    """A tensor in the memory of the host that says it is on a GPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    device = property(lambda self: GPU)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]

    def get_device(self) -> int:
        return 0

    def cpu(self, *_: Any) -> Tensor:
        return self.to(CPU)

    def cuda(self, *_: Any, **__: Any) -> Tensor:
        return self

    def new_tensor(self, data: Any, **kwargs: Any) -> Tensor:
        return torch.tensor(data, **{"dtype": self.dtype, "device": GPU, **kwargs})

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def pin_memory(self, *_: Any) -> Any:
        raise RuntimeError("cannot pin a tensor on cuda:0")

    def record_stream(self, stream: Stream) -> None: ...

    def __reduce_ex__(self, protocol: Any) -> Any:  # torch.save
        return self.cpu().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            copied = self.detach().clone()
            is_parameter = isinstance(self, torch.nn.Parameter)
            memo[id(self)] = torch.nn.Parameter(copied, self.requires_grad) if is_parameter else copied
        return memo[id(self)]


class Generator(torch.Generator):
    """One of the CPU that may say it is one of the GPU."""

    of_cuda: ClassVar[dict[int, Generator]] = {}  # by address: Python has several objects for one generator

    def __new__(cls, device: Any = CPU) -> Generator:
        made = super().__new__(cls, CPU)
        if torch.device(device).type == "cuda":
            cls.of_cuda[made._cdata] = made
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return GPU if self._cdata in self.of_cuda else CPU


class Operations(TorchDispatchMode):
    """Sees all operations of a thread."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or each operation would pass the compiler

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cuda, kwargs = PretendedCuda.current, kwargs or {}
        given, asked = tensors((args, kwargs)), torch.device(kwargs.get("device") or CPU)
        if asked.type != "cuda" and not any(isinstance(tensor, OnCuda) for tensor in given):
            check_generator(func, kwargs, "cpu")
            pinned = kwargs.pop("pin_memory", False)
            result = func(*args, **kwargs)
            return cuda.pin(result) if pinned else result
        # In inference mode, operations that are made of others arrive in one piece.
        if torch.is_inference_mode_enabled() and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), OF_OTHERS):
            with Operations():
                return func._op_dk(OF_OTHERS, *args, **kwargs)
        check_generator(func, kwargs, "cuda")
        on_cuda = check_places(func.overloadpacket, args, kwargs, given)
        kwargs = {name: CPU if name == "device" else value for name, value in kwargs.items() if name != "pin_memory"}
        captured = CUDAGraph.capturing()
        result = captured.record(func, args, kwargs) if captured else func(*args, **kwargs)
        known = {id(tensor) for tensor in given}

        def named(tensor: Tensor) -> Tensor:
            return Tensor._make_subclass(OnCuda, tensor) if on_cuda and id(tensor) not in known else tensor

        return changed(named, result)


def check_generator(func: Any, kwargs: dict[str, Any], place: str) -> None:
    """Refuse a generator of the other side, and in a capture one that is not registered with the graph."""
    if kwargs.get("generator") is None:
        return
    key = kwargs["generator"]._cdata
    if (key in Generator.of_cuda) != (place == "cuda"):
        raise RuntimeError(f"{func}: expected a '{place}' device type for generator")
    captured = CUDAGraph.capturing()
    if place == "cuda" and captured and key not in [generator._cdata for generator in captured.generators]:
        raise RuntimeError(f"{func}: the generator is not registered with the graph that captures")


def check_places(packet: Any, args: Any, kwargs: dict[str, Any], given: list[Tensor]) -> bool:
    """Note a wait, refuse what a GPU refuses, and say whether the result is on the GPU."""
    cuda, name = PretendedCuda.current, str(packet)
    if packet in (aten._to_copy, aten.copy_):  # the first one has only a way up: see `to`
        up, source = (True, args[0]) if packet is aten._to_copy else (isinstance(args[0], OnCuda), args[1])
        free = kwargs.get("non_blocking", len(args) > 2 and args[2]) and cuda.is_pinned(source if up else args[0])
        if isinstance(source, OnCuda) != up and (not free or CUDAGraph.capturing()):
            cuda.wait("upload" if up else "download", name)
        return up
    if packet in INDEXING:
        index = tensors(args[1])
        if not isinstance(args[0], OnCuda):
            raise RuntimeError(f"{name}: indices should be on the CPU, where the indexed tensor is")
        filled = len(args) > 2 and not isinstance(args[2], OnCuda)  # x[mask] = 0.0 is `masked_fill`
        if any(tensor.dtype in (torch.bool, torch.uint8) for tensor in index) and not filled:
            cuda.wait("shape", name)
        if not all(isinstance(tensor, OnCuda) for tensor in index):
            cuda.wait("upload", name)
        given = [args[0], *tensors(args[2:])]
    if any(isinstance(t, OnCuda) for t in given) and any(not isinstance(t, OnCuda) and t.dim() for t in given):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, found cuda:0 and cpu")
    if packet in SHAPED or (packet is aten.repeat_interleave and kwargs.get("output_size") is None):
        cuda.wait("shape", name)
    if packet in READ:
        cuda.wait("read", name)
    return True


def replacements(cuda: PretendedCuda) -> list[tuple[Any, dict[str, Any]]]:
    """Where torch and Python have names that mean something else meanwhile."""
    autocast, one_hot, group = torch.autocast, F.one_hot, torch._C._group_tensors_by_device_and_dtype
    optimizers = sys.modules[torch.optim.Optimizer.__module__]
    move, run, make = Tensor.to, threading.Thread.run, {name: getattr(torch, name) for name in ("tensor", "as_tensor")}

    def to(tensor: Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> Tensor:
        if args and isinstance(args[0], Tensor):
            args = (args[0].device, args[0].dtype, *args[1:])
        device, dtype, non_blocking, layout = torch._C._nn._parse_to(*args, **kwargs)
        how = {"dtype": dtype or tensor.dtype, "memory_format": layout or torch.preserve_format}
        up = tensor.is_cuda if device is None else device.type == "cuda"
        if up == tensor.is_cuda:
            return move(tensor, copy=copy, **how)
        if up:
            return aten._to_copy(tensor, device=GPU, non_blocking=non_blocking, **how)
        cuda.wait("download", "to")  # C++, which sees a tensor of the CPU, would do nothing
        return move(memory(tensor).clone(), **how)

    def made(name: str) -> Callable[..., Tensor]:  # C++ would copy to the GPU unseen
        def one(data: Any, *, device: Any = None, **kwargs: Any) -> Tensor:
            return make[name](data, device=CPU, **kwargs).to(torch.empty(0, device=device).device)

        return one

    def classes(target: Tensor, num_classes: int = -1) -> Tensor:  # C++ would look for classes out of range
        if not isinstance(target, OnCuda) or num_classes < 0:
            return one_hot(target, num_classes)
        return target.new_zeros((*target.shape, num_classes)).scatter_(-1, target.unsqueeze(-1), 1)

    def groups(lists: Any, with_indices: bool = False) -> Any:
        up = any(isinstance(tensor, OnCuda) for tensor in tensors(lists))
        return {(GPU if up else device, dtype): v for (device, dtype), v in group(lists, with_indices).items()}

    def run_seen(thread: threading.Thread) -> None:
        with Operations():
            run(thread)

    both = {
        "is_available": lambda: True, "device_count": lambda: 1, "empty_cache": lambda: None,
        "current_stream": lambda device=None: Stream.current,
        "synchronize": lambda device=None: cuda.wait("synchronize", "synchronize"),
    }  # fmt: skip
    return [
        (torch.cuda, {
            **both, "_lazy_init": lambda: None, "current_device": lambda: 0, "set_device": lambda device: None,
            "get_device_name": lambda device=None: "pretended", "get_device_capability": lambda device=None: (9, 0),
            "mem_get_info": lambda device=None: (2**36, 2**36),
            "reset_peak_memory_stats": lambda device=None: None, "max_memory_allocated": lambda device=None: 2**31,
            "get_rng_state": lambda device=None: torch.get_rng_state(),
            "set_rng_state": lambda state, device=None: torch.set_rng_state(state),
            "CUDAGraph": CUDAGraph, "graph": graph, "graph_pool_handle": lambda: (0, 0),
            "is_current_stream_capturing": lambda: CUDAGraph.capturing() is not None,
            "Stream": Stream, "Event": Event, "stream": lambda stream: stream,
        }),
        (torch.accelerator, {
            **both, "current_accelerator": lambda check_available=False: GPU, "current_device_index": lambda: 0,
            "set_device_index": lambda device: None,
        }),
        (torch, {
            "Generator": Generator, "tensor": made("tensor"), "as_tensor": made("as_tensor"),
            "autocast": lambda device_type, *args, **kwargs: autocast("cpu", *args, **kwargs),
        }),
        (Tensor, {
            "to": to, "pin_memory": lambda self, device=None: cuda.pin(self),
            "is_pinned": lambda self, device=None: cuda.is_pinned(self),
        }),
        (F, {"one_hot": classes}),
        (torch._C, {"_group_tensors_by_device_and_dtype": groups}),
        (optimizers, {"_foreach_supported_types": [Tensor, torch.nn.Parameter, OnCuda]}),
        (torch.backends.cudnn, {"is_acceptable": lambda tensor: False}),
        # A module that moves gets new parameters: the old ones cannot hold others.
        (torch.__future__, {"get_overwrite_module_params_on_conversion": lambda: True}),
        (threading.Thread, {"run": run_seen}),
    ]  # fmt: skip
