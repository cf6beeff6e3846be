"""What is shown while data is prepared: a bar on a terminal, one plain line elsewhere. Always on standard error."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SAID = "MIXUP_LAB_SAID"  # the environment variable with a folder, where a file stands for each line that was said


def say(text: str) -> None:
    """One line for the user, beside the results; the many runs of a sweep, in processes of their own, say it once."""
    folder = os.environ.get(SAID)
    if folder:
        name = hashlib.sha256(text.encode()).hexdigest()
        try:
            (Path(folder) / name).touch(exist_ok=False)
        except FileExistsError:
            return
        except OSError:  # another machine, which has no such folder: twice is better than never
            pass
    print(text, file=sys.stderr, flush=True)


@contextmanager
def track(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that is told how many more of `total` items are done."""
    if not sys.stderr.isatty():
        say(f"{title} ...")
        yield lambda done: None
        return
    # Imported late: a start that finds everything ready shows nothing and need not pay for it.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.advance(task, done)
