"""The augmentations of single pictures that combine, in the order of the papers, under one set of flat keys.

Crop and flip, then a policy, then Cutout, then Random Erasing. Each has a random stream of its own, so that arms of one
seed share their crops, and switching one off does not change the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mixup_lab.inputs.encoder import Encoder
from mixup_lab.transforms.crop_flip import CropFlip
from mixup_lab.transforms.erasing import BlankRectangle, BlankSquare
from mixup_lab.transforms.transform import Transform


@dataclass(kw_only=True)
class Augment(Transform):
    """Crop, flip, Cutout and Random Erasing; a subclass adds a policy: its keys, `draw_policy` and `apply_policy`.

    Masks and boxes are cropped and flipped alike. Blanked pixels keep their label: the model has to guess it.

    S: steps; B: pictures of C, H, W in a batch.

    Args:
        padding: of the random crop, in pixels on each side, >= 0 and smaller than the pictures; 0: no crop.
        mode: of the padding, `zeros` or `reflect`.
        flip: whether to mirror half of the pictures.
        cutout: side of the square that is blanked with the mean of the data: an int of pixels, >= 0 and smaller than
            the pictures, or a float in [0, 1), the share of the picture's shorter side; 0: none.
        erasing: share of the pictures that have a random rectangle erased, in [0, 1]; 0: none.
        erasing_area: smallest and largest area of the rectangle, as shares of the picture, in (0, 1).
        erasing_aspect: smallest and largest height / width, > 0.
        erasing_fill: content of the rectangle, `noise` or the `mean` of the data.

    Raises:
        ValueError: for values outside their range.
    """

    moves_targets = True
    padding: int = 0
    mode: str = "zeros"
    flip: bool = False
    cutout: int | float = 0
    erasing: float = 0.0
    erasing_area: Sequence[float] = (0.02, 0.33)
    erasing_aspect: Sequence[float] = (0.3, 3.3)
    erasing_fill: str = "noise"

    def __post_init__(self) -> None:
        self._crop_flip = CropFlip(self.padding, self.mode, self.flip)
        self._erasing = BlankRectangle(self.erasing, self.erasing_area, self.erasing_aspect, self.erasing_fill)
        self._cutout = BlankSquare(self.cutout) if self.cutout else None

    def bind(self, encode: Encoder) -> None:
        """Also refuse pictures that are not larger than the padding and the square, and keep the mean of the data."""
        super().bind(encode)
        self._crop_flip.bind(encode)
        height, width = encode.shape[1:]
        if self.cutout >= min(height, width):
            raise ValueError(f"cutout must be smaller than the pictures ({height}x{width}), got {self.cutout}")
        for part in (self._cutout, self._erasing):
            if part is not None:
                part.bind(encode.mean)

    def draw_policy(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """The random numbers of the policy; each array has the shape (S, B, ...)."""
        return {}

    def apply_policy(self, inputs: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """uint8 (B, C, H, W) to the same, in the same memory format."""
        return inputs

    def draw(self, rng: np.random.Generator, steps: int, batch_size: int) -> dict[str, np.ndarray]:
        """All random numbers, crops as `CropFlip` draws them; each array has the shape (S, B, ...)."""
        policy, cutout, erasing = rng.spawn(3)
        draw = self._crop_flip.draw(rng, steps, batch_size) if self.padding or self.flip else {}
        draw |= self.draw_policy(policy, steps, batch_size)
        if self._cutout is not None:
            draw |= self._cutout.draw(cutout, steps, batch_size)
        if self.erasing:
            draw |= self._erasing.draw(erasing, steps, batch_size)
        return draw

    def apply(self, inputs: Tensor, draw: dict[str, Tensor]) -> Tensor:
        if self.padding or self.flip:
            inputs = self._crop_flip.apply(inputs, draw)
        inputs = self.apply_policy(inputs, draw)
        if self._cutout is not None:
            inputs = self._cutout.apply(inputs, draw)
        if self.erasing:
            inputs = self._erasing.apply(inputs, draw)
        return inputs

    def move_masks(self, masks: Tensor, draw: dict[str, Tensor]) -> Tensor:
        return self._crop_flip.move_masks(masks, draw) if self.padding or self.flip else masks

    def move_boxes(self, boxes: Tensor, draw: dict[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        return self._crop_flip.move_boxes(boxes, draw, shape) if self.padding or self.flip else boxes
