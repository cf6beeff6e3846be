"""Reports of a run go to the record first (the truth), then to TensorBoard and the progress bar (views of it)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mixup_lab.disk import write_atomically
from mixup_lab.runs.progress import ProgressView
from mixup_lab.runs.record import Record
from mixup_lab.runs.tensorboard import TensorBoardView

LARGEST_PREDICTIONS = 256 * 2**20  # bytes of predictions.npz before compression; larger ones are left out


class RunLog:
    """Passes each report on to the record, TensorBoard and the progress view."""

    def __init__(self, record: Record, board: TensorBoardView, progress: ProgressView) -> None:
        self.record, self.board, self.progress = record, board, progress
        self.run_dir: Path = record.run_dir
        self.epochs = 0

    def start(self, title: str, about: str, done_steps: int, event: Mapping[str, Any]) -> None:
        """The run begins, or goes on after `done_steps`.

        Args:
            title: of the run.
            about: a few words on its length.
            done_steps: since the start of the training.
            event: the fields of its `start` event, `epochs` and `steps_per_epoch` among them.
        """
        self.epochs = event["epochs"]
        self.record.event("start", **event)
        self.progress.start(title, about, self.epochs, event["steps_per_epoch"], done_steps)

    def step(self, epoch: int, steps: int, samples_per_second: float) -> None:
        """`steps` of epoch `epoch` (from 0) are done."""
        self.progress.step(epoch, steps, samples_per_second)

    def epoch(
        self,
        epoch: int,
        step: int,
        samples: int,
        seconds: float,
        scalars: dict[str, float],
        lam: np.ndarray,
        label_mass: np.ndarray | None = None,
    ) -> None:
        """Epoch number `epoch` (from 1) is done: `lam` of all its examples, share of each class in its labels."""
        mass = {} if label_mass is None else {"label_mass": [round(float(share), 6) for share in label_mass]}
        self.record.event("epoch", epoch=epoch, step=step, samples=samples, seconds=seconds, scalars=scalars, **mass)
        self.board.scalars(scalars, step)
        self.board.histogram("mix/lam", lam, step)
        if label_mass is not None:
            self.board.bars("mix/label_mass", label_mass, step)
        self.board.flush()
        self.progress.epoch(epoch, self.epochs, scalars)

    def picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        """A picture for TensorBoard, uint8 (height, width, 3)."""
        self.board.picture(tag, picture, step)
        self.board.flush()

    def predictions(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write `predictions.npz`, unless it would be huge."""
        size = sum(array.nbytes for array in arrays.values())
        if size > LARGEST_PREDICTIONS:
            self.record.event("note", text=f"predictions.npz is left out: {size / 2**20:.0f} MiB")
            return
        write_atomically(self.run_dir / "predictions.npz", lambda file: np.savez_compressed(file, **dict(arrays)))  # type: ignore[arg-type]

    def end(self, status: str, scalars: Mapping[str, float], step: int, **fields: Any) -> None:
        """The run is over: ok, failed or interrupted. The record is written even if TensorBoard's file cannot be."""
        try:
            self.progress.stop()
            self.board.scalars({k: v for k, v in scalars.items() if k.startswith(("test/", "val_best/"))}, step)
            self.board.end(status)
            self.board.close()
        finally:
            try:
                self.record.end(status, scalars, **fields)
            finally:
                self.record.close()
