"""`mixup-lab train from=RUN_DIR`: the settings of a run as words of a new line, so that the new run is like any other.

The files may come from somebody else. Only the settings of a run are taken, as values; `hydra`, `trust` and whatever
else they hold are refused or left out.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mixup_lab.config.launch import find_plugins
from mixup_lab.config.words import config_dir, flag_value, unquoted
from mixup_lab.pasting import quote
from mixup_lab.runs.record import read_events
from mixup_lab.types import UserError

FROM = "from="


def replaced(words: Sequence[str]) -> list[str]:
    """The words with `from=RUN_DIR` replaced by what differs between that run and the defaults.

    Settings that the line gives itself take precedence.

    Raises:
        UserError: for a folder that is not a run, and for an option that does not exist here.
    """
    sources = [word for word in words if word.startswith(FROM)]
    if not sources:
        return list(words)
    rest = [word for word in words if word not in sources]
    if len(sources) > 1 or any(word.startswith("resume=") for word in rest):
        raise UserError("from=RUN_DIR begins a new run with the settings of one run; give it once, and without resume=")
    run_dir = Path(unquoted(sources[0].removeprefix(FROM))).expanduser()
    if not run_dir.is_dir():
        raise UserError(f"{sources[0]}: there is no such directory; it must be a run directory")
    if not (run_dir / "config.yaml").is_file():
        raise UserError(f"{sources[0]}: that is not a run directory, it has no config.yaml")
    find_plugins()
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from mixup_lab.commands.saved import read
    from mixup_lab.config.schema import COMPONENTS, parse, register

    register()
    typed = {word.lstrip("+~").partition("=")[0] for word in rest}
    saved, chosen = parse(read(run_dir / "config.yaml")).resolved, _choices(run_dir)
    own = flag_value(rest, "--config-dir", "-cd")
    path = [f"hydra.searchpath=[{quote('file://' + str(Path(own).absolute()))}]"] if own else []
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        usual = compose("train", return_hydra_config=True).hydra.runtime.choices
        options = [
            f"{group}={chosen[group]}"
            for group in COMPONENTS
            if group not in typed and chosen.get(group, usual[group]) != usual[group]
        ]
        composed = OmegaConf.to_container(compose("train", overrides=[*options, *path]), resolve=True)
    usually = _leaves(composed)
    changes = [
        f"{'' if key in usually else '++'}{key}={_in_words(value)}"
        for key, value in _leaves(saved).items()
        if usually.get(key, ...) != value and not {key, key.partition(".")[0]} & {"trust", *typed}
    ]
    place = words.index(sources[0])  # Hydra takes overrides that stand together
    return [*words[:place], *options, *changes, *words[place + 1 :]]


def _choices(run_dir: Path) -> dict[str, str]:
    """The option of each group, as the run recorded it."""
    start = next(read_events(run_dir, "start"), {}) if (run_dir / "record.jsonl").is_file() else {}
    choices = start.get("choices")
    return {k: v for k, v in choices.items() if isinstance(v, str)} if isinstance(choices, dict) else {}


def _leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    """`{"trainer": {"epochs": 20}}` as `{"trainer.epochs": 20}`."""
    leaves: dict[str, Any] = {}
    for key, value in node.items():
        nested = isinstance(value, Mapping) and value
        leaves |= _leaves(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return leaves


def _in_words(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, list):
        return f"[{','.join(map(_in_words, value))}]"
    if isinstance(value, str):
        return quote(value.replace("${", "\\${"))
    return json.dumps(value) if value is None or isinstance(value, (bool, dict)) else str(value)
