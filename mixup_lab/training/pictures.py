"""Sheets of examples: mixed ones as the model sees them, and those that it gets wrong."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from mixup_lab.data.prepare import Split
from mixup_lab.inputs.encoder import Encoder
from mixup_lab.runs.pictures import captioned_grid
from mixup_lab.targets.target import Target
from mixup_lab.types import Mixed

MIXED = 9  # mixed examples on a sheet
TILE = 128  # pixels, at most
SWATCH = 10  # height of a colour in a legend
GAP = 2  # white pixels between the answer and the truth


def mixed_sheet(mixed: Mixed, encode: Encoder, kind: Target, partners: Tensor | None = None) -> np.ndarray:
    """The first MIXED examples, as their encoder draws them: uint8 (height, width, 3).

    If the model mixes inside, there is no mixture to be drawn: give the encoded `partners` (B, ...), to be drawn below.
    """
    tiles = encode.draw(mixed.inputs[:MIXED], TILE)
    if partners is not None and bool((mixed.lam[:MIXED] < 1).any()):
        tiles = np.concatenate([tiles, encode.draw(partners[:MIXED], TILE)], 1)
    own, partner, lam = (part[:MIXED].cpu().numpy() for part in (mixed.target, mixed.partner, mixed.lam))
    tiles = kind.draw_mixed(tiles, own, partner, lam, encode.shape)
    return _with_legend(captioned_grid(tiles, label_lines(mixed, kind, MIXED)), kind)


def mistakes_sheet(
    split: Split, worst: Sequence[tuple[int, str]], encode: Encoder, kind: Target, answers: Tensor | None = None
) -> np.ndarray:
    """Examples of a split by their positions, each with the model's prediction and the truth in words.

    Targets with a place in the picture are drawn onto it; `answers` (n, ...) in the form of targets onto a copy above.
    """
    (batch,) = split.batches([np.array([i for i, _ in worst])])
    targets, plain = batch.target.cpu().numpy(), encode.draw(encode(batch.inputs), TILE)
    tiles = kind.draw(plain, targets, encode.shape)
    if answers is not None:
        gap = np.full_like(tiles[:, :GAP], 255)
        tiles = np.concatenate([kind.draw(plain, answers.cpu().numpy(), encode.shape), gap, tiles], 1)
    captions = [
        f"said {words}\nis {kind.describe_one(target)}" for (_, words), target in zip(worst, targets, strict=True)
    ]
    return _with_legend(captioned_grid(tiles, captions), kind)


def _with_legend(sheet: np.ndarray, kind: Target) -> np.ndarray:
    """The sheet with the meaning of its colours below."""
    legend = kind.legend()
    if not legend:
        return sheet
    swatches = np.stack([np.broadcast_to(colour, (SWATCH, TILE, 3)) for _, colour in legend])
    below = captioned_grid(swatches, [name for name, _ in legend])
    joined = np.full((len(sheet) + len(below), max(sheet.shape[1], below.shape[1]), 3), 255, dtype=np.uint8)
    joined[: len(sheet), : sheet.shape[1]] = sheet
    joined[len(sheet) :, : below.shape[1]] = below
    return joined


def label_lines(mixed: Mixed, kind: Target, count: int) -> list[str]:
    """The label of each of the first examples, one line for each of its two largest parts: `0.70 * cat`."""
    lines = []
    for own, partner, lam in zip(mixed.target[:count], mixed.partner[:count], mixed.lam[:count], strict=True):
        shares: dict[str, float] = {}
        for share, words in kind.label_parts(own.cpu().numpy(), partner.cpu().numpy(), float(lam.mean())):
            shares[words] = shares.get(words, 0.0) + share
        lines.append("\n".join(f"{share:.2f} * {words}" for words, share in list(shares.items())[:2]))
    return lines
