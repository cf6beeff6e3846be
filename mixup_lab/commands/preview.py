"""`mixup-lab preview`: the examples that a run would train on, on one sheet. Nothing is trained."""

import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mixup_lab.commands.train import show_warning
from mixup_lab.config import identity
from mixup_lab.config.schema import RunConfig, own_key, parse
from mixup_lab.config.tree import Tree
from mixup_lab.disk import write_atomically, writing
from mixup_lab.runs.event_file import EventFile, replace_event_file
from mixup_lab.runs.store import safe_name
from mixup_lab.types import UserError

SHOWN = ("_target_", "alpha", "lam_per", "partner", "labels")  # in the heading or elsewhere on the sheet


def preview(cfg: DictConfig) -> None:
    """Draw the sheet of one job, as a file and in TensorBoard."""
    hydra = HydraConfig.get()
    if cfg.get("resume") is not None:
        raise UserError("preview draws the examples of a new run; leave resume out")
    folder, out = Path(hydra.runtime.output_dir), own_key(cfg, "out")
    config = parse(cfg)
    choices = {group: str(choice) for group, choice in hydra.runtime.choices.items() if choice is not None}
    path = folder / f"{name_of(config, choices)}.png" if out is None else _checked(out)
    tree = Tree([Path(source.path) for source in hydra.runtime.config_sources if source.schema == "file"], "preview")

    warnings.showwarning = show_warning
    png, size = draw(config, choices, tree)
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, png)
    view_in_tensorboard(folder, png, *size)
    print(os.path.relpath(path), flush=True)


def view_in_tensorboard(folder: Path, png: bytes, width: int, height: int) -> None:
    """Put the picture into the event file of `folder`, in place of the one before."""
    content = io.BytesIO()
    EventFile(content, hide_from=0).png("preview", png, width, height)
    replace_event_file(folder, content.getvalue(), ending=".preview")


def name_of(config: RunConfig, choices: Mapping[str, str]) -> str:
    """DATASET-TRANSFORM-AUG-aALPHA; the last part only if the method has an alpha."""
    parts = [_data_name(config, choices), _choice("transform", config.transform, choices)]
    parts.append(_choice("aug", config.aug, choices))
    return safe_name("-".join([*parts, *_alpha(config, "a{:g}")]))


def draw(config: RunConfig, choices: Mapping[str, str], tree: Tree) -> tuple[bytes, tuple[int, int]]:
    """The sheet of a checked configuration as a PNG, with its width and height."""
    from mixup_lab.config.assemble import ingredients
    from mixup_lab.preview.sheet import Title, draw_sheet

    parts = ingredients(config)
    data = parts.data
    aug = _choice("aug", config.aug, choices)
    about = tree.options("aug").get(aug, "")
    if identity.mixes_nothing(config.aug) and aug != "none":
        about = "With these settings nothing is mixed: this is the baseline"
    facts = [
        ("data", f"{len(data.train.ids):,} examples of {data.encode.describe()}, {data.kind.describe()}"),
        ("batches", f"of {parts.settings.batch_size}; seed {config.seed}"),
        ("transform", _described("transform", config.transform, choices, tree)),
    ]
    if (described := _described("aug", config.aug, choices, tree)) != aug:
        facts.append(("aug", described))
    if choices.get("mix_schedule", "constant") != "constant":
        facts.append(("schedule", f"{choices['mix_schedule']}; here the method is drawn at its full strength"))
    if config.trainer.label_smoothing:
        facts.append(("smoothing", f"of labels in the loss, by {config.trainer.label_smoothing:g}"))
    heading = ", ".join([aug, *_alpha(config, "alpha {:g}"), f"on {_data_name(config, choices)}"])
    return draw_sheet(parts, Title(heading, about, tuple(facts)))


def _checked(out: str) -> Path:
    path = Path(out).expanduser()
    if path.suffix.lower() != ".png":
        raise UserError(f"out must be the name of a .png file, got {out}")
    if path.is_dir():
        raise UserError(f"out={out} is a directory; name a .png file in it")
    return path


def _choice(group: str, component: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    """The option chosen in a group; in a saved configuration, which does not have it, the name of the class."""
    return choices.get(group) or str(component["_target_"]).rpartition(".")[2].lower()


def _data_name(config: RunConfig, choices: Mapping[str, str]) -> str:
    """The name of the data set; the user's own data have that of their file or folder."""
    name = _choice("dataset", config.source, choices)
    root = config.source.get("root")
    if not root or "download" in config.source:  # the root of a set that can be downloaded holds many of them
        return name
    path = Path(str(root)).expanduser().resolve()
    return path.stem if path.is_file() else path.name


def _alpha(config: RunConfig, form: str) -> list[str]:
    alpha = config.aug.get("alpha")
    return [form.format(alpha)] if isinstance(alpha, (int, float)) else []


def _described(group: str, component: Mapping[str, Any], choices: Mapping[str, str], tree: Tree) -> str:
    """The option of a group, with the settings that were changed and are not shown elsewhere."""
    option = _choice(group, component, choices)
    usual = {key.name.removeprefix(f"{group}."): yaml.safe_load(key.value) for key in tree.option_keys(group, option)}
    changed = {key: value for key, value in component.items() if key not in SHOWN and usual.get(key, ...) != value}
    return ", ".join([option, *(f"{key}={_plain(value)}" for key, value in changed.items())])


def _plain(value: Any) -> str:
    """A value as the user types it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_plain, value))}]"
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
