"""`mixup-lab train`: one run, from a composed configuration to a finished directory."""

import os
import sys
import warnings
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from mixup_lab.commands.run import identify, primary_value, run
from mixup_lab.config.schema import COMPONENTS, RunConfig, parse
from mixup_lab.runs.record import Event, Record, check_schema, read_events, read_result
from mixup_lab.runs.settings import MACHINE_KEYS
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
    """Continue a run as configured in its `config.yaml`; settings of the machine may change.

    The file may come from somebody else, so its `trust` does not count: only the command line can grant it.
    """
    cfg = _saved_config(run_dir / "config.yaml")
    for override in OverridesParser.create().parse_overrides(overrides):
        key = override.key_or_group
        if key not in MACHINE_KEYS:
            raise UserError(
                f"{key} cannot change when a run is resumed: it goes on as configured in {run_dir / 'config.yaml'}; "
                f"these may change: {', '.join(sorted(MACHINE_KEYS - {'resume'}))}"
            )
        if key != "resume":
            OmegaConf.update(cfg, key, override.value())
    config = parse(cfg)
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
    start = identify(config, first["choices"], first["overrides"])
    if first["fingerprint"] != start["fingerprint"]:
        raise UserError(f"{run_dir / 'config.yaml'} was changed after the run began, so the run cannot go on")
    start["name"] = first["name"]
    return _run(config, Record(run_dir, resume=True), start)


def _saved_config(path: Path) -> DictConfig:
    """The `config.yaml` of a run, without its trust."""
    try:
        cfg = OmegaConf.load(path)
    except (OSError, ValueError, YAMLError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(cfg, DictConfig) or not {"seed", "trainer", *COMPONENTS} <= set(cfg):
        raise UserError(f"{path} is not the configuration of a run")
    cfg.trust = []
    return cfg


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
