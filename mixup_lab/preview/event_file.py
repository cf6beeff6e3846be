"""The sheet as an event file of TensorBoard."""

from __future__ import annotations

import io
from pathlib import Path

from mixup_lab.runs.event_file import EventFile, replace_event_file


def write_event_file(folder: Path, png: bytes, width: int, height: int) -> None:
    """Put the picture into `folder`, in place of the one before.

    Raises:
        UserError: if it cannot be written.
    """
    content = io.BytesIO()
    EventFile(content, hide_from=0).png("preview", png, width, height)
    replace_event_file(folder, content.getvalue(), ending=".preview")
