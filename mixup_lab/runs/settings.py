"""The settings of a run as flat keys, and those that do not affect its results."""

from collections.abc import Mapping
from typing import Any

# Settings of the machine or of bookkeeping: a run with other values is still the same run.
MACHINE_KEYS = frozenset(
    {
        "trainer.device",
        "trainer.threads",
        "trainer.malloc",
        "trainer.progress",
        "trainer.checkpoint_every",
        "trainer.checkpoint_seconds",
        "trainer.eval_batch_size",
        "trainer.save_predictions",
        "dataset.root",
        "dataset.download",
        "dataset.storage",
        "dataset.workers",
        "dataset.cache",
        "dataset.cache_dir",
        "dataset.max_pixels",
        "trust",
        "resume",
    }
)


def flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"trainer": {"epochs": 20}}` as `{"trainer.epochs": 20}`.

    Of a `_target_`, only the name of the class or function counts, not its module.
    """
    settings: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            settings |= flat(value, f"{prefix}{key}.")
        else:
            settings[f"{prefix}{key}"] = str(value).rpartition(".")[2] if key == "_target_" else value
    return settings
