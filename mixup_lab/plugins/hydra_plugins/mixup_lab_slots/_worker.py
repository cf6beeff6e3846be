"""One run in its own process: from the request to the result on its way back."""

import os
import pickle
import select
import signal
import sys
import threading
import time
import traceback
from io import TextIOWrapper
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra_plugins.mixup_lab_slots._places import THREAD_VARIABLES
from omegaconf.basecontainer import BaseContainer

from mixup_lab.config.launch import FailedRun, JobError
from mixup_lab.config.schema import register
from mixup_lab.types import Interrupted

ORPHAN_SECONDS = 30  # to save a checkpoint in when the launching process is gone
FOR_THE_PARENT = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]


def main(
    connection: Connection, number: int, environment: dict[str, str], directory: str, shared: bytes, config: bytes
) -> None:
    """The body of the process, which ends with the exit code of its run."""
    orders = _Orders(connection, number)
    answer: JobReturn | BaseException
    code = 0
    try:
        orders.listen()
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(directory)
        before: Any = sys.stdout
        sys.stdout = _MarkedLines(before.buffer, before.encoding, before.errors, line_buffering=True)
        sys.stdout.mark = f"[{number}] "
        sys.__stdout__ = sys.stdout  # type: ignore[misc]
        before.detach()
        if "torch" in sys.modules:  # it has read the variables already
            sys.modules["torch"].set_num_threads(int(environment[THREAD_VARIABLES[0]]))
        answer = _sendable(_run(shared, config))
        orders.no_more()
    except BaseException as error:
        orders.no_more()
        answer = _sendable_error(error)
        code = 128 + error.signum if isinstance(error, Interrupted) else 130 if type(error) is KeyboardInterrupt else 1
    sys.stdout.flush()
    try:
        connection.send_bytes(pickle.dumps(answer))
    except OSError:  # the launching process is gone
        code = code or 1
    sys.exit(code)


def _run(shared: bytes, config: bytes) -> JobReturn:
    plugins = Plugins.instance()  # before anything is unpickled: the search executes plugin files again
    setup_globals()
    register()
    task, context, instances = pickle.loads(shared)
    state = {"instances": {**instances, Plugins: plugins}, "omegaconf_resolvers": BaseContainer._resolvers}
    Singleton.set_state(state)
    sweep_config = pickle.loads(config)
    HydraConfig.instance().set_config(sweep_config)
    return run_job(
        hydra_context=context,
        config=sweep_config,
        task_function=task,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _sendable(done: JobReturn) -> JobReturn:
    if done.status == JobStatus.FAILED:
        done._return_value = _sendable_error(done._return_value)
    else:
        try:
            pickle.loads(pickle.dumps(done._return_value))
        except Exception as error:
            done.status = JobStatus.FAILED
            done.return_value = RuntimeError(f"the result of the run cannot be sent from its process: {error}")
    return done


def _sendable_error(error: BaseException) -> BaseException:
    """The error itself, with its traceback as a note, or a RuntimeError with the same text if it cannot be pickled."""
    if isinstance(error, (FailedRun, JobError)):
        return type(error)(_sendable_error(error.error))
    trace = "".join(traceback.format_exception(error))
    error.add_note(f"\nIn the process of the run:\n{trace}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.__notes__ = error.__notes__
        return plain
    return error


class _Orders:
    """Requests to stop: an order of the launching process, its death, or a SIGTERM. The run always gets one SIGTERM.

    Only the launching process reacts to Ctrl-C and to the end of the terminal. A SIGTERM that was sent to all processes
    and the order that follows it must not count as two, since the second signal ends a run without a checkpoint.
    """

    def __init__(self, connection: Connection, number: int) -> None:
        self._connection, self._number = connection, number
        self._woken, self._stopping = -1, False

    def listen(self) -> None:
        """Begin. The process was started with its signals blocked, so none is lost."""
        signal.signal(signal.SIGTERM, self._stopped)
        if hasattr(signal, "pthread_sigmask"):
            self._woken, wake = os.pipe()
            os.set_blocking(wake, False)
            signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
            os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
            signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_PARENT)
        threading.Thread(target=self._wait, name="orders", daemon=True).start()
        if self._woken >= 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])

    def no_more(self) -> None:
        """The run is over: nothing may cut its answer short."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _stopped(self, signum: int, frame: FrameType | None) -> None:
        # For as long as the run has no handler of its own.
        raise Interrupted(signum, f"run {self._number} was stopped")

    def _wait(self) -> None:
        try:
            self._connection.recv_bytes()
            self._stop()
            self._connection.recv_bytes()  # only the end can come now
        except (EOFError, OSError):
            self._stop()
            time.sleep(ORPHAN_SECONDS)
            os._exit(1)

    def _stop(self) -> None:
        stopping, self._stopping = self._stopping or self._signalled(), True
        if stopping:
            return
        if hasattr(signal, "pthread_kill"):  # wakes the main thread from any waiting
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        else:
            signal.raise_signal(signal.SIGTERM)

    def _signalled(self) -> bool:
        """Whether a SIGTERM has come by another way, or comes within a moment."""
        if self._woken < 0 or not select.select([self._woken], [], [], 0.3)[0]:
            return False
        return signal.SIGTERM in os.read(self._woken, 4096)


class _MarkedLines(TextIOWrapper):
    """Standard output in whole lines, each marked with its run. Not a terminal: bars would overwrite each other."""

    mark = ""
    _at_start = True

    def write(self, text: str) -> int:
        """Write with the mark in front of each line."""
        for line in text.splitlines(keepends=True):
            super().write(self.mark + line if self._at_start else line)
            self._at_start = line.endswith("\n")
        return len(text)

    def isatty(self) -> bool:
        """Always False."""
        return False
