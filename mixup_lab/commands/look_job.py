"""The looks at one run, as a job of a launcher: it writes what the lenses find, and `evaluate` reads that."""

import json
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from mixup_lab.commands.evaluate import lenses_of, line_of, look_at
from mixup_lab.config.words import tree_of


def look_at_one(cfg: DictConfig) -> None:
    """Look at the run `cfg.run` as a line of `evaluate` says, whose words are the JSON list `cfg.words`.

    Raises:
        UserError: for a word that means nothing.
    """
    words = json.loads(cfg.words)
    tree = tree_of(words, "evaluate")
    line = line_of(words, tree)
    device = OmegaConf.select(cfg, "trainer.device")  # a slot sees one GPU, whatever its number is
    if device is not None:
        line = replace(line, machine=[*line.machine, f"trainer.device={device}"])
    look_at(Path(cfg.run), line.places, lenses_of(line.lenses, line.settings, line.machine, tree), line)
