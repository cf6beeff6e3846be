"""Sheets of examples: mixed ones as the model sees them, and those that it gets wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixup_lab.data.overlays import draw_targets
from mixup_lab.data.prepare import Split
from mixup_lab.data.source import Encoder
from mixup_lab.runs.pictures import captioned_grid
from mixup_lab.tasks.kinds import Classes, Kind
from mixup_lab.types import Mixed

TILE = 128  # pixels, at most


def mixed_sheet(mixed: Mixed, encode: Encoder, kind: Kind, count: int = 9) -> np.ndarray:
    """The first `count` examples, as their encoder draws them: uint8 (height, width, 3)."""
    tiles = encode.draw(mixed.inputs[:count], TILE)
    for targets in (mixed.partner, mixed.target):
        tiles = draw_targets(tiles, targets[:count].cpu().numpy(), kind, encode.shape)
    return captioned_grid(tiles, label_lines(mixed, kind, count))


def mistakes_sheet(split: Split, found: Sequence[tuple[int, str]], encode: Encoder, kind: Kind) -> np.ndarray:
    """Examples of a split by their positions, each with what the model says of it and what it is."""
    (batch,) = split.batches([np.array([i for i, _ in found])])
    targets = batch.target.cpu().numpy()
    tiles = draw_targets(encode.draw(encode(batch.inputs), TILE), targets, kind, encode.shape)
    captions = [f"said {said}\nis {kind.say(target)}" for (_, said), target in zip(found, targets, strict=True)]
    return captioned_grid(tiles, captions)


def label_lines(mixed: Mixed, kind: Kind, count: int) -> list[str]:
    """The label of each of the first examples, one line for each of its two largest parts: `0.70 * cat`."""
    lines = []
    for lam, own, partner in zip(mixed.lam[:count], mixed.target[:count], mixed.partner[:count], strict=True):
        share = float(lam.mean())
        if isinstance(kind, Classes) and own.is_floating_point():  # one soft label
            largest = own.topk(min(2, len(own)))
            parts = [(s, kind.names[k]) for s, k in zip(largest.values.tolist(), largest.indices.tolist(), strict=True)]
        else:
            own, partner = kind.say(own.cpu().numpy()), kind.say(partner.cpu().numpy())
            parts = [(share, own), (1 - share, partner)]
        lines.append("\n".join(f"{share:.2f} * {name}" for share, name in parts if share > 0))
    return lines
