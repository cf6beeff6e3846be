"""TensorBoard's view of a run: the same scalars as the record, pictures, histograms, the configuration, hparams."""

import io
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from mixup_lab.disk import writing
from mixup_lab.runs.event_file import EventFile


class TensorBoardView(EventFile):
    """One event file in the run directory.

    torch's SummaryWriter writes from a thread of its own; this one writes from the calling thread, so flushed events
    are on the disk even if the process is killed, and a full disk is one sentence instead of the traceback of a thread.

    The hparams session is opened in the same file, so that the list of runs shows every run once; the scalars of the
    run serve as its metrics.

    Args:
        run_dir: the directory of the run.
        resume_step: where a resumed run continues; later events of an earlier file are hidden.

    Raises:
        UserError: if the file cannot be written; all methods raise it too.
    """

    def __init__(self, run_dir: Path, resume_step: int | None = None) -> None:
        # Files are read in the order of their names, so the time in a name must be finer than a quick resume.
        now = f"{time.time():017.6f}"
        self._path = run_dir / f"events.out.tfevents.{now}.{socket.gethostname()}.{os.getpid()}"
        with writing(self._path):
            self._file = self._path.open("xb")
        super().__init__(self._file, hide_from=resume_step)
        self.flush()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write each value under its tag."""
        for tag, value in values.items():
            self.scalar(tag, value, step)

    def histogram(self, tag: str, values: np.ndarray, step: int, bins: int = 20) -> None:
        """The distribution of values in [0, 1], in bins of equal width."""
        counts, edges = np.histogram(values, bins=bins, range=(0, 1))
        self.raw_histogram(tag, counts.tolist(), edges[1:].tolist(), step)

    def bars(self, tag: str, heights: np.ndarray, step: int) -> None:
        """One bar of width 1 for each class: `heights` (C,)."""
        self.raw_histogram(tag, heights.tolist(), list(range(1, len(heights) + 1)), step)

    def picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        """One picture, uint8 (height, width, 3)."""
        from PIL import Image

        encoded = io.BytesIO()
        Image.fromarray(picture).save(encoded, format="PNG")
        self.png(tag, encoded.getvalue(), picture.shape[1], picture.shape[0], step)

    def layout(self, primary: str) -> None:
        """Choose the charts of the CUSTOM SCALARS tab: those that show whether mixing helps."""
        from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, MultilineChartContent

        charts = {
            f"{primary} on val": f"val/{primary}",
            "loss on val": "val/loss",
            f"{primary} on clean train": f"train_clean/{primary}",
            "loss on clean train": "train_clean/loss",
            "optimised loss": "train/loss",
        }
        lines = [Chart(title=title, multiline=MultilineChartContent(tag=[tag])) for title, tag in charts.items()]
        self.charts([Category(title="Does it help?", chart=lines)])

    def begin(self, trial: str, settings: Mapping[str, Any], columns: list[str], metrics: list[str]) -> None:
        """Open this run's row in the HPARAMS table.

        Args:
            trial: its name there.
            settings: the same keys for every run.
            columns: the settings that are shown.
            metrics: tags of its metrics.
        """
        plain = {k: v if isinstance(v, (bool, int, float, str)) else str(v) for k, v in settings.items()}
        self.hparams(trial, plain, columns, metrics)
        self.flush()

    def end(self, status: str) -> None:
        """Close this run's row. That of an interrupted run stays open, since TensorBoard keeps the first end."""
        if status != "interrupted":
            self.end_hparams(status == "ok")

    def flush(self) -> None:
        """Write out pending events."""
        with writing(self._path):
            self._file.flush()

    def close(self) -> None:
        """Write out pending events and close the file; a second call does nothing."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                with suppress(OSError):  # flush has reported it
                    self._file.close()

    def _write(self, event: Any) -> None:
        with writing(self._path):
            super()._write(event)
