"""The configuration of a run, read again from its directory."""

from collections.abc import Collection, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from mixup_lab.config.schema import COMPONENTS, RunConfig, parse
from mixup_lab.runs.settings import MACHINE_KEYS
from mixup_lab.types import UserError


def saved_config(run_dir: Path, changes: Sequence[str], purpose: str, also: Collection[str] = ()) -> RunConfig:
    """The configuration in the `config.yaml` of a run, with changes of settings of the machine.

    The file may come from somebody else, so its `trust` does not count: only `trust=[package]` among the changes does.

    Args:
        run_dir: of the run.
        changes: overrides such as `trainer.device=cpu`.
        purpose: why other keys cannot change, for the message: "when a run is resumed".
        also: keys that may change besides those of the machine.

    Raises:
        UserError: for another key, and for a file that cannot be read or is not the configuration of a run.
    """
    path = run_dir / "config.yaml"
    cfg = read(path)
    for override in OverridesParser.create().parse_overrides(list(changes)):
        key = override.key_or_group
        if key not in (*MACHINE_KEYS, *also):
            raise UserError(
                f"{key} cannot change {purpose}: it goes on as configured in {path}; "
                f"these may change: {', '.join(sorted({*MACHINE_KEYS, *also} - {'resume'}))}"
            )
        if key != "resume":
            OmegaConf.update(cfg, key, override.value())
    return parse(cfg)


def read(path: Path) -> DictConfig:
    """The content of a `config.yaml`, without its `trust`. Raises UserError unless it is the configuration of a run."""
    try:
        cfg = OmegaConf.load(path)
    except (OSError, ValueError, RecursionError, YAMLError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(cfg, DictConfig) or not {"seed", "trainer", *COMPONENTS} <= set(cfg):
        raise UserError(f"{path} is not the configuration of a run")
    cfg.trust = []
    return cfg
