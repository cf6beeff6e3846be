"""Requests to stop: a signal, which the loop checks between two steps, or a file, which it checks after an epoch."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType

from mixup_lab.disk import write_atomically
from mixup_lab.types import RunFailed

STOP_FILE = "stop"  # in the directory of a run; any process may write it


class Pruned(RunFailed):
    """A run that was ended on request before its last epoch: neither finished nor broken."""


def ask_to_stop(run_dir: Path, reason: str) -> None:
    """Ask the run in `run_dir` to end after the epoch that is under way."""
    write_atomically(run_dir / STOP_FILE, reason)


def withdraw(run_dir: Path) -> str | None:
    """Withdraw a request to stop, and return its reason; None if there is none."""
    path = run_dir / STOP_FILE
    with suppress(OSError):
        reason = path.read_text(encoding="utf-8").strip()
        path.unlink(missing_ok=True)
        return reason or "on request"
    return None


class StopRequest:
    """Within its `with` block, the first SIGINT or SIGTERM sets `signum`; the second one acts at once.

    SIGUSR2 does the same if a handler is installed for it: under submitit it is Slurm's warning that the time is
    nearly over. Outside the main thread Python allows no handlers, and nothing is caught.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT, signal.SIGTERM]
            warning = getattr(signal, "SIGUSR2", None)  # Windows has none
            if warning is not None and callable(signal.getsignal(warning)):
                numbers.append(warning)
            for number in numbers:
                self._before[number] = signal.signal(number, self._requested)
        return self

    def _requested(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
