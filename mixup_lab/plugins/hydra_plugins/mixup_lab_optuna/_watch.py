"""Runs that are under way, watched through their records: every epoch is reported to the pruner."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from pathlib import Path

from optuna.trial import Trial

from mixup_lab.runs.record import read_epochs, read_events
from mixup_lab.training.stop import ask_to_stop, withdraw

INTERVAL = 0.2  # seconds between two checks


class Watch:
    """Within its `with` block, a thread reads the records of the runs and stops those that the pruner gives up.

    It communicates with the runs by files, so they may be in any process and on any machine with the same disk.
    """

    def __init__(self, runs: Mapping[int, tuple[Trial, Path]], prune: bool) -> None:
        self._runs, self._prune = runs, prune
        self._sizes = dict.fromkeys(runs, 0)  # of the records when they were last read
        self._epochs = dict.fromkeys(runs, 0)  # last one that was reported
        self._asked: set[int] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="watch-trials", daemon=True)

    def __enter__(self) -> Watch:
        if self._prune:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        self._over.set()
        if self._prune:
            self._thread.join()
        for _, run_dir in self._runs.values():  # a run that ended before it saw the request
            withdraw(run_dir)
        if kind is None:
            self._look(prune=False)  # later trials are compared with all epochs of this one

    def _poll(self) -> None:
        while not self._over.wait(INTERVAL):
            self._look(prune=True)

    def _look(self, prune: bool) -> None:
        for number, (trial, run_dir) in self._runs.items():
            if (prune and number in self._asked) or not self._grown(number, run_dir):
                continue
            for epoch, value in _values(run_dir).items():
                if epoch > self._epochs[number]:
                    trial.report(value, epoch)
                    self._epochs[number] = epoch
            if prune and self._epochs[number] and trial.should_prune():
                self._asked.add(number)
                ask_to_stop(run_dir, "pruned, since half of the trials were better at this epoch")

    def _grown(self, number: int, run_dir: Path) -> bool:
        try:
            size = (run_dir / "record.jsonl").stat().st_size
        except OSError:
            return False
        before, self._sizes[number] = self._sizes[number], size
        return size > before


def _values(run_dir: Path) -> dict[int, float]:
    """The primary metric on val of the epochs so far, without values that are not finite (text in the record)."""
    start = next(read_events(run_dir, "start"), None)
    if start is None:
        return {}
    key = f"val/{start['primary']}"
    values = {event["epoch"]: event["scalars"].get(key) for event in read_epochs(run_dir)}
    return {epoch: value for epoch, value in values.items() if isinstance(value, float) and math.isfinite(value)}
