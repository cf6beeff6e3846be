"""The launcher's entry for Hydra, which imports this file at every start: heavy modules are imported at launch.

Hydra executes plugin files outside `sys.modules`, where dataclasses cannot resolve postponed annotations.
"""

import os
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, filter_overrides, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict


@dataclass
class SlotsLauncherConf:
    """The keys of `hydra.launcher`."""

    _target_: str = "hydra_plugins.mixup_lab_slots.slots_launcher.SlotsLauncher"
    slots: Any = "auto"  # runs side by side; auto: slots_per_gpu on each GPU, without a GPU one on each core
    slots_per_gpu: int = 1
    threads: Any = "auto"  # CPU threads of a run; auto: the cores divided by the slots


class SlotsLauncher(Launcher):
    """A queue of runs and a number of slots; a slot has one run at a time and a GPU or a share of the cores.

    A run that fails or whose process dies does not stop the others. After Ctrl-C or SIGTERM the runs that are under way
    save a checkpoint first; a second Ctrl-C kills them. On Linux the processes are forked from one that has imported
    torch; elsewhere each imports it anew.
    """

    def __init__(self, slots: int | str = "auto", slots_per_gpu: int = 1, threads: int | str = "auto") -> None:
        self._settings = (slots, slots_per_gpu, threads)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep the arguments for `launch`."""
        self._context, self._task, self._config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and return their results in the order of the overrides.

        Raises:
            UserError: for a setting that is out of range.
            KeyboardInterrupt: after a signal, or the `Interrupted` of the runs that were under way.
        """
        from hydra_plugins.mixup_lab_slots._places import chosen_gpus, divide, gpu_listing, usable_cores, visible_gpus
        from hydra_plugins.mixup_lab_slots._queue import run_all

        gpus = visible_gpus(gpu_listing(), os.environ.get("CUDA_VISIBLE_DEVICES"))
        threads, runs = os.environ.get("OMP_NUM_THREADS"), len(job_overrides)
        first = self._context.config_loader.load_sweep_config(self._config, list(job_overrides[0]))
        allotment = divide(*self._settings, runs, usable_cores(), chosen_gpus(gpus, _device(first)), threads)
        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        Path(str(self._config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        done: list[JobReturn] = run_all(self._requests(job_overrides, initial_job_idx), runs, allotment)
        return done

    def _requests(self, job_overrides: Sequence[Sequence[str]], first: int) -> Iterator[Any]:
        from hydra_plugins.mixup_lab_slots._queue import Request

        # Resolvers are closures, which cannot be pickled: a worker registers them anew.
        shared = _pickled((self._task, self._context, Singleton.get_state()["instances"]))
        for number, overrides in enumerate(job_overrides, first):
            config = self._context.config_loader.load_sweep_config(self._config, list(overrides))
            name = config.hydra.job.name
            with open_dict(config):
                config.hydra.job.id = f"{name}_{number}"
                config.hydra.job.num = number
                if _device(config).startswith("cuda:"):  # a slot sees one GPU, whatever its number is
                    config.trainer.device = "cuda"
            yield Request(number, tuple(filter_overrides(overrides)), f"mixup-lab {name}", shared, _pickled(config))


def _device(config: DictConfig) -> str:
    return str(OmegaConf.select(config, "trainer.device", default="auto"))


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise RuntimeError(f"hydra/launcher=slots cannot send a run to another process: {error}") from error


ConfigStore.instance().store(group="hydra/launcher", name="slots", node=SlotsLauncherConf, provider="mixup_lab")
