"""`mixup-lab predict RUN... INPUT...`: what trained models say about new files, as a table."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from mixup_lab.commands.plain import words_of
from mixup_lab.config.commands import PREDICT
from mixup_lab.config.launch import find_plugins
from mixup_lab.disk import write_atomically, writing
from mixup_lab.notices import remembering, say, track
from mixup_lab.study.reading import Run, read
from mixup_lab.types import UserError

if TYPE_CHECKING:
    from mixup_lab.commands.loaded import Trained
    from mixup_lab.data.source import New
    from mixup_lab.targets.target import Columns

RECORD = "record.jsonl"


def main(words: Sequence[str]) -> int:
    """Run the command with these words and return the exit code."""
    line = words_of(words, "predict", PREDICT)
    out = line.out("predictions.csv", [".csv"])
    chosen = _named(line.values.get("columns"))
    folders, inputs = _divided(line.places)
    find_plugins()
    runs = _runs(folders)
    with TemporaryDirectory() as folder, remembering(Path(folder)):  # all runs say the same about their data
        names, ids, columns = predict(runs, inputs, line.machine, line.flag("calibrated"))
    text = _text(names, columns) if chosen is None else _chosen(chosen, ids, columns)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text)
    how = "" if len(runs) == 1 else f", the mean of {len(runs)} runs"
    print(f"{out}: {len(names):,} predictions{how}")
    return 0


def predict(
    runs: Sequence[Run], inputs: Sequence[Path], changes: Sequence[str], calibrated: bool
) -> tuple[list[str], list[str], Columns]:
    """The predictions of some runs for new files: the mean of their probabilities, or of their numbers.

    Args:
        runs: finished, with targets of one kind and of the same names.
        inputs: files and folders.
        changes: settings of the machine.
        calibrated: whether the logits of each run are divided by the temperature that suits its val.

    Returns:
        Names and ids of the N inputs, and the columns of their predictions.

    Raises:
        UserError: for what cannot be read, and for predictions that are not rows of a table.
    """
    from mixup_lab.commands.loaded import trained

    parts = []
    with ExitStack() as stack:
        advance: Callable[[int], None] | None = None
        for run in runs:
            model = trained(run, changes, "when a run predicts")
            model.kind.columns(np.zeros((0, len(model.class_names))))  # refused before anything is computed
            new = model.new(inputs)
            temperature = model.temperature() if calibrated else 1.0
            if advance is None:
                title = f"predicting {len(new.names):,} {model.encoder.noun} with {len(runs)} run{'s'[: len(runs) > 1]}"
                advance = stack.enter_context(track(title, len(runs) * len(new.names)))
            parts.append(_chances(model, new, temperature, advance))
    return new.names, new.ids, model.kind.columns(np.mean(parts, axis=0))


def _chances(model: Trained, new: New, temperature: float, advance: Callable[[int], None]) -> np.ndarray:
    """The probabilities, or the numbers, that a run predicts: (N, ...) float64."""
    import torch

    from mixup_lab.data.feeds import Streaming
    from mixup_lab.data.prepare import Split

    rows, size = np.arange(len(new.names)), model.run.parts.settings.eval_batch_size
    workers = model.config.data.workers if len(rows) > size else 0
    feed = Streaming(new.pool, model.run.parts.device, workers)
    split = Split("new", rows, new.pool.target, feed, new.pool.lengths)
    found = []
    with torch.inference_mode():
        for batch in split.batches(np.split(rows, range(size, len(rows), size))):
            with model.run.evaluator.precision.autocast():  # as the run evaluates
                answer = model(batch.inputs)
            chances = model.task.chances(answer.double() / temperature)
            assert chances is not None
            found.append(chances.cpu().numpy())
            advance(len(answer))
    return np.concatenate(found)


def _divided(places: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The folders of runs, which come first, and the inputs."""
    count = next((k for k, place in enumerate(places) if not _holds_runs(place)), len(places))
    if places and not count:
        raise UserError(f"{places[0]} has no runs: there is no {RECORD} below it; the runs come before the inputs")
    if count == len(places):
        raise UserError("predict needs a run and an input: mixup-lab predict RUN_DIR FILE_OR_FOLDER")
    return list(places[:count]), list(places[count:])


def _holds_runs(place: Path) -> bool:
    return place.is_dir() and next(place.rglob(RECORD), None) is not None


def _runs(folders: Sequence[Path]) -> list[Run]:
    """The finished runs. Raises UserError if there are none, and if they predict different things."""
    every = read(folders)
    runs = [run for run in every if run.status == "ok" and run.path is not None]
    if not runs:
        raise UserError(f"{', '.join(map(str, folders))}: there is no finished run")
    if len(runs) < len(every):
        say(f"{len(every) - len(runs)} of {len(every)} runs are not finished and are left out")
    first = runs[0]
    for run in runs[1:]:
        if _predicted(run) != _predicted(first):
            raise UserError(
                f"{first.path} predicts {_predicted(first)}, and {run.path} {_predicted(run)}: there is no mean of them"
            )
    arms = dict.fromkeys(run.name for run in runs)
    if len(arms) > 1:
        say(f"the mean is over {len(runs)} runs of {len(arms)} arms: {', '.join(arms)}")
    return runs


def _predicted(run: Run) -> str:
    return f"{run.kind} ({', '.join(run.start['data']['class_names'])})"


def _named(value: str | None) -> list[str] | None:
    """The names in `columns=[id,label]`."""
    if value is None:
        return None
    names = [name.strip() for name in value.strip("[]").split(",")]
    if len(names) < 2 or "" in names or len(set(names)) < len(names):
        raise UserError(f"columns must be names such as [id,label], got {value}")
    return names


def _text(names: Sequence[str], columns: Columns) -> str:
    shares = {name: [f"{p:.9g}" for p in values.tolist()] for name, values in columns.shares.items()}
    return _csv({"input": names, **columns.decided, **shares})


def _chosen(chosen: Sequence[str], ids: Sequence[str], columns: Columns) -> str:
    """A table with the columns that a competition wants: ids and predictions, under other names."""
    if len(chosen) != 1 + len(columns.decided):
        raise UserError(
            f"columns=[{','.join(chosen)}] must be {1 + len(columns.decided)} names: of the id, and of"
            f" {', '.join(columns.decided)}"
        )
    twice, count = Counter(ids).most_common(1)[0]
    if count > 1:
        raise UserError(f"columns needs ids that differ, and {count} inputs have the id {twice}")
    return _csv(dict(zip(chosen, [ids, *columns.decided.values()], strict=True)))


def _csv(columns: dict[str, Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()
