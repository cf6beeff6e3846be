"""The sheet as an event file of TensorBoard."""

from __future__ import annotations

import io
import time
from pathlib import Path

from mixup_lab.runs.files import write_atomically

TAG = "preview"
_PATTERN = "events.out.tfevents.*.preview"


def write_event_file(folder: Path, png: bytes, width: int, height: int) -> None:
    """Put the picture into `folder`, in place of the one before.

    The old file stays as an empty one until the next time: a TensorBoard that is reading it goes on to the new one,
    while it would wait for ever at one that is gone.

    Raises:
        UserError: if it cannot be written.
    """
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    now = time.time()
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    events = [
        Event(wall_time=now, file_version="brain.Event:2"),
        Event(wall_time=now, step=0, session_log=SessionLog(status=SessionLog.START)),  # hides what was before
        Event(wall_time=now, step=0, summary=Summary(value=[Summary.Value(tag=TAG, image=image)])),
    ]
    content = io.BytesIO()
    records = RecordWriter(content)
    for event in events:
        records.write(event.SerializeToString())
    before = sorted(folder.glob(_PATTERN))
    # Aside under a name that TensorBoard does not take for an event file.
    aside = folder / "new"
    write_atomically(aside, lambda file: file.write(content.getvalue()))
    aside.replace(folder / f"events.out.tfevents.{now:017.6f}.preview")
    for path in before:
        if path.stat().st_size:
            path.write_bytes(b"")
        else:
            path.unlink()
