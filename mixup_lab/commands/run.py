"""One run in its directory: build the parts, train, and report to the record and its views."""

import platform
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from mixup_lab.config import identity
from mixup_lab.config.nearest import nearest
from mixup_lab.config.schema import COMPONENTS, RunConfig
from mixup_lab.runs.length import about_length
from mixup_lab.runs.record import SCHEMA, Event, Record, read_epochs, read_summary
from mixup_lab.study.metric_names import tag
from mixup_lab.training.auto import AUTO
from mixup_lab.training.settings import TrainerSettings
from mixup_lab.types import Interrupted, UserError

MOST_CLASSES = 1000  # names of classes that are recorded, at most


class UnknownMetric(UserError):
    """The metric that a study decides by is not one of its data: a mistake of the line, not of a run."""


def identify(config: RunConfig, choices: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The part of the `start` event that identifies the run."""
    chosen = {group: choice for group, choice in choices.items() if not group.startswith("hydra/")}
    return {
        "schema": SCHEMA,
        "arm": identity.arm(config.resolved, chosen),
        "name": identity.arm_name(chosen.get("aug"), config.aug),
        "seed": config.seed,
        "fingerprint": identity.fingerprint(config.resolved, chosen),
        "mixes": not identity.mixes_nothing(config.aug),
        "choices": chosen,
        "overrides": list(overrides),
    }


def run(
    config: RunConfig,
    record: Record,
    start: Mapping[str, Any],
    *,
    from_checkpoint: bool = True,
    metric: str | None = None,
    shorter: Collection[str] = (),
    axes: Collection[str] | None = None,
) -> Event:
    """Train to the end, close the record and return the summary.

    Args:
        config: of the run.
        record: of the run's directory, open; if it has begun already, the run continues.
        start: the identity of the run, from `identify`.
        from_checkpoint: continue from the checkpoint; False: train from the beginning again.
        metric: that the study decides by, with or without a split; None: the task's own.
        shorter: fingerprints that the run had with fewer epochs, before it was to be longer.
        axes: keys and groups that differ between the runs of its study; None: it belongs to none.

    Raises:
        UserError: if a component refuses its settings, the task lacks the metric, or the run cannot be longer; nothing
            has begun then.
        RunFailed: if the run diverged; the record shows it.
        Interrupted: after a signal; a checkpoint was saved.
    """
    with closing(record):
        _train(config, record, start, from_checkpoint, metric, shorter, axes)
        summary = read_summary(record.run_dir)
    assert summary is not None
    return summary


def primary_value(summary: Event) -> float:
    """The primary metric on val of a finished run."""
    return float(summary["scalars"][f"val/{summary['primary']}"])


def _check_metric(metric: str, names: Sequence[str]) -> None:
    wanted = tag(metric).rpartition("/")[2]
    if metric not in names and wanted not in names:
        parts = [name for name in names if wanted.lower() in name.split("_")]  # f1 of macro_f1
        near = next(iter(parts), None) or nearest(wanted, names)
        meant = f"; did you mean {near}?" if near else "."
        raise UnknownMetric(f"metric={metric} is not a metric of these data{meant} They have: {', '.join(names)}")


def _train(
    config: RunConfig,
    record: Record,
    start: Mapping[str, Any],
    from_checkpoint: bool,
    metric: str | None,
    shorter: Collection[str],
    axes: Collection[str] | None,
) -> None:
    run_dir, resumed = record.run_dir, record.begun
    # Imported late: --cfg and mistakes on the command line do not need torch.
    from mixup_lab.config.assemble import assemble
    from mixup_lab.runs.log import RunLog
    from mixup_lab.runs.progress import progress_view
    from mixup_lab.runs.tensorboard import TensorBoardView
    from mixup_lab.training.device import keep_freed_memory
    from mixup_lab.training.fit import Fit
    from mixup_lab.training.stop import Pruned, StopRequest

    if config.trainer.malloc == "keep":  # before the first large tensor
        keep_freed_memory()
    fit = Fit(assemble(_placed(config), start["fingerprint"]), run_dir)
    if metric is not None:
        _check_metric(metric, fit.metric_names())
    notes = list(fit.parts.data.notes)
    if resumed and from_checkpoint and (run_dir / "checkpoint.pt").exists():
        fit.resume(shorter)
        if fit.longer:
            notes.append(f"after {fit.state.planned} epochs the training went on to {fit.length['epochs']}")
    with StopRequest() as stop:
        # TensorBoard hides what a resumed run will write again; pictures and texts are at step 0.
        # The final scalars have the step of the last epoch: where they may be there, both are written again.
        board = TensorBoardView(run_dir, fit.done_steps + (fit.done_steps > 0 and not fit.trained) if resumed else None)
        for epoch in read_epochs(run_dir)[-1:] if resumed and fit.trained else ():
            board.scalars({tag: float(value) for tag, value in epoch.get("scalars", {}).items()}, fit.done_steps)
        primary = fit.parts.task.primary
        log = RunLog(record, board, progress_view(config.trainer.progress, primary))
        if shorter:
            (run_dir / "summary.json").unlink(missing_ok=True)  # what it says is in the record too
        if shorter or not resumed:
            record.config(OmegaConf.to_yaml(OmegaConf.create(config.resolved)))
        facts = _facts(fit, config.trainer) | ({"resumed": True} if resumed else {})
        log.start(f"{start['name']} seed={config.seed}", about_length(facts), fit.done_steps, {**start, **facts})
        for note in notes:
            record.event("note", text=note)
        try:
            if not fit.done_steps:
                board.layout(primary)
                board.text("config", _as_markdown(config.resolved, start["choices"]))
            # The first letters have to tell the runs apart, and runs of one name must not fold into one row.
            trial = f"{run_dir.parent.name} {run_dir.name} {run_dir.parent.parent.name}"
            settings = _hparams(config, fit.parts.settings, start)
            metrics = [f"val/{primary}", f"test/{primary}", "val/loss"]
            typed = [word.partition("=")[0].lstrip("+~") for word in start["overrides"]]
            board.begin(trial, settings, _columns(settings, typed if axes is None else axes), metrics)
            scalars = fit.run(log, stop)
        except BaseException as error:
            # Only a signal or an exit is not an Exception.
            failed = "failed" if isinstance(error, Exception) else "interrupted"
            status = "pruned" if isinstance(error, Pruned) else failed
            with suppress(UserError):  # a full disk must not hide the error
                log.end(status, fit.state.scalars, fit.done_steps, error=f"{type(error).__name__}: {error}")
            raise
        log.end("ok", scalars, fit.done_steps, stopped=fit.state.stopped)
    if stop.signum is not None and HydraConfig.get().mode == RunMode.MULTIRUN:  # the signal came after the last step
        raise Interrupted(stop.signum, f"stopped after {run_dir}, which is finished")


def _placed(config: RunConfig) -> RunConfig:
    """The configuration, under joblib with the GPU whose turn it is: all of its processes see every GPU.

    The launcher `slots` gives each run a GPU of its own, and `basic` has one run at a time.
    """
    import torch

    from mixup_lab.training.device import spread

    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN or hydra.runtime.choices.get("hydra/launcher") != "joblib":
        return config
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = spread(config.trainer.device, int(hydra.job.num), gpus)
    return replace(config, trainer=replace(config.trainer, device=device))


def _facts(fit: Any, typed: TrainerSettings) -> dict[str, Any]:
    """The rest of the `start` event; `chosen` are the numbers of the settings that are auto."""
    import numpy as np
    import torch

    from mixup_lab.runs.environment import git_commit, versions
    from mixup_lab.training.device import gpu_versions

    data, device, length = fit.parts.data, fit.parts.device, fit.length
    groups = {split.name: len(np.unique(split.groups)) for split in data.splits if split.groups is not None}
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "primary": fit.parts.task.primary,
        "maximize": fit.parts.task.maximize,
        "chosen": {f"trainer.{key}": length[key] for key in length if getattr(typed, key) == AUTO},
        "epochs": length["epochs"],
        "steps_per_epoch": fit.steps,
        "versions": versions() | gpu_versions(device),
        "git": git_commit(),
        "device": f"{device} ({kind})",
        "accelerate": fit.parts.accelerate,
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in fit.parts.model.parameters()),
        "data": {
            **{split.name: len(split.ids) for split in data.splits},
            "dropped": data.dropped,
            "carved": list(data.carved),
            **({} if data.fold is None else {"fold": data.fold._asdict()}),
            **({"groups": groups} if groups else {}),
            **({} if data.duplicates is None else {"duplicates": data.duplicates}),
            "storage": data.storage,
            "digest": data.digest,
            "kind": data.kind.kind,
            "class_names": list(data.kind.names[:MOST_CLASSES]),
        },
    }


def _hparams(config: RunConfig, settings: TrainerSettings, start: Mapping[str, Any]) -> dict[str, Any]:
    """The flat settings that tell runs apart in TensorBoard: the same keys for every run; numbers instead of auto."""
    return {
        "arm": start["name"],
        **{group: start["choices"].get(group) for group in COMPONENTS},
        "alpha": float(config.aug.get("alpha", 0.0)),
        "lr": config.optimizer.get("lr", 0.0),
        "weight_decay": config.optimizer.get("weight_decay", 0.0),
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "seed": config.seed,
    }


def _columns(settings: Mapping[str, Any], keys: Collection[str]) -> list[str]:
    """The settings that these keys set, since others hardly differ between runs; arm, alpha and seed always."""
    names = {key.rpartition(".")[2] for key in keys}
    return [name for name in settings if name in {"arm", "alpha", "seed", *names}]


def _as_markdown(resolved: dict[str, Any], choices: dict[str, Any]) -> str:
    chosen = ", ".join(f"{group}={choice}" for group, choice in sorted(choices.items()) if choice is not None)
    text = OmegaConf.to_yaml(OmegaConf.create(resolved))
    return f"{chosen}\n\n" + "".join(f"    {line}\n" for line in text.splitlines())
