"""The live table of a study: every cell waiting, running with its progress, done with its value, or failed.

It looks at the run directories alone, so it shows the same whatever launcher does the work, and other processes too.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mixup_lab.runs import store
from mixup_lab.runs.record import read_summary

TAIL = 16384  # bytes at the end of a record that hold its last epoch
MOST_SEEDS = 12  # columns of the table; more seeds are counted instead


class Place(NamedTuple):
    """Where a cell of the study is, and how long it trains."""

    run_dir: Path
    name: str
    seed: int
    epochs: int


@dataclass
class State:
    """What is known of a cell."""

    status: str = "waiting"  # waiting, running, ok, failed
    progress: float = 0.0  # share of the epochs
    value: float | None = None  # primary metric on val
    text: str = ""
    size: int = -1  # of the record when it was last read
    said: bool = False


@dataclass
class Watch:
    """Shows the cells of a study while the block of its `with` runs: a live table on a terminal, else lines."""

    places: Sequence[Place]
    seconds: float = 0.5
    _states: dict[Place, State] = field(default_factory=dict)

    def __enter__(self) -> Watch:
        self._console = Console(highlight=False)
        self._states = {place: State() for place in self.places}
        self._look()
        for state in self._states.values():
            state.said = state.status == "ok"  # before this start
        self._done_before = self._count("ok")
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._live = Live(console=self._console, auto_refresh=False, transient=True) if _on_terminal() else None
        if self._live:
            self._live.start()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._update()
        if self._live:
            self._live.stop()

    def _run(self) -> None:
        while not self._stop.wait(self.seconds):
            self._update()

    def _update(self) -> None:
        self._look()
        if self._live:
            self._live.update(self._table(), refresh=True)
        self._say()

    def _count(self, *statuses: str) -> int:
        return sum(state.status in statuses for state in self._states.values())

    def _look(self) -> None:
        for place, state in self._states.items():
            if state.status != "ok":
                look(place, state)

    def _say(self) -> None:
        """A line for each run that came to an end; on a terminal only for those that failed."""
        for place, state in self._states.items():
            if state.said or state.status not in ("ok", "failed"):
                continue
            state.said = True
            if state.status == "failed" or not self._live:
                number = sum(state.said for state in self._states.values())
                self._console.print(
                    f"  {number:>{len(str(len(self.places)))}}/{len(self.places)}  {place.name} seed={place.seed}  "
                    f"{state.text}",
                    markup=False,
                    soft_wrap=True,
                )

    def _table(self) -> RenderableType:
        seeds = sorted({place.seed for place in self.places})
        names = list(dict.fromkeys(place.name for place in self.places))
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("val, by seed", no_wrap=True)
        wide = len(seeds) <= MOST_SEEDS and self._console.width >= max(map(len, names)) + 9 * len(seeds)
        for heading in seeds if wide else ("done", "running", "waiting", "failed", "mean"):
            table.add_column(str(heading), justify="right", no_wrap=True)
        for name in names:
            states = {place.seed: state for place, state in self._states.items() if place.name == name}
            table.add_row(name, *(_cells(states, seeds) if wide else _counts(list(states.values()))))
        return Group(table, Text(self._status_line(), style="dim"))

    def _status_line(self) -> str:
        total = len(self.places)
        done = self._count("ok")
        parts = [f"{done} of {total} runs done"]
        if failed := self._count("failed"):
            parts.append(f"{failed} failed")
        left = self._time_left()
        if left is not None:
            parts.append(f"about {_duration(left)} left")
        return ", ".join(parts)

    def _time_left(self) -> float | None:
        """From what was done since the start, runs that are under way counted by their progress."""
        share = sum(1.0 if state.status == "ok" else state.progress for state in self._states.values())
        worked = share - self._done_before
        seconds = time.monotonic() - self._started
        if worked < 0.2 or seconds < 1:
            return None
        return max(0.0, len(self.places) - self._count("failed") - share) * seconds / worked


def look(place: Place, state: State) -> None:
    """Bring a cell's state up to date."""
    summary = _summary(place.run_dir)
    if summary is not None and summary["status"] == "ok":
        scalars, primary = summary["scalars"], summary["primary"]
        state.status, state.progress, state.value = "ok", 1.0, float(scalars[f"val/{primary}"])
        state.text = f"val {primary} {state.value:.4f}  test {primary} {float(scalars[f'test/{primary}']):.4f}"
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
        state.progress = min(0.99, _last_epoch(record) / place.epochs)


def _summary(run_dir: Path) -> dict[str, Any] | None:
    try:
        return read_summary(run_dir)
    except (OSError, ValueError):
        return None


def _last_epoch(record: Path) -> int:
    with record.open("rb") as file:
        file.seek(max(0, record.stat().st_size - TAIL))
        lines = file.read().splitlines()
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "epoch" in event:
            return int(event["epoch"])
    return 0


def _cells(states: dict[int, State], seeds: Sequence[int]) -> list[Text]:
    cells = []
    for seed in seeds:
        state = states.get(seed)
        if state is None:
            cells.append(Text(""))
        elif state.status == "ok":
            cells.append(Text(f"{state.value:.4f}"))
        elif state.status == "failed":
            cells.append(Text("failed", style="red"))
        elif state.status == "running":
            cells.append(Text(f"{state.progress:.0%}", style="cyan"))
        else:
            cells.append(Text("·", style="dim"))
    return cells


def _counts(states: Sequence[State]) -> list[str]:
    counts = [str(sum(state.status == status for state in states)) for status in ("ok", "running", "waiting", "failed")]
    values = [state.value for state in states if state.value is not None]
    return [*counts, f"{sum(values) / len(values):.4f}" if values else ""]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _on_terminal() -> bool:
    return sys.stdout.isatty()
