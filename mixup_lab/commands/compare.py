"""`mixup-lab compare`: a study as one multirun, from the words of the line to the answer."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mixup_lab.commands import report
from mixup_lab.commands.watch import Place, Watch
from mixup_lab.config import identity
from mixup_lab.config.commands import COMPARE
from mixup_lab.config.launch import SweepError, environment, find_plugins, launch
from mixup_lab.config.tree import Tree, read
from mixup_lab.config.words import config_dir, flag_value, quote, tree_of
from mixup_lab.runs import store
from mixup_lab.runs.record import read_summary
from mixup_lab.study.analysis import Options
from mixup_lab.study.reading import read_run
from mixup_lab.study.results import Answer, Arm
from mixup_lab.study.statistics import LEVEL, smallest_p
from mixup_lab.types import UserError

SEEDS = 8
DOSES = {"aug.alpha": "0,0.1,0.2,0.4,1", "aug.prob": "0,0.25,0.5,1"}  # key of a method -> values by default
BUNDLES = ("variant", "experiment")  # groups whose options change settings of any other group
INSPECT = ("--cfg", "-c", "--info", "-i", "--hydra-help", "--resolve", "--package", "-p")
WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--info", "-i", "--config-dir", "-cd", "--config-name", "-cn")
JOB = "mixup_lab.commands.cell:cell"


@dataclass(frozen=True)
class Line:
    """The words of a line, sorted."""

    own: dict[str, str]  # study, confirm, ...
    overrides: list[str]  # for Hydra, the default axes included
    flags: list[str]  # for Hydra
    typed: list[str]  # as they came


@dataclass(frozen=True)
class Plan:
    """What a line asks for."""

    names: dict[str, str]  # id of each arm -> the name that it would like
    settings: dict[str, dict[str, Any]]  # id of each arm -> its flat settings
    roots: dict[str, str | None]  # name of each data set -> folder of its files, if it has one
    cells: list[tuple[str, int]]  # id of the arm and seed, in the order of the sweep
    axes: list[str]
    epochs: int


def main(words: Sequence[str]) -> int:
    """Run the command with its words and return the exit code: 1 if a run failed."""
    line = complete(words)
    if any(word.split("=")[0] in INSPECT for word in words):
        _hydra([*_first_job(line.overrides), *line.flags])
        return 0
    study = Path("outputs") / line.own["study"]
    options = report.options_of(line.own)
    confirm = _count(line.own.get("confirm", "0"))
    done = _sweep(line.overrides, line, study)
    answer = _answer(line, study, options)
    if confirm and answer.choices:
        done = _confirm(line, study, answer, confirm) and done
        answer = _answer(line, study, options)
    report.show(answer, report.write(answer, study, aggregate=True))
    return 0 if done else 1


# ---- words ----------------------------------------------------------------------------------------------------------


def complete(words: Sequence[str]) -> Line:
    """Sort the words of a line and add what it does not say: the axes alpha and seed, and the name of the study."""
    own: dict[str, str] = {}
    rest: list[str] = []
    flags: list[str] = []
    for place, word in enumerate(words):
        key, equals, value = word.partition("=")
        if word.startswith("-") or (place > 0 and words[place - 1] in WITH_VALUE):
            flags.append(word)
        elif equals and key in COMPARE:
            own[key] = value
        else:
            rest.append(word)
    if own.get("fail_fast", "false") not in ("true", "false"):
        raise UserError(f"fail_fast must be true or false, got {own['fail_fast']}")
    tree = tree_of(words, "compare")
    given = {word.partition("=")[0].lstrip("+"): word.partition("=")[2] for word in rest if "=" in word}
    axes = [f"{key}={value}" for key, value in _swept_by(tree, given.get("experiment")).items() if key not in given]
    given |= {key: value for key, _, value in (word.partition("=") for word in axes)}
    if "," not in given.get("variant", ""):  # variants say themselves how to mix
        rest, dose = _with_dose(tree, given, rest)
        axes += dose
    if "seed" not in given:
        axes.append(f"seed=range({SEEDS})")
    if "study" not in own:
        own["study"] = _default_study(tree, given, tree.choices([w for w in rest if "=" in w]))
    if not re.fullmatch(r"[\w.,=+\-]+(/[\w.,=+\-]+)*", own["study"]) or ".." in own["study"]:
        raise UserError(f"study must be a name of letters, digits and ._,=+-, got {own['study']!r}")
    # Seeds outermost: what is done when a study is cut short is then complete pairs.
    overrides = sorted([*axes, *rest], key=lambda word: not word.startswith("seed="))
    return Line(own, overrides, flags, list(words))


def _swept_by(tree: Tree, experiment: str | None) -> dict[str, str]:
    """The axes that a preset brings: its `hydra.sweeper.params`."""
    path = tree.find(f"experiment/{experiment}") if experiment and "," not in experiment else None
    if path is None:
        return {}
    import yaml

    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return {str(k): str(v) for k, v in content.get("hydra", {}).get("sweeper", {}).get("params", {}).items()}


def _with_dose(tree: Tree, given: Mapping[str, str], rest: list[str]) -> tuple[list[str], list[str]]:
    """The words with a baseline among them, and the axis of the dose that they do not name.

    The dose is alpha; the share that is mixed, for methods that have no alpha; for others the method or none.
    """
    augs = given.get("aug", "mixup")
    axes = [] if "aug" in given else ["aug=mixup"]
    if "," in augs or augs == "none":
        return rest, axes
    known = {key.name for key in tree.option_keys("aug", augs)}
    dose = next((key for key in DOSES if key in known), None)
    if dose is None:
        return [f"aug=none,{augs}" if word == f"aug={augs}" else word for word in rest], axes
    if dose not in given:
        return rest, [*axes, f"{dose}={DOSES[dose]}"]
    return [_with_baseline(word, dose) for word in rest], axes


def _with_baseline(word: str, dose: str) -> str:
    """A line that names doses without 0 gets the baseline as well: without it there is nothing to compare with."""
    key, _, value = word.partition("=")
    numbers = re.fullmatch(r"[\d.eE+\-]+(\s*,\s*[\d.eE+\-]+)*", value)
    if key != dose or not numbers or any(_is_zero(part) for part in value.split(",")):
        return word
    return f"{dose}=0,{value}"


def _is_zero(text: str) -> bool:
    try:
        return float(text) == 0
    except ValueError:
        return False


def _default_study(tree: Tree, given: Mapping[str, str], choices: Mapping[str, str]) -> str:
    """DATASET-MODEL; a user's own file or folder of data by its name. A group that is swept gives its own name."""
    parts = ["dataset" if "," in given.get("dataset", "") else choices["dataset"]]
    root = given.get("dataset.root", "").strip("'\"")
    if (
        root
        and "," not in root
        and "," not in given.get("dataset", "")
        and not _is_downloaded(tree, choices["dataset"])
    ):
        path = Path(root).expanduser().resolve()
        parts = [path.stem if path.is_file() else path.name]
    parts.append("model" if "," in given.get("model", "") else choices["model"])
    if "experiment" in given:
        parts.append(given["experiment"].replace(",", "+"))
    return store.safe_name("-".join(parts))


def _is_downloaded(tree: Tree, dataset: str) -> bool:
    """Whether the root of this set is a folder of many sets, which says nothing."""
    return any(key.name == "dataset.download" for key in tree.option_keys("dataset", dataset))


def _count(text: str) -> int:
    if not text.isdigit():
        raise UserError(f"confirm must be a number of seeds, 0 or more, got {text}")
    return int(text)


# ---- the sweep ------------------------------------------------------------------------------------------------------


def _sweep(
    overrides: Sequence[str],
    line: Line,
    study: Path,
    axes: Sequence[str] = (),
    names: Mapping[str, str] = MappingProxyType({}),
) -> bool:
    """Run what is missing of a sweep; False if a run failed.

    `axes` may differ beside what the sweep varies; `names` go before those that the sweep would give its arms.
    """
    plan = make_plan(overrides, line.flags)
    wanted = {arm: names.get(arm, name) for arm, name in plan.names.items()}
    free = [*plan.axes, *axes, *_bundled(plan, line)]
    folders = store.enter(study, wanted, plan.settings, free, plan.roots)
    places = [
        Place(store.run_dir(study, folders[arm], seed), folders[arm], seed, plan.epochs) for arm, seed in plan.cells
    ]
    places = list(dict.fromkeys(places))
    before = sum(_is_done(place.run_dir) for place in places)
    count = f"{len(plan.names)} arms x {len({seed for _, seed in plan.cells})} seeds, {len(places)} runs"
    print(f"study {study}: {count}{f', {before} finished before' if before else ''}", flush=True)
    if before < len(places):
        fail_fast = "1" if line.own.get("fail_fast") == "true" else None
        with environment("MIXUP_LAB_FAIL_FAST", fail_fast), Watch(places):
            _import_ahead(overrides)
            try:
                # A preset's own axes are among the overrides already.
                own = [f"hydra.sweep.dir={quote(str(study))}", "hydra.sweeper.params=null"]
                _hydra([*overrides, *own, *line.flags])
            except SweepError as error:  # a process died; what a run itself raises is in its log
                print(f"mixup-lab compare: {error}; the first: {error.first}", file=sys.stderr)
                return False
    return all(_is_done(place.run_dir) or store.read_error(place.run_dir) is None for place in places)


def _bundled(plan: Plan, line: Line) -> set[str]:
    """Keys and groups that swept bundles set: they differ between arms without being axes of their own."""
    tree = tree_of(line.typed, "compare")
    found: set[str] = set()
    for word in line.overrides:
        group, _, options = word.lstrip("+").partition("=")
        if group in BUNDLES and group in plan.axes:
            for option in options.split(","):
                path = tree.find(f"{group}/{option}")
                found |= {key.name for key in tree.option_keys(group, option)}
                found |= {
                    default.name.lstrip("/") for default in (read(path).defaults if path else ()) if default.override
                }
    return found


def _import_ahead(overrides: Sequence[str]) -> None:
    """While Hydra composes, let the process that slots fork their runs from import torch."""
    if not any(word.startswith("hydra/launcher=") for word in overrides):
        from hydra_plugins.mixup_lab_slots._queue import ready_context

        ready_context()


def _is_done(run_dir: Path) -> bool:
    summary = read_summary(run_dir)
    return summary is not None and summary["status"] == "ok"


def _hydra(words: Sequence[str]) -> None:
    before = sys.argv
    sys.argv = [before[0], *words]
    try:
        launch("compare", JOB, config_dir())
    finally:
        sys.argv = before


def _first_job(overrides: Sequence[str]) -> list[str]:
    """The overrides of the first run: Hydra can show only one."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return list(BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(list(overrides)), None)[0][0])


def make_plan(overrides: Sequence[str], flags: Sequence[str] = ()) -> Plan:
    """Compose every arm of a sweep once, with its first seed. Nothing is built, and torch is not imported.

    Raises:
        UserError: for a configuration that is wrong.
    """
    find_plugins()
    from hydra import compose, initialize_config_dir
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import open_dict

    from mixup_lab.config.schema import parse, register

    register()
    own = flag_value(flags, "--config-dir", "-cd")
    searchpath = [f"hydra.searchpath=[{quote('file://' + str(Path(own).absolute()))}]"] if own else []
    parsed = OverridesParser.create().parse_overrides([*overrides, *searchpath])
    axes = [override.get_key_element() for override in parsed if override.is_sweep_override()]
    jobs = BasicSweeper.split_arguments(parsed, None)[0]
    arms: dict[tuple[str, ...], list[int]] = {}
    for job in jobs:
        seed = next(word for word in job if word.startswith("seed="))
        arms.setdefault(tuple(word for word in job if word is not seed), []).append(_seed(seed))
    names: dict[str, str] = {}
    settings: dict[str, dict[str, Any]] = {}
    root_of_arm: dict[str, str | None] = {}
    roots: dict[str, str | None] = {}
    cells: list[tuple[str, int]] = []
    epochs = 1
    name = flag_value(flags, "--config-name", "-cn") or "compare"
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        for words_of_arm, seeds in arms.items():
            cfg = compose(name, overrides=[*words_of_arm, f"seed={seeds[0]}"], return_hydra_config=True)
            choices = dict(cfg.hydra.runtime.choices)
            with open_dict(cfg):
                del cfg["hydra"]
            config = parse(cfg)
            arm = identity.arm(config.resolved)
            name_of_data, root = str(choices.get("dataset") or "dataset"), _resolved(config.source.get("root"))
            _refuse_two_roots(root, roots.setdefault(name_of_data, root))
            _refuse_two_roots(root, root_of_arm.setdefault(arm, root))
            settings[arm] = identity.settings(config.resolved)
            names.setdefault(arm, _name(identity.arm_name(choices.get("aug"), config.aug), words_of_arm, axes))
            cells += [(arm, seed) for seed in seeds]
            epochs = max(epochs, config.trainer.epochs)
    return Plan(names, settings, roots, list(dict.fromkeys(cells)), [axis.lstrip("+") for axis in axes], epochs)


def _resolved(root: Any) -> str | None:
    """The folder of the data as study.json names it; None where there is none."""
    return None if root is None else str(Path(str(root)).expanduser().resolve())


def _refuse_two_roots(now: str | None, before: str | None) -> None:
    """Where the data lies is no setting of an arm: runs on the data of two folders would be taken for the same."""
    if now != before:
        raise UserError(
            f"dataset.root must have one value in a study, got {before} and {now}; they hold different data, so give"
            " each folder a study of its own with study=NAME"
        )


def _seed(word: str) -> int:
    value = word.partition("=")[2]
    if not value.isdigit():
        raise UserError(f"seed must be a whole number, 0 or more, got {value}")
    return int(value)


def _name(mixing: str, job: Sequence[str], axes: Sequence[str]) -> str:
    """`mixup-a0.4`, and the value of every other axis: `mixup-a0.4,weight_decay=0.0005`."""
    own = {"seed", "aug", "aug.alpha"}
    parts = [mixing]
    for word in job:
        key, _, value = word.partition("=")
        key = key.lstrip("+")
        if key == "variant" and value == "none":
            continue
        if key in axes and key not in own and not (mixing == "baseline" and key.partition(".")[0] in store.MIXING):
            parts.append(value if key == "variant" else f"{key.rpartition('.')[2]}={value}")
    return store.safe_name(",".join(parts))


# ---- the answer -----------------------------------------------------------------------------------------------------


def _answer(line: Line, study: Path, options: Options) -> Answer:
    typed = [word for word in line.typed if not word.startswith("confirm=")]
    command = " ".join(["mixup-lab compare", *(shlex.quote(word) for word in typed)])
    commands = {"repeat": " ".join(["mixup-lab compare", *(shlex.quote(word) for word in line.typed)])}
    answer = report.answer_of([study], options)
    confirmed = answer.confirmed.choices if answer.confirmed else ()
    if len(confirmed) < len(answer.choices):
        commands["confirm"] = f"{command} confirm={_enough_seeds(len(answer.choices))}"
    chosen = {choice.arm for choice in answer.choices}
    more = max(
        (arm.comparison.more_seeds or 0 for arm in answer.arms if arm.comparison and arm.id in chosen), default=0
    )
    if more:
        seeds = sorted({cell.seed for arm in answer.arms for cell in arm.cells})
        without = [word for word in typed if not word.startswith("seed=")]
        words = [*without, f"seed=range({max(seeds) + 1 + more})"]
        commands["extend"] = " ".join(["mixup-lab compare", *(shlex.quote(word) for word in words)])
    return replace(answer, commands=commands | answer.commands)


def _enough_seeds(comparisons: int) -> int:
    """Seeds that so many verdicts need at least, and not fewer than by default."""
    return next(n for n in count(SEEDS) if smallest_p(n, comparisons) <= LEVEL)


def _confirm(line: Line, study: Path, answer: Answer, seeds: int) -> bool:
    """Train the baseline and the winner of each block on fresh seeds; False if a run failed."""
    arms = {arm.id: arm for arm in answer.arms}
    first = max(cell.seed for arm in answer.arms for cell in arm.cells) + 1
    manifest = store.read_manifest(study)
    assert manifest is not None
    done = True
    for choice in answer.choices:
        against = arms[choice.arm].comparison
        if against is None or not against.seeds:
            continue  # without a pair there is nothing to confirm
        for arm in (arms[choice.baseline], arms[choice.arm]):
            words = [f"seed=range({first},{first + seeds})", *_words_of(arm, line)]
            done = _sweep(words, line, study / "confirm", list(answer.axes), manifest["arms"]) and done
    return done


def _words_of(arm: Arm, line: Line) -> list[str]:
    """The overrides that train an arm of the study, as its first finished run recorded them."""
    run = read_run(Path(next(cell.path for cell in arm.cells if cell.status == "ok" and cell.path)))
    assert run is not None
    words = [word for word in run.start["overrides"] if not word.startswith("seed=")]
    # The data may have moved since, and a run records no settings of Hydra itself, such as the launcher.
    roots = [word for word in line.overrides if word.lstrip("+").startswith("dataset.root=")]
    if roots:
        words = [word for word in words if not word.lstrip("+").startswith("dataset.root=")] + roots
    return words + [word for word in line.overrides if word.lstrip("+").startswith(("hydra/", "hydra."))]
