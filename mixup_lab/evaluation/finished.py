"""A finished run, read again: its record, its predictions, and if a lens asks for it the model with its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from mixup_lab.data.prepare import Split
from mixup_lab.data.source import Loaded
from mixup_lab.runs.predictions import read_predictions
from mixup_lab.runs.record import Event
from mixup_lab.runs.settings import MACHINE_KEYS, flat
from mixup_lab.runs.store import MIXING
from mixup_lab.seeding import stream
from mixup_lab.training.checkpoint import NAME, read_checkpoint
from mixup_lab.training.device import Precision
from mixup_lab.training.evaluate import Evaluator
from mixup_lab.training.ingredients import Ingredients
from mixup_lab.types import UserError


class _Predictions(dict[str, np.ndarray]):
    """Arrays by name; one that is missing is a fault of the file, not of a lens."""

    def __init__(self, run_dir: Path, arrays: dict[str, np.ndarray]) -> None:
        super().__init__(arrays)
        self.run_dir = run_dir

    def __missing__(self, name: str) -> np.ndarray:
        raise UserError(
            f"predictions.npz of {self.run_dir} lacks {name}, as those of older versions may; train the run again"
            " (mixup-lab train from=RUN_DIR)"
        )


@dataclass
class Finished:
    """A finished run.

    Args:
        run_dir: its directory.
        start: the first event of its record.
        scalars: the final ones.
        rebuild: makes the data, the model and the task again, as the run had them. Raises UserError.
        load: the source of its data, before it is split. Raises UserError.
    """

    run_dir: Path
    start: Event
    scalars: dict[str, float]
    rebuild: Callable[[], Ingredients] = field(repr=False)
    load: Callable[[], Loaded] = field(repr=False)

    @property
    def seed(self) -> int:
        """The run's own seed."""
        return int(self.start["seed"])

    @property
    def arm(self) -> str:
        """The id of its arm: runs of one arm differ in their seeds alone."""
        return str(self.start["arm"])

    @property
    def fingerprint(self) -> str:
        """Of all settings that the results depend on, with the seed."""
        return str(self.start["fingerprint"])

    @property
    def name(self) -> str:
        """Of its arm: "mixup-a0.4"."""
        return str(self.start["name"])

    @property
    def kind(self) -> str:
        """Of the targets: "classes", "tags", "numbers", "masks" or "boxes"."""
        return str(self.start["data"]["kind"])

    @property
    def mixes(self) -> bool:
        """Whether training mixed examples."""
        return bool(self.start["mixes"])

    @property
    def class_names(self) -> list[str]:
        """Of the classes, tags or columns."""
        return list(self.start["data"]["class_names"])

    @property
    def variant(self) -> str | None:
        """The option of the group `variant`, which bundles settings; None without one."""
        choice = self.start.get("choices", {}).get("variant")
        return None if choice in (None, "none") else str(choice)

    @property
    def is_baseline(self) -> bool:
        """Whether it neither mixes nor is a variant."""
        return not self.mixes and self.variant is None

    @cached_property
    def unmixed_settings(self) -> dict[str, Any]:
        """The flat settings that results depend on, without the seed and those of the mixing.

        Raises:
            UserError: if config.yaml cannot be read.
        """
        path = self.run_dir / "config.yaml"
        try:
            config = flat(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, AttributeError, RecursionError, yaml.YAMLError) as error:
            raise UserError(f"{path} cannot be read: {(str(error).splitlines() or ['?'])[0]}") from error
        left_out = {*MACHINE_KEYS, *MIXING, "seed"}
        return {key: v for key, v in config.items() if not left_out & {key, key.partition(".")[0]}}

    def stream(self, purpose: str) -> np.random.Generator:
        """Random numbers for a lens; all runs of a seed share them, so that arms are compared on the same ones."""
        return stream(self.seed, f"lens {purpose}")

    @cached_property
    def predictions(self) -> dict[str, np.ndarray] | None:
        """The arrays of `predictions.npz`, such as `test_logits` and `val_target`; None without a readable file."""
        try:
            return _Predictions(self.run_dir, read_predictions(self.run_dir, self.kind))
        except (FileNotFoundError, UserError):
            return None

    def column(self, name: str) -> list[str]:
        """The texts of a column of the table for each test example, "" where it is missing; needs predictions.

        Raises:
            UserError: if the data are not a table, if the table lacks the column, and if it has changed since.
        """
        loaded, arrays = self.load(), self.predictions
        assert arrays is not None
        if loaded.column is None:
            raise UserError(f"{self.run_dir} was trained on data without columns")
        split, pool = ("train", loaded.train) if loaded.test is None else ("test", loaded.test)
        texts, ids, target = loaded.column(split, name), arrays["test_id"], arrays["test_target"]
        now = pool.target[ids] if max(ids) < len(texts) else np.empty(0)
        if now.shape != target.shape or not np.allclose(now, target, equal_nan=True):
            raise UserError(f"{self.run_dir} was trained on other data: rows or targets in dataset.root have changed")
        return [texts[row] for row in ids]

    @cached_property
    def parts(self) -> Ingredients:
        """Data, model with the last weights (their moving average, if the run had one) and task, in evaluation mode.

        Raises:
            UserError: without a checkpoint, and if the data have changed since.
        """
        content = read_checkpoint(self.run_dir / NAME)
        parts = self.rebuild()
        if parts.data.digest != self.start["data"]["digest"]:
            raise UserError(
                f"{self.run_dir} was trained on other data: examples, labels or classes in dataset.root have changed"
            )
        try:
            parts.model.load_state_dict(content["ema"]["module"] if content.get("ema") else content["model"])
        except (RuntimeError, TypeError, AttributeError, KeyError) as error:
            raise UserError(
                f"{self.run_dir / NAME} does not fit this run: {(str(error).splitlines() or ['?'])[0]}"
            ) from error
        parts.model.eval()
        return parts

    @property
    def model(self) -> nn.Module:
        """The trained model, in evaluation mode."""
        return self.parts.model

    @cached_property
    def evaluator(self) -> Evaluator:
        """Evaluates the model as the run did."""
        parts = self.parts
        precision = Precision(parts.settings.precision, parts.device)
        return Evaluator(parts.task, parts.encoded, precision, parts.settings.eval_batch_size)

    def split(self, name: str) -> Split:
        """train, val or test."""
        return next(split for split in self.parts.data.splits if split.name == name)

    def encoded(self, split: Split, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        """Inputs as the model takes them, (n, ...), and targets, of these positions of a split, on the device."""
        (batch,) = split.batches([positions])
        return self.parts.encoded(batch.inputs), batch.target

    @torch.inference_mode()
    def outputs(self, inputs: Tensor) -> Tensor:
        """The model's outputs (n, ...) float32 for encoded inputs, in batches."""
        parts, size = self.parts, self.parts.settings.eval_batch_size
        outputs = []
        for start in range(0, len(inputs), size):
            with self.evaluator.precision.autocast():
                outputs.append(parts.model(inputs[start : start + size]).float())
        return torch.cat(outputs)

    def forget(self) -> None:
        """Let go of the model and its data; they are made again if they are needed."""
        for name in ("parts", "evaluator", "predictions"):
            self.__dict__.pop(name, None)


def baseline(run: Finished, others: Sequence[Finished]) -> Finished | None:
    """The baseline of the same seed: on the same data, without mixing, and equal in everything else.

    A variant may differ from its baseline in more than the mixing, if there is only one without a variant. None where
    there is no such run, and for a baseline itself.

    Raises:
        UserError: if the configuration of a run that comes into question cannot be read.
    """
    if run.is_baseline:
        return None
    digest = run.start["data"]["digest"]
    unmixed = {
        other.fingerprint: other
        for other in others
        if other.is_baseline and other.seed == run.seed and other.start["data"]["digest"] == digest
    }  # fmt: skip
    alike = [other for other in unmixed.values() if other.unmixed_settings == run.unmixed_settings]
    if not alike and run.variant is not None and len(unmixed) == 1:
        alike = list(unmixed.values())
    return alike[0] if alike else None
