"""`mixup-lab train`: one run, from a composed configuration to a finished directory."""

import os
import sys
import warnings
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mixup_lab.commands.run import identify, primary_value, run
from mixup_lab.commands.saved import saved_config
from mixup_lab.config.schema import RunConfig, parse
from mixup_lab.notices import lines
from mixup_lab.runs.record import Event, Record, check_schema, read_events, read_result
from mixup_lab.training.auto import AUTO
from mixup_lab.types import UserError
from mixup_lab.visible import score

EPOCHS = "trainer.epochs"


def train(cfg: DictConfig) -> float:
    """Run one job and return its primary metric on val, which a sweeper may search over."""
    hydra = HydraConfig.get()
    if cfg.get("resume") is not None:
        return _resume(Path(cfg.resume), list(hydra.overrides.task))
    run_dir = Path(hydra.runtime.output_dir)
    config = parse(cfg)
    return _run(config, Record(run_dir), identify(config, hydra.runtime.choices, hydra.overrides.task))


def _resume(run_dir: Path, overrides: list[str]) -> float:
    """Continue a run as configured in its `config.yaml`; settings of the machine may change, and epochs may grow."""
    config = saved_config(run_dir, overrides, "when a run is resumed", also=[EPOCHS])
    try:
        starts = list(read_events(run_dir, "start"))
    except FileNotFoundError:
        starts = []
    if not starts:
        raise UserError(f"{run_dir / 'record.jsonl'} has no start of a run to resume")
    last = starts[-1]
    check_schema(run_dir, last)
    choices, words = last["choices"], last.get("overrides", [])
    start = identify(config, choices, words)
    if last["fingerprint"] != identify(_as_long(config, last), choices, words)["fingerprint"]:
        raise UserError(f"{run_dir / 'config.yaml'} was changed after the run began, so the run cannot go on")
    start["name"] = last["name"]
    shorter = {event["fingerprint"] for event in starts} - {start["fingerprint"]}
    if last["fingerprint"] != start["fingerprint"]:
        _check_longer(run_dir, config, last)
    elif (result := read_result(run_dir)) is not None:
        print(f"{run_dir} is finished:  {_headline(result)}")
        return primary_value(result)
    return _run(config, Record(run_dir, resume=True), start, shorter)


def _as_long(config: RunConfig, start: Event) -> RunConfig:
    """The configuration with the number of epochs that a `start` was recorded with."""
    epochs = AUTO if EPOCHS in start.get("chosen", {}) else start["epochs"]
    resolved = {**config.resolved, "trainer": {**config.resolved["trainer"], "epochs": epochs}}
    return replace(config, resolved=resolved)


def _check_longer(run_dir: Path, config: RunConfig, start: Event) -> None:
    """Raise UserError unless the run is to have more epochs than it was started with, and is not one of a study."""
    before, now = start["epochs"], config.trainer.epochs
    if now == AUTO or now <= before:
        raise UserError(f"trainer.epochs={now} is not more than the {before} epochs of {run_dir}")
    study = run_dir.absolute().parent.parent
    if (study / "study.json").is_file():
        raise UserError(
            f"{run_dir} is a run of the study {study.name}, whose arms keep their number of epochs; copy the folder of"
            f" the run and resume the copy, or compare trainer.epochs={before},{now}"
        )


def _run(config: RunConfig, record: Record, start: dict[str, Any], shorter: Collection[str] = ()) -> float:
    warnings.showwarning = show_warning
    summary = run(config, record, start, shorter=shorter)
    print(f"  {_headline(summary)}  ->  {os.path.relpath(record.run_dir)}", flush=True)
    return primary_value(summary)


def _headline(summary: Event) -> str:
    primary, scalars = summary["primary"], summary["scalars"]
    return "  ".join(f"{split} {primary} {score(float(scalars[f'{split}/{primary}']))}" for split in ("val", "test"))


def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """One line, without the source line that Python adds."""
    print(lines(f"mixup-lab: warning: {message}", sys.stderr), file=sys.stderr, flush=True)
