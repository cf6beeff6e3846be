"""The launching process: starts runs in free slots, gathers their answers, passes on requests to stop."""

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection as waiting
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.mixup_lab_slots import _worker
from hydra_plugins.mixup_lab_slots._places import THREAD_VARIABLES, Allotment

from mixup_lab.config.launch import FailedRun, environment
from mixup_lab.types import Interrupted, RunFailed, UserError

PRELOAD = "hydra_plugins.mixup_lab_slots._preload"
POLL_SECONDS = 0.2  # until a signal is seen
SAME_SIGNAL_SECONDS = 0.5  # `timeout` and some schedulers send each signal twice


@dataclass(frozen=True)
class Request:
    """A run to start."""

    number: int
    overrides: tuple[str, ...]
    command: str  # as the user types it, for messages
    shared: bytes  # pickled: the common part of all runs of the sweep
    config: bytes  # pickled: the composed configuration

    def __str__(self) -> str:
        return f"run {self.number} ({' '.join(self.overrides)})"


@dataclass
class _Running:
    request: Request
    process: Any
    connection: Connection
    answer: JobReturn | BaseException | None = None  # the latter stops everything


def run_all(requests: Iterator[Request], total: int, allotment: Allotment) -> list[JobReturn]:
    """Run all requests and return their results in the same order.

    Raises:
        KeyboardInterrupt: after a signal; `Interrupted` if a run under way was cut, or if it was SIGTERM.
        BaseException: the first one of a run that is not an Exception; it is raised after the other runs have stopped.
    """
    context = ready_context()
    done: dict[int, JobReturn] = {}
    order: list[int] = []
    running: dict[int, _Running] = {}
    stops: list[BaseException] = []
    stopping = False
    with _Signals() as signals:
        try:
            upcoming = next(requests, None)
            while running or (upcoming and not stopping):
                if (signals.signum or stops) and not stopping:
                    stopping = True
                    for run in running.values():
                        with suppress(OSError):  # it has just ended
                            run.connection.send_bytes(b"stop")
                if signals.again:
                    for run in running.values():
                        run.process.kill()
                while upcoming and not stopping and len(running) < allotment.slots:
                    slot = min(set(range(allotment.slots)) - set(running))
                    running[slot] = _start(context, upcoming, allotment.environment(slot))
                    order.append(upcoming.number)
                    upcoming = next(requests, None)  # composed while the others run
                for slot in _ended(running):
                    run = running.pop(slot)
                    if isinstance(run.answer, BaseException):
                        stops.append(run.answer)
                    elif run.answer or not stopping:
                        done[run.request.number] = run.answer or _died(run)
        finally:
            for run in running.values():  # only after an error of our own
                run.process.kill()
                run.process.join()
    if signals.signum or stops:
        raise _stopped(signals.signum, stops, total - len(order))
    return [done[number] for number in order]


def ready_context() -> Any:
    """The multiprocessing context of the runs. The first call starts the process that they are forked from.

    Forking is quick, but safe only from a process without threads and without CUDA, so not from this one.
    """
    if hasattr(signal, "pthread_sigmask"):
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # when it starts, it unblocks signals that are to be blocked below
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOAD])
    with ExitStack() as stack:
        for name in THREAD_VARIABLES:  # libraries make their threads when they are imported
            stack.enter_context(environment(name, "1"))
        stack.enter_context(_signals_blocked())
        try:
            forkserver.ensure_running()
        except OSError as error:
            if "AF_UNIX" not in str(error):
                raise
            place = tempfile.gettempdir()
            raise UserError(
                f"TMPDIR={place} is too long for a socket; set TMPDIR to a folder with a short name"
            ) from error
    return context


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Processes that are started here begin with these signals blocked; this one receives them afterwards."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, *_worker.FOR_THE_PARENT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(context: Any, request: Request, changes: dict[str, str]) -> _Running:
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_worker.main,
        args=(theirs, request.number, {**os.environ, **changes}, os.getcwd(), request.shared, request.config),
        name=str(request),
    )
    with _signals_blocked():
        process.start()
    theirs.close()  # so that the worker alone has it
    return _Running(request, process, ours)


def _ended(running: dict[int, _Running]) -> list[int]:
    """Wait a moment, read the answers that have arrived, and return the slots whose process is gone."""
    sources: list[Any] = [run.process.sentinel for run in running.values()]
    sources += [run.connection for run in running.values() if run.answer is None]
    ready = waiting.wait(sources, POLL_SECONDS)
    over = [slot for slot, run in running.items() if run.process.sentinel in ready]
    for slot, run in running.items():
        if run.answer is None and (run.connection in ready or slot in over) and run.connection.poll():
            with suppress(EOFError, OSError):
                data = run.connection.recv_bytes()
                try:
                    run.answer = pickle.loads(data)
                except Exception as error:
                    problem = RuntimeError(f"the result of {run.request} cannot be read: {error!r}")
                    run.answer = _failed(run, problem)
    for slot in over:
        running[slot].process.join()
        running[slot].connection.close()
    return over


def _died(run: _Running) -> JobReturn:
    code = run.process.exitcode
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
        if -code == getattr(signal, "SIGKILL", 0):
            how += ", as the system does when memory runs out"
    else:
        how = f"ended with exit code {code} and without a result"
    print(f"{run.request.command}: {run.request}: its process {how}", file=sys.stderr, flush=True)
    return _failed(run, RunFailed(f"its process {how}"))


def _failed(run: _Running, error: Exception) -> JobReturn:
    result = JobReturn(overrides=run.request.overrides, status=JobStatus.FAILED)
    result.return_value = FailedRun(error)
    return result


def _stopped(signum: int | None, stops: list[BaseException], left: int) -> BaseException:
    """The error that the whole sweep ends with."""
    other = [error for error in stops if not isinstance(error, KeyboardInterrupt)]
    if other:
        return other[0]
    lines = [str(error) for error in stops if isinstance(error, Interrupted)]
    if left:
        lines.append(f"{left} {'run was' if left == 1 else 'runs were'} not started")
    if signum is None:
        signum = next((error.signum for error in stops if isinstance(error, Interrupted)), signal.SIGINT)
    return Interrupted(signum, "\n".join(lines) or "interrupted")


class _Signals:
    """Within its `with` block, SIGINT and SIGTERM are only noted; a second one sets `again`."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self.again = False
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Signals":
        with suppress(ValueError):  # not in the main thread: then there are no handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is None:
            self.signum, self._since = signum, time.monotonic()
        elif time.monotonic() - self._since > SAME_SIGNAL_SECONDS:
            self.again = True

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
