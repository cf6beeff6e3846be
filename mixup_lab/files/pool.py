"""The files of one split as a pool of examples: all decoded at once and kept on disk, or one at a time."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixup_lab.files.cache import Cache
from mixup_lab.files.threads import in_threads
from mixup_lab.types import Pool


@dataclass(frozen=True)
class FilePool(Pool):
    """`load` keeps the decoded examples on disk; `read` decodes the file each time.

    Args:
        root: folder that `names` are relative to, unless they are absolute.
        split: of the files.
        names: of the N files.
        target: (N, ...).
        shape: of an example, (C, H, W).
        decode: from a path to an example, an array of this shape.
        version: of everything that decoding depends on besides the shape.
        cache: of the files.
        dtype: of an example.
        groups: (N,), see `Pool`.
    """

    root: str
    split: str
    names: Sequence[str]
    target: np.ndarray
    shape: tuple[int, int, int]
    decode: Callable[[str], np.ndarray]
    version: str
    cache: Cache
    dtype: Any = np.uint8
    groups: np.ndarray | None = None

    @property
    def paths(self) -> Sequence[str]:
        return self.names

    @property
    def nbytes(self) -> int:
        return math.prod(self._stored_shape()) * int(np.dtype(self.dtype).itemsize)

    def load(self) -> Tensor:
        return torch.from_numpy(self.cache.get(self._name(), self._decoded)).movedim(-1, 1)

    def keep(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """An array that depends on the decoded examples alone: from the cache, else made and kept."""
        return self.cache.get(f"{self._name()}-{name}", make)

    def read(self, i: int) -> Tensor:
        return torch.tensor(self.decode(os.path.join(self.root, self.names[i])))

    def _decoded(self) -> np.ndarray:
        out = np.empty(self._stored_shape(), dtype=self.dtype)
        examples = np.moveaxis(out, -1, 1)

        def one(i: int) -> None:
            examples[i] = self.decode(os.path.join(self.root, self.names[i]))

        in_threads(one, len(out), f"decoding {len(out):,} files of {self.root}/{self.split}")
        return out

    def _stored_shape(self) -> tuple[int, int, int, int]:
        channels, height, width = self.shape
        return len(self.names), height, width, channels  # as pictures are decoded; torch's channels_last

    def _name(self) -> str:
        return f"{self.split}-{'x'.join(map(str, self._stored_shape()))}-{self.version}"
