"""A study on disk: a folder of arms, each a folder of seeds, and `study.json`, which describes them.

    STUDY/study.json           settings that all arms share, axes, where the data lies, the folder of each arm, and the
                               numbers of seeds at which verdicts were written
    STUDY/ARM/seed=S/          a run
    STUDY/ARM/seed=S/error.log the errors of that run, if there were any

An arm keeps its folder for good, so that a study can be extended by alphas, seeds and axes.
"""

import json
import os
import re
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mixup_lab.disk import clear_leftovers, locked, write_atomically
from mixup_lab.runs.record import read_result, read_summary
from mixup_lab.runs.shapes import Damaged, misfit, read_json
from mixup_lab.types import UserError

SCHEMA = 3  # of study.json; schema 2 had two arms for alpha 1 and 1.0
SHAPE = {"arms": {str: str}, "settings": {str: object}, "axes": [str], "roots": {str: (str, None)},
         "ends?": {str: int}, "looks?": [int]}  # fmt: skip
ERROR_LOG = "error.log"
LAST = 65536  # bytes at the end of an error.log that hold its last line
SEED = "seed="
MIXING = ("aug", "mix_schedule")  # groups that define how to mix; a baseline has no settings of them


def run_dir(study: Path, name: str, seed: int) -> Path:
    """The directory of a run."""
    return study / name / f"{SEED}{seed}"


def begun(study: Path) -> bool:
    """Whether any run of the study has begun."""
    return any(study.glob(f"*/{SEED}*/config.yaml"))


def read_manifest(study: Path) -> dict[str, Any] | None:
    """The content of `study.json`, or None if it does not exist. Raises UserError if it cannot be used."""
    path = study / "study.json"
    manifest: dict[str, Any] | None = read_json(path, {})
    if manifest is None:
        return None
    if manifest.get("schema") != SCHEMA:
        raise UserError(
            f"{path} was written by another version of mixup-lab, so the study cannot go on with this one; use that"
            " version, or begin a new study with study=NAME"
        )
    problem = misfit(manifest, SHAPE)
    if problem is not None:
        raise Damaged(f"{path} is damaged: {problem}")
    for name in manifest["arms"].values():
        # A folder outside of the study would be written to.
        if not (safe_name(name) == name and name.strip(".")):
            raise UserError(f"{path} has {name!r} as the folder of an arm, which must be a plain name")
    return manifest


def read_looks(study: Path) -> tuple[int, ...]:
    """The numbers of seeds at which a verdict on a study was written, in order; () for other folders."""
    manifest = read_manifest(study)
    return () if manifest is None else tuple(int(n) for n in manifest.get("looks", ()))


def note_look(study: Path, seeds: int) -> None:
    """Remember that a verdict was written at so many seeds. A study that cannot be written to stays as it is."""
    with suppress(OSError, UserError), locked(study / ".lock"):
        manifest = read_manifest(study)
        if manifest is not None and seeds not in manifest.get("looks", ()):
            manifest["looks"] = [*manifest.get("looks", ()), seeds]
            write_atomically(study / "study.json", json.dumps(manifest, indent=1) + "\n")


def enter(
    study: Path,
    names: Mapping[str, str],
    settings: Mapping[str, Mapping[str, Any]],
    axes: Sequence[str],
    roots: Mapping[str, str | None],
    ends: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, str]:
    """Add arms to a study, which is created if it does not exist, and return the folder of each.

    Args:
        study: its folder.
        names: id of each arm -> the name to give it.
        settings: id of each arm -> its flat settings.
        axes: keys and groups that the command varies; those of the mixing always are.
        roots: name of each data set -> absolute path of the folder with its files, None for one that has none.

        ends: id of each arm that gets no more seeds -> the first seed that it does not train.

    Raises:
        UserError: if a setting that is not an axis differs from the study, naming all of these, or the data lies
            in another folder.
    """
    with locked(study / ".lock"):
        clear_leftovers(study)
        # A study without a run does not count: its command line was a mistake.
        manifest = (read_manifest(study) if begun(study) else None) or {
            "schema": SCHEMA,
            "settings": next(iter(settings.values())),
            "axes": [],
            "roots": {},
            "arms": {},
        }
        axes = sorted({*manifest["axes"], *axes})
        for flat in settings.values():
            _refuse_changes(study, manifest["settings"], flat, axes)
        _refuse_other_data(study, manifest["roots"], roots, axes)
        arms: dict[str, str] = manifest["arms"]
        for arm, wanted in names.items():
            if arm not in arms:
                taken = set(arms.values())
                arms[arm] = wanted if wanted not in taken else f"{wanted}-{arm[:6]}"
        for arm in names:
            if (study / arms[arm]).is_symlink():
                raise UserError(f"{study / arms[arm]} is a link; an arm must be a folder of its study")
        manifest |= {"axes": axes, "roots": {**manifest["roots"], **roots}, "arms": arms, "ends": dict(ends)}
        write_atomically(study / "study.json", json.dumps(manifest, indent=1) + "\n")
        return {arm: arms[arm] for arm in names}


def _refuse_changes(study: Path, old: Mapping[str, Any], new: Mapping[str, Any], axes: Sequence[str]) -> None:
    def free(key: str) -> bool:
        return any(key == axis or key.startswith(f"{axis}.") for axis in (*MIXING, *axes))

    missing = object()
    changed = [
        f"{key}: {json.dumps(old[key]) if key in old else 'not set'} there,"
        f" {json.dumps(new[key]) if key in new else 'not set'} now"
        for key in sorted({*old, *new})
        if not free(key) and old.get(key, missing) != new.get(key, missing)
    ]
    if changed:
        raise UserError(
            f"{study} holds a study with other settings ({'; '.join(changed)});"
            " choose another name with study=NAME, or give both values to compare them"
        )


def _refuse_other_data(
    study: Path, old: Mapping[str, str | None], new: Mapping[str, str | None], axes: Sequence[str]
) -> None:
    """The data folder is not part of an arm's identity: without this check, runs on other data would count as done."""
    for name, root in new.items():
        # Another data set may lie elsewhere only if data sets are compared.
        before = old.get(name, root if "dataset" in axes else next(iter(old.values()), root))
        if before != root:
            raise UserError(
                f"{study} holds a study of the data in {before or 'no folder'}, and dataset.root is {root or 'none'}"
                " now; choose another name with study=NAME for other data, or, if the folder was merely moved, change"
                f" roots in {study / 'study.json'}"
            )


def safe_name(text: str, longest: int = 120) -> str:
    """Any text as the name of a folder."""
    return re.sub(r"[^\w.=+,\-]+", "-", text)[:longest].rstrip(".") or "arm"


def note_error(folder: Path, error: BaseException, sentence: str | None) -> None:
    """Append an error to the log of a run; the last line of the log is a sentence."""
    folder.mkdir(parents=True, exist_ok=True)
    trace = "".join(traceback.format_exception(error))
    last = sentence or f"{type(error).__name__}: {' '.join(str(error).split())}"
    with (folder / ERROR_LOG).open("a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{trace}\n{last}\n")


def settle_error(folder: Path) -> None:
    """The run is tried again: keep its earlier errors under another name."""
    path = folder / ERROR_LOG
    if path.exists():
        with (folder / "error.old.log").open("ab") as old:
            old.write(path.read_bytes())
        path.unlink()


def read_error(folder: Path) -> str | None:
    """The sentence of a run that failed, or None if it did not."""
    if read_result(folder) is not None:
        return None
    try:
        with (folder / ERROR_LOG).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LAST))
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        lines = []
    if lines:
        return lines[-1]
    with suppress(Damaged):
        summary = read_summary(folder)
        return str(summary.get("error") or "failed") if summary and summary["status"] == "failed" else None
    return None
