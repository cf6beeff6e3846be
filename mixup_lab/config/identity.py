"""The identity of a run: the fingerprint of its settings, the arm (the same without the seed) and readable names.

A component (dataset, model, aug, ...) is identified by its option, the name of its class or function and its arguments;
the module does not count, so classes may move. Machine settings do not count. A method with alpha 0 or prob 0
trains bit for bit like the baseline, so all methods that do not mix have one identity.

`choices` gives the option of each group; where it is unknown, the group is missing or None.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mixup_lab.runs.settings import MACHINE_KEYS, flat
from mixup_lab.runs.store import MIXING

NO_MIXING = "mixup_lab.mixing.none.NoMixing"
LONGEST_NAME = 120  # characters of a directory name; file systems allow 255 bytes


def fingerprint(resolved: Mapping[str, Any], choices: Mapping[str, Any] = MappingProxyType({})) -> str:
    """16 hex digits over all settings that the results depend on, the seed included."""
    return _digest(_essence(resolved, choices))


def settings(resolved: Mapping[str, Any], choices: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an arm, flat: `{"trainer.epochs": 20, ...}`; without the seed and those of the machine."""
    return {key: value for key, value in _essence(resolved, choices).items() if key != "seed"}


def arm(resolved: Mapping[str, Any], choices: Mapping[str, Any]) -> str:
    """16 hex digits over `settings`: runs of one arm differ only by chance."""
    return _digest(settings(resolved, choices))


def arm_name(aug_choice: str | None, aug: Mapping[str, Any]) -> str:
    """A readable name of the mixing: `baseline`, `mixup-a0.4`. Without a choice it uses the name of the class."""
    if mixes_nothing(aug):
        return "baseline"
    aug_choice = aug_choice or str(aug["_target_"]).rpartition(".")[2].lower()
    alpha = aug.get("alpha")
    return f"{aug_choice}-a{alpha:g}" if isinstance(alpha, (int, float)) else aug_choice


def run_name(root: DictConfig) -> str:
    """The directory name of a run's arm: the name of its mixing and the other settings of the command line.

    Used by `hydra.run.dir` and `hydra.sweep.subdir` as `${run_name:}`.
    """
    aug = OmegaConf.to_container(root.aug, resolve=True)
    assert isinstance(aug, dict)
    name = arm_name(root.hydra.runtime.choices.get("aug"), {str(k): v for k, v in aug.items()})
    own = {"seed", "aug", "aug.alpha"}
    extras = []
    for override in root.hydra.overrides.task:
        key = override.split("=", 1)[0].lstrip("+~")
        if key not in own and key not in MACHINE_KEYS:
            extras.append(re.sub(r"[^\w.=+\-]+", "-", override.removeprefix("trainer.")))
    full = ",".join([name, *sorted(extras)])
    if len(full) <= LONGEST_NAME:
        return full
    return f"{full[: LONGEST_NAME - 9]}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"


def mixes_nothing(aug: Mapping[str, Any]) -> bool:
    """Whether an arm is the baseline: no method, alpha 0 or prob 0."""
    return bool(aug["_target_"] == NO_MIXING or aug.get("alpha") == 0 or aug.get("prob") == 0)


def _essence(resolved: Mapping[str, Any], choices: Mapping[str, Any]) -> dict[str, Any]:
    components = [key for key, node in resolved.items() if isinstance(node, Mapping) and "_target_" in node]
    essence = flat(resolved) | {group: choices.get(group) for group in components}
    ignored = (*MACHINE_KEYS, *(MIXING if mixes_nothing(resolved["aug"]) else ()))
    counted = {key: v for key, v in essence.items() if key not in ignored and key.partition(".")[0] not in ignored}
    return {key: _canonical(value) for key, value in counted.items()}


def _canonical(value: Any) -> Any:
    """1 for 1.0, so that both spellings are one arm."""
    if isinstance(value, (list, tuple)):
        return [_canonical(element) for element in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _digest(essence: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(essence, sort_keys=True, default=str).encode()).hexdigest()[:16]
