"""CutMix (Yun, Han, Oh, Chun, Choe, Yoo: CutMix: Regularization Strategy to Train Strong Classifiers, ICCV 2019)."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mixup_lab.mixing.functional import paste
from mixup_lab.mixing.mixer import Draw
from mixup_lab.mixing.pairs import PictureMixer
from mixup_lab.mixing.rectangles import outside, paste_rectangles, rectangles
from mixup_lab.types import Inputs


@dataclass
class CutMix(PictureMixer):
    """Paste a rectangle of the partner at the same place; see `PairMixer` for the arguments.

    The rectangle has the area 1 - lam, the shape of the picture and a uniform random centre. It is cut off at the
    border, and lam becomes the actual share of the picture's own pixels.
    """

    def extras(self, rng: np.random.Generator, lam: np.ndarray) -> dict[str, np.ndarray]:
        """The centre, in shares of height and width: `row` and `column` (S,), or (S, B) if each sample has one."""
        if self.lam_per == "batch":
            row, column = rng.random((2, len(lam)))
            return {"row": row, "column": column, "share": lam[:, 0]}
        row, column = rng.random((2, *lam.shape)).astype(np.float32)
        return {"row": row, "column": column}

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        pictures = self.pictures(inputs)
        height, width = pictures.shape[-2:]
        if "share" not in draw:
            edges = rectangles(draw["row"], draw["column"], lam, height, width)
            return paste_rectangles(pictures, draw["target"], perm, edges)
        top, bottom = _cut(draw["row"], draw["share"], height)
        left, right = _cut(draw["column"], draw["share"], width)
        mixed = paste(pictures, pictures[..., top:bottom, left:right], perm, top, left)
        return mixed, outside(pictures, draw["target"], top, bottom, left, right)


def _cut(centre: float, lam: float, size: int) -> tuple[int, int]:
    """Where the rectangle begins and ends along one side."""
    length = int(size * math.sqrt(1 - lam))
    start = int(centre * size) - length // 2
    return max(start, 0), min(start + length, size)
