"""The record of a run: `config.yaml`, the append-only `record.jsonl` and the final `summary.json`. No torch.

Readers take the last event of an epoch: a run that was killed between its record and its checkpoint trains that epoch
again and appends the same numbers a second time. A line that a kill cut short is skipped, and so is a damaged one. The
last `start` identifies the run: with more epochs a run goes on under another fingerprint.

A directory holds a run from its first event on; files of a process that was killed earlier do not count. Damaged files
are never written over: they are set aside under another name.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from mixup_lab.disk import clear_leftovers, set_aside, try_lock, write_atomically, writing
from mixup_lab.notices import say
from mixup_lab.runs.shapes import Damaged, misfit, read_json
from mixup_lab.types import UserError

Event = dict[str, Any]
SCHEMA = 3  # of the record; raised when old and new records cannot share a study
LONGEST = 8 * 2**20  # bytes of a line; no event comes near

# What the events of each kind hold; a key that a reader needs is compared by that reader.
SHAPES: dict[str, Any] = {
    "start": {
        "time?": float, "arm?": str, "name?": str, "seed?": int, "fingerprint?": str, "mixes?": bool, "primary?": str,
        "maximize?": bool, "choices?": {}, "overrides?": [str], "chosen?": {str: int}, "epochs?": int,
        "steps_per_epoch?": int, "versions?": {str: str}, "git?": (str, None), "device?": str, "accelerate?": str,
        "threads?": int, "parameters?": int,
        "data?": {
            "kind?": str, "digest?": str, "class_names?": [str], "storage?": str, "carved?": [str], "dropped?": int,
            "train?": int, "val?": int, "test?": int, "groups?": {str: int}, "duplicates?": object,
        },
    },
    "epoch": {
        "time?": float, "epoch": int, "scalars?": {str: float}, "step?": int, "samples?": int, "seconds?": float,
        "label_mass?": [float],
    },
    "note": {"time?": float, "text": str},
    "end": {"time?": float, "status?": str, "scalars?": {str: float}},
}  # fmt: skip
SUMMARY = {
    "status": str, "scalars": {str: float}, "arm?": (str, None), "name?": (str, None), "seed?": (int, None),
    "fingerprint?": (str, None), "primary?": (str, None), "error?": (str, None),
}  # fmt: skip


class InUse(UserError):
    """Another process is writing the run."""


class Record:
    """Writes one run's directory, which is locked until `close` or the end of the process.

    Args:
        run_dir: its directory; made if it is missing.
        resume: continue an existing record, instead of refusing a directory that has one.

    Raises:
        UserError: if the directory holds a run already, is being written by another process, or cannot be written to.
    """

    def __init__(self, run_dir: Path, *, resume: bool = False) -> None:
        self.run_dir = run_dir
        path = run_dir / "record.jsonl"
        self._file = _open_alone(path)
        events, damaged = read_record(run_dir)
        self.begun = any(event["event"] == "start" for event in events)  # before this process
        if self.begun and not resume:
            self._file.close()
            raise UserError(
                f"{run_dir} holds a run already; continue it with resume={run_dir}, or choose another hydra.run.dir"
            )
        clear_leftovers(run_dir, alone=True)
        self._keep_damaged(damaged)
        if not self.begun:
            self._file.truncate(0)
        elif not ends_in_line(path):  # a kill cut the last line short
            self._file.write(b"\n")

    def _keep_damaged(self, damaged: int) -> None:
        """Set aside what this run would write over and nobody could read or make again."""
        record, summary = self.run_dir / "record.jsonl", self.run_dir / "summary.json"
        problems = {}
        try:
            before = read_summary(self.run_dir)
            if before is not None and before["status"] == "ok" and read_result(self.run_dir) is None:
                problems[summary] = f"{summary} lacks its metric, or belongs to a record that cannot be read"
        except Damaged as error:
            problems[summary] = str(error)
        if not self.begun and damaged:
            problems[record] = f"{record} is damaged: it has no readable start"
        for path, problem in problems.items():
            say(f"{problem}; it is kept as {set_aside(path)}, and the run is made again")
        if record in problems:
            self._file.close()
            self._file = _open_alone(record)

    def config(self, text: str) -> None:
        """Write `config.yaml`."""
        write_atomically(self.run_dir / "config.yaml", text)

    def event(self, kind: str, **fields: Any) -> None:
        """Append one event; the operating system has it when this returns.

        Raises:
            UserError: if the disk is full.
        """
        line = json.dumps({"event": kind, "time": round(time.time(), 3), **_plain(fields)}) + "\n"
        with writing(self.run_dir / "record.jsonl"):
            self._file.write(line.encode())
            self._file.flush()

    def end(self, status: str, scalars: Mapping[str, float], **fields: Any) -> None:
        """Append the `end` event and write `summary.json`; `status` is ok, failed or interrupted."""
        self.event("end", status=status, scalars=dict(scalars), **fields)
        *_, start = read_events(self.run_dir, "start")
        summary = {
            "status": status,
            **{key: start.get(key) for key in ("arm", "name", "seed", "fingerprint", "primary")},
            "scalars": dict(scalars),
            **fields,
        }
        write_atomically(self.run_dir / "summary.json", json.dumps(_plain(summary), indent=1) + "\n")

    def close(self) -> None:
        """Close the file; a second call does nothing. `event` has reported what could not be written.

        A record without an event is removed: a mistake in the configuration leaves nothing behind.
        """
        if not self._file.closed:
            with suppress(OSError):
                if os.fstat(self._file.fileno()).st_size == 0:
                    (self.run_dir / "record.jsonl").unlink()
            with suppress(OSError):
                os.fsync(self._file.fileno())
            with suppress(OSError):
                self._file.close()


def read_events(run_dir: Path, kind: str | None = None) -> Iterator[Event]:
    """The events of a run in order, all or those of one kind; lines that are cut short or damaged are skipped."""
    for line in _lines(run_dir):
        event = event_of(line)
        if event is not None and (kind is None or event["event"] == kind):
            yield event


def read_record(run_dir: Path) -> tuple[list[Event], int]:
    """All events of a run, and how many lines are damaged; the beginning of an event at the very end is not."""
    events, damaged = [], 0
    for line in _lines(run_dir):
        event = event_of(line)
        if event is not None:
            events.append(event)
        elif line.strip() and not _cut_short(line):
            damaged += 1
    return events, damaged


def event_of(line: bytes) -> Event | None:
    """The event of a line; None if it is not one. One of another version is not compared with its shape."""
    if len(line) >= LONGEST:
        return None
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    kind = event["event"]
    same = type(event.get("schema", SCHEMA)) is not int or event.get("schema", SCHEMA) == SCHEMA
    return None if same and misfit(event, SHAPES.get(kind, {})) else event


_BEGINNING = b'{"event": "'


def _cut_short(line: bytes) -> bool:
    """Whether a kill may have left this at the end of a record."""
    begins = line.startswith(_BEGINNING) or _BEGINNING.startswith(line)
    return begins and not line.endswith(b"\n") and len(line) < LONGEST


def _lines(run_dir: Path) -> Iterator[bytes]:
    """The lines of a record; of one that is too long the first part."""
    with (run_dir / "record.jsonl").open("rb") as file:
        while line := file.readline(LONGEST):
            yield line
            while len(line) == LONGEST and not line.endswith(b"\n"):
                line = file.readline(LONGEST)


def ends_in_line(path: Path) -> bool:
    """Whether the last line of a file is whole."""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def check_schema(run_dir: Path, start: Event) -> None:
    """Raise UserError for a run of another version, whose arms have other identities."""
    schema = start.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise UserError(
            f"{run_dir} was written by another version of mixup-lab (record schema {schema}, this version reads"
            f" {SCHEMA}); use that version, or train the run again"
        )


def read_epochs(run_dir: Path) -> list[Event]:
    """The `epoch` events in the order of epochs, each epoch once: its last one."""
    return [event for _, event in sorted({e["epoch"]: e for e in read_events(run_dir, "epoch")}.items())]


def read_summary(run_dir: Path) -> Event | None:
    """The content of `summary.json`, or None if it does not exist. Raises Damaged if it is not a summary."""
    summary: Event | None = read_json(run_dir / "summary.json", SUMMARY)
    return summary


def read_result(run_dir: Path) -> Event | None:
    """The summary of a run that is finished, with its metric on val and test, and a record that can be read.

    None for others.
    """
    try:
        summary = read_summary(run_dir)
        if summary is None or summary["status"] != "ok" or next(read_events(run_dir, "start"), None) is None:
            return None
    except (Damaged, OSError):
        return None
    needed = {f"{split}/{summary.get('primary')}" for split in ("val", "test")}
    return summary if needed <= set(summary["scalars"]) else None


def in_use(run_dir: Path) -> bool:
    """Whether a process, this one or another, is writing the run."""
    try:
        with (run_dir / "record.jsonl").open("rb") as file:
            return not try_lock(file)
    except OSError:
        return False


def _open_alone(path: Path) -> IO[bytes]:
    """Open the record for appending, locked. Raises UserError if it is locked or cannot be written to."""
    while True:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        if not try_lock(file):
            file.close()
            raise InUse(f"{path.parent} is being written by another process")
        # Between opening and locking another process may have removed the empty record that was there.
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
        file.close()


def _plain(value: Any) -> Any:
    """Strict JSON has no NaN and no infinity: they are written as text."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value
