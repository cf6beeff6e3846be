"""One run in its directory: the record is locked, the parts are built, and training is told to record and views."""

from __future__ import annotations

import atexit
import gc
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from mixup_lab.config import identity
from mixup_lab.config.schema import COMPONENTS, RunConfig
from mixup_lab.runs.record import SCHEMA, Record
from mixup_lab.types import Interrupted, UserError

MOST_CLASSES = 1000  # whose names are recorded


def identify(config: RunConfig, choices: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """What the `start` event says of who the run is."""
    chosen = {group: choice for group, choice in choices.items() if not group.startswith("hydra/")}
    return {
        "schema": SCHEMA,
        "arm": identity.arm(config.resolved),
        "name": identity.arm_name(chosen.get("aug"), config.aug),
        "seed": config.seed,
        "fingerprint": identity.fingerprint(config.resolved),
        "choices": chosen,
        "overrides": list(overrides),
    }


def run(
    config: RunConfig, record: Record, start: Mapping[str, Any], *, from_checkpoint: bool = True
) -> dict[str, float]:
    """Train to the end and return the final scalars.

    Args:
        config: what to train.
        record: of the run's directory, open; if it has a beginning already, the run goes on.
        start: who the run is, from `identify`.
        from_checkpoint: a run that goes on starts from its checkpoint; else it trains from the beginning again.

    Raises:
        UserError: for whatever a component refuses; then nothing was begun.
        RunFailed: when the run diverged; it is recorded.
        Interrupted: after a signal; a checkpoint was saved.
    """
    run_dir, resumed = record.run_dir, record.begun
    with _importing():
        from mixup_lab.config.assemble import assemble
        from mixup_lab.runs.log import RunLog
        from mixup_lab.runs.progress import progress_view
        from mixup_lab.runs.tensorboard import TensorBoardView
        from mixup_lab.training.device import keep_freed_memory
        from mixup_lab.training.fit import Fit
        from mixup_lab.training.stop import StopRequest
    if config.trainer.malloc == "keep":  # before the first large tensor
        keep_freed_memory()
    fit = Fit(assemble(config, start["fingerprint"]), run_dir)
    if resumed and from_checkpoint and (run_dir / "checkpoint.pt").exists():
        fit.resume()
    with StopRequest() as stop:
        board = TensorBoardView(run_dir, _first_step_to_come(fit) if resumed else None)
        primary = fit.parts.task.primary
        log = RunLog(record, board, progress_view(config.trainer.progress, primary))
        if not resumed:
            record.config(OmegaConf.to_yaml(OmegaConf.create(config.resolved)))
        title = f"{start['name']} seed={config.seed}"
        facts = _facts(fit) | ({"resumed": True} if resumed else {})
        log.start(title, config.trainer.epochs, fit.steps, fit.done_steps, {**start, **facts})
        try:
            if not fit.done_steps:
                board.layout(primary)
                board.text("config", _as_markdown(config.resolved, start["choices"]))
            # The first letters have to tell the runs apart, and runs of one name must not fold into one row.
            trial = f"{run_dir.parent.name} {run_dir.name} {run_dir.parent.parent.name}"
            board.begin(trial, _hparams(config, start), [f"val/{primary}", f"test/{primary}", "val/loss"])
            scalars = fit.run(log, stop)
        except BaseException as error:
            # "pruned" for one that a search gave up. What is no Exception came from outside: a signal, or an exit.
            status = getattr(error, "status", "failed") if isinstance(error, Exception) else "interrupted"
            with suppress(UserError):  # a full disk must not hide what happened
                log.end(status, fit.state.scalars, fit.done_steps, error=f"{type(error).__name__}: {error}")
            raise
        log.end("ok", scalars, fit.done_steps, stopped=fit.state.stopped)
    if stop.signum is not None and HydraConfig.get().mode == RunMode.MULTIRUN:  # it came after the last step
        raise Interrupted(stop.signum, f"stopped after {run_dir}, which is finished")
    return scalars


@contextmanager
def _importing() -> Iterator[None]:
    """The garbage collector rests meanwhile, and leaves alone for good what was imported.

    Hundreds of thousands of objects come, and all of them stay. To look at them again and again, now and whenever
    others come, would take half a second of a start.
    """
    gc.disable()
    try:
        yield
        _leave_alone()
    finally:
        gc.enable()


@cache
def _leave_alone() -> None:
    """Once in a process: later, garbage of an earlier run would stay, too, and its pictures with it."""
    gc.freeze()
    atexit.register(gc.unfreeze)  # some libraries complain of whatever is not collected in the end


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
            "kind": data.kind.kind,
            "class_names": list(data.kind.names[:MOST_CLASSES]),
        },
    }


def _hparams(config: RunConfig, start: Mapping[str, Any]) -> dict[str, Any]:
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
