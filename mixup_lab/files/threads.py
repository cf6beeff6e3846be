"""Read many files in threads, for readers that do not hold Python's lock."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mixup_lab.notices import track

T = TypeVar("T")
CHUNK = 128  # files that one task reads


def in_threads(one: Callable[[int], T], total: int, title: str) -> list[T]:
    """`[one(0), ..., one(total - 1)]` with progress under a title; the first error is raised."""

    def part(start: int) -> list[T]:
        return [one(i) for i in range(start, min(start + CHUNK, total))]

    results: list[T] = []
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = ThreadPoolExecutor(processors)
    try:
        with track(title, total) as advance:
            for result in pool.map(part, range(0, total, CHUNK)):
                results += result
                advance(len(result))
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C nothing new starts
    return results
