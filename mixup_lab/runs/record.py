"""The record of a run: `config.yaml`, the append-only `record.jsonl` and the final `summary.json`. No torch.

Readers take the last event of an epoch: a run that was killed between its record and its checkpoint trains that epoch
again and appends the same numbers a second time. A line that a kill cut short is skipped. The last `start` identifies
the run: with more epochs a run goes on under another fingerprint.

A directory holds a run from its first event on; files of a process that was killed earlier do not count.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from mixup_lab.disk import clear_leftovers, try_lock, write_atomically, writing
from mixup_lab.types import UserError

Event = dict[str, Any]
SCHEMA = 3  # of the record; raised when old and new records cannot share a study


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
        self.begun = next(read_events(run_dir, "start"), None) is not None  # before this process
        if self.begun and not resume:
            self._file.close()
            raise UserError(
                f"{run_dir} holds a run already; continue it with resume={run_dir}, or choose another hydra.run.dir"
            )
        clear_leftovers(run_dir)
        if not self.begun:
            self._file.truncate(0)
        elif not path.read_bytes().endswith(b"\n"):  # a kill cut the last line short
            self._file.write(b"\n")

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
    """The events of a run in order, all or those of one kind; lines cut short are skipped."""
    with (run_dir / "record.jsonl").open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(event, dict) and (kind is None or event.get("event") == kind):
                yield event


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
    """The content of `summary.json`, or None if it does not exist."""
    path = run_dir / "summary.json"
    if not path.is_file():
        return None
    summary = json.loads(path.read_text(encoding="utf-8"))
    return summary if isinstance(summary, dict) else None


def read_result(run_dir: Path) -> Event | None:
    """The summary of a run that is finished, else None."""
    summary = read_summary(run_dir)
    return summary if summary is not None and summary["status"] == "ok" else None


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
