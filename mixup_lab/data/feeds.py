"""Batches from a pool, in the caller's order: resident on the device, or streamed by worker processes.

Both give the same bits. Neither draws random numbers, and neither touches torch's global generator.
"""

from __future__ import annotations

import copy
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mixup_lab.types import Batch, Pool, UserError


class Feed(Protocol):
    """A source of batches from one pool."""

    def batches(self, rows: Sequence[np.ndarray]) -> Iterator[Batch]:
        """For each array of rows of the pool: inputs as they are stored (B, ...) and target (B, ...) on the device."""

    def relabelled(self, target: np.ndarray) -> Feed:
        """The same examples with other targets (N, ...)."""


@dataclass(frozen=True)
class Resident:
    """The whole pool as one tensor on the device; train and val carved from one pool share it."""

    inputs: Tensor  # (N, ...); pictures contiguous or channels_last, like their batches
    target: Tensor  # (N, ...)

    @classmethod
    def of(cls, pool: Pool, device: torch.device) -> Resident:
        """Load a pool onto the device."""
        inputs = pool.load()
        if tuple(inputs.shape) != (len(pool.target), *pool.shape):
            raise UserError(
                f"the source must load data of shape {(len(pool.target), *pool.shape)}, got {tuple(inputs.shape)}"
            )
        if not (inputs.dim() == 4 and inputs.is_contiguous(memory_format=torch.channels_last)):
            inputs = inputs.contiguous()
        return cls(inputs.to(device), torch.from_numpy(pool.target).to(device))

    def relabelled(self, target: np.ndarray) -> Resident:
        """The same tensor of examples with other targets (N, ...)."""
        return replace(self, target=torch.from_numpy(target).to(self.target.device))

    def batches(self, rows: Sequence[np.ndarray]) -> Iterator[Batch]:
        """Upload all indices at once; after that nothing waits for the device."""
        if not rows:
            return
        index = torch.from_numpy(np.concatenate(rows).astype(np.int64, copy=False)).to(self.inputs.device)
        # index_select is fast if an example is one piece of memory, so put the dimensions in that order.
        plain = self.inputs.is_contiguous()
        pictures = self.inputs if plain else self.inputs.movedim(1, -1)
        for part in torch.split(index, [len(r) for r in rows]):
            inputs = pictures.index_select(0, part)
            yield Batch(inputs if plain else inputs.movedim(-1, 1), self.target.index_select(0, part))


@dataclass(frozen=True)
class Streaming:
    """Examples are read when they are needed, by `workers` processes (0: by this one)."""

    pool: Pool
    device: torch.device
    workers: int

    def relabelled(self, target: np.ndarray) -> Streaming:
        """The same reader with other targets (N, ...)."""
        pool = copy.copy(self.pool)
        pool.target = target
        return replace(self, pool=pool)

    def batches(self, rows: Sequence[np.ndarray]) -> Iterator[Batch]:
        """Workers read ahead; an example that cannot be read raises its UserError here."""
        on_gpu = self.device.type == "cuda"
        for batch in self._start(rows, on_gpu):
            if isinstance(batch, UserError):
                raise batch
            yield Batch(*(part.to(self.device, non_blocking=on_gpu) for part in batch))

    def _start(self, rows: Sequence[np.ndarray], pin_memory: bool) -> Iterator[Any]:
        # Forked workers start in milliseconds and share the pool; spawned ones would import torch in every epoch.
        context = "fork" if self.workers and sys.platform == "linux" else None
        with warnings.catch_warnings():
            # Python 3.12 warns of any fork in a process with threads; torch's are idle here, and a worker uses one.
            warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
            # The user sets the workers; more of them than processors make sense if reading waits for a disk.
            warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
            return iter(
                DataLoader(
                    _Reader(self.pool),
                    batch_sampler=rows,  # type: ignore[arg-type]  # arrays of rows work like lists
                    num_workers=self.workers,
                    multiprocessing_context=context,
                    pin_memory=pin_memory,
                    collate_fn=_as_it_is,
                    worker_init_fn=_leave_interrupts_to_the_main_process,
                    generator=torch.Generator(),  # for the seed of the workers: the global generator is not touched
                )
            )


def _as_it_is(batch: Any) -> Any:
    return batch


def _leave_interrupts_to_the_main_process(worker: int) -> None:
    # Ctrl-C reaches the whole process group, and the main process may still need batches to end its step.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Reader(Dataset[Any]):
    """Reads a whole batch at once. Errors are returned as values: the loader would wrap them in a traceback."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __getitems__(self, rows: np.ndarray) -> tuple[Tensor, Tensor] | UserError:
        try:
            return self._pool.rows(rows), torch.from_numpy(self._pool.target[rows])
        except UserError as error:
            return error
