"""Evaluation: always on clean data, with the true counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from mixup_lab.data.prepare import Split
from mixup_lab.tasks.classification import Classification
from mixup_lab.training.device import Precision


class Evaluator:
    """How every split is evaluated in a run: same task, same precision, same batches.

    Args:
        task: gives the metrics.
        prepared: from a source's raw batch to what the model takes.
        precision: as in training.
        batch_size: examples at a time; does not change the metrics.
    """

    def __init__(
        self, task: Classification, prepared: Callable[[Tensor], Tensor], precision: Precision, batch_size: int
    ) -> None:
        self.task = task
        self.prepared = prepared
        self.precision = precision
        self.batch_size = batch_size

    @torch.inference_mode()
    def outputs(self, model: nn.Module, split: Split, positions: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
        """Outputs (n, ...) float32 and targets of a split, or of some positions in it, on the device."""
        positions = np.arange(len(split.ids)) if positions is None else positions
        cuts = range(self.batch_size, len(positions), self.batch_size)
        was_training = model.training
        model.eval()
        outputs, targets = [], []
        for batch in split.batches(np.split(positions, cuts)):
            with self.precision.autocast():
                outputs.append(model(self.prepared(batch.inputs)).float())
            targets.append(batch.target)
        model.train(was_training)
        return torch.cat(outputs), torch.cat(targets)

    @torch.inference_mode()
    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """The task's metrics of these outputs."""
        return self.task.compute(self.task.eval_sums(outputs, targets))
