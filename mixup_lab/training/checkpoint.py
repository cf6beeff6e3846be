"""Checkpoints: everything a run needs to continue bit for bit, as data that loads without running code."""

import math
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, is_zipfile

import torch
from torch import Tensor, nn

from mixup_lab.disk import write_atomically
from mixup_lab.training.average import MovingAverage
from mixup_lab.training.device import Precision
from mixup_lab.training.tally import Tally
from mixup_lab.types import UserError

FORMAT = 1
NAME = "checkpoint.pt"


@dataclass
class State:
    """The progress of a run."""

    epoch: int = 0  # epochs done
    planned: int = 0  # epochs that the checkpoint was to have which this was loaded from
    step: int = 0  # steps done of the epoch that is under way
    elapsed: float = 0.0  # seconds of training and evaluation so far
    stopped: str | None = None  # why training ended early: "early_stopping" or "max_seconds"
    stale: int = 0  # evaluations since the best one
    best: dict[str, Any] | None = None  # value, epoch, model (weights) of the best evaluation on val
    gaps: list[float] = field(default_factory=list)  # how much better train_clean was than val, at each evaluation
    scalars: dict[str, float] = field(default_factory=dict)  # of the last epoch
    tally: dict[str, Any] = field(default_factory=dict)  # sums of the epoch that is under way


@dataclass(frozen=True)
class Checkpoint:
    """The objects that carry a run's state and are saved together, and the identity of the run."""

    model: nn.Module
    ema: MovingAverage | None
    optimizer: torch.optim.Optimizer
    precision: Precision
    fingerprint: str
    digest: str  # of the data
    device: torch.device
    length: dict[str, int] = field(default_factory=dict)  # batch_size and epochs, which a rule may have chosen

    def save(self, run_dir: Path, state: State) -> None:
        """Write `checkpoint.pt` aside and rename it over the last one.

        Raises:
            UserError: if it cannot be written; the last one is unchanged.
        """
        content = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "digest": self.digest,
            "length": self.length,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.precision.scaler.state_dict(),
            "state": {name: getattr(state, name) for name in State.__dataclass_fields__},
            "random": _random_state(self.device),
        }
        write_atomically(run_dir / NAME, lambda file: torch.save(content, file))

    def load(self, run_dir: Path, steps: int, shorter: Collection[str] = ()) -> State:
        """Restore everything that was saved, and return the progress of the run.

        Args:
            run_dir: of the run.
            steps: of an epoch.
            shorter: fingerprints of the same run with fewer epochs, whose checkpoint is welcome too.

        Raises:
            UserError: if the file is damaged or foreign, or belongs to another run or other data.
        """
        path = run_dir / NAME
        content = read_checkpoint(path)
        if content.get("fingerprint") not in (self.fingerprint, *shorter):
            raise UserError(f"{path} belongs to a run with other settings than {run_dir / 'config.yaml'}")
        if content.get("digest") != self.digest:
            raise UserError(
                f"{path} was trained on other data: examples, labels or classes in dataset.root have changed since"
            )
        length = content.get("length") or {}
        longer = content["fingerprint"] in shorter and length.get("epochs", 0) < self.length["epochs"]
        if length != self.length and not (longer and {**length, "epochs": self.length["epochs"]} == self.length):
            before, now = (_words(length) for length in (length, self.length))
            raise UserError(f"{path} was begun with {before or 'another length'}, and auto is {now} now")
        try:
            self.model.load_state_dict(content["model"])
            if self.ema is not None:
                self.ema.load_state_dict(content["ema"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.precision.scaler.load_state_dict(content["scaler"])
            state = State(**content["state"])
            _check(state, self.length.get("epochs"), steps)
            if state.best is not None:
                self._try_weights(state.best["model"])
            _set_random_state(content["random"], self.device)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise UserError(f"{path} does not fit this run: {_first_line(error)}") from error
        state.planned = length.get("epochs", 0)
        return state

    def _try_weights(self, weights: Any) -> None:
        """Raise unless these are weights of the model: they are put into it at the end of the run."""
        for name, own in self.model.state_dict().items():
            if weights[name].shape != own.shape:
                raise ValueError(f"the best weights have {name} with the shape {tuple(weights[name].shape)}")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, tensors on the CPU. Only plain data is loaded, never code.

    Raises:
        UserError: if it is missing, damaged or foreign.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is not a file")
        if is_zipfile(path):  # torch does not check its checksums
            with ZipFile(path) as archive:
                if any(info.compress_type != ZIP_STORED for info in archive.infolist()):
                    raise ValueError("torch does not compress, and it is compressed")
                if archive.testzip() is not None:
                    raise ValueError("its checksums are wrong")
        with warnings.catch_warnings(action="ignore"):  # about how a foreign file was pickled
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except Exception as error:  # of the many that a damaged pickle ends in
        raise UserError(f"{path} is damaged or not a checkpoint: {_first_line(error)}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this program (format {FORMAT})")
    return content


def _check(state: State, epochs: int | None, steps: int) -> None:
    """Raise ValueError unless the run can stand here: `epochs` (None: any number) of `steps` steps each."""
    last, epochs = epochs, 2**53 if epochs is None else epochs
    whole = {"epoch": (state.epoch, epochs), "step": (state.step, steps), "stale": (state.stale, epochs)}
    for name, (value, most) in whole.items():
        if type(value) is not int or not 0 <= value <= most:
            raise ValueError(f"{name} must be a whole number from 0 to {most}, it is {value!r:.40}")
    if state.stopped not in (None, "early_stopping", "max_seconds"):
        raise ValueError(f"stopped cannot be {state.stopped!r:.40}")
    if not _is_number(state.elapsed) or not 0 <= state.elapsed < math.inf:
        raise ValueError("elapsed must be a number of seconds")
    if not all(map(_is_number, [*state.gaps, *state.scalars.values()])):
        raise ValueError("gaps and scalars must be numbers")
    if state.best is None and (state.epoch == last or state.stopped):
        raise ValueError("a run that is over must have best weights")
    best = state.best or {"value": 0.0, "epoch": 1}
    if not _is_number(best["value"]) or type(best["epoch"]) is not int or not 1 <= best["epoch"] <= max(1, state.epoch):
        raise ValueError("best must have a value and an epoch that is done")
    Tally.check(state.tally, state.step)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _words(length: dict[str, int]) -> str:
    return " ".join(f"trainer.{key}={value}" for key, value in length.items())


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _random_state(device: torch.device) -> dict[str, Tensor]:
    """Torch's own generators, which draw dropout. Every other stream is a function of seed and epoch."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def _set_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    elif device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])
