"""Notices on standard error: a bar on a terminal, one plain line elsewhere; sentences as wide as the terminal."""

import hashlib
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from mixup_lab.visible import visible

COMMAND = ": mixup-lab "  # before a command to be typed

_memory: Path | None = None  # the folder of `remembering`


@contextmanager
def remembering(folder: Path) -> Iterator[None]:
    """Print each line of `say` only once among all processes with the same folder, such as the runs of a sweep."""
    global _memory
    before, _memory = _memory, folder
    try:
        yield
    finally:
        _memory = before


def say(text: str) -> None:
    """Print one line for the user, next to the results."""
    if _memory is not None:
        try:
            (_memory / hashlib.sha256(text.encode()).hexdigest()).touch(exist_ok=False)
        except FileExistsError:
            return
        except OSError:  # another machine, which lacks the folder: twice is better than never
            pass
    print(lines(text, sys.stderr), file=sys.stderr, flush=True)


def lines(text: str, file: TextIO) -> str:
    """A text as it is printed to `file`: on a terminal broken between words, and a command begins a line of its own.

    A command is not broken, so that it can be pasted.
    """
    text = visible(text)
    width = shutil.get_terminal_size().columns
    if not file.isatty() or max(map(len, text.split("\n"))) <= width:
        return text
    sentence, colon, command = text.partition(COMMAND)
    folded = [
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
        for line in f"{sentence}{colon[:1]}".split("\n")
    ]
    return "\n".join([*folded, *([f"{colon[2:]}{command}"] if colon else [])])


@contextmanager
def track(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show progress. Yields a function that takes the number of items, of `total`, done since its last call."""
    if not sys.stderr.isatty():
        say(f"{title} ...")
        yield lambda done: None
        return
    # Imported late: a start with nothing to prepare shows no progress and should not pay for the import.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.advance(task, done)
