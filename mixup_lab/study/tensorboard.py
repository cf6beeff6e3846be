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

from mixup_lab.runs.files import write_atomically
from mixup_lab.runs.record import read_events
from mixup_lab.study.results import Answer, Arm, Curve, Interval, Moments
from mixup_lab.types import UserError

FOLDER = "_aggregate"
DOSE_STEP = 1000  # steps of the dose-response for alpha = 1; TensorBoard's steps are whole numbers
_DOSE = f"The step is alpha times {DOSE_STEP}: 400 is alpha = 0.4, and 0 is the baseline."
_EVENTS = "events.out.tfevents."


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
    runs = {_plain(arm.name): _Run(began) for arm in answer.arms}
    rows = {arm.id: _row(answer, arm, origins[arm.id].choices) for arm in answer.arms}
    for arm, run in zip(answer.arms, runs.values(), strict=True):
        _arm(run, answer, arm, origins[arm.id].steps_per_epoch)
        run.hparams(arm, rows[arm.id], _columns(rows.values()), _metrics(answer.metric.name))
    for name, arms in _doses(answer.arms).items():
        runs[name] = _Run(began)
        _dose_response(runs[name], answer.metric.name, arms)
    first = next(iter(runs.values()), None)
    if first is not None:
        first.layout(_charts(answer.metric.name, {tag for run in runs.values() for tag in run.tags}))
    try:
        _replace(study_dir / FOLDER, {name: run.content() for name, run in runs.items()})
    except OSError as error:
        raise UserError(f"cannot write {study_dir / FOLDER}: {error.strerror}") from error


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


class _Run:
    """The events of one run of TensorBoard."""

    def __init__(self, wall_time: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        self.wall_time = wall_time
        self.tags: list[str] = []
        self._events = [
            Event(file_version="brain.Event:2", wall_time=wall_time),
            # Whatever TensorBoard has read of this run before is hidden.
            Event(step=0, session_log=SessionLog(status=SessionLog.START), wall_time=wall_time),
        ]

    def scalar(self, tag: str, step: int, value: float, band: Interval | None = None, about: str = "") -> None:
        """A point; with a band also its ends."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.scalar import metadata

        ends = {} if band is None else {f"low/{tag}": band[0], f"high/{tag}": band[1]}
        for name, height in {tag: value, **ends}.items():
            if not math.isfinite(height):
                continue
            summary = Summary()
            point = summary.value.add(tag=name, simple_value=height)
            if name not in self.tags:
                self.tags.append(name)
                if about:
                    point.metadata.CopyFrom(metadata.create_summary_metadata(display_name="", description=about))
            self._add(summary, step)

    def text(self, tag: str, text: str) -> None:
        """Markdown."""
        from tensorboard.plugins.text import metadata

        about = metadata.create_summary_metadata(display_name="", description="")
        self._strings(f"{tag}/text_summary", about, text.encode(), dimensions=1)

    def layout(self, categories: Any) -> None:
        """The charts of the CUSTOM SCALARS tab."""
        from tensorboard.plugins.custom_scalar import layout_pb2, metadata

        content = layout_pb2.Layout(category=categories).SerializeToString()
        self._strings(metadata.CONFIG_SUMMARY_TAG, metadata.create_summary_metadata(), content)

    def hparams(self, arm: Arm, row: Mapping[str, Any], columns: list[str], metrics: list[str]) -> None:
        """One row of the HPARAMS table, which is finished."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
        from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb

        infos = {"hparams": [HParam(name) for name in columns], "metrics": [Metric(tag) for tag in metrics]}
        self._add(hparams_config_pb(time_created_secs=self.wall_time, **infos))
        # The first letters have to tell the rows of arms from those of runs.
        self._add(hparams_pb(dict(row), trial_id=f"MEAN {arm.name}", start_time_secs=self.wall_time))
        end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=self.wall_time)
        summary = Summary()
        summary.value.add(
            tag=metadata.SESSION_END_INFO_TAG,
            metadata=metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end)),
            tensor=metadata.NULL_TENSOR,
        )
        self._add(summary)

    def content(self) -> bytes:
        """The event file."""
        from tensorboard.summary.writer.record_writer import RecordWriter

        file = io.BytesIO()
        records = RecordWriter(file)
        for event in self._events:
            records.write(event.SerializeToString(deterministic=True))
        return file.getvalue()

    def _strings(self, tag: str, about: Any, content: bytes, dimensions: int = 0) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)] * dimensions)
        tensor = TensorProto(dtype="DT_STRING", string_val=[content], tensor_shape=shape)
        self._add(Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=tensor)]))

    def _add(self, summary: Any, step: int = 0) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        for value in summary.value:  # a map of protobuf has no order of its own, and here it is packed as bytes
            if value.metadata.plugin_data.plugin_name == "hparams":
                value.metadata.plugin_data.content = _in_order(value.metadata.plugin_data.content)
        self._events.append(Event(summary=summary, step=step, wall_time=self.wall_time))


def _in_order(content: bytes) -> bytes:
    from tensorboard.plugins.hparams import plugin_data_pb2

    data = plugin_data_pb2.HParamsPluginData.FromString(content)
    return bytes(data.SerializeToString(deterministic=True))


def _arm(run: _Run, answer: Answer, arm: Arm, steps_per_epoch: int) -> None:
    """Mean curves, the generalisation gap, and the numbers at the end."""
    metric = answer.metric.name
    curves = {curve.tag: curve for curve in answer.curves if curve.arm == arm.id}
    last = 0
    for tag, curve in curves.items():
        for epoch, mean, low, high in zip(curve.epochs, curve.mean, curve.low, curve.high, strict=True):
            last = max(last, epoch * steps_per_epoch)
            run.scalar(tag, epoch * steps_per_epoch, mean, (low, high))
    for name in dict.fromkeys((metric, "loss")):
        for epoch, gap in _gap(curves.get(f"train_clean/{name}"), curves.get(f"val/{name}")):
            # No band: how train and val vary together is not in the two curves.
            run.scalar(f"gap/{name}", epoch * steps_per_epoch, gap, about="train_clean minus val, means over seeds")
    # `mean/val` stands for itself: seeds may end at different epochs, and then the curve ends with the longest ones.
    for tag, moments in ((f"test/{metric}", arm.test), (f"mean/val_{metric}", arm.val)):
        if moments.mean is not None:
            run.scalar(tag, last, moments.mean, _interval(moments))
    difference = _difference(arm)
    if difference is not None:
        run.scalar("mean/difference", last, *difference, about=f"test {metric}: arm minus baseline of the same seed")


def _gap(train: Curve | None, val: Curve | None) -> list[tuple[int, float]]:
    if train is None or val is None:
        return []
    on_val = dict(zip(val.epochs, val.mean, strict=True))
    return [(e, mean - on_val[e]) for e, mean in zip(train.epochs, train.mean, strict=True) if e in on_val]


def _interval(moments: Moments) -> Interval | None:
    """95 % interval of a mean (t); the mean itself for one seed."""
    if moments.mean is None:
        return None
    if moments.sd is None or moments.n < 2:
        return moments.mean, moments.mean
    from scipy.special import stdtrit

    half = float(stdtrit(moments.n - 1, 0.975)) * moments.sd / math.sqrt(moments.n)
    return moments.mean - half, moments.mean + half


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


_DOSE_KEYS = ("alpha", "aug.alpha", "seed")


def _dose_response(run: _Run, metric: str, arms: list[Arm]) -> None:
    run.text("dose_response", _DOSE)
    for arm in arms:
        step = round((arm.alpha or 0.0) * DOSE_STEP)
        if arm.test.mean is not None:
            run.scalar(f"dose_response/test_{metric}", step, arm.test.mean, _interval(arm.test), _DOSE)
        difference = _difference(arm)
        if difference is not None:
            run.scalar("dose_response/difference", step, *difference, about=_DOSE)


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


def _replace(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Make the event files below `folder` be these, one in each sub-folder.

    New content gets a new name, the next in order. The file before it stays as an empty one: a TensorBoard that is
    reading it goes on to the next, while it would wait for ever at one that is gone.
    """
    for path in sorted(folder.glob(f"*/{_EVENTS}*")):
        if path.parent.name not in contents:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # somebody else's files are in it
                path.parent.rmdir()
    for name, content in contents.items():
        old = sorted((folder / name).glob(f"{_EVENTS}*"))
        if old and old[-1].read_bytes() == content:
            continue
        number = 1 + max((int(found[1]) for path in old if (found := re.search(r"\.(\d+)$", path.name))), default=0)
        (folder / name).mkdir(parents=True, exist_ok=True)
        # Aside under a name that TensorBoard does not take for an event file.
        aside = folder / name / "new"
        write_atomically(aside, lambda file, content=content: file.write(content))  # type: ignore[misc]
        aside.replace(folder / name / f"{_EVENTS}{number:010}")
        for path in old:
            if path.stat().st_size:
                path.write_bytes(b"")
            else:
                path.unlink()


def _word(value: Any) -> str:
    """As on a command line."""
    return f"[{','.join(map(_word, value))}]" if isinstance(value, (list, tuple)) else str(value)


def _plain(name: str) -> str:
    """As the name of one folder."""
    return re.sub(r"[^\w.=+,\- ]+", "-", name)
