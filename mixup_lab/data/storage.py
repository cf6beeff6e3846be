"""The choice between keeping all data on the device and streaming them."""

from collections.abc import Iterable
from pathlib import Path

import torch

from mixup_lab.notices import say
from mixup_lab.sharing import runs_side_by_side
from mixup_lab.types import Pool

SHARE = 0.5  # of the free memory; the rest is for the model, its activations and other programs
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def choose(storage: str, pools: Iterable[Pool], device: torch.device) -> str:
    """`resident` or `streaming`; `auto` is resident if the pools take at most half of the free memory."""
    if storage != "auto":
        return storage
    needed = sum(pool.nbytes for pool in pools)
    free = free_bytes(device)
    if free is None or needed <= SHARE * free:
        return "resident"
    say(
        f"the data take {needed / 2**30:.1f} GiB, more than half of the {free / 2**30:.1f} GiB that are free for this"
        " run: they are streamed (dataset.storage=resident keeps them in memory anyway)"
    )
    return "streaming"


def free_bytes(device: torch.device) -> int | None:
    """Free memory for a tensor on the device, and on the host for its copy on the way; None if unknown.

    Runs side by side start at the same time, so each counts on an equal part of what is free.
    """
    host = _host_free()
    gpu = int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None
    parts = zip((host, gpu), runs_side_by_side(), strict=True)
    return min((free // runs for free, runs in parts if free is not None), default=None)


def _host_free() -> int | None:
    """On Linux the kernel's available memory, or the rest of the container's limit if that is less; else None."""
    available = _field(MEMINFO, "MemAvailable:")
    if available is None:
        return None
    free = available * 1024
    try:
        limit, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no cgroup v2, or "max": no limit
        return free
    reclaimable = _field(CGROUP / "memory.stat", "inactive_file") or 0
    return max(0, min(free, limit - used + reclaimable))


def _field(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), None)
