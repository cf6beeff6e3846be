"""The typed configuration of a run.

The keys that the program itself reads are typed here; `build` checks those of a component against its constructor.
No OmegaConf type leaves this file. No torch is imported, so that `--help` and `--cfg job` are quick.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from mixup_lab.config.errors import wrong_type
from mixup_lab.config.identity import run_name
from mixup_lab.config.nearest import unknown_key
from mixup_lab.training.settings import TrainerSettings
from mixup_lab.types import UserError

Component = dict[str, Any]  # `_target_` and the arguments of its constructor
COMPONENTS = ("dataset", "model", "optimizer", "scheduler", "transform", "aug", "mix_schedule")


@dataclass
class DatasetSettings:
    """Keys that every data set shares (`conf/dataset_defaults.yaml`); the others go to the source's constructor."""

    val_fraction: float = 0.1
    test_fraction: float = 0.2
    train_size: Any = None  # None: all; int: examples; float in (0, 1]: fraction
    split_seed: int | None = None
    storage: str = "auto"
    workers: int = 2
    mean: list[float] | None = None
    std: list[float] | None = None
    label_noise: float = 0.0
    label_noise_pairs: Any = None  # None, or [from, to] classes by name or index
    imbalance: float | None = None
    folds: int | None = None
    fold: int | None = None  # None: follows from the seed

    def check(self) -> None:
        """Raise UserError for the first value outside its range."""
        for key in ("val_fraction", "test_fraction"):
            value = getattr(self, key)
            if not 0 < value < 1:
                raise UserError(f"dataset.{key} must be between 0 and 1, both excluded, got {value}")
        size = self.train_size
        fraction = isinstance(size, float) and math.isfinite(size) and 0 < size <= 1
        count = isinstance(size, int) and not isinstance(size, bool) and size >= 1
        if not (size is None or fraction or count):
            raise UserError(
                f"dataset.train_size must be null, a number of examples >= 1 or a fraction in (0, 1], got {size}"
            )
        if self.storage not in ("auto", "resident", "streaming"):
            raise UserError(f"dataset.storage must be auto, resident or streaming, got {self.storage}")
        if self.workers < 0:
            raise UserError(f"dataset.workers must be 0 or more, got {self.workers}")
        if not 0 <= self.label_noise < 1:
            raise UserError(f"dataset.label_noise must be a share in [0, 1), got {self.label_noise}")
        pairs = self.label_noise_pairs
        listed = isinstance(pairs, list) and pairs and all(isinstance(p, list) and len(p) == 2 for p in pairs)
        if pairs is not None and not listed:
            raise UserError(f"dataset.label_noise_pairs must be null or [from, to] pairs such as [[3, 5]], got {pairs}")
        if pairs is not None and not self.label_noise:
            raise UserError("dataset.label_noise_pairs needs a share of labels to confuse: dataset.label_noise=0.2")
        if self.imbalance is not None and not 1 <= self.imbalance < math.inf:
            raise UserError(f"dataset.imbalance must be null or a finite ratio >= 1, got {self.imbalance}")
        if self.folds is not None and self.folds < 2:
            raise UserError(f"dataset.folds must be null or 2 or more, got {self.folds}")
        if self.fold is not None and self.folds is None:
            raise UserError(f"dataset.fold={self.fold} needs the number of folds: dataset.folds=5")
        if self.fold is not None and self.folds is not None and not 0 <= self.fold < self.folds:
            raise UserError(f"dataset.fold must be null or 0..{self.folds - 1}, got {self.fold}")
        if self.split_seed is not None and self.split_seed < 0:
            raise UserError(f"dataset.split_seed must be null or 0 or more, got {self.split_seed}")


@dataclass
class _Typed:
    """The part of a configuration that the program itself reads."""

    dataset: DatasetSettings = field(default_factory=DatasetSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    seed: int = 0
    trust: list[str] = field(default_factory=list)


@dataclass
class RunSchema:
    """The configuration that Hydra composes. Component nodes are open here; `build` checks them."""

    dataset: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)
    transform: dict[str, Any] = field(default_factory=dict)
    aug: dict[str, Any] = field(default_factory=dict)
    mix_schedule: dict[str, Any] = field(default_factory=dict)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    seed: int = 0
    resume: str | None = None
    trust: list[str] = field(default_factory=list)


@dataclass
class CommandSchema(RunSchema):
    """A run plus keys of a command, merged after the settings of the run, which stay where a value here is MISSING."""

    trainer: TrainerSettings = MISSING
    seed: int = MISSING
    resume: str | None = MISSING
    trust: list[str] = MISSING


@dataclass
class PreviewSchema(CommandSchema):
    """A run that is drawn instead of trained."""

    out: str | None = None


@dataclass
class CompareSchema(CommandSchema):
    """A run of a study."""

    fail_fast: bool = False
    metric: str | None = None  # that the study decides by


COMPARE_KEYS = ("fail_fast", "metric")


@dataclass(frozen=True)
class RunConfig:
    """One run, resolved and checked: plain Python objects only."""

    seed: int
    source: Component  # the data source's `_target_` and arguments
    data: DatasetSettings
    model: Component
    optimizer: Component
    scheduler: Component
    transform: Component
    aug: Component
    mix_schedule: Component
    trainer: TrainerSettings
    trust: tuple[str, ...]
    resolved: dict[str, Any]  # the whole as nested plain values, as in `config.yaml`


@dataclass
class SweeperSettings:
    """The keys of `hydra.sweeper` by default; see `mixup_lab_product`."""

    _target_: str = "hydra_plugins.mixup_lab_product.product_sweeper.ProductSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None
    composed: bool = False


def register() -> None:
    """Register the schemas, the keys of the sweeper and the resolver `run_name` with Hydra, before it composes."""
    nodes = {"schema": RunSchema, "preview_schema": PreviewSchema, "compare_schema": CompareSchema}
    for name, node in nodes.items():
        ConfigStore.instance().store(name=name, node=node, provider="mixup_lab")
    ConfigStore.instance().store(group="hydra/sweeper", name="product", node=SweeperSettings, provider="mixup_lab")
    OmegaConf.register_new_resolver("run_name", lambda *, _root_: run_name(_root_), replace=True)


def own_key(cfg: DictConfig, key: str) -> Any:
    """Take a key of the command itself out of a composed configuration, before `parse`; None where it is missing."""
    with open_dict(cfg):
        return cfg.pop(key, None)


def parse(cfg: DictConfig) -> RunConfig:
    """Check a composed configuration.

    Composition lets `+key=value` past the schema, so everything is merged once more into a fresh one.

    Raises:
        UserError: for an unknown key, a wrong type, a missing value or one out of range.
    """
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise UserError(f"{missing[0]} has no value; give one with {missing[0]}=...")
    resolved: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    _refuse_unknown(resolved, RunSchema, "")
    _refuse_unknown(resolved["trainer"], TrainerSettings, "trainer.")
    for group in COMPONENTS:
        if not isinstance(resolved[group], dict) or "_target_" not in resolved[group]:
            raise UserError(f"{group} must be one of its options or hold a _target_, got {resolved[group]}")

    shared = {f.name for f in dataclasses.fields(DatasetSettings)}
    values = {key: resolved[key] for key in ("trainer", "seed", "trust")}
    values["dataset"] = {k: v for k, v in resolved["dataset"].items() if k in shared}
    try:
        typed: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(_Typed), values))
    except OmegaConfBaseException as error:
        raise UserError(wrong_type(error)) from None
    typed.dataset.check()
    typed.trainer.check()
    if typed.seed < 0:
        raise UserError(f"seed must be 0 or more, got {typed.seed}")
    resolved.pop("resume", None)
    return RunConfig(
        seed=typed.seed,
        source={k: v for k, v in resolved["dataset"].items() if k not in shared},
        data=typed.dataset,
        trainer=typed.trainer,
        trust=tuple(typed.trust),
        resolved=resolved,
        **{group: resolved[group] for group in COMPONENTS if group != "dataset"},
    )


def _refuse_unknown(node: dict[str, Any], schema: type, prefix: str) -> None:
    names = [f"{prefix}{f.name}" for f in dataclasses.fields(schema)]
    for key in node:
        if f"{prefix}{key}" not in names:
            raise UserError(unknown_key(f"{prefix}{key}", names))
