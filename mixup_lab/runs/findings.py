"""What a lens found in a run, on disk: `lens/NAME.json` next to its record, `lens/NAME.npz` and `lens/NAME.map.npz`.

Written by `mixup-lab evaluate`, read by reports. No torch is needed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mixup_lab.disk import clear_leftovers, write_atomically
from mixup_lab.npz import read_npz
from mixup_lab.runs.shapes import Damaged, misfit, read_json
from mixup_lab.types import UserError

FORMAT = 1
FOLDER = "lens"
SHAPE = {
    "lens": str, "title": str, "about": str, "settings": {str: object}, "fingerprint": str, "notes": [str],
    "companions": [str],
    "scores": {str: {"value": float, "maximize": (bool, None), "percent": bool, "about": str}},
    "lines": [{"name": str, "x_label": str, "y_label": str, "x": [float], "y": [float]}],
}  # fmt: skip


@dataclass(frozen=True)
class Score:
    """A number that a lens measures."""

    value: float
    maximize: bool | None  # whether more is better; None: neither, so that differences get no verdict
    percent: bool = False  # a fraction, shown in percent
    about: str = ""  # what it is, in one sentence


@dataclass(frozen=True)
class Line:
    """A curve: averaged over the seeds of an arm where they have the same x."""

    name: str  # of the picture; curves of one name are drawn together, a colour for each arm
    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float, ...]  # NaN where there is nothing to show, such as in a bin without examples


@dataclass(frozen=True)
class Surface:
    """The predictions of a model over a plane, to be drawn as a map.

    Raises:
        ValueError: for arrays that do not go together.
    """

    x: np.ndarray  # (2,): of the first and the last column
    y: np.ndarray  # (2,): of the first and the last row
    probabilities: np.ndarray  # (K, rows, columns), K >= 2, at evenly spaced points
    points: np.ndarray  # (n, 2): test examples
    classes: np.ndarray  # (n,): 0..K-1, their true ones
    names: np.ndarray  # (K,): of the classes

    def __post_init__(self) -> None:
        k, n = len(self.names), len(self.points)
        shapes = self.x.shape, self.y.shape, self.points.shape, self.classes.shape, self.names.shape
        numbers = self.x, self.y, self.points, self.probabilities
        if not (
            shapes == ((2,), (2,), (n, 2), (n,), (k,))
            and self.probabilities.ndim == 3
            and len(self.probabilities) == k >= 2
            and min(self.probabilities.shape) >= 2
            and all(array.dtype.kind == "f" and np.isfinite(array).all() for array in numbers)
            and all(low < high for low, high in (self.x, self.y))
            and self.classes.dtype.kind == "i"
            and np.isin(self.classes, np.arange(k)).all()
            and self.names.dtype.kind == "U"
        ):
            raise ValueError("the arrays of a surface do not go together")


@dataclass(frozen=True)
class Finding:
    """All that a lens found in one run."""

    lens: str  # its option in conf/lens
    title: str
    about: str  # what the lens looks at, and how the numbers are to be read; some sentences
    settings: dict[str, Any]  # of the lens: with others it has to look again
    fingerprint: str  # of the run
    scores: dict[str, Score]  # the first one is the headline
    lines: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()  # facts about this run that a reader should know
    # Name of a score -> its terms, one for each test example (n,) in the order of predictions.npz; their mean is the
    # score. With them differences have an interval for new data. NaN where the lens did not look at an example.
    examples: dict[str, np.ndarray] = field(default_factory=dict)
    companions: tuple[str, ...] = ()  # fingerprints of other runs that it depends on: with others it has to look again
    surface: Surface | None = None

    def fits(self, settings: dict[str, Any], fingerprint: str, companions: tuple[str, ...]) -> bool:
        """Whether a lens with these settings would find the same in this run."""
        return (self.settings, self.fingerprint, self.companions) == (settings, fingerprint, companions)


def write_finding(run_dir: Path, finding: Finding) -> None:
    """Write a finding: complete, or not at all.

    Raises:
        UserError: if it cannot be written.
    """
    folder = run_dir / FOLDER
    content = {"format": FORMAT, **asdict(replace(finding, examples={}, surface=None))}
    del content["examples"], content["surface"]
    arrays = {"npz": finding.examples, "map.npz": vars(finding.surface) if finding.surface else {}}
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror}") from error
    clear_leftovers(folder)
    for ending, own in arrays.items():
        path = folder / f"{finding.lens}.{ending}"
        path.unlink(missing_ok=True)  # that of an older finding
        if own:
            write_atomically(path, partial(np.savez_compressed, **own))
    write_atomically(folder / f"{finding.lens}.json", json.dumps(content, indent=1) + "\n")


def read_finding(run_dir: Path, lens: str) -> Finding | None:
    """What a lens found in a run; None where it has not looked, or where the file is damaged or of another version."""
    path = run_dir / FOLDER / f"{lens}.json"
    try:
        content = read_json(path, {})
        if content is None or content.pop("format", None) != FORMAT or misfit(content, SHAPE):
            return None
        content["scores"] = {
            name: Score(**{**score, "value": float(score["value"])}) for name, score in content["scores"].items()
        }
        content["lines"] = tuple(
            Line(**{**line, **{key: tuple(map(float, line[key])) for key in ("x", "y")}}) for line in content["lines"]
        )
        content |= {key: tuple(content[key]) for key in ("notes", "companions")}
        arrays = _arrays(path.with_suffix(".npz"))
        examples = {name: own for name, own in arrays.items() if own.ndim == 1 and own.dtype.kind in "biuf"}
        return Finding(**content, examples=examples, surface=_surface(path.with_suffix(".map.npz")))
    except (Damaged, TypeError):  # a key that is not one of these
        return None


def read_findings(run_dir: Path) -> dict[str, Finding]:
    """Everything that lenses found in a run, by lens."""
    names = sorted(path.stem for path in (run_dir / FOLDER).glob("*.json"))
    return {name: found for name in names if (found := read_finding(run_dir, name)) is not None}


def _surface(path: Path) -> Surface | None:
    try:
        return Surface(**_arrays(path))
    except (TypeError, ValueError):
        return None


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_npz(path)
    except (FileNotFoundError, UserError):
        return {}
