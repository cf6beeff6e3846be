"""The options of `conf/`, and what each needs from the user before it composes."""

from omegaconf import OmegaConf

from helpers.trainings import CONF, config_of

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())
# Options that need an answer from the user before they compose.
NEEDED = {
    ("optimizer", "torch_optim"): ["optimizer.name=RMSprop"],
    ("dataset", "image_folder"): ["dataset.root=pictures"],
    ("dataset", "table"): ["dataset.root=table.csv"],
    ("dataset", "segmentation_folder"): ["dataset.root=pictures"],
    ("dataset", "audio_folder"): ["dataset.root=sounds"],
    ("dataset", "image_table"): ["dataset.root=pictures", "dataset.csv=labels.csv"],
    ("dataset", "medmnist"): ["dataset.root=pictures"],
    ("dataset", "text_table"): ["dataset.root=texts"],
    ("dataset", "detection_voc"): ["dataset.root=boxes"],
    ("dataset", "detection_coco"): ["dataset.root=boxes"],
}


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def needed(group: str, option: str) -> list[str]:
    """What a preset needs is what its dataset needs."""
    if group == "experiment":
        defaults = OmegaConf.load(CONF / group / f"{option}.yaml").get("defaults", [])
        return [word for entry in defaults for k, v in entry.items() for word in needed(k.rpartition("/")[2], v)]
    return NEEDED.get((group, option), [])


def component(group: str, option: str, *overrides: str):
    config = config_of(f"{group}={option}", *needed(group, option), *overrides)
    return config.source if group == "dataset" else getattr(config, group)
