"""Many files side by side in threads, for readers that work without holding Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_threads(part: Callable[[int], T], total: int, chunk: int, advance: Callable[[int], None]) -> list[T]:
    """`part(start)` for each beginning of a chunk of `total` items; results in order, the first error is raised.

    `advance` is told how many more items are done.
    """
    results = []
    pool = ThreadPoolExecutor(_processors())
    try:
        for result in pool.map(part, range(0, total, chunk)):
            results.append(result)
            advance(min(chunk, total - chunk * (len(results) - 1)))
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C nothing new is begun
    return results


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
