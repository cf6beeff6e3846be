"""`mixup-lab evaluate RUN_OR_STUDY...`: finished runs through lenses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

from mixup_lab.commands import report
from mixup_lab.config.commands import ANALYSIS, EVALUATE
from mixup_lab.config.launch import find_plugins, launch
from mixup_lab.config.nearest import hint, unknown_key
from mixup_lab.config.tree import Tree
from mixup_lab.config.words import tree_of
from mixup_lab.disk import writing
from mixup_lab.notices import remembering, say, track
from mixup_lab.pasting import quote
from mixup_lab.runs import store
from mixup_lab.runs.findings import Finding, read_finding, write_finding
from mixup_lab.runs.settings import MACHINE_KEYS
from mixup_lab.study.formats import value
from mixup_lab.study.reading import Run, read
from mixup_lab.study.results import Metric
from mixup_lab.types import UserError
from mixup_lab.visible import visible

if TYPE_CHECKING:
    from mixup_lab.data.source import Loaded
    from mixup_lab.evaluation.finished import Finished
    from mixup_lab.evaluation.lens import Lens

GROUP = "lens"
MOST_COLUMNS = 6  # of the table on the terminal
SETTING = "lens."  # begins a word with a setting of a lens


@dataclass(frozen=True)
class Line:
    """The words of a line, sorted."""

    places: list[Path]
    lenses: list[str]  # names; empty: those that need predictions alone
    settings: dict[str, dict[str, Any]]  # by lens
    machine: list[str]  # overrides of the configuration of the runs
    analysis: dict[str, str]  # of the report
    launcher: list[str]  # its overrides
    again: bool


@dataclass(frozen=True)
class Looks:
    """What lenses have found."""

    found: dict[str, list[tuple[Run, Finding]]]  # by lens
    complete: bool  # whether every lens could look at every finished run


def main(words: Sequence[str]) -> int:
    """Run the command with these words and return the exit code: 1 if a run could not be looked at."""
    tree = tree_of(words, "evaluate")
    line = line_of(words, tree)
    if not line.places:
        raise UserError("evaluate needs a folder of runs: mixup-lab evaluate outputs/STUDY")
    lenses = lenses_of(line.lenses, line.settings, line.machine, tree)
    options = report.options_of(line.analysis)
    spread = [word for word in words if word not in line.launcher]
    launched = look_by_jobs(line.places, spread, line.machine, line.launcher)
    looks = look(line.places, lenses, line.machine, line.again and not launched)
    for name, findings in looks.found.items():
        _print(name, findings)
    if len(line.places) == 1 and _has_report(line.places[0]):
        answer = report.answer_of(line.places, options)
        written = report.write(answer, line.places[0], aggregate=False)
        report.show_lenses(answer, written)
    return 0 if looks.complete else 1


def look_by_jobs(places: Sequence[Path], words: Sequence[str], machine: Sequence[str], launcher: Sequence[str]) -> bool:
    """Look at finished runs by a launcher of Hydra, in a job for each run. What is found is on the disk then.

    Args:
        places: folders of runs.
        words: of the line, without those of the launcher.
        machine: overrides among them.
        launcher: overrides that choose and set the launcher; none, or the basic one: nothing is done.

    Returns:
        Whether jobs have looked.

    Raises:
        SweepError: if a job failed.
        UserError: for places without finished runs.
    """
    if not launcher or "hydra/launcher=basic" in launcher:
        return False
    runs = [quote(str(run.path)) for run in _finished_runs(places)]
    device = [f"+{word}" for word in machine if word.startswith("trainer.device=")]
    say(f"looking at {len(runs)} runs in jobs ...")
    with writing(places[0]):  # for the files of Hydra and its launcher
        temporary = TemporaryDirectory(prefix=".evaluate-", dir=places[0], ignore_cleanup_errors=True)
    with temporary as folder:
        own = [f"+run={','.join(runs)}", f"+words={quote(json.dumps(list(words)))}", f"hydra.sweep.dir={quote(folder)}"]
        launch("evaluate", ["-m", *own, *device, *launcher])
    return True


def look_at(run_dir: Path, places: Sequence[Path], lenses: Mapping[str, Lens], line: Line) -> None:
    """Look at one of the finished runs below some places, and write what is found; what cannot be is left out."""
    every = _finished(_finished_runs(places), line.machine)
    one = next(run for run in every if run.run_dir == run_dir)
    for name, lens in lenses.items():
        _measured(name, lens, one, every, line.again, {})


def look(places: Sequence[Path], lenses: Mapping[str, Lens], machine: Sequence[str], again: bool = False) -> Looks:
    """Look at all finished runs below some places, and write what is found next to them.

    Args:
        places: folders of runs.
        lenses: by name.
        machine: overrides of the configuration of the runs.
        again: whether to look at runs with a finding too.

    Raises:
        UserError: for places without finished runs.
    """
    runs = _finished_runs(places)
    every = _finished(runs, machine)
    reasons: dict[tuple[str, str], list[str]] = {}
    found: dict[str, list[tuple[Run, Finding]]] = {name: [] for name in lenses}
    title = f"{', '.join(lenses)} on {len(runs)} runs"
    # What is true of the data is said once, not for each run.
    with TemporaryDirectory() as said, remembering(Path(said)), track(title, len(runs) * len(lenses)) as advance:
        # Runs of one seed come one after the other: lenses keep what they share.
        for run, one in sorted(zip(runs, every, strict=True), key=lambda pair: pair[0].seed):
            for name, lens in lenses.items():
                finding = _measured(name, lens, one, every, again, reasons)
                if finding is not None:
                    found[name].append((run, finding))
                advance(1)
            one.forget()
    for (name, reason), where in reasons.items():
        say(f"{name}: {reason} ({f'{len(where)} runs' if len(where) > 1 else where[0]})")
    return Looks(found, not reasons)


def _finished_runs(places: Sequence[Path]) -> list[Run]:
    runs = [run for run in read(places) if run.status == "ok" and run.path is not None]
    if not runs:
        raise UserError(f"{', '.join(map(str, places))}: no finished run was found")
    return runs


def _finished(runs: Sequence[Run], machine: Sequence[str]) -> list[Finished]:
    from mixup_lab.commands.loaded import finished

    return [finished(run, machine, "when a run is evaluated") for run in runs]


def _has_report(place: Path) -> bool:
    """Whether a place is a study, or a folder that a report was written of, not a single run."""
    return store.read_manifest(place) is not None or (place / report.FILES[0]).is_file()


def _measured(
    name: str,
    lens: Lens,
    run: Finished,
    finished: Sequence[Finished],
    again: bool,
    reasons: dict[tuple[str, str], list[str]],
) -> Finding | None:
    """What a lens finds in a run: read again, or measured and written; None, and a reason, if it cannot."""
    from mixup_lab.evaluation.lens import Unsuited

    others = [other for other in finished if other is not run]
    settings = {key: setting for key, setting in vars(lens).items() if not key.startswith("_")}
    before = None if again else read_finding(run.run_dir, name)
    try:
        companions = tuple(sorted(other.fingerprint for other in lens.companions(run, others)))
        if before is not None and before.fits(settings, run.fingerprint, companions):
            return before
        found = lens.measure(run, others)
    except (Unsuited, UserError) as error:
        reasons.setdefault((name, str(error).replace(str(run.run_dir), "the run")), []).append(str(run.run_dir))
        return None
    finding = Finding(
        name, lens.title, lens.about, settings, run.fingerprint, found.scores, tuple(found.lines), tuple(found.notes),
        found.examples, companions, found.surface,
    )  # fmt: skip
    write_finding(run.run_dir, finding)
    return finding


def line_of(words: Sequence[str], tree: Tree) -> Line:
    """Sort the words of a line. Raises UserError for a word that means nothing here."""
    places: list[Path] = []
    lenses: list[str] = []
    words_of_lenses: list[str] = []
    machine: list[str] = []
    analysis: dict[str, str] = {}
    launcher: list[str] = []
    again = False
    skip = False
    for word in words:
        key, equals, value = word.partition("=")
        if skip or word.startswith("-"):
            skip = not skip and word in ("--config-dir", "-cd")
            if word.startswith("-") and not skip and key not in ("--config-dir", "-cd"):
                raise UserError(f"evaluate has no flag {word}; see mixup-lab evaluate --help")
        elif not equals or Path(word).exists():
            places.append(Path(word))
        elif key == "lens":
            lenses = names_of(value)
        elif key.startswith(SETTING):
            words_of_lenses.append(word)
        elif key == "again":
            if value not in ("true", "false"):
                raise UserError(f"again must be true or false, got {value}")
            again = value == "true"
        elif of_launcher(word):
            launcher.append(word)
        elif key in MACHINE_KEYS:
            machine.append(word)
        elif key in ANALYSIS:
            analysis[key] = value
        else:
            raise UserError(unknown_key(key, EVALUATE))
    return Line(places, lenses, settings_of(words_of_lenses), machine, analysis, launcher, again)


def of_launcher(word: str) -> bool:
    """Whether a word chooses or sets the launcher."""
    return word.startswith(("hydra/launcher=", "hydra.launcher."))


def names_of(text: str) -> list[str]:
    """The names in `[calibration,gap]`."""
    return [name.strip() for name in text.strip("[]").split(",") if name.strip()]


def settings_of(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The settings of each lens in words such as `lens.calibration.bins=20`. Raises UserError if one is not YAML."""
    settings: dict[str, dict[str, Any]] = {}
    for word in words:
        key, _, value = word.partition("=")
        name, _, setting = key.removeprefix(SETTING).partition(".")
        settings.setdefault(name, {})[setting] = _value(word, value)
    return settings


def _value(word: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{word}: {text} is not a value") from error


def lenses_of(
    names: Sequence[str], settings: Mapping[str, Mapping[str, Any]], machine: Sequence[str], tree: Tree
) -> dict[str, Lens]:
    """The lenses by name; those that need predictions alone if there are no names.

    Raises:
        UserError: for a lens or a setting that does not exist, for a setting of a lens that is not among them, and for
            settings that suit no run.
    """
    find_plugins()
    from mixup_lab.config.build import build
    from mixup_lab.evaluation.lens import Lens

    options = tree.options(GROUP)
    for name in [*names, *settings]:
        if name not in options:
            raise UserError(f"lens={name} does not exist{hint(name, options)}; there are: {', '.join(options)}")
    trust = [package for word in machine if word.startswith("trust=") for package in _value(word, word[6:])]
    offered = {"load_data": partial(_load_data, tree, trust)}
    built: dict[str, Lens] = {}
    for name in names or options:
        path = tree.find(f"{GROUP}/{name}")
        assert path is not None
        component = yaml.safe_load(path.read_text(encoding="utf-8"))
        keys = [f"lens.{name}.{key}" for key in component if key != "_target_"]
        for key, given in settings.get(name, {}).items():
            if f"lens.{name}.{key}" not in keys:
                raise UserError(unknown_key(f"lens.{name}.{key}", keys))
            component[key] = given
        lens = build(f"lens.{name}", component, base=Lens, trust=trust, offered=offered)
        if names or not lens.needs_weights:
            built[name] = lens
    for name, given in settings.items():
        if name not in built:
            raise UserError(f"{SETTING}{name}.{next(iter(given))} is for a lens that this line does not use: {name}")
    for lens in built.values():
        lens.prepare()
    return built


def _load_data(tree: Tree, trust: Sequence[str], words: Sequence[str]) -> Loaded:
    """The data of an option of the group dataset, with settings of its own: ["image_folder", "root=DIR"].

    Raises:
        UserError: for an option or a key that does not exist, a key that must be set, and data that cannot be loaded.
    """
    from mixup_lab.config.build import build

    name, *settings = words
    path = tree.find(f"dataset/{name}")
    if path is None:
        options = tree.options("dataset")
        raise UserError(f"dataset={name} does not exist{hint(name, options)}; there are: {', '.join(options)}")
    component = yaml.safe_load(path.read_text(encoding="utf-8"))
    keys = [key for key in component if key != "_target_"]
    for word in settings:
        key, _, text = word.partition("=")
        if key not in keys:
            raise UserError(unknown_key(key, keys))
        component[key] = _value(word, text)
    for key in (key for key in keys if component[key] == "???"):
        raise UserError(f"dataset={name} needs a {key}: [{name},{key}=...]")
    loaded: Loaded = build("dataset", component, trust=trust).load()
    return loaded


def _print(name: str, findings: Sequence[tuple[Run, Finding]]) -> None:
    """A table of the scores of a lens: means over the seeds of each arm."""
    import statistics as stats

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not findings:
        return
    every = findings[0][1].scores
    scores = dict(list(every.items())[:MOST_COLUMNS])
    table = Table(title=findings[0][1].title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("arm", no_wrap=True)
    table.add_column("seeds", justify="right")
    for score in scores:
        table.add_column(score, justify="right")
    for arm in dict.fromkeys(run.name for run, _ in findings):
        own = [finding for run, finding in findings if run.name == arm]
        cells = [
            value(stats.fmean(values), Metric(key, score.maximize, score.percent))
            if (values := _values(own, key))
            else ""
            for key, score in scores.items()
        ]
        table.add_row(Text(visible(arm)), str(len(own)), *cells)
    console = Console(highlight=False)
    console.print(table)
    if len(every) > len(scores):
        console.print(f"{len(every) - len(scores)} more scores are in lens/{name}.json of each run", style="dim")


def _values(findings: Sequence[Finding], score: str) -> list[float]:
    return [finding.scores[score].value for finding in findings if score in finding.scores]
