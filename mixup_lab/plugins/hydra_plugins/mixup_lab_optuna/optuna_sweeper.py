"""The sweeper's entry for Hydra, which imports this file at every start: Optuna is imported when it searches."""

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.mixup_lab_optuna._settings import Settings
from omegaconf import DictConfig


class OptunaSweeper(Sweeper):
    """Searches over the settings that have several values, a range or an interval: `aug.alpha=interval(0,1)`.

    The objective is the primary metric on val. The directories of trials are numbered, `trial=003,.../seed=0`: a name
    of settings alone would exist already when a killed trial is tried again, or when two long numbers round alike.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher of the trials."""
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Search, print the best trial, and return its value.

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
        from hydra_plugins.mixup_lab_optuna._search import Search

        return Search(Settings(**self._settings), self).run(arguments)


ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=Settings, provider="mixup_lab")
