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
    captions = []
    rows = zip(mixed.lam[:count].tolist(), mixed.target[:count].tolist(), mixed.partner[:count].tolist(), strict=True)
    for lam, own, partner in rows:
        other = f"{1 - lam:.2f} * {class_names[partner]}" if lam < 1 else ""
        captions.append(f"{lam:.2f} * {class_names[own]}\n{other}")
    return captioned_grid(pictures, captions)
