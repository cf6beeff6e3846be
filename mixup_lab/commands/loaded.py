"""A trained model, loaded from its run, as a module that takes examples as they are stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mixup_lab.commands.saved import saved_config
from mixup_lab.config.assemble import ingredients
from mixup_lab.config.build import build
from mixup_lab.config.schema import RunConfig
from mixup_lab.data.source import Loaded, New
from mixup_lab.evaluation.calibration import fitted_temperature
from mixup_lab.evaluation.finished import Finished
from mixup_lab.evaluation.forecasts import forecasts
from mixup_lab.evaluation.lens import Unsuited
from mixup_lab.study.reading import Run, read_run
from mixup_lab.types import UserError


class Trained(nn.Module):
    """The model of a finished run, in evaluation mode.

    It takes examples as they are stored: pictures uint8 (B, C, H, W), rows of a table float32 (B, C) with NaN for
    missing values and codes for categories, token ids int32 (B, L), spectrograms float16 (B, 1, M, T). `read` makes
    them from files. It returns logits, or numbers in the units of the targets: see `Task.answer`.

    Args:
        run: finished.
        config: of the run.

    Raises:
        UserError: without a checkpoint, without the data of training, or if these have changed since.
    """

    def __init__(self, run: Finished, config: RunConfig) -> None:
        super().__init__()
        parts = run.parts
        source = _source(config)
        if source.fit is not None:
            source = source.fit(parts.data.train.ids)
        # The encoder of the run may have nothing left to do, as its rows are encoded ahead of training.
        encoder = parts.data.encode if source.encoder is None else source.encoder.to(parts.device)
        self.run, self.config, self.source = run, config, source
        self.encoder, self.kind, self.task = encoder, parts.data.kind, parts.task
        self.model = parts.model
        self.class_names = list(parts.data.kind.names)
        self._parts = replace(parts, data=replace(parts.data, encode=encoder))
        self.eval()

    def preprocess(self, stored: Tensor) -> Tensor:
        """Stored examples (B, ...) to inputs of `model`: standardised, for example. `forward` does it itself."""
        return self._parts.encoded(stored)

    def forward(self, stored: Tensor) -> Tensor:
        """Stored examples (B, ...) to answers (B, ...) float32."""
        return self.task.answer(self.model(self.preprocess(stored)).float())

    def new(self, paths: Sequence[Path]) -> New:
        """New files, or those below folders, as examples to be predicted.

        Raises:
            UserError: for a file that cannot be read, and for a source that can read no others.
        """
        if self.source.new is None:
            raise UserError(f"{self.run.run_dir} was trained on a source that reads no other {self.encoder.noun}")
        return self.source.new(paths)

    def read(self, paths: Sequence[str | Path]) -> tuple[list[str], Tensor]:
        """The names (N) and the stored examples (N, ...) of new files, or of those below folders.

        Raises:
            UserError: as `new` does.
        """
        new = self.new(list(map(Path, paths)))
        return new.names, new.pool.rows(np.arange(len(new.names))).to(self._parts.device)

    def sample(self, count: int) -> Tensor:
        """The first examples of val, at most `count`, as they are stored."""
        pool = self.source.train if self.source.val is None else self.source.val
        return pool.rows(self._parts.data.val.ids[:count]).to(self._parts.device)

    def temperature(self) -> float:
        """By which logits are divided so that the predictions of the run on val are the most likely (Guo et al., 2017).

        Raises:
            UserError: if the run kept no logits.
        """
        try:
            return fitted_temperature(forecasts(self.run, "val"))
        except Unsuited as error:
            raise UserError(f"calibrated=true: {error}") from error


def load(run_dir: str | Path, *changes: str) -> Trained:
    """The trained model of a run, in evaluation mode, on the CPU.

    Args:
        run_dir: of a finished run. The data that it was trained on must be there.
        changes: settings of the machine as on the command line, such as `trainer.device=cuda` or `dataset.root=DIR`.

    Raises:
        UserError: for a folder without a finished run, and if data or weights are missing.
    """
    run = finished_run(Path(run_dir))
    with _undisturbed():
        return trained(run, ("trainer.device=cpu", *changes), "when a run is loaded")


def finished_run(folder: Path) -> Run:
    """The run in a folder. Raises UserError unless there is one, and it is finished."""
    run = read_run(folder) if folder.is_dir() else None
    if run is None or run.path is None:
        raise UserError(f"{folder} is not the directory of a run: it has no record.jsonl")
    if run.status != "ok":
        raise UserError(f"{folder} holds a run that is {run.status}, not finished")
    return run


def finished(run: Run, changes: Sequence[str], purpose: str) -> Finished:
    """A finished run for lenses; its configuration is read when its parts are needed. Arguments: see `saved_config`."""
    run_dir = run.path
    assert run_dir is not None

    def config() -> RunConfig:
        return saved_config(run_dir, changes, purpose)

    return Finished(run_dir, run.start, run.scalars, lambda: ingredients(config()), lambda: _source(config()))


def _source(config: RunConfig) -> Loaded:
    loaded: Loaded = build("dataset", config.source, trust=config.trust).load()
    return loaded


def trained(run: Run, changes: Sequence[str], purpose: str) -> Trained:
    """The trained model of a finished run; arguments and errors as those of `saved_config`, and of `Trained`."""
    assert run.path is not None
    return Trained(finished(run, changes, purpose), saved_config(run.path, changes, purpose))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave torch's global settings and its generator as they were: this is another program's process."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = benchmark
        if torch.are_deterministic_algorithms_enabled() != deterministic:
            torch.use_deterministic_algorithms(deterministic)
