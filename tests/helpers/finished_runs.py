"""Finished runs on disk as lenses read them, with chosen predictions, without the training."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mixup_lab.evaluation.finished import Finished
from mixup_lab.runs.record import Record
from mixup_lab.types import UserError

MIXUP = {"_target_": "mixup_lab.mixing.mixup.Mixup", "alpha": 0.4}
NONE = {"_target_": "mixup_lab.mixing.none.NoMixing"}


def finished_run(
    folder: Path,
    *,
    arm: str = "baseline",
    seed: int = 0,
    kind: str = "classes",
    names: tuple[str, ...] = ("cat", "dog", "cow"),
    arrays: Mapping[str, np.ndarray] | None = None,
    scalars: Mapping[str, float] | None = None,
    epochs: tuple[Mapping[str, Any], ...] = (),
    primary: tuple[str, bool] = ("accuracy", True),
    variant: str | None = None,
    digest: str = "same data",
    settings: Mapping[str, Any] | None = None,
    load: Callable[[], Any] | None = None,
) -> Finished:
    """A run of the arm in `folder/ARM/seed=S`, which mixes unless the arm's name begins with "baseline"."""
    run_dir = folder / arm / f"seed={seed}"
    mixes = not arm.startswith("baseline")
    start = {
        "arm": arm, "name": arm, "seed": seed, "fingerprint": f"{arm} {seed}", "mixes": mixes,
        "choices": {"variant": variant}, "primary": primary[0], "maximize": primary[1], "device": "cpu",
        "data": {"kind": kind, "class_names": list(names), "digest": digest, "carved": []},
    }  # fmt: skip
    record = Record(run_dir)
    record.config(json.dumps({"seed": seed, "aug": MIXUP if mixes else NONE, "trust": [], **(settings or {})}))
    record.event("start", **start)
    for number, epoch in enumerate(epochs, 1):
        record.event("epoch", epoch=number, **epoch)
    record.end("ok", dict(scalars or {}))
    record.close()
    if arrays is not None:
        np.savez(run_dir / "predictions.npz", **arrays)
    return Finished(run_dir, start, dict(scalars or {}), no_model, load or no_model)


def no_model() -> Any:
    raise UserError("this run has no model")
