"""`mixup-lab compare`: a study as one multirun, from the command line to the answer."""

import shlex
import signal
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from mixup_lab.commands import before, report
from mixup_lab.commands.evaluate import GROUP, lenses_of, look, look_by_jobs, names_of, of_launcher, settings_of
from mixup_lab.commands.line import SEEDS, Line, complete
from mixup_lab.commands.plan import jobs_of, make_plan
from mixup_lab.commands.watch import WORTH_SAYING, Place, Watch, duration, time_left
from mixup_lab.config.commands import FLAGS
from mixup_lab.config.launch import SweepError, launch
from mixup_lab.config.words import flag_value, tree_of
from mixup_lab.pasting import quote
from mixup_lab.runs import store
from mixup_lab.runs.record import in_use, read_result
from mixup_lab.runs.settings import MACHINE_KEYS
from mixup_lab.study.analysis import Options
from mixup_lab.study.reading import read_run
from mixup_lab.study.results import Answer, Arm
from mixup_lab.study.statistics import look_level, seeds_needed
from mixup_lab.study.statistics.looks import is_open, planned_looks
from mixup_lab.types import Interrupted, UserError

if TYPE_CHECKING:
    from mixup_lab.evaluation.lens import Lens

WAITING = 1.0  # seconds until the runs of another process are looked at again
MOST_SEEDS = 24  # by default, with until=decided
OF_A_RUN = ("fail_fast", "metric")  # words of the command that its runs need too
SHOWING = {name for flag in FLAGS if flag.shows for name in flag.names}


def main(words: Sequence[str]) -> int:
    """Run the command with these words and return the exit code: 1 if a run failed."""
    line = complete(words)
    try:
        return _compare(words, line)
    except KeyboardInterrupt as error:
        signum = error.signum if isinstance(error, Interrupted) else signal.SIGINT
        again = f"the study goes on with the same line: {_command(line.typed)}"
        raise Interrupted(signum, "\n".join([*filter(None, [str(error)]), again])) from error


def _compare(words: Sequence[str], line: Line) -> int:
    if any(word.partition("=")[0] in SHOWING for word in words):
        launch("compare", [*jobs_of(line.overrides)[0][0], *line.flags])  # Hydra can show only one run
        return 0
    study = Path("outputs") / line.own["study"]
    options = report.options_of(line.own)
    lenses = _lenses(line)
    if "until" in line.own:
        done, answer = _until_decided(line, study, options)
    else:
        done = _sweep(line.overrides, line, study, first=True)
        answer = _answer(line, study, options)
    seeds = int(line.own.get("confirm", "0"))
    if seeds and answer.choices:
        done = _confirm(line, study, answer, seeds) and done
        answer = _answer(line, study, options)
    if lenses and any(cell.status == "ok" for arm in answer.arms for cell in arm.cells):
        machine = _machine_words(line)
        words = [str(study), f"lens={line.own['lenses']}", *line.lens_settings, *machine]
        folder = flag_value(line.typed, "--config-dir", "-cd")
        words += [] if folder is None else ["--config-dir", folder]
        look_by_jobs([study], words, machine, list(filter(of_launcher, line.overrides)))
        done = look([study], lenses, machine).complete and done
        answer = _answer(line, study, options)
    report.show(answer, report.write(answer, study, aggregate=True))
    return 0 if done else 1


def _lenses(line: Line) -> "dict[str, Lens]":
    """The lenses that look at the study in the end, made before anything runs: a mistake must not cost a training."""
    if "lenses" not in line.own:
        return {}
    names = names_of(line.own["lenses"])
    tree = tree_of(line.typed, "evaluate")
    if not names:
        raise UserError(f"lenses must name some, such as lenses=[{next(iter(tree.options(GROUP)))}]")
    return lenses_of(names, settings_of(line.lens_settings), _machine_words(line), tree)


def _machine_words(line: Line) -> list[str]:
    """The overrides that runs may have without being other runs, as `dataset.root`; of several values the first."""
    first = [word.lstrip("+") for word in jobs_of(line.overrides)[0][0]]
    return [word for word in first if word.partition("=")[0] in MACHINE_KEYS]


def _sweep(
    overrides: Sequence[str],
    line: Line,
    study: Path,
    axes: Sequence[str] = (),
    names: Mapping[str, str] = MappingProxyType({}),
    ends: Mapping[str, int] = MappingProxyType({}),
    first: bool = False,
) -> bool:
    """Run the missing runs of a sweep; False if a run failed.

    `axes` may differ as well as those of the sweep; `names` take precedence over the names that the sweep would choose;
    `ends` has the first seed that an arm does not train any more; with `first`, what can be known before is checked and
    said.
    """
    plan = make_plan(overrides, line.flags)
    there = before.arms_of(study)
    if first:
        before.check_arms(plan, line, there)
        before.check_baseline(plan, line, there)
    wanted = {arm: names.get(arm, name) for arm, name in plan.names.items()}
    folders = store.enter(study, wanted, plan.settings, [*plan.axes, *axes, *line.bundled], plan.roots, ends)
    places = [
        Place(store.run_dir(study, folders[arm], seed), folders[arm], seed)
        for arm, seed in plan.cells
        if seed < ends.get(arm, seed + 1)
    ]
    done = sum(read_result(place.run_dir) is not None for place in places)
    size = f"{len(plan.names)} arms x {len({seed for _, seed in plan.cells})} seeds, {len(places)} runs"
    print(f"study {study}: {size}{f', {done} finished before' if done else ''}", flush=True)
    if first:
        confirm = int(line.own.get("confirm", "0"))
        for sentence in (*before.about_folds(plan), *before.too_few_seeds(plan, study, there, confirm)):
            print(sentence, flush=True)
    if done < len(places):
        seconds = before.seconds_needed(study, len(places) - done)
        if seconds is not None and seconds >= WORTH_SAYING:
            print(time_left(seconds, done, len(places)), flush=True)
        # A preset's own axes are among the overrides already.
        own = [f"hydra.sweep.dir={quote(str(study))}", "hydra.sweeper.params=null",
               "hydra.sweeper.composed=true"]  # fmt: skip
        own += [f"{key}={quote(line.own[key])}" for key in OF_A_RUN if key in line.own]
        with Watch(places):
            try:
                _run([*overrides, *own, *line.flags], places)
            except SweepError as error:  # a process died; the error of a run itself is in its log
                print(f"mixup-lab compare: {error}; the first: {error.first}", file=sys.stderr)
                return False
    return all(read_result(place.run_dir) is not None for place in places)


def _run(words: Sequence[str], places: Sequence[Place]) -> None:
    """Run what is missing. The runs of another process are waited for; those that it leaves unfinished are run here."""
    said = False
    while True:
        launch("compare", words)
        elsewhere = [place.run_dir for place in places if in_use(place.run_dir)]
        if elsewhere and not said:
            said = True
            count = "1 run is" if len(elsewhere) == 1 else f"{len(elsewhere)} runs are"
            print(f"{count} being trained by another process, and waited for", flush=True)
        while any(map(in_use, elsewhere)):
            time.sleep(WAITING)
        ended = (read_result(folder) is not None or store.read_error(folder) is not None for folder in elsewhere)
        if all(ended):
            return


def _until_decided(line: Line, study: Path, options: Options) -> tuple[bool, Answer]:
    """Add seeds step by step until no arm is open; False if a run failed.

    Looks are planned, so that each has its level. An arm that is decided, or that more seeds would not decide, gets no
    further seeds; neither does a baseline without an open arm.
    """
    most = int(line.own.get("max_seeds", MOST_SEEDS))
    others = [word for word in line.overrides if not word.startswith("seed=")]
    names = make_plan(["seed=0", *others], line.flags).names
    ends: dict[str, int] = {}
    done = True
    looks = planned_looks(max(1, len(names) - 1), most)
    for seeds in looks:
        words = [f"seed=range({seeds})", *others]
        done = _sweep(words, line, study, ends=ends, first=seeds == looks[0]) and done
        answer = _answer(line, study, options)
        compared = {arm.id: arm.comparison for arm in answer.arms if arm.comparison is not None}
        still_open = {arm for arm, comparison in compared.items() if is_open(comparison, most)}
        print(f"after {seeds} seeds: {_verdicts(answer, still_open)}", flush=True)
        needed = still_open | {arm.baseline for arm in answer.arms if arm.id in still_open}
        ends |= {arm.id: seeds for arm in answer.arms if arm.id not in needed and arm.id not in ends}
        if not still_open or not done:
            break
    trained = sum(cell.status == "ok" for arm in answer.arms for cell in arm.cells)
    full = most * len(answer.arms)
    left = "all seeds are used" if still_open else f"no arm is left that {most} seeds would probably decide"
    print(f"{left}: {trained} runs instead of {full}, {1 - trained / full:.0%} saved", flush=True)
    return done, answer


def _verdicts(answer: Answer, still_open: Collection[str]) -> str:
    """The arms with their verdicts, those that go on last."""
    ended = [f"{arm.name}: {arm.comparison.code.replace('_', ' ')}" for arm in answer.arms
             if arm.comparison is not None and arm.id not in still_open]  # fmt: skip
    going = [arm.name for arm in answer.arms if arm.id in still_open]
    return "; ".join([*ended, *([f"more seeds for {', '.join(going)}"] if going else [])])


def _answer(line: Line, study: Path, options: Options) -> Answer:
    typed = [word for word in line.typed if not word.startswith(("confirm=", "until=", "max_seeds="))]
    commands = {"repeat": _command(line.typed)}
    answer = report.answer_of([study], options)
    confirmed = answer.confirmed.choices if answer.confirmed else ()
    judged = [choice for choice in answer.choices if choice.baseline not in answer.obstacles]
    if judged and len(confirmed) < len(answer.choices):
        commands["confirm"] = _command([*typed, f"confirm={_enough_seeds(len(answer.choices))}"])
    chosen = {choice.arm for choice in answer.choices}
    more = max(
        (arm.comparison.more_seeds or 0 for arm in answer.arms if arm.comparison and arm.id in chosen), default=0
    )
    if more:
        seeds = sorted({cell.seed for arm in answer.arms for cell in arm.cells})
        without = [word for word in typed if not word.startswith("seed=")]
        commands["extend"] = _command([*without, f"seed=range({max(seeds) + 1 + more})"])
        takes = duration(more * sum(map(_seconds, answer.arms)))
        said = f"{more} more seeds are {more * len(answer.arms)} runs: about {takes}, one run after the other."
        answer = replace(answer, details=(*answer.details, said))
    return replace(answer, commands=commands | answer.commands)


def _seconds(arm: Arm) -> float:
    """Of a run."""
    return arm.device_seconds / max(1, sum(cell.status == "ok" for cell in arm.cells))


def _command(words: Sequence[str]) -> str:
    return shlex.join(["mixup-lab", "compare", *words])


def _enough_seeds(comparisons: int) -> int:
    """The fewest seeds, but at least SEEDS, with which p can reach its level after Holm over so many verdicts."""
    return max(SEEDS, seeds_needed(comparisons, look_level(1)))


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
    words = [word for word in run.start.get("overrides", []) if not word.startswith("seed=")]
    # The data may have moved since, and a run does not record settings of Hydra itself, such as the launcher.
    roots = [word for word in line.overrides if word.lstrip("+").startswith("dataset.root=")]
    if roots:
        words = [word for word in words if not word.lstrip("+").startswith("dataset.root=")] + roots
    return words + [word for word in line.overrides if word.lstrip("+").startswith(("hydra/", "hydra."))]
