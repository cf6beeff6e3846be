"""TensorBoard's event files, written without torch: the same content gives the same bytes."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mixup_lab.runs.files import write_atomically
from mixup_lab.study.results import Interval

_EVENTS = "events.out.tfevents."


class RunEvents:
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

    def hparams(self, trial: str, row: Mapping[str, Any], columns: list[str], metrics: list[str]) -> None:
        """One row of the HPARAMS table, which is finished."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
        from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb

        infos = {"hparams": [HParam(name) for name in columns], "metrics": [Metric(tag) for tag in metrics]}
        self._add(hparams_config_pb(time_created_secs=self.wall_time, **infos))
        self._add(hparams_pb(dict(row), trial_id=trial, start_time_secs=self.wall_time))
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


def replace_event_files(folder: Path, contents: Mapping[str, bytes]) -> None:
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
