"""The command line: `mixup-lab COMMAND [flags] [overrides]`.

The words after the command go to Hydra, except for help and completion. Nothing here imports torch,
and help does not even import Hydra, so both answer at once.
"""

import io
import os
import platform
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType

from mixup_lab import __version__
from mixup_lab.config.commands import COMMANDS, COMPLETION
from mixup_lab.config.launch import FULL_ERROR, environment, find_own_code, launch
from mixup_lab.config.nearest import hint
from mixup_lab.config.words import as_typed, tree_of, unquoted
from mixup_lab.notices import lines
from mixup_lab.pasting import quote
from mixup_lab.types import Interrupted, RunFailed, UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 done, 1 failed, 2 a mistake of the user, 128+n signal n."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that is not UTF-8 gets ? for a sign that it lacks
            stream.reconfigure(errors="replace")
    debug = "--debug" in words or os.environ.get(FULL_ERROR) == "1"
    words = [word for word in words if word != "--debug"]
    name = f"mixup-lab {words[0]}" if words and words[0] in COMMANDS else "mixup-lab"
    try:
        with _terminable():
            code = _main(words, debug)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader has closed the pipe (`| head`). Python would raise again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except SystemExit as error:  # argparse has printed the mistake
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 2
    except KeyboardInterrupt as error:
        if debug:
            traceback.print_exception(error)
        print(lines(f"{name}: {str(error) or 'interrupted'}", sys.stderr), file=sys.stderr)
        return 128 + (error.signum if isinstance(error, Interrupted) else 2)
    except BaseException as error:
        return _failed(name, error, words, debug)


@contextmanager
def _terminable() -> Iterator[None]:
    """Within the block SIGTERM is an `Interrupted`, with a sentence and an exit code, unless somebody handles it."""
    alone = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if not alone:
        yield
        return
    signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminated(signum: int, frame: FrameType | None) -> None:
    raise Interrupted(signum, "stopped")


def _main(words: list[str], debug: bool) -> int:
    if not words or words[0] in ("-h", "--help"):
        from mixup_lab.config.help import overview

        sys.stdout.write(overview())
        return 0
    if "--version" in words:
        sys.stdout.write(_versions())
        return 0
    if any(word in COMPLETION for word in words):
        from mixup_lab.config.completion import shell_completion

        sys.stdout.write(shell_completion(words))
        return 0
    command = _command(words)
    words = words[1:]
    if "--help" in words or "-h" in words:
        from mixup_lab.config.help import command_help

        sys.stdout.write(command_help(command, tree_of(words, command), words))
        return 0
    with environment(FULL_ERROR, "1") if debug else nullcontext():
        return _run(command, words)


def _run(name: str, words: list[str]) -> int:
    find_own_code(words)
    program = COMMANDS[name].program
    if program is not None:
        module, function = program.split(":")
        return int(getattr(import_module(module), function)(words))
    if name == "preview" and {"-m", "--multirun"} & set(words) and any(word.startswith("out=") for word in words):
        raise UserError("out names one file, so it cannot be combined with -m")
    if name == "train" and any(word.startswith("from=") for word in words):
        from mixup_lab.commands.again import replaced

        words = replaced(words)
    folders: list[Path] = []
    try:
        launch(name, _resuming(list(map(as_typed, words))), folders)
    finally:
        if name == "train" and {"-m", "--multirun"} & set(words):
            from mixup_lab.commands.sweep import show

            show(folders)
    return 0


def _command(words: list[str]) -> str:
    first = words[0]
    if first in COMMANDS:
        return first
    if "=" in first or first.startswith("-"):
        raise UserError(f"the command must come first: mixup-lab train {' '.join(words)}")
    raise UserError(f"unknown command '{first}'{hint(first, COMMANDS)}")


def _resuming(words: list[str]) -> list[str]:
    """With `resume=RUN_DIR` on the line, that folder is the run directory, so Hydra must not make another one."""
    resumes = [word for word in words if word.startswith("resume=")]
    value = resumes[-1].removeprefix("resume=") if resumes else "null"
    if value == "null":
        return words
    value = unquoted(value)
    if not value:
        raise UserError("resume= needs a run directory: resume=RUN_DIR")
    if "-m" in words or "--multirun" in words:
        raise UserError("resume continues one run, so it cannot be combined with -m")
    folder = Path(value).expanduser().absolute()
    if not folder.is_dir():
        raise UserError(f"resume={value}: there is no such directory")
    if not (folder / "config.yaml").is_file():
        raise UserError(f"resume={value}: that is not a run directory, it has no config.yaml")
    quoted = quote(str(folder))
    # The run's own data set may have keys that the default one lacks; which of them may change is checked later.
    key = re.compile(r"(?!hydra\.)\w+\.")
    changes = [f"++{word}" if key.match(word) else word for word in words if word not in resumes]
    return [*changes, f"resume={quoted}", f"hydra.run.dir={quoted}"]


def _versions() -> str:
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "not installed"
    return f"mixup-lab {__version__} (Python {platform.python_version()}, torch {torch})\n"


def _failed(name: str, error: BaseException, words: list[str], debug: bool) -> int:
    """Print the error and return the exit code; with a traceback for a bug of ours or with --debug."""
    from mixup_lab.config.launch import JobError, SweepError

    cause = error.error if isinstance(error, JobError) else error.first if isinstance(error, SweepError) else error
    sentence: str | None = str(cause) if isinstance(cause, (UserError, RunFailed)) else None
    if sentence is None:
        from mixup_lab.config.errors import explain

        sentence = explain(cause, words[1:], tree_of(words, words[0] if words else "train"))
    if debug or (sentence is None and not isinstance(error, SweepError)):
        traceback.print_exception(cause)
    if isinstance(error, SweepError):
        print(lines(f"{name}: {error}; the first: {sentence or repr(cause)}", sys.stderr), file=sys.stderr)
    elif sentence is not None:
        print(lines(f"{name}: {sentence}", sys.stderr), file=sys.stderr)
    return 1 if sentence is None or isinstance(cause, RunFailed) else 2
