"""The part of the machine that each slot gets: a GPU, a share of the cores. No torch here: nothing may start CUDA."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixup_lab.sharing import variables
from mixup_lab.types import UserError

# One for each library that may have its own thread pool.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Allotment:
    """The number of runs side by side, and their shares of the machine."""

    slots: int
    threads: int
    gpus: tuple[str, ...]  # as in CUDA_VISIBLE_DEVICES; empty: none

    def environment(self, slot: int) -> dict[str, str]:
        """The variables that keep a run to its share, and tell it who shares its memory."""
        places = max(1, len(self.gpus))
        place = slot % places
        on_gpu = len(range(place, self.slots, places))
        gpu = {"CUDA_VISIBLE_DEVICES": self.gpus[place]} if self.gpus else {}
        return {**dict.fromkeys(THREAD_VARIABLES, str(self.threads)), **variables(self.slots, on_gpu), **gpu}


def divide(
    slots: Any, slots_per_gpu: Any, threads: Any, runs: int, cores: int, gpus: list[str], outer_threads: str | None
) -> Allotment:
    """Divide a machine among runs. `auto` makes at most as many slots as runs, and at most `outer_threads` threads.

    Raises:
        UserError: for a setting that is out of range.
    """
    for key, value in {"slots": slots, "slots_per_gpu": slots_per_gpu, "threads": threads}.items():
        auto = "auto or " if key != "slots_per_gpu" else ""
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if not whole and not (auto and value == "auto"):
            raise UserError(f"hydra.launcher.{key} must be {auto}a whole number of at least 1, got {value}")
    if slots == "auto":
        slots = max(1, min(len(gpus) * slots_per_gpu or cores, runs))
    if threads == "auto":
        most = int(outer_threads) if outer_threads and outer_threads.isdecimal() else 0
        threads = min(max(1, cores // slots), most or cores)
    return Allotment(slots, threads, tuple(gpus))


def chosen_gpus(gpus: list[str], device: str) -> list[str]:
    """The GPUs that runs with this `trainer.device` may use: none for `cpu`, one for `cuda:N`, else all.

    Raises:
        UserError: for a `cuda:N` that is not among several visible GPUs; where none is visible, a run says so.
    """
    kind, _, index = device.partition(":")
    if kind in ("cpu", "mps"):
        return []
    if kind != "cuda" or not index.isdecimal() or not gpus:
        return gpus
    if int(index) >= len(gpus):
        raise UserError(
            f"trainer.device={device}, but only {len(gpus)} CUDA device{'s are' if len(gpus) > 1 else ' is'} visible"
        )
    return [gpus[int(index)]]


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu_listing() -> str:
    """The GPUs as `nvidia-smi -L` lists them; empty where there are none."""
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0:
            return done.stdout
    except (OSError, subprocess.TimeoutExpired):
        pass
    devices = Path("/proc/driver/nvidia/gpus")  # containers often lack the program
    return "".join(f"GPU {i}: \n" for i, _ in enumerate(devices.glob("*")))


def visible_gpus(listing: str, outer: str | None) -> list[str]:
    """One entry of CUDA_VISIBLE_DEVICES for each GPU that a program started here would see.

    Args:
        listing: the output of `nvidia-smi -L`.
        outer: CUDA_VISIBLE_DEVICES of this process. As in CUDA, entries from the first invalid one on are ignored.
    """
    devices: list[list[str]] = []  # the MIG instances of each GPU
    uuids: list[str] = []
    for line in listing.splitlines():
        if re.match(r"GPU \d+:", line):
            devices.append([])
        if match := re.search(r"\(UUID: ((?:GPU|MIG)-[^)]+)\)", line):
            uuids.append(match[1])
            if match[1].startswith("MIG-") and devices:
                devices[-1].append(match[1])
    if outer is None:
        return [name for i, parts in enumerate(devices) for name in parts or [str(i)]]
    visible = []
    for entry in (entry.strip() for entry in outer.split(",")):
        index = entry.isdecimal() and int(entry) < len(devices)
        # The beginning of a UUID is enough; where UUIDs are unknown, any is taken.
        uuid = entry.startswith(("GPU-", "MIG-")) and (
            any(name.startswith(entry) for name in uuids) or not uuids or entry.startswith("MIG-GPU-")
        )
        if not devices or not (index or uuid):
            break
        visible.append(entry)
    return visible
