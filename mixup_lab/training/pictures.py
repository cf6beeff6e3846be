"""A sheet of mixed pictures as the model sees them, with both labels and lam."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixup_lab.data.transforms import Standardize
from mixup_lab.runs.pictures import captioned_grid
from mixup_lab.types import Mixed


def mixed_sheet(mixed: Mixed, standardize: Standardize, class_names: Sequence[str], count: int = 9) -> np.ndarray:
    """The first `count` examples, standardised back with the data's own statistics: uint8 (height, width, 3)."""
    pictures = standardize.inverse(mixed.inputs[:count].float()).cpu().permute(0, 2, 3, 1).numpy()
    return captioned_grid(pictures, label_lines(mixed, class_names, count))


def label_lines(mixed: Mixed, class_names: Sequence[str], count: int) -> list[str]:
    """The label of each of the first examples, one line for each of its two largest parts: `0.70 * cat`."""
    lines = []
    for lam, own, partner in zip(mixed.lam[:count], mixed.target[:count], mixed.partner[:count], strict=True):
        if own.is_floating_point():  # one soft label
            largest = own.topk(min(2, len(own)))
            parts = list(zip(largest.values.tolist(), largest.indices.tolist(), strict=True))
        else:
            parts = [(float(lam), int(own)), (1 - float(lam), int(partner))]
        lines.append("\n".join(f"{share:.2f} * {class_names[k]}" for share, k in parts if share > 0))
    return lines
