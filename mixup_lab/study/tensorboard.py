"""A study in TensorBoard: each arm as one curve with its band, the dose-response, and a row for each arm. No torch.

The arms are next to the runs, in `STUDY/_aggregate/`: `_aggregate/mixup-a0.4` has the tags and steps of the runs, with
means over seeds. The ends of a band are `low/TAG` and `high/TAG`: charts of TensorBoard select tags by the beginning of
their names, so a chart of `val/accuracy` would also show `val/accuracy_low`.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixup_lab.disk import writing
from mixup_lab.runs.event_file import EventFile, remove_event_files, replace_event_file
from mixup_lab.runs.record import read_events
from mixup_lab.study.results import Answer, Arm, Curve, Moments
from mixup_lab.study.statistics.intervals import mean_interval

FOLDER = "_aggregate"
DOSE_STEP = 1000  # steps of the dose-response for alpha = 1; TensorBoard's steps are whole numbers
MIDDLE = "mean"  # before a tag: the middle of a band, which no run has; runs without a band would count as incomplete
_DOSE = f"The step is alpha times {DOSE_STEP}: 400 is alpha = 0.4, and 0 is the baseline."
_DOSE_KEYS = ("alpha", "aug.alpha", "seed")
Point = tuple[float, ...]  # a value, or a value with the low and the high end of its band


def write_aggregate(answer: Answer, study_dir: Path) -> None:
    """Write the event files of `STUDY/_aggregate/`, replacing the ones that are there.

    The same answer gives the same bytes, and unchanged files are left alone. A running TensorBoard replaces the old
    values by the new ones.

    Raises:
        UserError: if they cannot be written.
    """
    origins = {arm.id: _Origin.of(arm, study_dir) for arm in answer.arms}
    # TensorBoard lists runs by their beginning: arms shortly before the first of their runs.
    began = min((origin.began for origin in origins.values() if origin.began), default=2.0) - 1
    runs = {_plain(arm.name): _Events(began) for arm in answer.arms}
    rows = {arm.id: _row(answer, arm, origins[arm.id].choices) for arm in answer.arms}
    # TensorBoard uses the columns of any one run for all, and rows of runs also have a seed.
    columns = [name for name in dict.fromkeys(name for row in rows.values() for name in row) if _differs(name, rows)]
    metrics = [f"test/{answer.metric.name}", "mean/difference", f"mean/val_{answer.metric.name}"]
    for arm, run in zip(answer.arms, runs.values(), strict=True):
        _arm(run, answer, arm, origins[arm.id].steps_per_epoch)
        # The first letters distinguish the rows of arms from those of runs.
        run.hparams(f"MEAN {arm.name}", rows[arm.id], [*columns, "seed"], metrics)
        run.end_hparams()
    for name, arms in _doses(answer.arms).items():
        run = runs[name] = _Events(began)
        run.text("dose_response", _DOSE)
        for arm in arms:
            step = round((arm.alpha or 0.0) * DOSE_STEP)
            run.point(f"dose_response/test_{answer.metric.name}", step, _mean(arm.test), _DOSE)
            run.point("dose_response/difference", step, _difference(arm), _DOSE)
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

    def point(self, tag: str, step: int, point: Point | None, about: str = "") -> None:
        """A value with the ends of its band, if there is one; values that are not finite are left out."""
        for name, value in zip((tag, f"low/{tag}", f"high/{tag}"), point or (), strict=False):
            if math.isfinite(value):
                self.scalar(name, value, step, about)


@dataclass(frozen=True)
class _Origin:
    """Facts of the first recorded run of an arm that an answer does not contain."""

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
                    steps = epoch.get("step", 0) // max(1, epoch["epoch"])
                    return _Origin(max(1, steps), start.get("time"), start.get("choices"))
        return _Origin()


def _arm(run: _Events, answer: Answer, arm: Arm, steps_per_epoch: int) -> None:
    """Mean curves, the generalisation gap, and the numbers at the end."""
    metric = answer.metric.name
    curves = {curve.tag: curve for curve in answer.curves if curve.arm == arm.id}
    last = 0
    for tag, curve in curves.items():
        for epoch, mean, low, high in zip(curve.epochs, curve.mean, curve.low, curve.high, strict=True):
            last = max(last, epoch * steps_per_epoch)
            low = max(0.0, low) if tag.endswith("/loss") else low
            run.point(tag, epoch * steps_per_epoch, (mean, low, high))
            if tag in (f"val/{metric}", "val/loss"):
                run.scalar(f"{MIDDLE}/{tag}", mean, epoch * steps_per_epoch)
    for name in dict.fromkeys((metric, "loss")):
        for epoch, gap in _gap(curves.get(f"train_clean/{name}"), curves.get(f"val/{name}")):
            # No band: the two curves do not show how train and val vary together.
            run.point(f"gap/{name}", epoch * steps_per_epoch, (gap,), "train_clean minus val, means over seeds")
    # The last point of the curve is not the mean of all seeds if some of them stopped early.
    for tag, moments in ((f"test/{metric}", arm.test), (f"mean/val_{metric}", arm.val)):
        run.point(tag, last, _mean(moments))
    run.point("mean/difference", last, _difference(arm), f"test {metric}: arm minus baseline of the same seed")


def _gap(train: Curve | None, val: Curve | None) -> list[tuple[int, float]]:
    if train is None or val is None:
        return []
    on_val = dict(zip(val.epochs, val.mean, strict=True))
    return [(e, mean - on_val[e]) for e, mean in zip(train.epochs, train.mean, strict=True) if e in on_val]


def _mean(moments: Moments) -> Point | None:
    """Mean and 95 % interval; the mean itself for one seed."""
    mean = moments.mean
    return None if mean is None else (mean, *(mean_interval(moments) or (mean, mean)))


def _difference(arm: Arm) -> Point | None:
    """Mean and interval of the difference to the baseline, which is 0 for a baseline."""
    if arm.baseline is None:
        return 0.0, 0.0, 0.0
    comparison = arm.comparison
    if comparison is None or comparison.mean is None:
        return None
    return comparison.mean, *(comparison.retraining or (comparison.mean, comparison.mean))


def _doses(arms: tuple[Arm, ...]) -> dict[str, list[Arm]]:
    """Arms that differ in alpha alone, with their baseline, by the name of the run that shows them."""
    by_id = {arm.id: arm for arm in arms}
    groups: dict[tuple[Any, ...], list[Arm]] = {}
    for arm in arms:
        if arm.baseline in by_id and arm.alpha is not None:
            rest = tuple(f"{k}={_word(v)}" for k, v in sorted(arm.settings.items()) if k not in _DOSE_KEYS)
            groups.setdefault((arm.baseline, rest), [by_id[arm.baseline]]).append(arm)
    groups = {key: sorted(group, key=lambda arm: arm.alpha or 0.0) for key, group in groups.items()}
    # Names hold only the settings that are not shared by all groups.
    shared = set.intersection(*(set(rest) for _, rest in groups)) if groups else set()
    doses: dict[str, list[Arm]] = {}
    for (baseline, rest), group in groups.items():
        own = ",".join(word for word in rest if word not in shared)
        name = _plain(f"dose_response {own}".strip())
        doses[name if name not in doses else _plain(f"{name} {by_id[baseline].name}")] = group
    return doses


def _row(answer: Answer, arm: Arm, choices: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings of an arm, with the names in its runs."""
    settings = {**answer.settings, **arm.settings}
    short = ("optimizer.lr", "optimizer.weight_decay", "trainer.epochs", "trainer.batch_size")
    row = {
        "arm": arm.name,
        **{group: choice for group, choice in (choices or {}).items() if isinstance(choice, str)},
        "alpha": arm.alpha,
        **{key.partition(".")[2]: settings.get(key) for key in short},
        **{key: value for key, value in arm.settings.items() if key not in (*_DOSE_KEYS, *short)},
    }
    return {k: v if isinstance(v, (bool, int, float)) else _word(v) for k, v in row.items() if v is not None}


def _differs(name: str, rows: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a setting differs between arms; their names and alpha are shown anyhow."""
    return name in ("arm", "alpha") or len({row.get(name) for row in rows.values()}) > 1


def _charts(metric: str, tags: set[str]) -> list[Any]:
    """The layout; charts without a scalar are left out."""
    from tensorboard.plugins.custom_scalar import layout_pb2

    def chart(title: str, tag: str) -> Any:
        if tag.startswith("gap/"):
            return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=[f"{tag}$"]))
        series = layout_pb2.MarginChartContent.Series(value=f"{MIDDLE}/{tag}", lower=f"low/{tag}", upper=f"high/{tag}")
        return layout_pb2.Chart(title=title, margin=layout_pb2.MarginChartContent(series=[series]))

    # TensorBoard shows margin charts of one category in the reverse order.
    titles = {
        "Means over seeds, with 95 % bands": {"loss on val": "val/loss", f"{metric} on val": f"val/{metric}"},
        "Generalisation gap: clean train minus val, means over seeds": {
            name: f"gap/{name}" for name in (metric, "loss")
        },
    }
    shown = {title: [chart(*row) for row in rows.items() if row[1] in tags] for title, rows in titles.items()}
    return [layout_pb2.Category(title=title, chart=charts) for title, charts in shown.items() if charts]


def _word(value: Any) -> str:
    """As on a command line."""
    return f"[{','.join(map(_word, value))}]" if isinstance(value, (list, tuple)) else str(value)


def _plain(name: str) -> str:
    """As the name of one folder."""
    return re.sub(r"[^\w.=+,\- ]+", "-", name)
