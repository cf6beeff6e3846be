"""TensorBoard's event files, written without torch: with a fixed wall time, the same content gives the same bytes."""

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb
from tensorboard.plugins.scalar import metadata as scalar
from tensorboard.plugins.text import metadata as text_plugin
from tensorboard.summary.writer.record_writer import RecordWriter

from mixup_lab.disk import clear_leftovers, write_atomically

_NAME = "events.out.tfevents."


class EventFile:
    """The events of one TensorBoard run, written to an open file by the calling thread.

    Args:
        file: open for writing bytes.
        wall_time: of all events, in seconds since 1970; None: the time at which each is written.
        hide_from: TensorBoard forgets earlier events of this run from this step on; None: it keeps them.
    """

    def __init__(self, file: IO[bytes], wall_time: float | None = None, hide_from: int | None = None) -> None:
        self.tags: list[str] = []  # of scalars, in the order of their first points
        self._records, self._wall_time = RecordWriter(file), wall_time
        self._write(Event(file_version="brain.Event:2"))
        if hide_from is not None:
            self._write(Event(step=hide_from, session_log=SessionLog(status=SessionLog.START)))

    def scalar(self, tag: str, value: float, step: int, about: str = "") -> None:
        """A point; `about` describes its tag in Markdown."""
        first = tag not in self.tags
        if first:
            self.tags.append(tag)
        described = scalar.create_summary_metadata(display_name="", description=about) if first and about else None
        self._value(step, tag=tag, simple_value=value, metadata=described)

    def raw_histogram(self, tag: str, counts: Sequence[float], limits: Sequence[float], step: int) -> None:
        """Bins that begin at 0, with these right edges."""
        bins = HistogramProto(min=0.0, max=limits[-1], num=sum(counts), bucket_limit=limits, bucket=counts)
        self._value(step, tag=tag, histo=bins)

    def png(self, tag: str, png: bytes, width: int, height: int, step: int = 0) -> None:
        """A picture, already encoded."""
        picture = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
        self._value(step, tag=tag, image=picture)

    def text(self, tag: str, text: str, step: int = 0) -> None:
        """Markdown."""
        about = text_plugin.create_summary_metadata(display_name="", description="")
        self._value(step, tag=f"{tag}/text_summary", metadata=about, tensor=_string(text.encode(), dimensions=1))

    def charts(self, categories: Any) -> None:
        """The charts of the CUSTOM SCALARS tab: `layout_pb2.Category` objects."""
        content = layout_pb2.Layout(category=categories).SerializeToString()
        about = custom_scalar.create_summary_metadata()
        self._value(0, tag=custom_scalar.CONFIG_SUMMARY_TAG, metadata=about, tensor=_string(content))

    def hparams(self, trial: str, row: Mapping[str, Any], columns: Sequence[str], metrics: Sequence[str]) -> None:
        """Open a row of the HPARAMS table.

        Args:
            trial: name of the row; TensorBoard folds rows of one name into one.
            row: value of each setting that the row has.
            columns: names of all settings of the table.
            metrics: tags of the scalars that serve as its metrics.
        """
        now = self._now()
        infos = {"hparams": [HParam(name) for name in columns], "metrics": [Metric(tag) for tag in metrics]}
        self._summary(hparams_config_pb(time_created_secs=now, **infos))
        self._summary(hparams_pb(dict(row), trial_id=trial, start_time_secs=now))

    def end_hparams(self, ok: bool = True) -> None:
        """Close the row: succeeded or failed. TensorBoard keeps the first of several ends."""
        status = api_pb2.STATUS_SUCCESS if ok else api_pb2.STATUS_FAILURE
        end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=self._now())
        about = hparams.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end))
        self._value(0, tag=hparams.SESSION_END_INFO_TAG, metadata=about, tensor=hparams.NULL_TENSOR)

    def _now(self) -> float:
        return time.time() if self._wall_time is None else self._wall_time

    def _value(self, step: int, **fields: Any) -> None:
        self._summary(Summary(value=[Summary.Value(**fields)]), step)

    def _summary(self, summary: Any, step: int = 0) -> None:
        for value in summary.value:  # the settings are packed as bytes of a protobuf map, whose order is not fixed
            plugin = value.metadata.plugin_data
            if plugin.plugin_name == "hparams":
                data = plugin_data_pb2.HParamsPluginData.FromString(plugin.content)
                plugin.content = data.SerializeToString(deterministic=True)
        self._write(Event(summary=summary, step=step))

    def _write(self, event: Any) -> None:
        event.wall_time = self._now()
        self._records.write(event.SerializeToString(deterministic=True))


def _string(content: bytes, dimensions: int = 0) -> Any:
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)] * dimensions)
    return TensorProto(dtype="DT_STRING", string_val=[content], tensor_shape=shape)


def replace_event_file(folder: Path, content: bytes, ending: str = "") -> None:
    """Put an event file into a folder, in place of an earlier one with the same ending.

    New content gets a new name, the next in order. The file before it stays as an empty one: a TensorBoard that is
    reading it goes on to the next file, but would wait forever at a missing one.

    Raises:
        UserError, OSError: if it cannot be written.
    """
    clear_leftovers(folder)
    old = sorted(folder.glob(f"{_NAME}*{ending}"))
    if old and old[-1].read_bytes() == content:
        return
    numbers = [int(match[1]) for path in old if (match := re.match(r"(\d+)", path.name.removeprefix(_NAME)))]
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / "new"  # TensorBoard takes every name with "tfevents" in it for an event file
    write_atomically(aside, content)
    aside.replace(folder / f"{_NAME}{1 + max(numbers, default=0):010}{ending}")
    for path in old:
        if path.stat().st_size:
            path.write_bytes(b"")
        else:
            path.unlink()


def remove_event_files(folder: Path) -> None:
    """Remove the event files of a folder, and the folder if nothing else is in it."""
    for path in folder.glob(f"{_NAME}*"):
        path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
