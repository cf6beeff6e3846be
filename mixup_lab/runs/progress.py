"""The progress of a run: a bar on a terminal, one line per epoch elsewhere."""

import sys
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from mixup_lab.visible import score


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
        """`epoch 3/20  loss 0.412  val accuracy 0.9123  31,204 samples/s`."""
        print(f"  epoch {epoch}/{epochs}  {_values(scalars, self._primary)}", flush=True)


class Bar(ProgressView):
    """A live bar: epoch, loss, the primary metric of val, samples a second, time left."""

    def __init__(self, console: Console, primary: str) -> None:
        self._primary = primary
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("epoch"),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            expand=True,
        )
        self._steps_per_epoch = 1
        self._values = ""

    def start(self, title: str, about: str, epochs: int, steps_per_epoch: int, done_steps: int) -> None:
        self._bar.console.print(about, markup=False, highlight=False)
        self._steps_per_epoch = steps_per_epoch
        self._task = self._bar.add_task(title, total=epochs, completed=done_steps // steps_per_epoch, values="")
        self._bar.start()

    def step(self, epoch: int, steps: int, samples_per_second: float) -> None:
        values = f"{self._values}  {samples_per_second:,.0f} samples/s".strip()
        self._bar.update(self._task, completed=epoch + steps / self._steps_per_epoch, values=values)

    def epoch(self, epoch: int, epochs: int, scalars: dict[str, float]) -> None:
        self._values = _values(scalars, self._primary, speed=False)
        self._bar.update(self._task, completed=epoch, values=_values(scalars, self._primary))

    def stop(self) -> None:
        self._bar.stop()


def _values(scalars: dict[str, float], primary: str, speed: bool = True) -> str:
    shown = (("train/loss", "loss {:.3f}"), ("val/loss", "val loss {:.3f}"))
    parts = [form.format(scalars[key]) for key, form in shown if key in scalars]
    if (value := scalars.get(f"val/{primary}")) is not None:
        parts.append(f"val {primary} {score(value)}")
    if speed:
        parts.append(f"{scalars['time/samples_per_second']:,.0f} samples/s")
    return "  ".join(parts)


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
