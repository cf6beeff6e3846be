"""One run of a study: skipped if finished, continued if interrupted, tried again if it failed."""

import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mixup_lab.commands.run import UnknownMetric, identify, primary_value, run
from mixup_lab.config.launch import JobError
from mixup_lab.config.schema import COMPARE_KEYS, RunConfig, own_key, parse
from mixup_lab.runs import store
from mixup_lab.runs.record import InUse, Record, read_result
from mixup_lab.types import Interrupted, RunFailed, UserError


def cell(cfg: DictConfig) -> float | None:
    """Run one job of a study and return its primary metric on val; None if it failed or another process runs it.

    A failure is written to the run's folder and not raised, so that no launcher stops the other runs.

    Raises:
        JobError: for a mistake on the command line, or any failure with `fail_fast`.
    """
    hydra = HydraConfig.get()
    fail_fast, metric = (own_key(cfg, key) for key in COMPARE_KEYS)
    config = parse(cfg)
    overrides = [word for word in hydra.overrides.task if word.partition("=")[0] not in COMPARE_KEYS]
    start = identify(config, hydra.runtime.choices, overrides)
    study = Path(hydra.sweep.dir)
    manifest = store.read_manifest(study)
    if manifest is None or start["arm"] not in manifest["arms"]:
        raise UserError(f"{study / 'study.json'} lacks the arm of {' '.join(overrides)}")
    if config.seed >= manifest.get("ends", {}).get(start["arm"], config.seed + 1):
        return None  # decided before
    start["name"] = manifest["arms"][start["arm"]]
    run_dir = store.run_dir(study, start["name"], config.seed)
    try:
        return _train(config, run_dir, start, metric, manifest["axes"])
    except InUse:
        return None
    except Interrupted as error:  # the advice of a single run would be wrong: the same line goes on with the study
        raise Interrupted(error.signum, f"{start['name']} seed={config.seed} {error.message}") from error
    except UnknownMetric as error:
        raise JobError(error) from error
    except Exception as error:
        if isinstance(error, UserError) and not store.begun(study):
            raise JobError(error) from error  # a mistake on the command line, which every run would repeat
        sentence = str(error) if isinstance(error, (UserError, RunFailed)) else None
        store.note_error(run_dir, error, sentence)
        if fail_fast:
            raise JobError(error) from error
        return None


def _train(config: RunConfig, run_dir: Path, start: dict[str, Any], metric: str | None, axes: list[str]) -> float:
    """Train the rest of a run and return the primary metric on val."""
    done = _finished(run_dir, start["fingerprint"])  # without the lock: a study that is extended has many of these
    if done is not None:
        return done
    with closing(Record(run_dir, resume=True)) as record:
        done = _finished(run_dir, start["fingerprint"])  # by another process, a moment ago
        if done is not None:
            return done
        failed = store.read_error(run_dir) is not None
        store.settle_error(run_dir)
        # A note instead of a line on the terminal: the same warning would come from every run.
        warnings.showwarning = lambda message, *_, **__: record.event("note", text=str(message))
        return primary_value(run(config, record, start, from_checkpoint=not failed, metric=metric, axes=axes))


def _finished(run_dir: Path, fingerprint: str) -> float | None:
    """The primary metric on val of a run that is finished."""
    result = read_result(run_dir)
    if result is None:
        return None
    if result["fingerprint"] != fingerprint:
        raise UserError(f"{run_dir} holds a run with other settings")
    return primary_value(result)
