"""Fabricated studies on disk: run directories with the files that a training leaves, without the training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mixup_lab.runs import store
from mixup_lab.runs.record import SCHEMA


def write_run(
    folder: Path,
    *,
    arm: str,
    name: str,
    seed: int,
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    hits: np.ndarray | None,
    ids: np.ndarray | None = None,
    target: np.ndarray | None = None,
    val: float = 0.5,
    epochs: int = 3,
    status: str = "ok",
    primary: tuple[str, bool] = ("accuracy", True),
    kind: str = "classes",
    test: float | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
) -> None:
    """One run whose test predictions are right where `hits` (m,) is true. Two classes, unless `target` says more.

    `primary`: the metric and whether more of it is better; `kind`: of the targets. For another metric than accuracy,
    `test` is its value, and `arrays` what is kept of the test examples, with names as in `predictions.npz`.
    """
    folder.mkdir(parents=True)
    lines: list[dict[str, Any]] = [
        {
            "event": "start", "time": 0.0, "schema": SCHEMA, "arm": arm, "name": name, "seed": seed,
            "fingerprint": f"{arm}-{seed}", "choices": dict(choices), "overrides": [f"seed={seed}"],
            "mixes": config["aug"]["_target_"] != "mixup_lab.mixing.none.NoMixing",
            "primary": primary[0], "maximize": primary[1], "versions": {"torch": "2.0"}, "device": "cpu (x)",
            "threads": 1, "parameters": 10, "git": None,
            "data": {"train": 100, "val": 20, "test": 0 if hits is None else len(hits), "dropped": 0,
                     "storage": "resident", "digest": f"data-{seed}", "class_names": ["cat", "dog", "cow"],
                     "kind": kind},
        }
    ]  # fmt: skip
    metric = primary[0]
    test = test if test is not None else 0.0 if hits is None else float(np.mean(hits))
    for epoch in range(1, epochs + 1):
        scalars = {
            "train/loss": 1 / epoch, f"train_clean/{metric}": 0.9, "train_clean/loss": 0.3, f"val/{metric}": val,
            "val/loss": 0.5 / epoch, "time/epoch_seconds": 2.0 if name == "baseline" else 3.0,
        }  # fmt: skip
        event = {"event": "epoch", "time": 0.0, "epoch": epoch, "step": 10 * epoch, "seconds": 2.5 * epoch}
        lines.append({**event, "samples": 100, "scalars": scalars})
    final = {f"val/{metric}": val, f"test/{metric}": test, f"val_best/test_{metric}": test + 0.01, "val/loss": 0.5}
    if status in ("ok", "failed"):
        lines.append({"event": "end", "time": 0.0, "status": status, "scalars": final})
        summary = {"status": status, "arm": arm, "name": name, "seed": seed, "primary": metric,
                   "fingerprint": f"{arm}-{seed}", "scalars": final}  # fmt: skip
        if status == "failed":
            summary["error"] = "RunFailed: the loss is nan at step 3"
        (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "record.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.yaml").write_text(json.dumps(dict(config)))  # JSON is YAML
    if hits is not None and status == "ok":
        target = np.zeros(len(hits), np.int64) if target is None else target
        logits = np.zeros((len(hits), int(target.max()) + 2), np.float32)
        logits[np.arange(len(hits)), np.where(hits, target, target + 1)] = 1
        ids = np.arange(len(hits)) if ids is None else ids
        arrays = {"test_logits": logits, "test_target": target, "test_id": ids}
        arrays |= {name.replace("test", "val"): values for name, values in arrays.items()}
    if arrays is not None and status == "ok":
        np.savez(folder / "predictions.npz", **arrays)


def config_of(alpha: float, **others: Any) -> dict[str, Any]:
    aug = {"_target_": "mixup_lab.mixing.mixup.Mixup", "alpha": alpha}
    if alpha == 0:
        aug = {"_target_": "mixup_lab.mixing.none.NoMixing"}
    base = {"seed": 0, "trust": [], "aug": aug, "optimizer": {"lr": 0.1}, "trainer": {"epochs": 3, "device": "cpu"}}
    for key, value in others.items():
        base["optimizer"][key] = value
    return base


def write_study(
    study: Path, hits: Mapping[float, np.ndarray], vals: Mapping[float, Sequence[float]] | None = None
) -> None:
    """Arms by alpha, `hits` (seeds, m) each, in `STUDY/ARM/seed=S`."""
    for alpha, rows in hits.items():
        name = "baseline" if alpha == 0 else f"mixup-a{alpha:g}"
        for seed, row in enumerate(rows):
            write_run(
                study / name / f"seed={seed}", arm=f"id{alpha:g}", name=name, seed=seed, config=config_of(alpha),
                choices={"aug": "mixup" if alpha else "none", "model": "mlp"}, hits=row,
                val=vals[alpha][seed] if vals else 0.5 + alpha / 10,
            )  # fmt: skip


def manifest(**changes: object) -> str:
    """A `study.json` without arms, with some of its keys changed."""
    return json.dumps({"schema": store.SCHEMA, "settings": {}, "axes": [], "roots": {}, "arms": {}, **changes})
