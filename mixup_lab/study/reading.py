"""Run directories, and tables of other trainers, as plain values. Nothing is written, and no torch is needed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from mixup_lab.runs import store
from mixup_lab.runs.predictions import read_predictions
from mixup_lab.runs.record import Event, check_schema, read_record, read_summary
from mixup_lab.runs.settings import flat
from mixup_lab.runs.shapes import Damaged, misfit
from mixup_lab.study.scores import KEYS, scores
from mixup_lab.study.tables import TABLES, table_runs
from mixup_lab.types import UserError

# What the start of a record must have.
WHOLE = {"arm": str, "name": str, "seed": int, "fingerprint": str, "mixes": bool, "choices": {str: (str, None)},
         "data": {"kind": str, "digest": str, "class_names": [str]}}  # fmt: skip
NO_RUNS = ("_aggregate", "confirm")  # folders of a study without runs of its own
AGREE = 1e-4  # relative difference allowed between the mean score of the examples and the recorded metric


class Scores(NamedTuple):
    """Scores of the test examples of a run."""

    ids: np.ndarray  # (m,) int, the same for the same example in every run
    values: np.ndarray  # (m,) float64
    groups: np.ndarray | None  # (m,) int, likewise; None where examples have no groups


@dataclass(frozen=True)
class Run:
    """One training."""

    arm: str  # id: runs with the same id differ in their seeds alone
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
    # Metric with its split -> the scores that it is the mean of, where these are not computed from predictions: of the
    # groups in a table of another trainer, and of the test examples in what a lens found.
    given: Mapping[str, Scores] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """The flat configuration of the run; {} without config.yaml."""
        if self.path is None:
            return {}
        path = self.path / "config.yaml"
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            resolved = yaml.load(path.read_text(encoding="utf-8"), loader)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise Damaged(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
        if misfit(resolved, {str: object}):
            raise Damaged(f"{path} is not the configuration of a run")
        return flat(resolved)

    @property
    def kind(self) -> str:
        """Of the targets: "classes", "tags", "numbers", "masks", "boxes" or the user's own; "" if not recorded."""
        return str(self.start.get("data", {}).get("kind", ""))

    def scores(self, metric: str) -> Scores | None:
        """Scores of the test examples, with the metric as their mean; None if unknown."""
        if self.given:
            return self.given.get(f"test/{metric}", self.given.get(metric))
        arrays = self.predictions()
        with np.errstate(all="ignore"):  # scores that are not finite are left out
            values = None if arrays is None else scores(self.kind, metric, arrays)
        recorded = self.scalars.get(f"test/{metric}")
        if arrays is None or values is None or recorded is None:
            return None
        # A metric of this name may have been recorded with another definition.
        return Scores(arrays["id"], values, arrays.get("group")) if agree(values, recorded) else None

    def recalls(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Classes and whether they were hit, of the test examples, each (m,)."""
        arrays = self.predictions()
        if arrays is None or self.kind != "classes" or "logits" not in arrays:
            return None
        return arrays["target"], (arrays["logits"].argmax(1) == arrays["target"]).astype(np.float64)

    def predictions(self) -> dict[str, np.ndarray] | None:
        """The stored arrays of the test examples: `id` and the `KEYS` of scores; None without a readable file."""
        return self._stored(("id", "group", *KEYS))

    def test_examples(self) -> dict[str, np.ndarray] | None:
        """The test examples alone: their `id` and, if they have groups, `group`; None likewise."""
        return self._stored(("id", "group"))

    def _stored(self, keys: Sequence[str]) -> dict[str, np.ndarray] | None:
        if self.path is None:
            return None
        try:
            arrays = read_predictions(self.path, self.kind, ("test",), keys)
        except (FileNotFoundError, UserError):
            return None
        kept = {name.removeprefix("test_"): array for name, array in arrays.items()}
        return kept if "id" in kept else None


def agree(values: np.ndarray, recorded: float) -> bool:
    """Whether scores of single examples (m,) have the recorded metric as their mean."""
    return bool(abs(float(values.mean()) - recorded) <= AGREE * max(abs(recorded), float(np.abs(values).mean())))


def read(places: Sequence[Path], arm: str | None = None, seed: str | None = None) -> list[Run]:
    """All runs below some folders, or in the tables of another trainer, where `arm` and `seed` name two columns.

    Raises:
        UserError: for a place without runs, and for records that this version cannot read.
    """
    runs: list[Run] = []
    for place in places:
        if place.suffix in TABLES and place.is_file():
            runs += read_table(place, arm, seed)
            continue
        if not place.exists():
            raise UserError(f"{place} does not exist")
        if not place.is_dir():
            raise UserError(f"{place} is neither a folder of runs nor a table ({', '.join(TABLES)})")
        below = [run for folder in _run_folders(place) if (run := read_run(folder)) is not None]
        if not below:
            raise UserError(f"{place} has no runs: there is no record.jsonl below it")
        runs += below
    unique = {run.path.resolve() if run.path else id(run): run for run in runs}
    return list(unique.values())


def _run_folders(place: Path) -> list[Path]:
    """Folders with a record or an error, in a stable order that does not depend on the disk."""
    folders = {
        path.parent
        for pattern in ("record.jsonl", store.ERROR_LOG)
        for path in place.rglob(pattern)
        if not set(path.relative_to(place).parts) & set(NO_RUNS)
    }
    return sorted(folders, key=lambda path: [_natural(part) for part in path.parts])


def _natural(text: str) -> tuple[Any, ...]:
    head, _, tail = text.partition("=")
    return (head, int(tail), "") if tail.isdecimal() else (text, -1, "")


def read_run(folder: Path) -> Run | None:
    """A run directory; None if no run began there. A record that was cut short is read as far as it goes.

    A run whose files are damaged counts as failed, and its error says which.

    Raises:
        UserError: for a record of another version, one that the system does not let be read, and a damaged one in a
            folder that tells neither arm nor seed.
    """
    error = store.read_error(folder)
    log = folder / store.ERROR_LOG
    record = folder / "record.jsonl"
    summary, notes, broken = None, [], None
    try:
        events, damaged = read_record(folder)
    except FileNotFoundError:
        events, damaged = [], 0
    except OSError as problem:
        raise UserError(f"{record} cannot be read: {problem.strerror}") from problem
    start = next((event for event in reversed(events) if event["event"] == "start"), None)
    if start is not None:
        check_schema(folder, start)
        if wrong := misfit(start, WHOLE):
            broken, start = f"{folder} is not a run of mixup-lab: in its record, {wrong}", None
    try:
        summary = read_summary(folder)
    except Damaged as problem:
        broken = str(problem)
    if start is None and broken is None and (damaged or (record.exists() and summary is not None)):
        broken = f"{record} is damaged: it has no readable start"
    error = error or broken
    if start is None:
        run = _never_begun(folder, error, log, summary or {}) if error else None
        if run is None and broken is not None:
            raise UserError(broken)
        return run
    if damaged:
        lines = "1 line is" if damaged == 1 else f"{damaged} lines are"
        notes.append(f"{record}: {lines} damaged and left out")
    # NaN and infinities are texts in a record.
    epochs = {e["epoch"]: {**e, "scalars": _numbers(e.get("scalars", {}))} for e in events if e["event"] == "epoch"}
    status = "failed" if error is not None else str(summary["status"]) if summary else "interrupted"
    final = summary["scalars"] if summary and status == "ok" else {}
    return Run(
        arm=start["arm"],
        name=start["name"],
        seed=start["seed"],
        status=status,
        scalars=_numbers(final),
        mixes=start["mixes"],
        path=folder,
        error=error,
        log=log if log.exists() else None,
        start=start,
        epochs=tuple(epochs[number] for number in sorted(epochs)),
        notes=(*notes, *(event["text"] for event in events if event["event"] == "note")),
    )


def _numbers(scalars: Mapping[str, Any]) -> dict[str, float]:
    return {tag: float(value) for tag, value in scalars.items()}


def _never_begun(folder: Path, error: str, log: Path, summary: Mapping[str, Any]) -> Run | None:
    seed = folder.name.removeprefix(store.SEED)
    if not seed.isdecimal():
        return None
    name = folder.parent.name
    manifest = store.read_manifest(folder.parent.parent) or {"arms": {}}
    arm = summary.get("arm") or next((arm for arm, folder in manifest["arms"].items() if folder == name), name)
    return Run(arm, name, int(seed), "failed", {}, _mixes_by_name(name), folder, error, log if log.exists() else None)


def _mixes_by_name(name: str) -> bool:
    """Whether an arm mixes, by its name alone: no run of it has begun, or another trainer made it."""
    return not re.fullmatch(r"baseline(,.*)?|erm|none|0(\.0*)?", name, re.IGNORECASE)


def read_table(path: Path, arm: str | None = None, seed: str | None = None) -> list[Run]:
    """Runs of any trainer; arguments and errors as in `table_runs`."""
    runs, notes = table_runs(path, arm, seed)
    codes = {name: k for k, name in enumerate(sorted({name for r in runs for g in r.groups.values() for name in g}))}
    return [
        Run(
            arm=run.arm,
            name=run.arm,
            seed=run.seed,
            status="ok" if run.scalars else "failed",
            scalars=run.scalars,
            mixes=_mixes_by_name(run.arm),
            error=None if run.scalars else "there is no value",
            given={metric: _of_groups(scores, codes) for metric, scores in run.groups.items()},
            notes=() if k else tuple(notes),
        )
        for k, run in enumerate(runs)
    ]


def _of_groups(scores: Mapping[str, float], codes: Mapping[str, int]) -> Scores:
    ids = np.array([codes[name] for name in scores])
    return Scores(ids, np.array(list(scores.values())), ids)
