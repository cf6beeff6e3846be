"""The keys of `hydra.sweeper`."""

from dataclasses import dataclass

from mixup_lab.types import UserError

CHOICES = {
    "sampler": ("tpe", "random", "grid"),
    "pruner": ("none", "median"),
    "direction": ("auto", "maximize", "minimize"),
}


@dataclass  # not frozen: OmegaConf would make the configuration read-only
class Settings:
    """The keys of `hydra.sweeper`, checked when an instance is made."""

    _target_: str = "hydra_plugins.mixup_lab_optuna.optuna_sweeper.OptunaSweeper"
    n_trials: int = 20  # in total: repeating the command with the same hydra.sweep.dir adds the missing ones
    n_jobs: int = 1  # trials that the launcher runs at once
    direction: str = "auto"  # maximize or minimize the metric on val; auto: as the task defines it
    sampler: str = "tpe"  # tpe, random, or grid: all combinations, at most n_trials
    seed: int | None = 0  # of the sampler
    pruner: str = "none"  # median: end runs early that are worse than half of the others at the same epoch
    pruner_startup_trials: int = 5  # first trials, which are never pruned
    pruner_warmup_epochs: int = 1  # first epochs of a trial, in which it is not pruned
    storage: str | None = None  # a file, or the URL of a database; null: optuna.journal in hydra.sweep.dir
    study_name: str = "mixup-lab"  # in the storage

    def __post_init__(self) -> None:
        for key, choices in CHOICES.items():
            if getattr(self, key) not in choices:
                raise UserError(f"hydra.sweeper.{key} must be one of {', '.join(choices)}, got {getattr(self, key)}")
        for key, least in {"n_trials": 1, "n_jobs": 1, "pruner_startup_trials": 0, "pruner_warmup_epochs": 0}.items():
            if getattr(self, key) < least:
                raise UserError(f"hydra.sweeper.{key} must be {least} or more, got {getattr(self, key)}")
        if self.seed is not None and self.seed < 0:
            raise UserError(f"hydra.sweeper.seed must be null or 0 or more, got {self.seed}")
