"""Shared by methods that mix each pixel by a mask."""

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from mixup_lab.mixing.functional import blend
from mixup_lab.mixing.mixer import Draw
from mixup_lab.mixing.pairs import PictureMixer
from mixup_lab.types import Inputs


@dataclass
class MaskMixer(PictureMixer):
    """A method defines `masks`; what is random of them is drawn ahead, in `extras`."""

    @abstractmethod
    def masks(self, draw: Draw, lam: Tensor, height: int, width: int) -> Tensor:
        """One mask for each lam: (n,) to (n, H, W) in [0, 1], the share of the own picture; all 1 where lam is 1.

        n is 1 if the batch has one lam, else B. `draw` has the arrays of `extras` for this step, (n, ...).
        """

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        pictures, one = self.pictures(inputs), self.lam_per == "batch"
        mask = self.masks(draw, lam[:1] if one else lam, *pictures.shape[-2:])
        mask = mask[0] if one else mask
        return blend(pictures, perm, mask), mask
