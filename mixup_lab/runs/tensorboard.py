"""TensorBoard's view of a run: the same scalars as the record, pictures, histograms, the configuration, hparams."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from mixup_lab.types import UserError


class TensorBoardView:
    """One event file in the run directory.

    It is written in this thread, not by one of its own as torch's SummaryWriter does it: what was flushed is on the
    disk even if the process is killed, and a full disk is a sentence instead of the traceback of a thread.

    The hparams session is opened in the same file, so that the list of runs shows every run once; the scalars of the
    run serve as its metrics.

    Args:
        run_dir: the directory of the run.
        resume_step: where a resumed run goes on; what an earlier event file has from there on is hidden.

    Raises:
        UserError: if the file cannot be written; so do all methods.
    """

    def __init__(self, run_dir: Path, resume_step: int | None = None) -> None:
        # These cost a second where torch is not loaded yet.
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter
        from torch.utils.tensorboard import summary

        self._make: Any = summary  # functions without types
        # Files are read in the order of their names, so the time in it is finer than a resume is quick.
        now = f"{time.time():017.6f}"
        self._path = run_dir / f"events.out.tfevents.{now}.{socket.gethostname()}.{os.getpid()}"
        try:
            self._file = self._path.open("xb")
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}") from error
        self._records = RecordWriter(self._file)
        self._write(Event(file_version="brain.Event:2"))
        if resume_step is not None:
            self._write(Event(step=resume_step, session_log=SessionLog(status=SessionLog.START)))
        self.flush()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write each value under its tag."""
        for tag, value in values.items():
            self._summary(self._make.scalar(tag, value), step)

    def histogram(self, tag: str, values: np.ndarray, step: int, bins: int = 20) -> None:
        """The distribution of values in [0, 1], in bins of equal width."""
        counts, edges = np.histogram(values, bins=bins, range=(0, 1))
        self._raw_histogram(tag, counts, edges[1:], step)

    def bars(self, tag: str, heights: np.ndarray, step: int) -> None:
        """One bar of width 1 for each class: `heights` (C,)."""
        self._raw_histogram(tag, heights, np.arange(1, len(heights) + 1), step)

    def _raw_histogram(self, tag: str, counts: np.ndarray, limits: np.ndarray, step: int) -> None:
        """Bins from 0 on, `limits` their right ends."""
        histogram = self._make.histogram_raw(
            tag,
            min=0.0,
            max=float(limits[-1]),
            num=float(counts.sum()),
            sum=0.0,
            sum_squares=0.0,
            bucket_limits=limits.tolist(),
            bucket_counts=counts.tolist(),
        )
        self._summary(histogram, step)

    def picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        """One picture, uint8 (height, width, 3)."""
        self._summary(self._make.image(tag, picture, dataformats="HWC"), step)

    def text(self, tag: str, text: str, step: int = 0) -> None:
        """Markdown."""
        self._summary(self._make.text(tag, text), step)

    def layout(self, primary: str) -> None:
        """Choose the charts of the CUSTOM SCALARS tab: what tells whether mixing helps."""
        charts = {
            f"{primary} on val": f"val/{primary}",
            "loss on val": "val/loss",
            f"{primary} on clean train": f"train_clean/{primary}",
            "loss on clean train": "train_clean/loss",
            "loss that was optimised": "train/loss",
        }
        category = {title: ["Multiline", [tag]] for title, tag in charts.items()}
        self._summary(self._make.custom_scalars({"Does it help?": category}))

    def hparams(self, trial: str, values: Mapping[str, Any], metrics: list[str]) -> None:
        """Open this run's row in the HPARAMS table: its name there, its settings, and which scalars are its metrics."""
        from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb

        plain = {k: v if isinstance(v, (bool, int, float, str)) else str(v) for k, v in values.items()}
        config = hparams_config_pb(hparams=[HParam(name) for name in plain], metrics=[Metric(tag) for tag in metrics])
        self._summary(config)
        self._summary(hparams_pb(plain, trial_id=trial))
        self.flush()

    def end(self, status: str) -> None:
        """Close this run's row: succeeded or failed. TensorBoard keeps the first word, so an interrupted one waits."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

        if status == "interrupted":
            return
        end = plugin_data_pb2.SessionEndInfo(
            status=api_pb2.STATUS_SUCCESS if status == "ok" else api_pb2.STATUS_FAILURE, end_time_secs=time.time()
        )
        summary = Summary()
        summary.value.add(
            tag=metadata.SESSION_END_INFO_TAG,
            metadata=metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end)),
            tensor=metadata.NULL_TENSOR,
        )
        self._summary(summary)

    def flush(self) -> None:
        """Write out what is pending."""
        try:
            self._file.flush()
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}") from error

    def close(self) -> None:
        """Write out what is pending and close the file; a second time does nothing."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                with suppress(OSError):  # said by flush
                    self._file.close()

    def _summary(self, summary: Any, step: int | None = None) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._write(Event(summary=summary, step=step))

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        try:
            self._records.write(event.SerializeToString())
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}") from error
