"""The clips of one split as log-mel spectrograms. Shapes: `N` clips, `M` mel bands, `T` frames."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mixup_lab.files.cache import Cache
from mixup_lab.files.sound import CHUNK, decode
from mixup_lab.files.threads import in_threads
from mixup_lab.inputs.log_mel import LogMel
from mixup_lab.notices import track
from mixup_lab.types import Pool

VERSION = 1  # of what is kept on disk; another one makes it anew


@dataclass(frozen=True)
class AudioPool(Pool):
    """`load` decodes all clips once and keeps them on disk; `read` goes to the file each time."""

    root: str
    split: str
    names: Sequence[str]
    target: np.ndarray
    log_mel: LogMel
    samples: int  # of a clip, at the sample rate of `log_mel`
    cache: Cache | None
    shape: tuple[int, ...] = field(init=False)  # (1, M, T)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", (1, self.log_mel.n_mels, self.log_mel.frames(self.samples)))

    @property
    def nbytes(self) -> int:
        """Memory that all spectrograms take."""
        return len(self.names) * self.shape[1] * self.shape[2] * 2

    def load(self) -> Tensor:
        """All clips, float16 (N, 1, M, T), from the cache if they are there."""
        return self._all

    def read(self, i: int) -> Tensor:
        """Decode one file: float16 (1, M, T)."""
        path = os.path.join(self.root, self.names[i])
        return self.log_mel(decode(path, self.log_mel.sample_rate, self.samples))

    @cached_property
    def _all(self) -> Tensor:  # kept, because the encoder is fitted to the clips before the feed asks for them
        shape = len(self.names), *self.shape
        kept = self.cache.read(self._key()) if self.cache else None
        if kept is not None and kept.shape == shape and kept.dtype == np.float16:
            return torch.from_numpy(kept)
        out = torch.empty(shape, dtype=torch.float16)

        def part(start: int) -> None:
            for i in range(start, min(start + CHUNK, len(out))):
                out[i] = self.read(i)

        with track(f"spectrograms of {len(out):,} clips of {self.root} ({self.split})", len(out)) as advance:
            in_threads(part, len(out), CHUNK, advance)
        if self.cache:
            self.cache.write(self._key(), out.numpy())
        return out

    def _key(self) -> str:
        import soundfile

        made = self.log_mel
        settings = (
            f"{made.sample_rate}-{self.samples}-{made.n_mels}-{made.n_fft}-{made.hop}-{made.floor:g}-{made.level}"
        )
        return f"{self.split}-{len(self.names)}-logmel{VERSION}-{settings}-sndfile{soundfile.__libsndfile_version__}"
