"""The plan of a study: every arm composed once, before anything runs."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixup_lab.config import identity
from mixup_lab.config.launch import check_sweep, find_plugins
from mixup_lab.config.words import config_dir, flag_value
from mixup_lab.pasting import quote
from mixup_lab.runs import store
from mixup_lab.types import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from mixup_lab.config.schema import RunConfig

    Composed = tuple[DictConfig, dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """The arms and runs of a study."""

    axes: list[str]  # keys and groups that the line varies
    names: dict[str, str] = field(default_factory=dict)  # id of each arm -> its preferred name
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)  # id of each arm -> its flat settings
    roots: dict[str, str | None] = field(default_factory=dict)  # name of each data set -> folder of its files, if any
    cells: dict[tuple[str, int], None] = field(default_factory=dict)  # id of the arm and seed of each run, in order
    configs: dict[str, "RunConfig"] = field(default_factory=dict)  # id of each arm -> its configuration, of one seed
    mixing: set[str] = field(default_factory=set)  # ids of the arms that mix


def jobs_of(overrides: Sequence[str]) -> tuple[list[list[str]], list[str]]:
    """The overrides of each run of a sweep as Hydra's own sweeper splits them, and the keys that vary."""
    find_plugins()
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(list(overrides))
    for override in parsed:
        if override.is_interval_sweep():
            key = override.get_key_element()
            raise UserError(f"{override.input_line} has no list of values to compare; write {key}=A,B,C")
        if override.is_sweep_override():
            check_sweep(override)
    axes = [override.get_key_element() for override in parsed if override.is_sweep_override()]
    return [list(job) for job in BasicSweeper.split_arguments(parsed, None)[0]], axes


def make_plan(overrides: Sequence[str], flags: Sequence[str] = ()) -> Plan:
    """Compose every arm of a sweep once, with its first seed. Nothing is built, and torch is not imported.

    Raises:
        UserError: for a wrong configuration.
    """
    own = flag_value(flags, "--config-dir", "-cd")
    searchpath = [f"hydra.searchpath=[{quote('file://' + str(Path(own).absolute()))}]"] if own else []
    jobs, axes = jobs_of([*overrides, *searchpath])
    from hydra import initialize_config_dir

    from mixup_lab.config.schema import COMPARE_KEYS, own_key, parse, register

    register()
    arms: dict[tuple[str, ...], list[int]] = {}
    for job in jobs:
        word = next(word for word in job if word.startswith("seed="))
        seed = word.removeprefix("seed=")
        if not seed.isdecimal():
            raise UserError(f"seed must be a whole number, 0 or more, got {seed}")
        arms.setdefault(tuple(other for other in job if other is not word), []).append(int(seed))
    plan = Plan([axis.lstrip("+") for axis in axes])
    root_of_arm: dict[str, str | None] = {}
    composed: dict[tuple[str, ...], Composed] = {}
    name = flag_value(flags, "--config-name", "-cn") or "compare"
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        for words, seeds in arms.items():
            cfg, choices = _compose(name, [*words, f"seed={seeds[0]}"], plan.axes, composed)
            for key in COMPARE_KEYS:
                own_key(cfg, key)
            config = parse(cfg)
            arm = identity.arm(config.resolved, choices)
            data, root = str(choices.get("dataset") or "dataset"), config.source.get("root")
            if root is not None:
                root = str(Path(str(root)).expanduser().resolve())
            _refuse_two_roots(root, plan.roots.setdefault(data, root))
            _refuse_two_roots(root, root_of_arm.setdefault(arm, root))
            plan.settings[arm] = identity.settings(config.resolved, choices)
            mixing, mixes = identity.arm_name(choices.get("aug"), config.aug), not identity.mixes_nothing(config.aug)
            plan.configs[arm] = config
            plan.mixing.update([arm] * mixes)
            plan.names.setdefault(arm, _name(mixing, mixes, words, plan.axes))
            plan.cells.update(dict.fromkeys((arm, seed) for seed in seeds))
    return plan


def _compose(
    name: str, words: Sequence[str], axes: Sequence[str], composed: "dict[tuple[str, ...], Composed]"
) -> "Composed":
    """The configuration of these words, and the option of each group.

    A composition takes a tenth of a second. What does not vary is in `composed`, and values such as `aug.alpha=0.4`,
    which choose no other files, are set in a copy of it, as Hydra sets them.
    """
    from hydra import compose
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException

    def anew(words: Sequence[str]) -> "Composed":
        cfg = compose(name, overrides=list(words), return_hydra_config=True)
        choices = dict(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg["hydra"]
        return cfg, choices

    values = [word for word in words if "." in (key := word.partition("=")[0]) and key in axes]
    others = tuple(word for word in words if word not in values)
    if others not in composed:
        composed[others] = anew(others)
    cfg, choices = copy.deepcopy(composed[others])
    try:
        for override in OverridesParser.create().parse_overrides(values):
            OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True)
    except OmegaConfBaseException:
        return anew(words)  # Hydra names the mistake
    return cfg, choices


def _refuse_two_roots(now: str | None, before: str | None) -> None:
    """The data folder is not part of an arm's identity, so runs on the data of two folders would count as the same."""
    if now != before:
        raise UserError(
            f"dataset.root must have one value in a study, got {before} and {now}; they hold different data, so give"
            " each folder a study of its own with study=NAME"
        )


def _name(mixing: str, mixes: bool, job: Sequence[str], axes: Sequence[str]) -> str:
    """`mixup-a0.4`, and the value of every other axis: `mixup-a0.4,weight_decay=0.0005`."""
    parts = [mixing]
    for word in job:
        key, _, value = word.lstrip("+").partition("=")
        named = key not in ("aug", "aug.alpha") and (mixes or key.partition(".")[0] not in store.MIXING)
        if key in axes and named and word != "variant=none":
            parts.append(value if key == "variant" else f"{key.rpartition('.')[2]}={value}")
    return store.safe_name(",".join(parts))
