"""Evaluation: always on clean data, with the true counts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mixup_lab.data.prepare import Split
from mixup_lab.targets.target import Task
from mixup_lab.training.device import Precision


@dataclass(frozen=True)
class Evaluator:
    """How every split is evaluated in a run: same task, same precision, same batches."""

    task: Task
    encode: Callable[[Tensor], Tensor]  # from a stored batch to the model's inputs
    precision: Precision  # as in training
    batch_size: int  # examples at a time; does not change the metrics

    @torch.inference_mode()
    def observe(self, model: nn.Module, split: Split, positions: np.ndarray | None = None) -> dict[str, Tensor]:
        """What the task keeps of a split, or of some positions in it: each (n, ...), on the device."""
        positions = np.arange(len(split.ids)) if positions is None else positions
        order = None
        if split.lengths is not None:  # similar lengths together, so that little of a batch is padding
            order = np.argsort(split.lengths[positions], kind="stable")
            positions = positions[order]
        outputs = self._outputs(model, split, positions)
        kept = [self.task.observe(output, target) for output, target in outputs]
        joined = {name: torch.cat([part[name] for part in kept]) for name in kept[0]}
        if order is None:
            return joined
        return {name: values[torch.from_numpy(np.argsort(order)).to(values.device)] for name, values in joined.items()}

    @torch.inference_mode()
    def answers(self, model: nn.Module, split: Split, positions: np.ndarray) -> Tensor | None:
        """The model's predictions at these positions in the form of targets (n, ...); None if targets have no place."""
        answers = [self.task.as_target(output) for output, _ in self._outputs(model, split, positions)]
        placed = [answer for answer in answers if answer is not None]
        return torch.cat(placed) if placed else None

    def _outputs(self, model: nn.Module, split: Split, positions: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        """Outputs (B, ...) float32 of the model in evaluation mode, and targets."""
        cuts = range(self.batch_size, len(positions), self.batch_size)
        was_training = model.training
        model.eval()
        for batch in split.batches(np.split(positions, cuts)):
            with self.precision.autocast():
                output = model(self.encode(batch.inputs))
            yield output.float(), batch.target
        model.train(was_training)

    @torch.inference_mode()
    def metrics(self, kept: dict[str, Tensor]) -> dict[str, float]:
        """The task's metrics of what `observe` kept."""
        return self.task.metrics(kept)
