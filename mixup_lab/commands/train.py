"""`mixup-lab train`: one run, from a composed configuration to a finished directory."""

from __future__ import annotations

import os
import platform
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from mixup_lab.config import identity
from mixup_lab.config.schema import COMPONENTS, RunConfig, parse
from mixup_lab.runs.record import Record, read_events, read_summary
from mixup_lab.types import Interrupted, UserError


def train(cfg: DictConfig) -> float:
    """Run one job and return its primary metric on val, which a sweeper may search over."""
    hydra = HydraConfig.get()
    if cfg.get("resume") is not None:
        return _resume(Path(cfg.resume), list(hydra.overrides.task))
    run_dir = Path(hydra.runtime.output_dir)
    config = parse(cfg)
    choices = {group: choice for group, choice in hydra.runtime.choices.items() if not group.startswith("hydra/")}
    start = {
        "arm": identity.arm(config.resolved),
        "name": identity.arm_name(choices.get("aug"), config.aug),
        "seed": config.seed,
        "fingerprint": identity.fingerprint(config.resolved),
        "choices": choices,
        "overrides": list(hydra.overrides.task),
    }
    return _run(config, run_dir, start)


def _resume(run_dir: Path, overrides: list[str]) -> float:
    """Go on with a run as its `config.yaml` says; settings of the machine may differ from then.

    Trust is not taken from the file, which may come from somebody else, but given anew.
    """
    cfg = _saved_config(run_dir / "config.yaml")
    for override in OverridesParser.create().parse_overrides(overrides):
        key = override.key_or_group
        if key not in identity.MACHINE_KEYS:
            raise UserError(
                f"{key} cannot change when a run is resumed: it goes on as {run_dir / 'config.yaml'} says; "
                f"these may change: {', '.join(sorted(identity.MACHINE_KEYS - {'resume'}))}"
            )
        if key != "resume":
            OmegaConf.update(cfg, key, override.value())
    config = parse(cfg)
    summary = read_summary(run_dir)
    if summary is not None and summary["status"] == "ok":
        print(f"{run_dir} is finished:  {_headline(summary['scalars'], summary['primary'])}")
        return float(summary["scalars"][f"val/{summary['primary']}"])
    try:
        first = next(read_events(run_dir, "start"), None)
    except FileNotFoundError:
        first = None
    if first is None:
        raise UserError(f"{run_dir / 'record.jsonl'} has no start of a run to go on with")
    if first["fingerprint"] != identity.fingerprint(config.resolved):
        raise UserError(f"{run_dir / 'config.yaml'} was changed after the run began, so the run cannot go on")
    start = {key: first[key] for key in ("arm", "name", "seed", "fingerprint", "choices", "overrides")}
    return _run(config, run_dir, start | {"resumed": True})


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


def _run(config: RunConfig, run_dir: Path, start: dict[str, Any]) -> float:
    if config.trainer.malloc == "keep":  # before the first large tensor
        from mixup_lab.training.device import keep_freed_memory

        keep_freed_memory()
    from mixup_lab.config.assemble import assemble
    from mixup_lab.runs.log import RunLog
    from mixup_lab.runs.progress import progress_view
    from mixup_lab.runs.tensorboard import TensorBoardView
    from mixup_lab.training.fit import Fit
    from mixup_lab.training.stop import StopRequest

    warnings.showwarning = _show_warning
    resumed = "resumed" in start
    fit = Fit(assemble(config, start["fingerprint"]), run_dir)
    if resumed and (run_dir / "checkpoint.pt").exists():
        fit.resume()
    with StopRequest() as stop:
        record = Record(run_dir, resume=resumed)
        board = TensorBoardView(run_dir, _first_step_to_come(fit) if resumed else None)
        log = RunLog(record, board, progress_view(config.trainer.progress))
        primary = fit.parts.task.primary
        if not resumed:
            record.config(OmegaConf.to_yaml(OmegaConf.create(config.resolved)))
        title = f"{start['name']} seed={config.seed}"
        log.start(title, config.trainer.epochs, fit.steps, fit.done_steps, start | _facts(fit))
        try:
            if not fit.done_steps:
                board.layout(primary)
                board.text("config", _as_markdown(config.resolved, start["choices"]))
            # The first letters have to tell the runs apart, and runs of one name must not fold into one row.
            trial = f"{run_dir.parent.name} {run_dir.name} {run_dir.parent.parent.name}"
            board.hparams(trial, _hparams(config, start), [f"val/{primary}", f"test/{primary}", "val/loss"])
            scalars = fit.run(log, stop)
        except BaseException as error:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            with suppress(UserError):  # a full disk must not hide what happened
                log.end(status, fit.state.scalars, fit.done_steps, error=f"{type(error).__name__}: {error}")
            raise
        log.end("ok", scalars, fit.done_steps, stopped=fit.state.stopped)
    print(f"  {_headline(scalars, primary)}  ->  {os.path.relpath(run_dir)}", flush=True)
    if stop.signum is not None and HydraConfig.get().mode == RunMode.MULTIRUN:  # it came after the last step
        raise Interrupted(stop.signum, f"stopped after {run_dir}, which is finished")
    return scalars[f"val/{primary}"]


def _first_step_to_come(fit: Any) -> int:
    """What TensorBoard has of a resumed run from here on will be written again; pictures and texts are at step 0."""
    return int(fit.done_steps + 1 if fit.done_steps else 0)


def _facts(fit: Any) -> dict[str, Any]:
    """What the `start` event records beside the identity of the run."""
    import torch

    from mixup_lab.runs.environment import git_commit, versions

    data, device = fit.parts.data, fit.parts.device
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "primary": fit.parts.task.primary,
        "maximize": fit.parts.task.maximize,
        "versions": versions(),
        "git": git_commit(),
        "device": f"{device} ({kind})",
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in fit.parts.model.parameters()),
        "data": {
            **{split.name: len(split.ids) for split in (data.train, data.val, data.test)},
            "dropped": data.dropped,
            "storage": data.storage,
            "digest": data.digest,
        },
    }


def _headline(scalars: dict[str, float], primary: str) -> str:
    return f"val {primary} {scalars[f'val/{primary}']:.4f}  test {primary} {scalars[f'test/{primary}']:.4f}"


def _hparams(config: RunConfig, start: dict[str, Any]) -> dict[str, Any]:
    """The flat settings that runs are told apart by: the same keys for every run."""
    return {
        "arm": start["name"],
        **{group: start["choices"].get(group) for group in COMPONENTS},
        "alpha": float(config.aug.get("alpha", 0.0)),
        "lr": config.optimizer.get("lr", 0.0),
        "weight_decay": config.optimizer.get("weight_decay", 0.0),
        "epochs": config.trainer.epochs,
        "batch_size": config.trainer.batch_size,
        "seed": config.seed,
    }


def _as_markdown(resolved: dict[str, Any], choices: dict[str, Any]) -> str:
    chosen = ", ".join(f"{group}={choice}" for group, choice in sorted(choices.items()) if choice is not None)
    text = OmegaConf.to_yaml(OmegaConf.create(resolved))
    return f"{chosen}\n\n" + "".join(f"    {line}\n" for line in text.splitlines())


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """One line, without the source line that Python adds."""
    print(f"mixup-lab: warning: {message}", file=sys.stderr, flush=True)
