"""The record of a run: `config.yaml`, the append-only `record.jsonl` and the final `summary.json`. No torch.

Readers take the last event of an epoch: a run that was killed between its record and its checkpoint trains that epoch
again and appends the same numbers a second time. A line that a kill cut short is passed over.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mixup_lab.runs.files import write_atomically
from mixup_lab.types import UserError

Event = dict[str, Any]


class Record:
    """Writes one run's directory.

    Args:
        run_dir: its directory; made if it is missing.
        resume: go on with the record that is there, instead of refusing a directory that has one.

    Raises:
        UserError: if the directory holds a run already, or cannot be written to.
    """

    def __init__(self, run_dir: Path, *, resume: bool = False) -> None:
        self.run_dir = run_dir
        path = run_dir / "record.jsonl"
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab" if resume else "xb")
        except FileExistsError:
            raise UserError(
                f"{run_dir} holds a run already; go on with it by resume={run_dir}, or choose another hydra.run.dir"
            ) from None
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from error
        if resume and not _ends_whole(path):
            self._file.write(b"\n")

    def config(self, text: str) -> None:
        """Write `config.yaml`."""
        write_atomically(self.run_dir / "config.yaml", lambda file: file.write(text.encode()))

    def event(self, kind: str, **fields: Any) -> None:
        """Append one event; it is with the operating system when this returns.

        Raises:
            UserError: if the disk is full.
        """
        line = json.dumps({"event": kind, "time": round(time.time(), 3), **_plain(fields)}) + "\n"
        try:
            self._file.write(line.encode())
            self._file.flush()
        except OSError as error:
            raise UserError(f"cannot write {self.run_dir / 'record.jsonl'}: {error.strerror}") from error

    def end(self, status: str, scalars: Mapping[str, float], **fields: Any) -> None:
        """Append the `end` event and write `summary.json`; `status` is ok, failed or interrupted."""
        self.event("end", status=status, scalars=dict(scalars), **fields)
        start = next(read_events(self.run_dir, "start"))
        summary = {
            "status": status,
            **{key: start.get(key) for key in ("arm", "name", "seed", "fingerprint", "primary")},
            "scalars": dict(scalars),
            **fields,
        }
        text = json.dumps(_plain(summary), indent=1) + "\n"
        write_atomically(self.run_dir / "summary.json", lambda file: file.write(text.encode()))

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()


def read_events(run_dir: Path, kind: str | None = None) -> Iterator[Event]:
    """The events of a run in order, all or those of one kind; lines cut short are passed over."""
    with (run_dir / "record.jsonl").open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(event, dict) and (kind is None or event.get("event") == kind):
                yield event


def read_epochs(run_dir: Path) -> list[Event]:
    """The `epoch` events in the order of epochs, each epoch once: its last one."""
    return [event for _, event in sorted({e["epoch"]: e for e in read_events(run_dir, "epoch")}.items())]


def read_summary(run_dir: Path) -> Event | None:
    """`summary.json`, or None where the run has none."""
    path = run_dir / "summary.json"
    if not path.is_file():
        return None
    summary = json.loads(path.read_text(encoding="utf-8"))
    return summary if isinstance(summary, dict) else None


def _ends_whole(path: Path) -> bool:
    data = path.read_bytes()
    return not data or data.endswith(b"\n")


def _plain(value: Any) -> Any:
    """Strict JSON has no NaN and no infinity: they are written as text."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value
