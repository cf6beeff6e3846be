"""The live table of a study: every cell waiting, running with its progress, done with its value, or failed.

It reads only run directories, so it shows the same with any launcher, and the work of other processes too.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mixup_lab.runs import store
from mixup_lab.runs.length import about_length
from mixup_lab.runs.progress import SHORTEST, cut
from mixup_lab.runs.record import Event, event_of, read_events, read_result
from mixup_lab.visible import score

TAIL = 16384  # bytes at the end of a record that hold its last epoch
WORTH_SAYING = 60  # seconds that are left; of less no line is printed
MOST_SEEDS = 12  # columns of the table; more seeds are counted instead


class Place(NamedTuple):
    """The directory of a cell."""

    run_dir: Path
    name: str
    seed: int


@dataclass
class State:
    """The state of a cell."""

    status: str = "waiting"  # waiting, running, ok, failed
    start: Event | None = None  # the beginning of its record, once that is there
    progress: float = 0.0  # share of them
    value: float | None = None  # primary metric on val
    text: str = ""
    size: int = -1  # of the record when it was last read
    printed: bool = False


@dataclass
class Watch:
    """Shows the cells of a study while its `with` block runs: a live table on a terminal, else lines."""

    places: Sequence[Place]
    seconds: float = 0.5
    _states: dict[Place, State] = field(default_factory=dict)

    def __enter__(self) -> Watch:
        self._console = Console(highlight=False)
        self._states = {place: State() for place in self.places}
        self._look()
        for state in self._states.values():
            state.printed = state.status == "ok"  # finished before this start
        self._done_before = sum(state.printed for state in self._states.values())
        self._lengths = {""}  # that were said
        self._started, self._said = time.monotonic(), -1
        self._stop = threading.Event()
        self._live = Live(console=self._console, auto_refresh=False, transient=True) if sys.stdout.isatty() else None
        if self._live:
            self._live.start()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._update()
        if self._live:
            self._live.stop()

    def _run(self) -> None:
        while not self._stop.wait(self.seconds):
            self._update()

    def _update(self) -> None:
        """Look, and print a line for each run that came to an end; on a terminal only for those that failed."""
        self._look()
        if self._live:
            self._live.update(self._table(), refresh=True)
        for place, state in self._states.items():
            if state.printed:
                continue
            self._say_length(place, state)
            if state.status not in ("ok", "failed"):
                continue
            state.printed = True
            if state.status == "failed" or not self._live:
                number = sum(state.printed for state in self._states.values())
                count = f"{number:>{len(str(len(self.places)))}}/{len(self.places)}"
                line = f"  {count}  {place.name} seed={place.seed}  {state.text}"
                self._say(line)
            if not self._live:
                self._say_time_left(sum(state.status == "ok" for state in self._states.values()))

    def _look(self) -> None:
        for place, state in self._states.items():
            if state.status != "ok":
                look(place, state)

    def _table(self) -> RenderableType:
        seeds = sorted({place.seed for place in self.places})
        names = list(dict.fromkeys(place.name for place in self.places))
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("val, by seed", no_wrap=True)
        width = self._console.width
        wide = len(seeds) <= MOST_SEEDS and width >= max(map(len, names)) + 9 * len(seeds)
        headings = list(map(str, seeds)) if wide else ["done", "running", "waiting", "failed", "mean"]
        for heading in headings:
            table.add_column(heading, justify="right", no_wrap=True)
        room = max(SHORTEST, width - sum(max(7, len(heading)) + 2 for heading in headings))
        for name in names:
            states = {place.seed: state for place, state in self._states.items() if place.name == name}
            cells = [_cell(states.get(seed)) for seed in seeds] if wide else _summary(list(states.values()))
            table.add_row(cut(name, room), *cells)
        # The end of a table that is higher than the terminal is not seen.
        return Group(Text(self._status_line(), style="dim"), table)

    def _status_line(self) -> str:
        counts = Counter(state.status for state in self._states.values())
        parts = [f"{counts['ok']} of {len(self.places)} runs done"]
        if counts["failed"]:
            parts.append(f"{counts['failed']} failed")
        left = self._seconds_left()
        return ", ".join([*parts, f"about {duration(left)} left"] if left is not None else parts)

    def _seconds_left(self) -> float | None:
        """From the work since the start, where runs that are under way count by their progress; None: too early."""
        counts = Counter(state.status for state in self._states.values())
        share = counts["ok"] + sum(state.progress for state in self._states.values() if state.status != "ok")
        worked, seconds = share - self._done_before, time.monotonic() - self._started
        if worked < 0.2 or seconds < 1:
            return None
        return max(0.0, len(self.places) - counts["failed"] - share) * seconds / worked

    def _say_length(self, place: Place, state: State) -> None:
        """How long the runs train, once for all of one length."""
        if state.start is None and state.status == "ok":  # it was too quick to be seen running
            state.start = next(read_events(place.run_dir, "start"), None)
        known = state.start is not None and {"chosen", "epochs", "steps_per_epoch"} <= set(state.start)
        about = about_length(state.start) if state.start and known else ""
        if about not in self._lengths:
            self._lengths.add(about)
            self._say(about)

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=not self._console.is_terminal)

    def _say_time_left(self, done: int) -> None:
        """A line after the first run, and at each quarter of the runs."""
        quarter = 4 * done // len(self.places)
        left = self._seconds_left()
        if quarter > self._said and left is not None and left >= WORTH_SAYING:
            self._said = quarter
            self._console.print(
                f"  {time_left(left, done, len(self.places))}", markup=False, soft_wrap=not self._console.is_terminal
            )


def look(place: Place, state: State) -> None:
    """Bring a cell's state up to date."""
    result = read_result(place.run_dir)
    if result is not None:
        scalars, primary = result["scalars"], result["primary"]
        state.status, state.progress, state.value = "ok", 1.0, float(scalars[f"val/{primary}"])
        state.text = f"val {primary} {score(state.value)}  test {primary} {score(float(scalars[f'test/{primary}']))}"
        return
    error = store.read_error(place.run_dir)
    if error is not None:
        state.status, state.text = "failed", f"failed: {error}"
        return
    record = place.run_dir / "record.jsonl"
    try:
        size = record.stat().st_size
    except OSError:
        state.status = "waiting"
        return
    if size != state.size:
        state.status = "running" if state.size >= 0 or size == 0 else state.status
        state.size = size
        state.start = state.start or next(read_events(place.run_dir, "start"), None)
        epochs = state.start.get("epochs") if state.start else None
        state.progress = min(0.99, _last_epoch(record) / epochs) if epochs else 0.0


def _last_epoch(record: Path) -> int:
    with record.open("rb") as file:
        file.seek(max(0, record.stat().st_size - TAIL))
        lines = file.read().splitlines()
    for line in reversed(lines):
        event = event_of(line)
        if event is not None and event["event"] == "epoch":
            return int(event["epoch"])
    return 0


def _cell(state: State | None) -> Text:
    if state is None:
        return Text("")
    text, style = {
        "ok": (score(state.value) if state.value is not None else "", ""),
        "failed": ("failed", "red"),
        "running": (f"{state.progress:.0%}", "cyan"),
        "waiting": ("·", "dim"),
    }[state.status]
    return Text(text, style=style)


def _summary(states: Sequence[State]) -> list[str]:
    counts = Counter(state.status for state in states)
    values = [state.value for state in states if state.value is not None]
    mean = score(sum(values) / len(values)) if values else ""
    return [*(str(counts[status]) for status in ("ok", "running", "waiting", "failed")), mean]


def time_left(seconds: float, done: int, runs: int) -> str:
    """`about 12 min left (4 of 40 runs done)`."""
    return f"about {duration(seconds)} left ({done} of {runs} runs done)"


def duration(seconds: float) -> str:
    """Roughly: `50 s`, `12 min`, `3 h 05 min`."""
    if seconds < 59.5:
        return f"{round(seconds)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
