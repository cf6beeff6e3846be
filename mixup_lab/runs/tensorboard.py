"""TensorBoard's view of a run: the same scalars as the record, pictures, histograms, the configuration, hparams."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class TensorBoardView:
    """One event file in the run directory.

    The hparams session is opened in the same file, so that the list of runs shows every run once; the scalars of the
    run serve as its metrics.

    Args:
        run_dir: the directory of the run.
        resume_step: where a resumed run goes on; what an earlier event file has from there on is hidden.
    """

    def __init__(self, run_dir: Path, resume_step: int | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter  # costs a second where torch is not loaded yet

        self._writer = SummaryWriter(str(run_dir), purge_step=resume_step)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write each value under its tag."""
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, step)

    def histogram(self, tag: str, values: np.ndarray, step: int, bins: int = 20) -> None:
        """The distribution of values in [0, 1], in bins of equal width."""
        counts, edges = np.histogram(values, bins=bins, range=(0, 1))
        self._raw_histogram(tag, counts, edges[1:], step, values)

    def bars(self, tag: str, heights: np.ndarray, step: int) -> None:
        """One bar for each class: `heights` (C,)."""
        self._raw_histogram(tag, heights, np.arange(len(heights)) + 0.5, step, np.arange(len(heights)))

    def _raw_histogram(self, tag: str, counts: np.ndarray, limits: np.ndarray, step: int, values: np.ndarray) -> None:
        self._writer.add_histogram_raw(
            tag,
            min=float(values.min()),
            max=float(values.max()),
            num=len(values),
            sum=float(values.sum()),
            sum_squares=float(np.square(values).sum()),
            bucket_limits=limits.tolist(),
            bucket_counts=counts.tolist(),
            global_step=step,
        )

    def picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        """One picture, uint8 (height, width, 3)."""
        self._writer.add_image(tag, picture, step, dataformats="HWC")

    def text(self, tag: str, text: str, step: int = 0) -> None:
        """Markdown."""
        self._writer.add_text(tag, text, step)

    def hparams(self, values: Mapping[str, Any], metrics: list[str]) -> None:
        """Open this run's row in the HPARAMS table: its settings, and which scalars are its metrics."""
        from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb

        plain = {k: v if isinstance(v, (bool, int, float, str)) else str(v) for k, v in values.items()}
        writer = self._writer.file_writer
        assert writer is not None
        writer.add_summary(
            hparams_config_pb(hparams=[HParam(name) for name in plain], metrics=[Metric(tag) for tag in metrics])
        )
        writer.add_summary(hparams_pb(plain))

    def end(self, status: str) -> None:
        """Close this run's row: succeeded or failed."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

        end = plugin_data_pb2.SessionEndInfo(
            status=api_pb2.STATUS_SUCCESS if status == "ok" else api_pb2.STATUS_FAILURE, end_time_secs=time.time()
        )
        summary = Summary()
        summary.value.add(
            tag=metadata.SESSION_END_INFO_TAG,
            metadata=metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end)),
            tensor=metadata.NULL_TENSOR,
        )
        writer = self._writer.file_writer
        assert writer is not None
        writer.add_summary(summary)

    def close(self) -> None:
        """Write out what is pending."""
        self._writer.close()
