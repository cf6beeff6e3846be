"""Sheets of examples: mixed ones as the model sees them, and those that it gets wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mixup_lab.data.prepare import Split
from mixup_lab.data.source import Encoder
from mixup_lab.runs.pictures import captioned_grid
from mixup_lab.targets.kinds import Boxes, Classes, Kind
from mixup_lab.targets.overlays import draw_mixed_targets, draw_targets, legend
from mixup_lab.types import Mixed

TILE = 128  # pixels, at most
SWATCH = 10  # height of a colour in a legend
GAP = 2  # white pixels between what was said and what is true


def mixed_sheet(
    mixed: Mixed, encode: Encoder, kind: Kind, count: int = 9, partners: Tensor | None = None
) -> np.ndarray:
    """The first `count` examples, as their encoder draws them: uint8 (height, width, 3).

    Where the model mixes inside there is no mixture to be drawn: the encoded `partners` (B, ...) stand below the own.
    """
    tiles = encode.draw(mixed.inputs[:count], TILE)
    if partners is not None and bool((mixed.lam[:count] < 1).any()):
        tiles = np.concatenate([tiles, encode.draw(partners[:count], TILE)], 1)
    asked = (part[:count].cpu().numpy() for part in (mixed.target, mixed.partner, mixed.lam))
    tiles = draw_mixed_targets(tiles, asked, kind, encode.shape)
    return _with_legend(captioned_grid(tiles, label_lines(mixed, kind, count)), kind)


def mistakes_sheet(
    split: Split, found: Sequence[tuple[int, str]], encode: Encoder, kind: Kind, said: Tensor | None = None
) -> np.ndarray:
    """Examples of a split by their positions, each with what the model says of it and what it is.

    Targets with a place in the picture are drawn onto it; what the model `said` (n, ...) of them stands above.
    """
    (batch,) = split.batches([np.array([i for i, _ in found])])
    targets, plain = batch.target.cpu().numpy(), encode.draw(encode(batch.inputs), TILE)
    tiles = draw_targets(plain, targets, kind, encode.shape)
    if said is not None:
        gap = np.full_like(tiles[:, :GAP], 255)
        tiles = np.concatenate([draw_targets(plain, said.cpu().numpy(), kind, encode.shape), gap, tiles], 1)
    captions = [f"said {words}\nis {kind.say(target)}" for (_, words), target in zip(found, targets, strict=True)]
    return _with_legend(captioned_grid(tiles, captions), kind)


def _with_legend(sheet: np.ndarray, kind: Kind) -> np.ndarray:
    """What the colours mean, below."""
    known = legend(kind)
    if not known:
        return sheet
    swatches = np.stack([np.broadcast_to(colour, (SWATCH, TILE, 3)) for _, colour in known])
    below = captioned_grid(swatches, [name for name, _ in known])
    joined = np.full((len(sheet) + len(below), max(sheet.shape[1], below.shape[1]), 3), 255, dtype=np.uint8)
    joined[: len(sheet), : sheet.shape[1]] = sheet
    joined[len(sheet) :, : below.shape[1]] = below
    return joined


def label_lines(mixed: Mixed, kind: Kind, count: int) -> list[str]:
    """The label of each of the first examples, one line for each of its two largest parts: `0.70 * cat`."""
    lines = []
    for lam, own, partner in zip(mixed.lam[:count], mixed.target[:count], mixed.partner[:count], strict=True):
        share = float(lam.mean())
        if isinstance(kind, Classes) and own.is_floating_point():  # one soft label
            largest = own.topk(min(2, len(own)))
            parts = [(s, kind.names[k]) for s, k in zip(largest.values.tolist(), largest.indices.tolist(), strict=True)]
        elif isinstance(kind, Boxes) and torch.equal(own, partner):  # one set of boxes
            parts = [(1.0, kind.say(own.cpu().numpy()))]
        else:
            own, partner = kind.say(own.cpu().numpy()), kind.say(partner.cpu().numpy())
            parts = [(share, own), (1 - share, partner)]
        lines.append("\n".join(f"{share:.2f} * {name}" for share, name in parts if share > 0))
    return lines
