"""`mixup-lab report DIR...`: the answer from recorded runs, as a table, a page, Markdown, CSV and JSON."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mixup_lab.config.commands import REPORT
from mixup_lab.config.nearest import unknown_key
from mixup_lab.disk import clear_leftovers, write_atomically, writing
from mixup_lab.runs import store
from mixup_lab.study.analysis import Options, analyse
from mixup_lab.study.lenses import with_lenses
from mixup_lab.study.reading import Run, read
from mixup_lab.study.results import Answer
from mixup_lab.study.tables import TABLES
from mixup_lab.types import UserError
from mixup_lab.visible import visible

FILES = ("report.html", "report.md", "results.csv", "report.json")
SELECTED = 40  # runs, at most, of which TensorBoard shows the curves before anything is clicked


def main(words: Sequence[str]) -> int:
    """Run the command; the words are folders or tables, and key=value."""
    places, values = _words(words)
    if not places:
        raise UserError("report needs a folder of runs or a table: mixup-lab report outputs/STUDY")
    options = options_of(values)
    out = place = places[0]
    if "out" in values:
        out = Path(values["out"])
    elif place.suffix in TABLES and place.is_file():
        out = place.with_name(f"{place.stem}_report")
    answer = answer_of(places, options, values.get("arm"), values.get("seed"))
    written = write(answer, out, aggregate=len(places) == 1 and out == place)
    show(answer, written)
    return 0


def _words(words: Sequence[str]) -> tuple[list[Path], dict[str, str]]:
    places, values = [], {}
    for word in words:
        key, equals, value = word.partition("=")
        if word.startswith("-"):
            raise UserError(f"report has no flag {word}; see mixup-lab report --help")
        if equals and not Path(word).exists():
            if key not in REPORT:
                raise UserError(unknown_key(key, REPORT))
            values[key] = value
        else:
            places.append(Path(word))
    return places, values


def options_of(values: dict[str, str]) -> Options:
    """The options of an analysis from the values on a line. Raises UserError for values that are not allowed."""
    maximize = values.get("maximize")
    if maximize not in (None, "true", "false"):
        raise UserError(f"maximize must be true or false, got {maximize}")
    effect = values.get("min_effect")
    try:
        min_effect = None if effect is None else float(effect)
    except ValueError:
        min_effect = -1.0
    if min_effect is not None and not 0 < min_effect < float("inf"):
        raise UserError(f"min_effect must be a number greater than 0 (in points for metrics in percent), got {effect}")
    return Options(
        metric=values.get("metric"),
        maximize=None if maximize is None else maximize == "true",
        baseline=values.get("baseline"),
        min_effect=min_effect,
    )


def answer_of(places: Sequence[Path], options: Options, arm: str | None = None, seed: str | None = None) -> Answer:
    """Read and analyse; if there is only one place, its folder `confirm` holds the runs of a confirmation.

    `arm` and `seed` name the columns of a table of another trainer.
    """
    runs = read(places, arm, seed)
    name = places[0].resolve().name if len(places) == 1 else " + ".join(place.resolve().name for place in places)
    line = " ".join(shlex.quote(str(place)) for place in places)
    commands = {"report": f"mixup-lab report {line}"}
    if all(place.is_dir() for place in places):
        commands["look"] = f"tensorboard --logdir {shlex.quote(str(_to_look_at(places, runs)))}"
    single = len(places) == 1 and places[0].is_dir()
    answer = analyse(runs, name, replace(options, looks=store.read_looks(places[0]) if single else ()), commands)
    answer = with_lenses(answer, runs)
    if single:
        _note_look(places[0], answer)
    fresh = places[0] / "confirm"
    if single and fresh.is_dir() and answer.choices:
        confirmed = _confirmed(answer, read([fresh]), replace(options, looks=store.read_looks(fresh)))
        if confirmed is not None:
            _note_look(fresh, confirmed)
        return replace(answer, confirmed=confirmed)
    return answer


def _to_look_at(places: Sequence[Path], runs: Sequence[Run]) -> Path:
    """The folder for TensorBoard: with the means of the arms alone where it would select none of the runs by itself."""
    from mixup_lab.study.tensorboard import FOLDER

    means = len({run.arm for run in runs})
    if len(places) == 1 and len(runs) + means > SELECTED and store.read_manifest(places[0]):  # compare writes the means
        return places[0] / FOLDER
    return Path(os.path.commonpath([str(place) for place in places]))


def _note_look(study: Path, answer: Answer) -> None:
    """Whoever sees a verdict has looked: the next look has a smaller level."""
    counting = [len(arm.comparison.seeds) for arm in answer.arms if arm.comparison and arm.comparison.counts]
    if counting:
        store.note_look(study, max(counting))


def _confirmed(answer: Answer, runs: Sequence[Run], options: Options) -> Answer | None:
    """The verdict on the chosen arm of each block from runs whose seeds had no part in choosing it."""
    seen = {cell.seed for arm in answer.arms for cell in arm.cells}
    fresh = [run for run in runs if run.seed not in seen]
    trained = {run.arm for run in fresh}
    pairs = {(choice.baseline, choice.arm): choice for choice in answer.choices}
    ready = {arm for pair in pairs if trained.issuperset(pair) for arm in pair}
    if not ready:
        return None
    fresh = [run for run in fresh if run.arm in ready]
    # The smallest effect was fixed before; its default depends on the baseline, which has other seeds here.
    effect = answer.min_effect * 100 if answer.metric.percent else answer.min_effect
    confirmed = analyse(
        fresh, f"{answer.study}, fresh seeds", replace(options, confirm=True, min_effect=effect or None), {}
    )
    names = {arm.id: arm.name for arm in answer.arms}
    waiting = [
        f"With {choice.block}: {names[choice.arm]} and its baseline have no run on fresh seeds"
        for pair, choice in pairs.items()
        if not ready.issuperset(pair)
    ]
    return replace(confirmed, problems=(*confirmed.problems, *waiting))


def write(answer: Answer, out: Path, aggregate: bool) -> list[Path]:
    """Write the report's files, and TensorBoard's aggregates if wanted; every file is complete or unchanged."""
    from mixup_lab.study.export import as_json, csv_rows
    from mixup_lab.study.markdown import markdown
    from mixup_lab.study.page import page

    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    clear_leftovers(out)
    texts = (page(answer), markdown(answer), csv_rows(answer), as_json(answer))
    for name, text in zip(FILES, texts, strict=True):
        write_atomically(out / name, text)
    if aggregate:
        from mixup_lab.study.tensorboard import write_aggregate

        write_aggregate(answer, out)
    return [out / name for name in FILES]


def show(answer: Answer, written: Sequence[Path]) -> None:
    """Print the answer: problems, the table, the sentences, the path of the report, and the next commands."""
    from rich.console import Console

    from mixup_lab.study.terminal import terminal_table

    for problem in answer.problems:
        _line(problem)
    Console(highlight=False).print(terminal_table(answer))
    for part in [answer.confirmed, answer]:
        if part is not None:
            title = "On fresh seeds alone: " if part is answer.confirmed else ""
            _line(f"{title}{part.sentence}", style="bold")
            for detail in part.details:
                _line(detail)
            for sentence in part.trend.sentences if part.trend else ():
                _line(sentence)
    show_lenses(answer, written)
    for name in ("confirm", "extend", "look"):
        if name in answer.commands:
            _line(f"{name:8}{answer.commands[name]}")


def show_lenses(answer: Answer, written: Sequence[Path]) -> None:
    """Print a line for each lens, and the path of the report."""
    for section in answer.lenses:
        _line(f"{section.title}: {section.sentence or 'see the report'}")
    _line(f"\nReport: {written[0]}")


def _line(text: str, style: str = "") -> None:
    """Print a line that may hold names from the files of others."""
    from rich.console import Console

    Console(highlight=False).print(visible(text), markup=False, style=style, soft_wrap=True)
