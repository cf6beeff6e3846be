"""Who a run is: the fingerprint (what was trained), the arm (the same without the seed) and readable names.

Machine settings do not change what a run is: device, threads, where data lies, how progress is shown. A method with
alpha 0 or prob 0 trains bit for bit like the baseline, so both have the same identity.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from omegaconf import DictConfig, OmegaConf

# Settings of the machine or of bookkeeping: a run with others is still the same run.
MACHINE_KEYS = frozenset(
    {
        "trainer.device",
        "trainer.threads",
        "trainer.malloc",
        "trainer.progress",
        "trainer.checkpoint_every",
        "trainer.eval_batch_size",
        "trainer.save_predictions",
        "dataset.root",
        "dataset.download",
        "dataset.storage",
        "dataset.workers",
        "dataset.cache",
        "dataset.cache_dir",
        "trust",
        "resume",
    }
)
NO_MIXING = {"_target_": "mixup_lab.mixing.none.NoMixing"}
LONGEST_NAME = 120  # characters of a directory name; file systems allow 255 bytes


def fingerprint(resolved: dict[str, Any]) -> str:
    """16 hex digits over all settings that make the run what it is, the seed included."""
    return _digest(_essence(resolved))


def settings(resolved: dict[str, Any]) -> dict[str, Any]:
    """The settings of an arm, flat: `{"trainer.epochs": 20, ...}`; neither the seed nor the machine's."""
    return {key: value for key, value in _essence(resolved).items() if key != "seed"}


def arm(resolved: dict[str, Any]) -> str:
    """16 hex digits over these: runs of one arm differ in chance alone."""
    return _digest(settings(resolved))


def arm_name(aug_choice: str | None, aug: dict[str, Any]) -> str:
    """A readable name of the mixing: `baseline`, `mixup-a0.4`. Without a choice (a saved config) the class gives it."""
    if mixes_nothing(aug):
        return "baseline"
    aug_choice = aug_choice or str(aug["_target_"]).rpartition(".")[2].lower()
    alpha = aug.get("alpha")
    return f"{aug_choice}-a{alpha:g}" if isinstance(alpha, (int, float)) else aug_choice


def run_name(root: DictConfig) -> str:
    """The directory name of a run's arm: the name of its mixing and what else was set on the command line.

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


def mixes_nothing(aug: dict[str, Any]) -> bool:
    """Whether an arm is the baseline: no method, alpha 0, or a share of 0 that is mixed."""
    return bool(aug["_target_"] == NO_MIXING["_target_"] or aug.get("alpha") == 0 or aug.get("prob") == 0)


def _essence(resolved: dict[str, Any]) -> dict[str, Any]:
    flat = _flatten(resolved)
    if mixes_nothing(resolved["aug"]):
        flat = {k: v for k, v in flat.items() if not k.startswith(("aug.", "mix_schedule."))}
        flat |= {f"aug.{k}": v for k, v in NO_MIXING.items()}
    return {k: v for k, v in flat.items() if k not in MACHINE_KEYS}


def _flatten(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + str(key)] = value
    return flat


def _digest(essence: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(essence, sort_keys=True, default=str).encode()).hexdigest()[:16]
