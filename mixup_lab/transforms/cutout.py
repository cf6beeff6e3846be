"""Cutout, with the keys of `Augment`."""

from dataclasses import dataclass

from mixup_lab.transforms.augment import Augment


@dataclass(kw_only=True)
class Cutout(Augment):
    """A square at a random place is blanked (DeVries & Taylor, 2017); see `BlankSquare`."""

    cutout: int | float = 0.5
