"""Where and how precisely a run computes: device, autocast, loss scaling, threads, memory.

A device that the machine lacks is an error; a missing feature that only costs speed gives one warning.
"""

import ctypes
import os
import platform
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mixup_lab.types import RunFailed, UserError

DRIVER = Path("/proc/driver/nvidia/version")
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}  # the precisions that are not those of the weights
LEAST = 256 * 2**20  # bytes that a run needs on a GPU: a small model, and the workspaces of cuBLAS and cuDNN
TAKEN = re.compile(r"out of memory|busy or unavailable")  # as CUDA says it when a GPU cannot be opened
NO_MEMORY = re.compile(r"out of memory|can't allocate memory|ALLOC_FAILED")  # as CUDA, the CPU and cuBLAS say it
NOT_DETERMINISTIC = re.compile(r"(.+?) does not have a deterministic implementation")
ONE_VALUE = re.compile(r"Expected more than 1 (value per channel|spatial element) when training")
ROOM = (
    "try a smaller trainer.batch_size with trainer.accumulate, a smaller trainer.eval_batch_size,"
    " dataset.storage=streaming or hydra.launcher.slots_per_gpu=1"
)


def resolve_device(name: str) -> torch.device:
    """`auto` takes CUDA, then MPS, then the CPU; a device that is named must exist.

    A CUDA device becomes torch's current one, for whatever does not name its device.

    Raises:
        UserError: for a name that torch does not accept, a device that this machine lacks, and a GPU that is full.
    """
    found = name
    if name == "auto":
        found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(found)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps") or (device.type != "cuda" and device.index):
        raise UserError(f"trainer.device must be auto, cpu, cuda, cuda:N or mps, got {name}")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            devices = f"{count} CUDA device{'s' * (count > 1)}" if count else "no CUDA device"
            raise UserError(
                f"trainer.device={name}, but torch finds {devices} here; trainer.device=cpu works everywhere"
            )
        return _made_current(torch.device("cuda", device.index or 0), name)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("trainer.device=mps, but torch finds no MPS device here; trainer.device=cpu works everywhere")
    return device


def _made_current(device: torch.device, name: str) -> torch.device:
    try:
        torch.cuda.set_device(device)
        torch.cuda.reset_peak_memory_stats(device)  # an earlier run of this process may have used more
        free, total = torch.cuda.mem_get_info(device)
    except RuntimeError as error:
        if not TAKEN.search(str(error)):
            raise
        raise UserError(no_room(name, device, 0, 0)) from error
    free += torch.cuda.memory_reserved(device)  # what earlier runs of this process keep, and this one may use
    if sentence := no_room(name, device, free, total):
        raise UserError(sentence)
    return device


def memory_scalars(device: torch.device) -> dict[str, float]:
    """The largest memory of tensors since the run began, in GiB, on a CUDA device.

    Elsewhere nothing: a process keeps the memory that earlier runs freed, so its size says little about one run.
    """
    if device.type != "cuda":
        return {}
    return {"memory/peak_gib": torch.cuda.max_memory_allocated(device) / 2**30}


def no_room(name: str, device: object, free: int, total: int) -> str | None:
    """The sentence about a GPU that other programs take up; None if it has room for a small run.

    Args:
        name: `trainer.device` as it is set.
        device: what it stands for here.
        free: bytes.
        total: bytes; 0 if the GPU cannot even be opened.
    """
    if free >= LEAST:
        return None
    which = f"trainer.device={name}" + (f" is {device}, which" if name != str(device) else "")
    left = f"has only {free / 2**20:.0f} MiB of {total / 2**30:.1f} GiB free" if total else "cannot be opened"
    rest = "use the rest" if total else "use all of it"
    return f"{which} {left}: other programs {rest}; end them, or set trainer.device to another device"


def spread(name: str, turn: int, gpus: int) -> str:
    """The device of run number `turn` of a sweep whose runs share `gpus` GPUs: `auto` and `cuda` take them in turn."""
    return f"cuda:{turn % gpus}" if name in ("auto", "cuda") and gpus > 1 else name


def limit(error: Exception, device: object = "the device") -> str | None:
    """What the device lacks for a run, in one sentence, if an error of torch says so; None for every other error."""
    if isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)):
        return f"the memory of {device} is too small; {ROOM}"
    if isinstance(error, RuntimeError) and (match := NOT_DETERMINISTIC.match(str(error))):
        return (
            f"trainer.deterministic=true, but torch has no deterministic {match[1]} on {device}; use another model, or"
            " trainer.deterministic=false"
        )
    return None


@contextmanager
def limits(device: object) -> Iterator[None]:
    """Turn errors of torch about memory, deterministic algorithms and norms into one sentence that names our keys.

    Raises:
        RunFailed: in their place.
        UserError: for a batch, or a piece of it, that is too small for a norm.
    """
    try:
        yield
    except RuntimeError as error:
        if (sentence := limit(error, device)) is None:
            raise
        raise RunFailed(sentence) from error
    except ValueError as error:
        if not ONE_VALUE.match(str(error)):
            raise
        raise UserError(
            "the model normalises over a batch, which needs more than 1 example: raise trainer.batch_size, or lower"
            " trainer.accumulate, which cuts a batch into pieces"
        ) from error


class Precision:
    """Autocast and loss scaling of a run.

    Args:
        name: `fp32`, in full; `tf32`, of which the matrix products and convolutions of an NVIDIA GPU keep 10 bits of
            each factor; `bf16`, autocast to bfloat16; `fp16`, autocast to float16 with a scaled loss.
        device: where the run computes.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.name, self.device = name, device
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")
        if device.type == "cuda":
            allow_tf32(name == "tf32")
        if not _supports(device, name):
            warnings.warn(
                f"trainer.precision={name}: {device} has no {name} arithmetic, it will be"
                f" {'the same as fp32' if name == 'tf32' else 'slow'}",
                stacklevel=2,
            )

    def autocast(self) -> AbstractContextManager[object]:
        """The context of the forward pass."""
        return autocast(self.name, self.device)

    def step(self, optimizer: torch.optim.Optimizer, model: nn.Module, clip_grad_norm: float | None) -> None:
        """Clip the gradient to `clip_grad_norm`, if any, and step the optimizer unless fp16 gradients overflowed."""
        if clip_grad_norm is not None:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), clip_grad_norm)
        self.scaler.step(optimizer)
        self.scaler.update()

    def scale(self, loss: Tensor) -> Tensor:
        """The loss to call `backward` on."""
        scaled = self.scaler.scale(loss)
        assert isinstance(scaled, Tensor)
        return scaled


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context of a pass of the model in this precision."""
    if precision not in AUTOCAST:
        return nullcontext()
    return torch.autocast(device.type, AUTOCAST[precision])


def allow_tf32(on: bool) -> None:
    """Let all matrix products and convolutions of NVIDIA GPUs use TF32, or none.

    torch's own defaults are TF32 in convolutions and full precision in matrix products.
    """
    cudnn: Any = torch.backends.cudnn
    parts: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    for part in parts:
        part.fp32_precision = "tf32" if on else "ieee"


def _supports(device: torch.device, name: str) -> bool:
    """Whether a device computes in this precision; unknown counts as yes."""
    if name == "fp32":
        return True
    if device.type == "cuda":  # Ampere and later have TF32 and bfloat16
        return name == "fp16" or torch.cuda.get_device_capability(device) >= (8, 0)
    return name != "tf32" and (device.type != "cpu" or _cpu_has(name))


def _cpu_has(name: str) -> bool:
    check = "_is_mkldnn_bf16_supported" if name == "bf16" else "_is_mkldnn_fp16_supported"
    return bool(getattr(torch.ops.mkldnn, check)()) if hasattr(torch.ops.mkldnn, check) else False


def set_deterministic(on: bool) -> None:
    """Restrict torch to algorithms that repeat bit for bit; it raises where it has none."""
    if on:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if on != torch.are_deterministic_algorithms_enabled():  # the call imports torch's compiler, which takes a second
        torch.use_deterministic_algorithms(on)
    torch.backends.cudnn.benchmark = not on


def keep_freed_memory() -> bool:
    """Make glibc keep freed blocks instead of handing them to the kernel and faulting them in again.

    Large tensors come and go in every step, so this saves up to half of the time on a CPU. The highest use of memory
    stays about the same. Linux with glibc only; elsewhere nothing happens. Returns whether it took effect.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # malloc.h: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX
    return bool(mallopt(mmap_max, 0) and mallopt(trim_threshold, 2**31 - 1) and mallopt(top_pad, 64 * 2**20))


def gpu_versions(device: torch.device) -> dict[str, str]:
    """The versions of CUDA, cuDNN and the driver that a run on an NVIDIA GPU depends on; {} elsewhere."""
    if device.type != "cuda":
        return {}
    found = {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}  # type: ignore[no-untyped-call]
    with suppress(OSError):
        if match := re.search(r"\b\d{3}\.\d+(\.\d+)?\b", DRIVER.read_text(encoding="utf-8")):
            found["driver"] = match[0]
    return found
