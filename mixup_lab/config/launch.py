"""Hydra started for one command: it composes, sweeps and launches; errors come back to the command line unchanged."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from mixup_lab.types import Interrupted, RunFailed, UserError

_FULL_ERROR = "HYDRA_FULL_ERROR"
_PACKAGE = Path(__file__).resolve().parents[1]


class JobError(BaseException):
    """The error of a single run on its way up.

    Not an `Exception`: Hydra would catch that, and print a line of its own before it lets it go on.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class SweepError(Exception):
    """Some runs of a sweep ended badly; each was named when it happened. `first` is what ended the first of them.

    `failed` counts those of this process; 0 where others did the work.
    """

    def __init__(self, first: Exception, failed: int) -> None:
        count = {0: "runs", 1: "1 run"}.get(failed, f"{failed} runs")
        super().__init__(f"{count} of the sweep failed")
        self.first = first


def launch(command: str, target: str, config_dir: Path) -> None:
    """Run `target` ("module:function") under Hydra, which reads its words from `sys.argv`."""
    find_plugins()
    import tempfile

    import hydra

    from mixup_lab.config.schema import register
    from mixup_lab.notices import SAID

    register()
    job = Job(command, target, os.environ.get(_FULL_ERROR))
    # With _FULL_ERROR Hydra raises what it would otherwise print before it exits.
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # a worker that is being killed may still write
    with folder as said, environment(SAID, said), environment(_FULL_ERROR, "1"):
        try:
            hydra.main(version_base="1.3", config_path=str(config_dir), config_name=command)(job)()
        except Exception as error:
            if hasattr(error, "failed_run"):
                raise SweepError(error, len(job.failures)) from error
            if isinstance(error, (NotADirectoryError, FileExistsError, PermissionError)) and error.filename:
                raise UserError(f"cannot write {error.filename}: {error.strerror}") from error  # the run directory
            raise


def find_plugins() -> None:
    """Make our plugins and the user's own classes importable; before Hydra is imported, which looks for plugins."""
    expose(Path.cwd())
    expose(_PACKAGE / "plugins")


def expose(path: Path) -> None:
    """Make a folder importable here and in worker processes, which are fresh interpreters under some launchers.

    A console script does not have the working directory on its path, and there a user's own classes may lie.
    """
    if str(path) not in sys.path:
        sys.path.append(str(path))
    parts = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    if str(path) not in parts:
        os.environ["PYTHONPATH"] = os.pathsep.join([*parts, str(path)])


@contextmanager
def environment(name: str, value: str | None) -> Iterator[None]:
    """Set an environment variable (None: unset it) for a while."""
    before = os.environ.get(name)
    _set(name, value)
    try:
        yield
    finally:
        _set(name, before)


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


@dataclass
class Job:
    """The function that Hydra calls for each run: it imports the program (and torch) only then.

    It can be pickled, since launchers of several processes send it to their workers.
    """

    command: str
    target: str  # "module:function"
    full_error: str | None  # the user's own HYDRA_FULL_ERROR
    failures: list[Exception] = field(default_factory=list)  # of this process

    @property
    def __name__(self) -> str:  # Hydra asks a function for its name
        return self.command

    def __call__(self, cfg: Any) -> Any:
        """Run one job; its errors are marked as a run's own."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        hydra_cfg = HydraConfig.get()
        module, function = self.target.split(":")
        try:
            with environment(_FULL_ERROR, self.full_error):  # what the run starts sees the user's own setting
                return getattr(import_module(module), function)(cfg)
        except Interrupted as error:
            if error.signum == getattr(signal, "SIGUSR2", None):
                signal.raise_signal(error.signum)  # a checkpoint is saved: now the one who listened may act on it
            raise
        except Exception as error:
            leave_no_empty_folder(Path(hydra_cfg.runtime.output_dir))
            if hydra_cfg.mode == RunMode.RUN:
                raise JobError(error) from error
            self.failures.append(error)
            overrides = " ".join(hydra_cfg.overrides.task)
            where = f"mixup-lab {self.command}: run {hydra_cfg.job.num} ({overrides}):"
            if isinstance(error, (UserError, RunFailed)):
                print(f"{where} {error}", file=sys.stderr, flush=True)
            else:  # ours: the first alone would be raised again, so each shows its own
                print(where, file=sys.stderr)
                traceback.print_exc()
            error.failed_run = overrides  # type: ignore[attr-defined]  # tells it from an error of Hydra's
            raise


def leave_no_empty_folder(folder: Path) -> None:
    """Hydra makes the run directory before the run is checked; a mistake should leave nothing behind."""
    for path in (folder, *folder.parents[:3]):
        if path == Path.cwd():
            return
        with suppress(OSError):  # not empty, or not there
            path.rmdir()
