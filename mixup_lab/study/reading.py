"""Run directories, and tables of other trainers, as plain values. Nothing is written, and no torch is needed."""

from __future__ import annotations

import csv
import json
import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mixup_lab.runs import store
from mixup_lab.runs.record import Event, check_schema, read_events, read_summary
from mixup_lab.runs.settings import flat
from mixup_lab.study.scores import KEYS, scores
from mixup_lab.types import UserError

NO_RUNS = ("_aggregate", "confirm")  # folders of a study that hold no runs of its own
TABLES = (".csv", ".jsonl")
AGREE = 1e-4  # relative difference within which the scores of the examples give the recorded metric


@dataclass(frozen=True)
class Run:
    """One training."""

    arm: str  # id: runs with the same are compared as one
    name: str
    seed: int
    status: str  # "ok", "failed", "interrupted"
    scalars: dict[str, float]  # at the end; {} if it did not finish
    mixes: bool
    path: Path | None = None
    error: str | None = None
    log: Path | None = None
    start: Event = field(default_factory=dict)
    epochs: tuple[Event, ...] = ()
    notes: tuple[str, ...] = ()

    def settings(self) -> dict[str, Any]:
        """The flat configuration of the run, {} where there is none."""
        if self.path is None:
            return {}
        path = self.path / "config.yaml"
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            resolved = yaml.load(path.read_text(encoding="utf-8"), loader)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
        return flat(resolved) if isinstance(resolved, dict) else {}

    def scores(self, metric: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Ids and scores of the test examples, each (m,), whose mean is the metric; None if that is not known."""
        arrays = self.predictions()
        found = None if arrays is None else scores(metric, arrays)
        recorded = self.scalars.get(f"test/{metric}")
        if arrays is None or found is None or recorded is None:
            return None
        # Where another definition was recorded under this name, these are no scores of it.
        same = abs(float(found.mean()) - recorded) <= AGREE * max(abs(recorded), float(np.abs(found).mean()))
        return (arrays["id"], found) if same else None

    def recalls(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Classes and whether they were hit, of the test examples, each (m,)."""
        arrays = self.predictions()
        if arrays is None or "logits" not in arrays or arrays["logits"].ndim != 2 or arrays["target"].ndim != 1:
            return None
        return arrays["target"], (arrays["logits"].argmax(1) == arrays["target"]).astype(np.float64)

    def predictions(self) -> dict[str, np.ndarray] | None:
        """What the run kept of its test examples, by name: `id` and what scores are made of; None without a file."""
        if self.path is None:
            return None
        try:
            with (self.path / "predictions.npz").open("rb") as file, np.load(file) as arrays:
                kept = {key: arrays[f"test_{key}"] for key in ("id", *KEYS) if f"test_{key}" in arrays.files}
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
            return None
        return kept if "id" in kept else None


def read(places: Sequence[Path]) -> list[Run]:
    """All runs below some folders, or in the tables (.csv, .jsonl) of another trainer.

    Raises:
        UserError: for a place without any run, and for records that this version cannot read.
    """
    runs: list[Run] = []
    for place in places:
        if place.suffix in TABLES and place.is_file():
            runs += read_table(place)
            continue
        if not place.exists():
            raise UserError(f"there is no {place}")
        if not place.is_dir():
            raise UserError(f"{place} is neither a folder of runs nor a table ({', '.join(TABLES)})")
        found = [read_run(folder) for folder in _run_folders(place)]
        if not any(found):
            raise UserError(f"{place} holds no runs: no record.jsonl lies below it")
        runs += [run for run in found if run is not None]
    unique = {run.path.resolve() if run.path else id(run): run for run in runs}
    return list(unique.values())


def _run_folders(place: Path) -> list[Path]:
    """Folders with a record or an error, in a stable order that does not depend on the disk."""
    found = {
        path.parent
        for pattern in ("record.jsonl", store.ERROR_LOG)
        for path in place.rglob(pattern)
        if not set(path.relative_to(place).parts) & set(NO_RUNS)
    }
    return sorted(found, key=lambda path: [_natural(part) for part in path.parts])


def _natural(text: str) -> tuple[Any, ...]:
    head, _, tail = text.partition("=")
    return (head, int(tail), "") if tail.isdigit() else (text, -1, "")


def read_run(folder: Path) -> Run | None:
    """A run directory; None if no run ever began there.

    A record that a kill cut short is read as far as it goes.
    """
    error = store.read_error(folder)
    log = folder / store.ERROR_LOG
    try:
        events = list(read_events(folder))
    except FileNotFoundError:
        events = []
    except OSError as problem:
        raise UserError(f"{folder / 'record.jsonl'} cannot be read: {problem.strerror}") from problem
    start = next((event for event in events if event.get("event") == "start"), None)
    if start is None:
        return _never_begun(folder, error, log) if error else None
    check_schema(folder, start)
    try:
        summary = read_summary(folder)
        epochs = {int(event["epoch"]): event for event in events if event.get("event") == "epoch"}
        status = str(summary["status"]) if summary else "interrupted"
        if error is not None:
            status = "failed"
        scalars = {k: _number(v) for k, v in summary["scalars"].items()} if summary and status == "ok" else {}
        return Run(
            arm=str(start["arm"]),
            name=str(start["name"]),
            seed=int(start["seed"]),
            status=status,
            scalars=scalars,
            mixes=bool(start["mixes"]),
            path=folder,
            error=error,
            log=log if log.exists() else None,
            start=start,
            epochs=tuple(epochs[number] for number in sorted(epochs)),
            notes=tuple(str(event["text"]) for event in events if event.get("event") == "note"),
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise UserError(f"{folder} is not a run of mixup-lab: its record or summary lacks {problem}") from problem


def _never_begun(folder: Path, error: str, log: Path) -> Run | None:
    seed = folder.name.removeprefix(store.SEED)
    if not seed.isdigit():
        return None
    name = folder.parent.name
    manifest = store.read_manifest(folder.parent.parent) or {"arms": {}}
    arm = next((arm for arm, known in manifest["arms"].items() if known == name), name)
    return Run(arm, name, int(seed), "failed", {}, _by_name(name), folder, error, log if log.exists() else None)


def _by_name(name: str) -> bool:
    """Whether an arm mixes, by its name alone: where no run of it has begun, or another trainer made it."""
    return not (name == "baseline" or name.startswith("baseline,") or name.lower() in ("erm", "none"))


def _number(value: Any) -> float:
    return float(value)  # NaN and infinities are texts in a record


def read_table(path: Path) -> list[Run]:
    """Runs of any trainer: columns `arm`, `seed`, and one for each metric. CSV with a header, or JSON lines.

    Raises:
        UserError: for a missing column, a value that is no number, or a pair of arm and seed that is there twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    rows = list(_rows(path, text))
    runs: list[Run] = []
    seen: set[tuple[str, int]] = set()
    for line, row in rows:
        for column in ("arm", "seed"):
            if row.get(column) in (None, ""):
                raise UserError(f"{path}, line {line}: there is no '{column}'; columns: arm, seed, one for each metric")
        arm = str(row["arm"])
        try:
            seed = int(row["seed"])
        except (TypeError, ValueError):
            raise UserError(f"{path}, line {line}: seed must be a whole number, got {row['seed']!r}") from None
        if (arm, seed) in seen:
            raise UserError(f"{path}, line {line}: arm {arm} has seed {seed} twice")
        seen.add((arm, seed))
        scalars: dict[str, float] = {}
        for key, value in row.items():
            if key in ("arm", "seed") or value in (None, ""):
                continue
            try:
                scalars[key] = float(value)
            except (TypeError, ValueError):
                raise UserError(f"{path}, line {line}: {key} must be a number, got {value!r}") from None
        finite = bool(scalars) and all(map(math.isfinite, scalars.values()))
        wrong = None if finite else "a value is not finite" if scalars else "there is no value"
        status = "ok" if finite else "failed"
        runs.append(Run(arm, arm, seed, status, scalars if finite else {}, _by_name(arm), error=wrong))
    if not runs:
        raise UserError(f"{path} has no rows")
    return runs


def _rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    if path.suffix == ".csv":
        reader = csv.DictReader(text.splitlines())
        for row in reader:
            if None in row:
                raise UserError(f"{path}, line {reader.line_num}: more values than columns")
            yield reader.line_num, {str(k).strip(): v.strip() if isinstance(v, str) else v for k, v in row.items()}
        return
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error})") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: must be an object with arm, seed and metrics")
        yield number, row
