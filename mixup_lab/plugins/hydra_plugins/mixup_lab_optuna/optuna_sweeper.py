"""The sweeper as Hydra sees it. Hydra imports this file at every start, so Optuna is imported when it searches.

Hydra executes plugin files outside `sys.modules`, where dataclasses cannot resolve postponed annotations.
"""

from dataclasses import dataclass
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class OptunaSweeperConf:
    """The keys of `hydra.sweeper`."""

    _target_: str = "hydra_plugins.mixup_lab_optuna.optuna_sweeper.OptunaSweeper"
    n_trials: int = 20  # in total: the same line again in the same hydra.sweep.dir adds what is missing
    n_jobs: int = 1  # trials that are handed to the launcher at once
    direction: str = "auto"  # maximize or minimize the metric on val; auto: as the task says
    sampler: str = "tpe"  # tpe, random, or grid: all combinations, at most n_trials
    seed: Optional[int] = 0  # of the sampler  # noqa: UP045 (Hydra asks for it)
    pruner: str = "none"  # median: end runs early that are worse than half of the others at the same epoch
    pruner_startup_trials: int = 5  # that are not pruned
    pruner_warmup_epochs: int = 1  # of a trial in which it is not pruned
    storage: Optional[str] = None  # null: optuna.journal in hydra.sweep.dir; a file, or URL of a database  # noqa: UP045
    study_name: str = "mixup-lab"  # in the storage


class OptunaSweeper(Sweeper):
    """Searches the settings that the line gives as values, ranges or intervals: `aug.alpha=interval(0,1)`.

    The objective is the primary metric on val. The directories of trials are numbered, `trial=003,.../seed=0`: a name
    of settings alone would be taken when a trial that was killed is tried again, or when two long numbers round alike.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what every run needs."""
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Search, say what was found, and return the best value.

        Raises:
            UserError: for a mistake in the settings or on the line, or where Optuna is not installed.
        """
        from mixup_lab.types import UserError

        try:
            import optuna  # noqa: F401
        except ModuleNotFoundError as error:
            if error.name != "optuna":
                raise
            raise UserError("hydra/sweeper=optuna needs an extra: pip install 'mixup-lab[optuna]'") from None
        from hydra_plugins.mixup_lab_optuna._search import Search, Settings

        return Search(Settings(**self._settings), self).run(arguments)


ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=OptunaSweeperConf, provider="mixup_lab")
