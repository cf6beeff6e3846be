"""A study in TensorBoard: each arm as one curve with its band, the dose-response, and a row for each arm. No torch.

The arms stand beside the runs, below `STUDY/_aggregate/`: `_aggregate/mixup-a0.4` has the tags of the runs, at their
steps, with means over seeds. The ends of a band are `low/TAG` and `high/TAG`: charts of TensorBoard choose tags by the
beginning of their names, so `val/accuracy_low` would turn up wherever `val/accuracy` is asked for.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixup_lab.disk import writing
from mixup_lab.runs.event_file import EventFile, remove_event_files, replace_event_file
from mixup_lab.runs.record import read_events
from mixup_lab.study.results import Answer, Arm, Curve, Interval, Moments
from mixup_lab.study.statistics.intervals import mean_interval

FOLDER = "_aggregate"
DOSE_STEP = 1000  # steps of the dose-response for alpha = 1; TensorBoard's steps are whole numbers
_DOSE = f"The step is alpha times {DOSE_STEP}: 400 is alpha = 0.4, and 0 is the baseline."
_DOSE_KEYS = ("alpha", "aug.alpha", "seed")


def write_aggregate(answer: Answer, study_dir: Path) -> None:
    """Write the event files of `STUDY/_aggregate/`, in place of those that are there.

    The same answer gives the same bytes, and files that say the same already are left alone. A TensorBoard that is
    running takes the new values in place of the old ones.

    Raises:
        UserError: if they cannot be written.
    """
    origins = {arm.id: _Origin.of(arm, study_dir) for arm in answer.arms}
    # TensorBoard lists runs by their beginning: arms shortly before the first of their runs.
    began = min((origin.began for origin in origins.values() if origin.began), default=2.0) - 1
    runs = {_plain(arm.name): _Events(began) for arm in answer.arms}
    rows = {arm.id: _row(answer, arm, origins[arm.id].choices) for arm in answer.arms}
    for arm, run in zip(answer.arms, runs.values(), strict=True):
        _arm(run, answer, arm, origins[arm.id].steps_per_epoch)
        # The first letters have to tell the rows of arms from those of runs.
        run.hparams(f"MEAN {arm.name}", rows[arm.id], _columns(rows.values()), _metrics(answer.metric.name))
        run.end_hparams()
    for name, arms in _doses(answer.arms).items():
        runs[name] = _Events(began)
        _dose_response(runs[name], answer.metric.name, arms)
    first = next(iter(runs.values()), None)
    if first is not None:
        first.charts(_charts(answer.metric.name, {tag for run in runs.values() for tag in run.tags}))
    folder = study_dir / FOLDER
    with writing(folder):
        for path in sorted(folder.glob("*/")):
            if path.name not in runs:
                remove_event_files(path)
        for name, run in runs.items():
            replace_event_file(folder / name, run.buffer.getvalue())


class _Events(EventFile):
    """The events of one run of TensorBoard, in memory."""

    def __init__(self, wall_time: float) -> None:
        self.buffer = io.BytesIO()
        super().__init__(self.buffer, wall_time, hide_from=0)  # whatever TensorBoard has read of this run before

    def point(self, tag: str, step: int, value: float, band: Interval | None = None, about: str = "") -> None:
        """A point with the ends of its band, if it has one; without those that are not finite."""
        ends = {} if band is None else {f"low/{tag}": band[0], f"high/{tag}": band[1]}
        for name, height in {tag: value, **ends}.items():
            if math.isfinite(height):
                self.scalar(name, height, step, about)


@dataclass(frozen=True)
class _Origin:
    """What the first recorded run of an arm tells that an answer does not hold."""

    steps_per_epoch: int = 1  # so that the means lie over the curves of the runs
    began: float | None = None
    choices: Mapping[str, Any] | None = None

    @staticmethod
    def of(arm: Arm, study_dir: Path) -> _Origin:
        paths = [cell.path for cell in arm.cells if cell.path is not None]
        for folder in (place / path for path in paths for place in (study_dir, Path())):
            with suppress(OSError):
                start = next(read_events(folder, "start"), None)
                epoch = next(read_events(folder, "epoch"), None)
                if start is not None and epoch is not None:
                    return _Origin(epoch["step"] // epoch["epoch"], start["time"], start.get("choices"))
        return _Origin()


def _arm(run: _Events, answer: Answer, arm: Arm, steps_per_epoch: int) -> None:
    """Mean curves, the generalisation gap, and the numbers at the end."""
    metric = answer.metric.name
    curves = {curve.tag: curve for curve in answer.curves if curve.arm == arm.id}
    last = 0
    for tag, curve in curves.items():
        for epoch, mean, low, high in zip(curve.epochs, curve.mean, curve.low, curve.high, strict=True):
            last = max(last, epoch * steps_per_epoch)
            run.point(tag, epoch * steps_per_epoch, mean, (low, high))
    for name in dict.fromkeys((metric, "loss")):
        for epoch, gap in _gap(curves.get(f"train_clean/{name}"), curves.get(f"val/{name}")):
            # No band: how train and val vary together is not in the two curves.
            run.point(f"gap/{name}", epoch * steps_per_epoch, gap, about="train_clean minus val, means over seeds")
    # `mean/val` stands for itself: seeds may end at different epochs, and then the curve ends with the longest ones.
    for tag, moments in ((f"test/{metric}", arm.test), (f"mean/val_{metric}", arm.val)):
        point = _mean(moments)
        if point is not None:
            run.point(tag, last, *point)
    difference = _difference(arm)
    if difference is not None:
        run.point("mean/difference", last, *difference, about=f"test {metric}: arm minus baseline of the same seed")


def _gap(train: Curve | None, val: Curve | None) -> list[tuple[int, float]]:
    if train is None or val is None:
        return []
    on_val = dict(zip(val.epochs, val.mean, strict=True))
    return [(e, mean - on_val[e]) for e, mean in zip(train.epochs, train.mean, strict=True) if e in on_val]


def _mean(moments: Moments) -> tuple[float, Interval] | None:
    """Mean and 95 % interval; the mean itself for one seed."""
    if moments.mean is None:
        return None
    return moments.mean, mean_interval(moments) or (moments.mean, moments.mean)


def _difference(arm: Arm) -> tuple[float, Interval] | None:
    """Mean and interval of the difference to the baseline, which is 0 for a baseline."""
    if arm.baseline is None:
        return 0.0, (0.0, 0.0)
    found = arm.comparison
    if found is None or found.mean is None:
        return None
    return found.mean, found.retraining or (found.mean, found.mean)


def _doses(arms: tuple[Arm, ...]) -> dict[str, list[Arm]]:
    """Arms that differ in alpha alone, with their baseline, by the name of the run that shows them."""
    by_id = {arm.id: arm for arm in arms}
    groups: dict[tuple[Any, ...], list[Arm]] = {}
    for arm in arms:
        if arm.baseline in by_id and arm.alpha is not None:
            rest = tuple(f"{k}={_word(v)}" for k, v in sorted(arm.settings.items()) if k not in _DOSE_KEYS)
            groups.setdefault((arm.baseline, rest), [by_id[arm.baseline]]).append(arm)
    groups = {key: sorted(group, key=lambda arm: arm.alpha or 0.0) for key, group in groups.items()}
    # One group needs no further name; of several, each is told by what it does not share with all.
    shared = set.intersection(*(set(rest) for _, rest in groups)) if groups else set()
    doses: dict[str, list[Arm]] = {}
    for (baseline, rest), group in groups.items():
        told = ",".join(word for word in rest if word not in shared)
        name = _plain("dose_response" + (f" {told}" if told else ""))
        doses[name if name not in doses else _plain(f"{name} {by_id[baseline].name}")] = group
    return doses


def _dose_response(run: _Events, metric: str, arms: list[Arm]) -> None:
    run.text("dose_response", _DOSE)
    for arm in arms:
        step = round((arm.alpha or 0.0) * DOSE_STEP)
        point = _mean(arm.test)
        if point is not None:
            run.point(f"dose_response/test_{metric}", step, *point, about=_DOSE)
        difference = _difference(arm)
        if difference is not None:
            run.point("dose_response/difference", step, *difference, about=_DOSE)


def _metrics(metric: str) -> list[str]:
    """Columns of the table. TensorBoard takes those of any one run for all, so rows of arms have the runs' as well."""
    return [f"test/{metric}", "mean/difference", f"mean/val_{metric}"]


def _row(answer: Answer, arm: Arm, choices: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings of an arm, named as those of its runs."""
    settings = {**answer.settings, **arm.settings}
    short = {
        "lr": "optimizer.lr",
        "weight_decay": "optimizer.weight_decay",
        "epochs": "trainer.epochs",
        "batch_size": "trainer.batch_size",
    }
    row = {
        "arm": arm.name,
        **{group: choice for group, choice in (choices or {}).items() if isinstance(choice, str)},
        "alpha": arm.alpha,
        **{name: settings.get(key) for name, key in short.items()},
        **{key: value for key, value in arm.settings.items() if key not in (*_DOSE_KEYS, *short.values())},
    }
    return {k: v if isinstance(v, (bool, int, float)) else _word(v) for k, v in row.items() if v is not None}


def _columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """All settings of all rows; the rows of runs have a seed besides."""
    return [*dict.fromkeys(name for row in rows for name in row), "seed"]


def _charts(metric: str, tags: set[str]) -> list[Any]:
    """The layout: what there is no scalar for is left out."""
    from tensorboard.plugins.custom_scalar import layout_pb2

    def margin(title: str, *tags: str) -> Any:
        series = [
            layout_pb2.MarginChartContent.Series(value=tag, lower=f"low/{tag}", upper=f"high/{tag}") for tag in tags
        ]
        return layout_pb2.Chart(title=title, margin=layout_pb2.MarginChartContent(series=series))

    def lines(title: str, tag: str) -> Any:
        return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=[f"{tag}$"]))

    # TensorBoard shows margin charts of one category in the reverse order.
    means = {
        "val/loss": margin("loss on val", "val/loss"),
        f"val/{metric}": margin(f"{metric} on val", f"val/{metric}"),
    }
    gaps = {f"gap/{name}": lines(name, f"gap/{name}") for name in (metric, "loss")}
    doses = {
        "dose_response/difference": margin("difference to the baseline", "dose_response/difference"),
        f"dose_response/test_{metric}": margin(f"{metric} on test", f"dose_response/test_{metric}"),
    }
    titles = {
        "Means over seeds, with 95 % bands": means,
        "Generalisation gap: clean train minus val, means over seeds": gaps,
        f"Dose and response: the step is alpha * {DOSE_STEP}": doses,
    }
    found = {title: [chart for tag, chart in charts.items() if tag in tags] for title, charts in titles.items()}
    return [layout_pb2.Category(title=title, chart=charts) for title, charts in found.items() if charts]


def _word(value: Any) -> str:
    """As on a command line."""
    return f"[{','.join(map(_word, value))}]" if isinstance(value, (list, tuple)) else str(value)


def _plain(name: str) -> str:
    """As the name of one folder."""
    return re.sub(r"[^\w.=+,\- ]+", "-", name)
