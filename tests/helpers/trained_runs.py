"""Finished runs with weights of a test's choice, as lenses read them, without the training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from helpers.trainings import config_of
from mixup_lab.config.assemble import ingredients
from mixup_lab.config.build import build
from mixup_lab.evaluation.finished import Finished
from mixup_lab.runs.findings import Score
from mixup_lab.training.checkpoint import FORMAT, NAME
from mixup_lab.training.ingredients import Ingredients

LINEAR = ("model=mlp", "model.hidden=[]", "trainer.device=cpu")


def run_with_weights(
    folder: Path, *overrides: str, arm: str = "baseline", change: Callable[[Ingredients], None] = lambda parts: None
) -> Finished:
    """A run of the arm whose model `change` has set; it mixes unless the arm's name begins with "baseline".

    Its checkpoint lies in `folder/ARM`, so that the model is read again as after a training.
    """
    config = config_of(*overrides)
    parts = ingredients(config)
    with torch.no_grad():
        change(parts)
    run_dir = folder / arm
    run_dir.mkdir()
    torch.save({"format": FORMAT, "model": parts.model.state_dict(), "ema": None}, run_dir / NAME)
    (run_dir / "config.yaml").write_text(json.dumps({"seed": config.seed, "dataset": config.source}))
    data = parts.data
    start: dict[str, Any] = {
        "arm": arm, "name": arm, "seed": config.seed, "fingerprint": f"{arm} {config.seed}",
        "mixes": not arm.startswith("baseline"), "choices": {},
        "data": {"kind": data.kind.kind, "class_names": list(data.kind.names), "digest": data.digest},
    }  # fmt: skip

    def rebuild() -> Ingredients:
        return ingredients(config)

    return Finished(run_dir, start, {}, rebuild, build("dataset", config.source).load)


def values(scores: dict[str, Score]) -> dict[str, float]:
    """The numbers alone."""
    return {name: score.value for name, score in scores.items()}
