"""`mixup-lab train`: one run, from a composed configuration to a finished directory."""

import os
import sys
import warnings
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mixup_lab.commands.run import identify, primary_value, run
from mixup_lab.commands.saved import saved_config
from mixup_lab.config.schema import RunConfig, parse
from mixup_lab.runs.record import Event, Record, check_schema, read_events, read_result
from mixup_lab.types import UserError
from mixup_lab.visible import score


def train(cfg: DictConfig) -> float:
    """Run one job and return its primary metric on val, which a sweeper may search over."""
    hydra = HydraConfig.get()
    if cfg.get("resume") is not None:
        return _resume(Path(cfg.resume), list(hydra.overrides.task))
    run_dir = Path(hydra.runtime.output_dir)
    config = parse(cfg)
    return _run(config, Record(run_dir), identify(config, hydra.runtime.choices, hydra.overrides.task))


def _resume(run_dir: Path, overrides: list[str]) -> float:
    """Continue a run as configured in its `config.yaml`; settings of the machine may change."""
    config = saved_config(run_dir, overrides, "when a run is resumed")
    result = read_result(run_dir)
    if result is not None:
        print(f"{run_dir} is finished:  {_headline(result)}")
        return primary_value(result)
    try:
        first = next(read_events(run_dir, "start"), None)
    except FileNotFoundError:
        first = None
    if first is None:
        raise UserError(f"{run_dir / 'record.jsonl'} has no start of a run to resume")
    check_schema(run_dir, first)
    start = identify(config, first["choices"], first.get("overrides", []))
    if first["fingerprint"] != start["fingerprint"]:
        raise UserError(f"{run_dir / 'config.yaml'} was changed after the run began, so the run cannot go on")
    start["name"] = first["name"]
    return _run(config, Record(run_dir, resume=True), start)


def _run(config: RunConfig, record: Record, start: dict[str, Any]) -> float:
    warnings.showwarning = show_warning
    summary = run(config, record, start)
    print(f"  {_headline(summary)}  ->  {os.path.relpath(record.run_dir)}", flush=True)
    return primary_value(summary)


def _headline(summary: Event) -> str:
    primary, scalars = summary["primary"], summary["scalars"]
    return "  ".join(f"{split} {primary} {score(float(scalars[f'{split}/{primary}']))}" for split in ("val", "test"))


def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """One line, without the source line that Python adds."""
    print(f"mixup-lab: warning: {message}", file=sys.stderr, flush=True)
