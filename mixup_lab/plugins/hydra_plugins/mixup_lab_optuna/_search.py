"""The search: Optuna suggests trials and stores their results, Hydra's launcher runs them."""

import itertools
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra_plugins.mixup_lab_optuna._settings import Settings
from hydra_plugins.mixup_lab_optuna._space import Axis, space_of
from hydra_plugins.mixup_lab_optuna._watch import Watch
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import Trial, TrialState

from mixup_lab.config.identity import LONGEST_NAME
from mixup_lab.config.launch import FailedRun
from mixup_lab.disk import try_lock, writing
from mixup_lab.pasting import quote
from mixup_lab.runs.record import read_events
from mixup_lab.runs.settings import MACHINE_KEYS
from mixup_lab.training.stop import Pruned
from mixup_lab.types import RunFailed, UserError
from mixup_lab.visible import score

MOST_CHECKED = 20  # choices of one setting that are composed before anything runs
MOST_FAILURES = 3  # if this many trials fail before one succeeds, the command line is at fault, not the settings


class Search:
    """One search, which may continue an earlier one in the same storage."""

    def __init__(self, settings: Settings, sweeper: Sweeper) -> None:
        assert sweeper.hydra_context is not None
        assert sweeper.config is not None
        self.settings, self.config = settings, sweeper.config
        self.launcher: Any = sweeper.launcher
        self.loader: Any = sweeper.hydra_context.config_loader
        self.sweep_dir = Path(str(self.config.hydra.sweep.dir))
        self.space: dict[str, Axis] = {}
        self.fixed: list[str] = []
        self.errors: list[Exception] = []  # of this process

    def run(self, arguments: Sequence[str]) -> float | None:
        """Search and print the best trial; return its value, None if no trial has one."""
        parser = OverridesParser.create(config_loader=self.loader)
        self.space, self.fixed = space_of(parser.parse_overrides(list(arguments)))
        total = self._total()
        self._check_values()  # before anything is written
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with self._storage() as storage:
            self.study = self._open(storage)
            self._requeue_killed()
            if self.settings.sampler == "grid":
                grid = itertools.product(*(axis.values for axis in self.space.values()))
                for values in itertools.islice(grid, total):
                    self.study.enqueue_trial(dict(zip(self.space, values, strict=True)), skip_if_exists=True)
            try:
                while (missing := total - len(self._done())) > 0:
                    self._batch(min(self.settings.n_jobs, missing))
                    if len(self.errors) >= MOST_FAILURES and all(t.state == TrialState.FAIL for t in self._done()):
                        raise self.errors[0]
            except KeyboardInterrupt:
                where = shlex.quote(f"hydra.sweep.dir={self.sweep_dir}")
                print(f"to continue the search, repeat the command with {where}", file=sys.stderr)
                raise
            return self._conclude()

    # ---- storage -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _storage(self) -> Iterator[Any]:
        """The storage of the study. A file is locked, so a trial that is marked as running in it was killed."""
        named = self.settings.storage
        if named is not None and "://" in named:
            try:
                yield optuna.storages.get_storage(named)
            except ImportError as error:
                raise UserError(f"hydra.sweeper.storage={named} needs a package: {error}") from error
            return
        from optuna.storages.journal import JournalFileBackend

        path = Path(named) if named is not None else self.sweep_dir / "optuna.journal"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        with file:
            if not try_lock(file):
                raise UserError(f"{path} is in use: another process is searching with it")
            yield optuna.storages.JournalStorage(JournalFileBackend(str(path)))

    def _open(self, storage: Any) -> optuna.Study:
        """Begin the study or continue it."""
        chosen = self.settings
        study = self._create(storage, "minimize" if chosen.direction == "minimize" else "maximize")
        fixed = sorted(word for word in self.fixed if word.partition("=")[0].lstrip("+~") not in MACHINE_KEYS)
        line = {"space": {key: repr(axis.distribution) for key, axis in self.space.items()}, "fixed": fixed}
        if not study.trials and "line" not in study.user_attrs:
            study.set_user_attr("line", line)
        elif study.user_attrs.get("line") != line:
            raise UserError(
                f"study '{chosen.study_name}' in {chosen.storage or self.sweep_dir} is a search over other settings; "
                "choose another hydra.sweep.dir or hydra.sweeper.study_name"
            )
        if chosen.direction not in ("auto", study.direction.name.lower()):
            raise UserError(f"hydra.sweeper.direction={chosen.direction}, but the search began with the other one")
        return study

    def _create(self, storage: Any, direction: Literal["maximize", "minimize"]) -> optuna.Study:
        chosen = self.settings
        study = optuna.create_study(
            storage=storage, study_name=chosen.study_name, direction=direction, load_if_exists=True
        )
        # A search that goes on needs another seed, or its first suggestions would repeat.
        seed = None if chosen.seed is None else chosen.seed + len(study.trials)
        random = optuna.samplers.RandomSampler(seed)
        study.sampler = optuna.samplers.TPESampler(seed=seed) if chosen.sampler == "tpe" else random
        study.pruner = optuna.pruners.NopPruner()
        if chosen.pruner == "median":
            study.pruner = optuna.pruners.MedianPruner(chosen.pruner_startup_trials, chosen.pruner_warmup_epochs)
        return study

    def _requeue_killed(self) -> None:
        """Queue the unfinished trials of a killed process again, each in another directory."""
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            Trial(self.study, frozen._trial_id).set_user_attr("killed", True)
            self.study.enqueue_trial(frozen.params)
            self.study.tell(frozen.number, state=TrialState.FAIL)

    def _done(self) -> list[optuna.trial.FrozenTrial]:
        """Trials that count: finished, pruned and failed ones, without those that were killed."""
        trials = self.study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state.is_finished() and "killed" not in trial.user_attrs]

    def _turn(self, run_dirs: Sequence[Path]) -> None:
        """Turn the study into one that minimises, if the metric of the first runs is to be minimised."""
        starts: list[Mapping[str, Any]] = []
        for path in run_dirs:
            with suppress(OSError):
                starts += itertools.islice(read_events(path, "start"), 1)
        if self.settings.direction != "auto" or not starts or starts[0].get("maximize", True):
            return
        if self.study.direction == StudyDirection.MAXIMIZE:
            trials, line, storage = self.study.trials, self.study.user_attrs["line"], self.study._storage
            optuna.delete_study(study_name=self.study.study_name, storage=storage)
            self.study = self._create(storage, "minimize")
            self.study.set_user_attr("line", line)
            self.study.add_trials(trials)

    # ---- trials ------------------------------------------------------------------------------------------------------

    def _total(self) -> int:
        total: int = self.settings.n_trials
        if self.settings.sampler != "grid":
            return total
        size = 1
        for axis in self.space.values():
            if not axis.values:
                raise UserError(
                    f"hydra.sweeper.sampler=grid needs values, but {axis.key} is an interval; "
                    f"write {axis.key}=a,b,c or {axis.key}=range(a,b)"
                )
            size *= len(axis.values)
        return min(total, size)

    def _batch(self, size: int) -> None:
        """Ask Optuna for some trials, run them side by side if the launcher can, and report their results."""
        finished = {tuple(t.user_attrs["words"]): t for t in self._done() if t.state == TrialState.COMPLETE}
        distributions = {key: axis.distribution for key, axis in self.space.items()}
        jobs, runs = [], {}
        for _ in range(size):
            trial = self.study.ask(distributions)
            words = [axis.word(trial.params[key]) for key, axis in self.space.items()]
            trial.set_user_attr("words", words)
            if tuple(words) in finished:  # a run is a function of its settings
                before = finished[tuple(words)]
                print(f"trial {trial.number} ({' '.join(words)}) is the same as trial {before.number}")
                self.study.tell(trial, before.value)
                continue
            place = [f"hydra.sweep.subdir={quote(self._subdir(trial.number, words))}"]
            try:
                runs[trial.number] = (trial, self._run_dir(self._compose([*words, *place])))
            except (HydraException, OmegaConfBaseException) as error:  # choices that do not go together
                print(f"trial {trial.number} ({' '.join(words)}): {str(error).splitlines()[0]}", file=sys.stderr)
                self.study.tell(trial, state=TrialState.FAIL)
                self.errors.append(error)
                continue
            jobs.append([*self.fixed, *words, *place])
        if not jobs:
            return
        with Watch(runs, prune=self.settings.pruner != "none"):
            returns = self.launcher.launch(jobs, initial_job_idx=next(iter(runs)))
        for (trial, _), ended in zip(runs.values(), returns, strict=True):
            self._tell(trial, ended)
        self._turn([run_dir for _, run_dir in runs.values()])

    def _tell(self, trial: Trial, ended: JobReturn) -> None:
        value = ended._return_value  # `return_value` would raise, and print as well
        if ended.status == JobStatus.COMPLETED and isinstance(value, (int, float)):
            self.study.tell(trial, float(value))
        elif isinstance(value, FailedRun) and isinstance(value.error, Pruned):
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, state=TrialState.FAIL)
            self.errors.append(value if isinstance(value, Exception) else RunFailed(f"a run returned {value}"))

    def _check_values(self) -> None:
        """Compose with the first value of each axis, and with every other choice in its place."""
        first = {key: axis.word(_first(axis)) for key, axis in self.space.items()}
        self._compose(list(first.values()))
        for key, axis in self.space.items():
            if isinstance(axis.distribution, CategoricalDistribution):
                for value in axis.values[1:MOST_CHECKED]:
                    self._compose(list((first | {key: axis.word(value)}).values()))

    def _compose(self, words: Sequence[str]) -> DictConfig:
        """The configuration of a trial; composing it finds mistakes on the line before anything runs."""
        composed: DictConfig = self.loader.load_sweep_config(self.config, [*self.fixed, *words])
        return composed

    def _subdir(self, number: int, words: Sequence[str]) -> str:
        """The directory: the number, so that no two trials share one, and the searched settings."""
        if any(word.startswith("hydra.sweep.subdir=") for word in self.config.hydra.overrides.hydra):
            own = OmegaConf.to_container(self.config.hydra.sweep, resolve=False)
            assert isinstance(own, dict)
            return f"trial={number:03}/{own['subdir']}"
        name = ",".join(re.sub(r"[^\w.=+\-]+", "-", word) for word in (f"trial={number:03}", *words))
        return f"{name[:LONGEST_NAME]}/seed=${{seed}}"

    def _run_dir(self, composed: DictConfig) -> Path:
        with open_dict(composed):
            composed.hydra.job.id = composed.hydra.job.num = 0  # missing until it is launched
        return Path(str(composed.hydra.sweep.dir)) / str(composed.hydra.sweep.subdir)

    # ---- the end -----------------------------------------------------------------------------------------------------

    def _conclude(self) -> float | None:
        """Print the best trial, and the command that compares it with the baseline."""
        done = self._done()
        counts = {state: sum(trial.state == state for trial in done) for state in TrialState}
        words_of = {TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
        others = [f"{counts[state]} {word}" for state, word in words_of.items() if counts[state]]
        number = f"{len(done)} trials" + (f" ({', '.join(others)})" if others else "")
        if not counts[TrialState.COMPLETE]:
            if self.errors:
                raise self.errors[0]
            print(f"{number}, none of which was finished")
            return None
        best = self.study.best_trial
        words = list(best.user_attrs["words"])
        print(
            f"best of {number}: trial {best.number}, {score(self.study.best_value)} on val\n"
            f"  {' '.join(words)}\n"
            "The best of many is partly luck. To compare these settings with the baseline, over several seeds:\n"
            f"  mixup-lab compare {shlex.join(_compared([*self.fixed, *words]))}",
            flush=True,
        )
        return best.value


def _compared(words: Sequence[str]) -> list[str]:
    """The words for `compare`, which chooses the seeds, and also the mixing if the best trial has none."""
    keys: Mapping[str, str] = {word.partition("=")[0].lstrip("+"): word for word in words}
    drop = {"seed", "aug", "aug.alpha"} if keys.get("aug", "aug=none").endswith("=none") else {"seed"}
    return [word for key, word in keys.items() if key not in drop]


def _first(axis: Axis) -> Any:
    distribution: Any = axis.distribution
    return axis.values[0] if axis.values else distribution.low
