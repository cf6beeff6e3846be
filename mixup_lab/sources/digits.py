"""Handwritten digits, 1,797 grey pictures of 8x8 pixels, included in this package: no download.

Source: the test part of *Optical Recognition of Handwritten Digits*, E. Alpaydin and C. Kaynak (1998), UCI Machine
Learning Repository, https://doi.org/10.24432/C50P49, licence CC BY 4.0; the same pictures and order as in scikit-learn.
`digits.npz` holds the original values 0..16.
"""

from importlib.resources import files

import numpy as np

from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.sources.new_files import pictures
from mixup_lab.targets.classes import Classes

STEP = 15  # 0..16 becomes 0..240, so that nothing is lost by rounding


class Digits:
    """All 1,797 digits as one pool of shape (1, 8, 8); val and test are carved from it."""

    def load(self) -> Loaded:
        """Read the file in this package."""
        with (files("mixup_lab.sources") / "embedded" / "digits.npz").open("rb") as file, np.load(file) as arrays:
            images, target = arrays["images"] * np.uint8(STEP), arrays["target"].astype(np.int64)
        pool = ArrayPool(images[:, None], target)
        return Loaded(pool, None, None, Classes(tuple("0123456789")), new=pictures(pool.shape))
