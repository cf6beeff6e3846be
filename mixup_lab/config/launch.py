"""Run Hydra for one command: compose, sweep and launch. Errors reach the command line unchanged."""

import hashlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from mixup_lab.config.commands import COMMANDS
from mixup_lab.config.words import config_dir, flag_value
from mixup_lab.notices import remembering
from mixup_lab.types import Interrupted, RunFailed, UserError
from mixup_lab.visible import visible

_PACKAGE = Path(__file__).resolve().parents[1]
MOST_VALUES = 10_000  # of a sweep
FOLDER = ".folder"  # ending of the files in which jobs note the directories of their runs
FULL_ERROR = "HYDRA_FULL_ERROR"  # Hydra's variable for full tracebacks; the processes of a sweep inherit it


class JobError(BaseException):
    """An error that ends the whole command: that of a single run, or one that stops a sweep.

    Not an `Exception`: Hydra would catch that, and print a line of its own before it raises it again.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class FailedRun(Exception):
    """One run of a sweep ended with `error`, which was printed when it happened; the other runs go on."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class SweepError(Exception):
    """Some runs of a sweep ended badly; each was named when it happened. `first` is what ended the first of them.

    `failed` counts those of this process; 0 if other processes did the work.
    """

    def __init__(self, first: BaseException, failed: int) -> None:
        count = {0: "runs", 1: "1 run"}.get(failed, f"{failed} runs")
        super().__init__(f"{count} of the sweep failed")
        self.first = first


def launch(command: str, words: Sequence[str], folders: list[Path] | None = None) -> None:
    """Run the job of a command under Hydra with these words, as on the command line.

    Args:
        command: its name.
        words: of the line.
        folders: takes the directories of the runs, those too that failed.

    Raises:
        JobError: a single run failed.
        SweepError: runs of a sweep failed.
        UserError: the run directory cannot be made.
    """
    find_plugins()
    import tempfile

    import hydra

    from mixup_lab.config.schema import register

    register()
    target = COMMANDS[command].job
    assert target is not None
    argv = sys.argv
    sweeps = command == "compare" or bool({"-m", "--multirun"} & set(words))
    sys.argv = [argv[0], *(_with_swept_groups(words) if sweeps else words)]  # the only way to hand words to Hydra
    # Hydra raises an error only with this variable; otherwise it prints the error and exits.
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # a worker that is being killed may still write
    with folder as announced, environment(FULL_ERROR, "1") as before:
        job = Job(command, target, before, Path(announced))
        try:
            hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=command)(job)()
        except FailedRun as failed:
            raise SweepError(failed.error, len(job.failures)) from failed.error
        except OSError as error:  # of Hydra; those of a run are marked as its own
            if error.errno is None or isinstance(error, ConnectionError):
                raise
            raise UserError(f"cannot write {error.filename or 'the run directory'}: {error.strerror}") from error
        finally:
            sys.argv = argv
            if folders is not None:
                folders += [Path(path.read_text(encoding="utf-8")) for path in Path(announced).glob(f"*{FOLDER}")]


def _with_swept_groups(words: Sequence[str]) -> list[str]:
    """The words of a sweep, where a single value of a swept group is a list of one: `aug.alpha=choice(0.4)`.

    Hydra composes what is not swept once before all runs, with the default option, which may lack such a key.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser, singles, swept = OverridesParser.create(), {}, set()
    for word in words:
        with suppress(HydraException):  # flags; mistakes too, which Hydra reports
            override = parser.parse_override(word)
            if override.is_sweep_override():
                check_sweep(override)
                swept.add(override.key_or_group)
            elif not override.is_delete():
                singles[word] = override.key_or_group
    changed = {word for word, key in singles.items() if "." in key and key.partition(".")[0] in swept}
    return [
        re.sub("=(.*)", r"=choice(\1)", word, count=1, flags=re.DOTALL) if word in changed else word for word in words
    ]


def check_sweep(override: Any) -> None:
    """Raise UserError for a sweep over no values, such as seed=range(0), and for one over far too many."""
    if not override.is_discrete_sweep():
        return
    count = sum(1 for _ in islice(override.sweep_string_iterator(), MOST_VALUES + 1))
    if not 1 <= count <= MOST_VALUES:
        raise UserError(
            f"{override.input_line} must have 1 to {MOST_VALUES:,} values, and has {'more' if count else 'none'}"
        )


def find_plugins() -> None:
    """Make our plugins importable. Call it before Hydra is imported, which imports every plugin that it finds.

    The working directory may hold files of others, so a folder `hydra_plugins` in it does not count.
    """
    _find(_PACKAGE / "plugins")
    import hydra_plugins

    here = [path for path in hydra_plugins.__path__ if Path(path).absolute().parent.resolve() != Path.cwd()]
    hydra_plugins.__path__ = [*here, *({str(_PACKAGE / "plugins" / "hydra_plugins")} - set(here))]


def find_own_code(words: Sequence[str]) -> None:
    """Make the user's own classes importable, which lie in the working directory, if the line trusts any."""
    # A console script does not have the working directory on its path.
    if flag_value(words, "--config-dir", "-cd") or any(word.lstrip("+").startswith("trust=") for word in words):
        _find(Path.cwd())


def _find(folder: Path) -> None:
    path = str(folder)
    if path not in sys.path:
        sys.path.append(path)
    # For worker processes, which are fresh interpreters under some launchers.
    parts = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    if path not in parts:
        os.environ["PYTHONPATH"] = os.pathsep.join([*parts, path])


@contextmanager
def environment(name: str, value: str | None) -> Iterator[str | None]:
    """Set an environment variable (None: unset it) within the block; yields its previous value."""
    before = os.environ.pop(name, None)
    os.environ.update({} if value is None else {name: value})
    try:
        yield before
    finally:
        os.environ.pop(name, None)
        os.environ.update({} if before is None else {name: before})


@dataclass
class Job:
    """The function that Hydra calls for each run: it imports the program (and torch) only then.

    It must be picklable, since launchers with several processes send it to their workers.
    """

    command: str
    target: str  # "module:function"
    full_error: str | None  # the user's own HYDRA_FULL_ERROR
    announced: Path  # folder in which `notices.say` remembers its lines, so that a sweep prints each once
    failures: list[Exception] = field(default_factory=list)  # of this process

    @property
    def __name__(self) -> str:  # Hydra reads the name of a function
        return self.command

    def __call__(self, cfg: Any) -> Any:
        """Run one job; its errors are marked as a run's own."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        hydra_cfg = HydraConfig.get()
        module, function = self.target.split(":")
        with suppress(OSError):  # another machine, which lacks the folder
            folder = str(hydra_cfg.runtime.output_dir)
            name = f"{hashlib.sha256(folder.encode()).hexdigest()}{FOLDER}"
            (self.announced / name).write_text(folder, encoding="utf-8")
        try:
            with environment(FULL_ERROR, self.full_error), remembering(self.announced):
                return getattr(import_module(module), function)(cfg)
        except Interrupted as error:
            if error.signum == getattr(signal, "SIGUSR2", None):
                signal.raise_signal(error.signum)  # a checkpoint is saved: now the previous handler may act on it
            raise
        except Exception as error:
            leave_no_empty_folder(Path(hydra_cfg.runtime.output_dir))
            if hydra_cfg.mode == RunMode.RUN:
                raise JobError(error) from error
            self.failures.append(error)
            where = f"mixup-lab {self.command}: run {hydra_cfg.job.num} ({' '.join(hydra_cfg.overrides.task)}):"
            if isinstance(error, (UserError, RunFailed)):
                print(visible(f"{where} {error}"), file=sys.stderr, flush=True)
            else:  # a bug of ours: each run shows its own traceback, since only the first error is raised again
                print(where, file=sys.stderr)
                traceback.print_exc()
            raise FailedRun(error) from error


def leave_no_empty_folder(folder: Path) -> None:
    """Hydra makes the run directory before the run is checked; a mistake should leave nothing behind."""
    for path in (folder, *folder.parents[:3]):
        if path == Path.cwd():
            return
        with suppress(OSError):  # not empty, or missing
            path.rmdir()
