"""The progress of a run: a bar on a terminal, one line per epoch elsewhere."""

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from mixup_lab.visible import score

NARROWEST, SHORTEST = 10, 12  # columns of the bar, and of the title, at least


class ProgressView:
    """Takes the reports of the training loop; this base class shows nothing."""

    def start(self, title: str, about: str, epochs: int, steps_per_epoch: int, done_steps: int) -> None:
        """The run begins, or goes on after `done_steps`; `about` are a few words on its length."""

    def step(self, epoch: int, steps: int, samples_per_second: float) -> None:
        """`steps` of epoch `epoch` (from 0) are done; called a few times a second."""

    def epoch(self, epoch: int, epochs: int, scalars: dict[str, float]) -> None:
        """Epoch number `epoch` (from 1) is done, with these values."""

    def stop(self) -> None:
        """The run is over."""


class Plain(ProgressView):
    """One line per epoch on standard output; `primary` is the metric of val that is shown."""

    def __init__(self, primary: str) -> None:
        self._primary = primary

    def start(self, title: str, about: str, epochs: int, steps_per_epoch: int, done_steps: int) -> None:
        print(f"{title}: {about}", flush=True)

    def epoch(self, epoch: int, epochs: int, scalars: dict[str, float]) -> None:
        """`epoch 3/20  val accuracy 0.9123  loss 0.412  val loss 0.301  31,204 samples/s`."""
        values = [*_values(scalars, self._primary), _speed(scalars["time/samples_per_second"])]
        print("  ".join([f"  epoch {epoch}/{epochs}", *values]), flush=True)


class Bar(ProgressView):
    """A live bar: what, epoch, bar, time left and the metric of val; losses and speed where there is room."""

    def __init__(self, console: Console, primary: str) -> None:
        self._primary = primary
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[values]}", markup=False),
            console=console,
            expand=True,
        )
        self._steps_per_epoch = 1
        self._epochs = 1
        self._title = ""
        self._values: list[str] = []

    def start(self, title: str, about: str, epochs: int, steps_per_epoch: int, done_steps: int) -> None:
        self._bar.console.print(about, markup=False, highlight=False)
        self._steps_per_epoch, self._epochs, self._title = steps_per_epoch, epochs, title
        self._task = self._bar.add_task(title, total=epochs, completed=done_steps // steps_per_epoch, values="")
        self._show(done_steps / steps_per_epoch, [])
        self._bar.start()

    def step(self, epoch: int, steps: int, samples_per_second: float) -> None:
        self._show(epoch + steps / self._steps_per_epoch, [*self._values, _speed(samples_per_second)])

    def epoch(self, epoch: int, epochs: int, scalars: dict[str, float]) -> None:
        self._values = _values(scalars, self._primary)
        self._show(epoch, [*self._values, _speed(scalars["time/samples_per_second"])])

    def stop(self) -> None:
        self._bar.stop()

    def _show(self, completed: float, values: Sequence[str]) -> None:
        """The values that fit, the first before the others; a title that still does not fit is cut in its middle."""
        fixed = len(f"epoch {self._epochs}/{self._epochs}  0:00:00  ") + NARROWEST
        room = self._bar.console.width - fixed
        shown = list(values[:1])
        for value in values[1:]:
            if len("  ".join([self._title, *shown, value])) <= room:
                shown.append(value)
        title = cut(self._title, max(SHORTEST, room - len("  ".join(["", *shown]))))
        self._bar.update(self._task, completed=completed, description=title, values="  ".join(shown))


def cut(text: str, length: int) -> str:
    """A name of at most `length` characters, cut in its middle: arms differ at their ends."""
    half = length // 2
    return text if len(text) <= length else f"{text[: length - half - 1]}…{text[-half:]}"


def _values(scalars: dict[str, float], primary: str) -> list[str]:
    """The metric of val, then the losses; of an epoch without evaluation the loss alone."""
    shown = ((f"val/{primary}", f"val {primary}"), ("train/loss", "loss"), ("val/loss", "val loss"))
    forms = {f"val/{primary}": score}
    return [f"{name} {forms.get(key, '{:.3f}'.format)(scalars[key])}" for key, name in shown if key in scalars]


def _speed(samples_per_second: float) -> str:
    return f"{samples_per_second:,.0f} samples/s"


def progress_view(kind: str, primary: str) -> ProgressView:
    """`bar`, `plain`, `none`, or `auto`: a bar where standard output is a terminal; `primary` is the metric shown."""
    if kind == "none":
        return ProgressView()
    console = Console()
    if kind == "bar" or (kind == "auto" and console.is_terminal and sys.stdout.isatty()):
        return Bar(console, primary)
    return Plain(primary)


class Pace:
    """Limits progress to four times a second, so that it costs nothing in a step."""

    def __init__(self, seconds: float = 0.25) -> None:
        self._seconds = seconds
        self._next = 0.0

    def due(self) -> bool:
        """Whether the next update is due."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True
