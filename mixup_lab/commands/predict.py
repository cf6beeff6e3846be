"""`mixup-lab predict RUN... INPUT...`: what trained models say about new files, as a table, masks or boxes."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
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
    from mixup_lab.targets.target import Columns, Shown

RECORD = "record.jsonl"


def main(words: Sequence[str]) -> int:
    """Run the command with these words and return the exit code."""
    line = words_of(words, "predict", PREDICT)
    chosen, calibrated = _named(line.values.get("columns")), line.flag("calibrated")
    folders, inputs = _divided(line.places)
    find_plugins()
    from mixup_lab.commands.loaded import trained

    runs = _runs(folders)
    with TemporaryDirectory(ignore_cleanup_errors=True) as name, remembering(folder := Path(name)):
        # All runs say the same about their data: it is printed once.
        each = (trained(run, line.machine, "when a run predicts") for run in runs)
        first = next(each)
        kind, one = first.kind, len(runs) == 1
        # What cannot be written is refused before anything is computed.
        out = line.out(kind.predictions, [Path(kind.predictions).suffix])
        if chosen is not None and kind.columns(np.zeros((0, len(kind.names)))) is None:
            raise UserError(f"columns are those of a table, and predictions of {kind.kind} are not rows of one")
        if not one and not first.task.labels.averaged:
            raise UserError(f"{kind.kind} of several runs have no mean, and there are {len(runs)} runs; choose one")
        new = first.new(inputs)
        title = f"predicting {len(new.names):,} {first.encoder.noun} with {len(runs)} run{'s'[: not one]}"
        with track(title, len(runs) * len(new.names)) as advance:
            chances = predict(chain([first], each), inputs, calibrated, folder, advance)
        columns = kind.columns(chances)
        if columns is None:
            for below, content in kind.documents(chances, _shown(new, inputs)):
                _write(out / below, content)
        else:
            _write(out, _text(new.names, columns) if chosen is None else _chosen(chosen, new.ids, columns))
    print(f"{out}: {len(new.names):,} predictions{'' if one else f', the mean of {len(runs)} runs'}")
    return 0


def _write(path: Path, content: str | bytes) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def predict(
    models: Iterable[Trained], inputs: Sequence[Path], calibrated: bool, folder: Path, advance: Callable[[int], None]
) -> np.ndarray:
    """What trained models predict for new files, see `Task.chances`: the mean over the models, (N, ...) float32.

    Args:
        models: with targets of one kind and of the same names.
        inputs: files and folders.
        calibrated: whether the logits of each are divided by the temperature that suits its val.
        folder: of a file that holds the result, since the probabilities of all pixels may not fit into memory.
        advance: is called with the number of inputs that a model has done.

    Raises:
        UserError: for what cannot be read, and for predictions of different shapes.
    """
    total: np.ndarray | None = None
    for count, model in enumerate(models, 1):
        new = model.new(inputs)
        for rows, chances in _chances(model, new, model.temperature() if calibrated else 1.0):
            if total is None:
                shape = len(new.names), *chances.shape[1:]
                total = np.lib.format.open_memmap(folder / "chances.npy", "w+", np.dtype(np.float32), shape)
            elif total.shape[1:] != chances.shape[1:]:
                both = " and ".join("x".join(map(str, each.shape[1:])) for each in (total, chances))
                raise UserError(f"the runs predict {both} values for an example: there is no mean of them")
            total[rows] += (chances - total[rows]) / count
            advance(len(rows))
    assert total is not None
    return total


def _chances(model: Trained, new: New, temperature: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The places of some examples (n,) and what a model predicts for them (n, ...), batch by batch."""
    import torch

    from mixup_lab.data.feeds import Streaming
    from mixup_lab.data.prepare import Split

    rows, size = np.arange(len(new.names)), model.run.parts.settings.eval_batch_size
    workers = model.config.data.workers if len(rows) > size else 0
    feed = Streaming(new.pool, model.run.parts.device, workers)
    split = Split("new", rows, new.pool.target, feed, new.pool.lengths)
    groups = np.split(rows, range(size, len(rows), size))
    with torch.inference_mode():
        for group, batch in zip(groups, split.batches(groups), strict=True):
            with model.run.evaluator.precision.autocast():  # as the run evaluates
                answer = model(batch.inputs)
            yield group, model.task.chances(answer / temperature).cpu().numpy()


def _shown(new: New, inputs: Sequence[Path]) -> list[Shown]:
    """The pictures, by their paths below the folders that were given."""
    from mixup_lab.targets.target import Shown

    if new.view is None:
        raise UserError("the source of the run does not tell the sizes of new pictures")
    paths = map(Path, new.names)
    names = [
        next((path.relative_to(place) for place in inputs if place in path.parents), Path(path.name)).as_posix()
        for path in paths
    ]
    return [Shown(name, new.view(i)) for i, name in enumerate(names)]


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
