"""The `trainer` group as a plain typed object, for the training loop. No torch here: every start imports this."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mixup_lab.training import auto
from mixup_lab.training.auto import AUTO
from mixup_lab.types import UserError

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
ACCELERATE = ("none", "compile", "graph", "auto")
PROGRESS = ("auto", "bar", "plain", "none")
MALLOC = ("keep", "default")
MOST_THREADS = 1024  # the system refuses to start very many, and the library behind torch then ends the program
AUTOMATIC = ("batch_size", "epochs")  # may be auto


@dataclass
class TrainerSettings:
    """The keys of `conf/trainer/*.yaml`, where each is explained."""

    epochs: Any = AUTO  # "auto", or int
    batch_size: Any = AUTO  # "auto", or int
    eval_batch_size: int = 500
    eval_every: int = 1
    device: str = "auto"
    precision: str = "fp32"
    channels_last: bool = True
    accelerate: str = "none"
    label_smoothing: float = 0.0
    class_weights: Any = None  # None, "balanced", or a number for each class
    clip_grad_norm: float | None = None
    accumulate: int = 1
    ema_decay: float | None = None
    early_stopping: int | None = None
    max_seconds: float | None = None
    deterministic: bool = False
    checkpoint_every: int = 1
    checkpoint_seconds: float = 60.0
    save_predictions: bool = True
    threads: int | None = None
    malloc: str = "keep"
    progress: str = "auto"

    def check(self) -> None:
        """Raise UserError for the first value outside its range."""
        for key in AUTOMATIC:
            value = getattr(self, key)
            number = type(value) is int and value >= 1
            _require(value == AUTO or number, key, value, "auto or a whole number, at least 1")
        for key in ("eval_batch_size", "eval_every", "accumulate"):
            _require(getattr(self, key) >= 1, key, getattr(self, key), "at least 1")
        _require(self.checkpoint_every >= 0, "checkpoint_every", self.checkpoint_every, "0 (only at the end) or more")
        seconds = self.checkpoint_seconds
        _require(0 <= seconds < math.inf, "checkpoint_seconds", seconds, "a finite number >= 0")
        stopping, threads = self.early_stopping, self.threads
        _require(stopping is None or stopping >= 1, "early_stopping", stopping, "null or at least 1")
        _require(threads is None or 1 <= threads <= MOST_THREADS, "threads", threads, f"null or 1 to {MOST_THREADS}")
        for key in ("clip_grad_norm", "max_seconds"):
            value = getattr(self, key)
            _require(value is None or (math.isfinite(value) and value > 0), key, value, "null or greater than 0")
        _require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "in [0, 1)")
        _require(self.ema_decay is None or 0 < self.ema_decay < 1, "ema_decay", self.ema_decay, "null or in (0, 1)")
        _require(
            self.class_weights in (None, "balanced") or _are_weights(self.class_weights),
            "class_weights",
            self.class_weights,
            "null, balanced or a number >= 0 for each class, not all 0",
        )
        words = {"precision": PRECISIONS, "accelerate": ACCELERATE, "malloc": MALLOC, "progress": PROGRESS}
        for key, allowed in words.items():
            _require(getattr(self, key) in allowed, key, getattr(self, key), "one of " + ", ".join(allowed))
        if self.batch_size != AUTO and self.accumulate > self.batch_size:
            raise UserError(
                f"trainer.accumulate={self.accumulate} cuts a batch into more pieces than trainer.batch_size="
                f"{self.batch_size} has examples"
            )

    def for_examples(self, count: int) -> TrainerSettings:
        """These settings with numbers instead of auto, for a training split of `count` examples.

        Raises:
            UserError: if a number does not suit another setting.
        """
        size = auto.batch_size(count) if self.batch_size == AUTO else self.batch_size
        epochs = auto.epochs(count, size) if self.epochs == AUTO else self.epochs
        settings = replace(self, batch_size=size, epochs=epochs)
        settings.check()
        return settings


def _are_weights(values: Any) -> bool:
    numbers = isinstance(values, Sequence) and all(type(value) in (int, float) for value in values)
    return numbers and all(math.isfinite(value) and value >= 0 for value in values) and any(values)


def _require(ok: bool, key: str, value: object, allowed: str) -> None:
    if not ok:
        raise UserError(f"trainer.{key} must be {allowed}, got {'null' if value is None else value}")
