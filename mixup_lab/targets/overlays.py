"""Targets that have a place in the picture, drawn onto it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mixup_lab.targets.boxes_drawn import box_colour, draw_boxes
from mixup_lab.targets.kinds import Boxes, Kind, Pixels
from mixup_lab.targets.masks_drawn import UNTINTED, colours, draw_masks, draw_mixed_masks


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
    if isinstance(kind, Boxes):
        return draw_boxes(tiles, targets, shape)
    if isinstance(kind, Pixels):
        return draw_masks(tiles, targets, kind.names)
    return tiles


def draw_mixed_targets(
    tiles: np.ndarray, asked: Iterable[np.ndarray], kind: Kind, shape: tuple[int, ...]
) -> np.ndarray:
    """The tiles of mixed examples with the targets of both on them; masks as strongly as their share.

    `asked` are the own targets, those of the partners, and lam (n,), or (n, H, W) where it differs between pixels; the
    rest is as in `draw_targets`.
    """
    own, partner, lam = asked
    if isinstance(kind, Pixels):
        return draw_mixed_masks(tiles, own, partner, lam, kind.names)
    if isinstance(kind, Boxes):
        tiles = tiles.copy()
        for boxes, there in ((partner, lam < 1), (own, lam > 0)):
            tiles[there] = draw_boxes(tiles[there], boxes[there], shape)
        return tiles
    for targets in (partner, own):
        tiles = draw_targets(tiles, targets, kind, shape)
    return tiles


def legend(kind: Kind) -> list[tuple[str, np.ndarray]]:
    """Name and colour, uint8 (3,), of what is told apart by colour alone: the classes of masks and boxes."""
    if isinstance(kind, Boxes):
        return [(name, np.array(box_colour(number), dtype=np.uint8)) for number, name in enumerate(kind.names)]
    if not isinstance(kind, Pixels):
        return []
    named = zip(kind.names, colours(len(kind.names)), strict=True)
    return [(name, colour) for name, colour in named if name != UNTINTED]
