"""CutMix (Yun, Han, Oh, Chun, Choe, Yoo: CutMix: Regularization Strategy to Train Strong Classifiers, ICCV 2019)."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mixup_lab.mixing.mixer import Draw
from mixup_lab.mixing.pairs import PictureMixer
from mixup_lab.mixing.rectangles import paste_rectangles, rectangles
from mixup_lab.types import Inputs


@dataclass
class CutMix(PictureMixer):
    """Paste a rectangle of the partner at the same place; see `PairMixer` for the arguments.

    The rectangle has the area 1 - lam, the shape of the picture and a uniform random centre. It is cut off at the
    border, and lam becomes the actual share of the picture's own pixels.
    """

    capturable = True

    def extras(self, rng: np.random.Generator, lam: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """The centre, in shares of height and width: `row` and `column`, each (S, n)."""
        row, column = rng.random((2, *lam.shape)).astype(np.float32)
        return {"row": row, "column": column}

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        pictures, row = self.pictures(inputs), draw["row"]
        edges = rectangles(row, draw["column"], lam[: len(row)], *pictures.shape[-2:])
        return paste_rectangles(pictures, draw["target"], perm, edges)
