"""FMix (Harris et al.: FMix: Enhancing Mixed Sample Data Augmentation, 2020, arXiv:2002.12047)."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.checks import check_pictures
from mixup_lab.mixing.masks import MaskMixer
from mixup_lab.mixing.mixer import Draw, Strip
from mixup_lab.types import Batch, Mixed


@dataclass
class FMix(MaskMixer):
    """Binary masks of random shape with smooth outlines, from low-pass noise.

    The amplitude of white noise is divided by frequency ** decay; the lam * H * W largest values are the own pixels.

    Args:
        decay: > 0; 3 in the paper. Smaller values give many small islands.
    """

    capturable = True
    decay: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.decay > 0:
            raise ValueError(f"decay must be greater than 0, got {self.decay}")

    def extras(self, rng: np.random.Generator, lam: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """`mask`: a bit for each pixel, uint8 (S, n, H * W / 8), each step from a `mask_seed` (S, 1) of its own."""
        seeds = rng.integers(2**62, size=len(lam))
        drawn = [self.packed(seed, share, shape) for seed, share in zip(seeds.tolist(), lam, strict=True)]
        return {"mask": np.stack(drawn), "mask_seed": seeds[:, None]}

    def packed(self, seed: int, lam: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The bits of the masks of one step: (n,) to uint8 (n, H * W / 8) for inputs of this shape."""
        check_pictures("fmix", shape)
        drawn = self.drawn(np.random.default_rng(seed), lam, *shape[-2:])
        return np.packbits(drawn.reshape(len(lam), -1), axis=1)

    def drawn(self, rng: np.random.Generator, lam: np.ndarray, height: int, width: int) -> np.ndarray:
        """Bool masks (n, H, W), True for the largest values of the noise: those not below the smallest of them."""
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
        amplitude = np.maximum(frequency, 1 / max(height, width)) ** -self.decay
        noise = rng.normal(size=(2, len(lam), *frequency.shape))
        grey = np.fft.irfft2((noise[0] + 1j * noise[1]) * amplitude, (height, width)).reshape(len(lam), -1)
        pixels = height * width
        ascending = np.column_stack([np.sort(grey, axis=1), np.full(len(lam), np.inf)])
        others = pixels - np.rint(lam * pixels).astype(np.int64)
        own = grey >= np.take_along_axis(ascending, others[:, None], axis=1)
        return np.asarray(own).reshape(-1, height, width)

    def masks(self, draw: Draw, lam: Tensor, height: int, width: int) -> Tensor:
        places = torch.arange(7, -1, -1, dtype=torch.uint8, device=lam.device)  # np.packbits begins with the highest
        bits: Tensor = (draw["mask"].unsqueeze(-1) >> places) & 1
        return bits.flatten(1)[:, : height * width].reshape(-1, height, width).float()

    def strips(self) -> list[Strip]:
        """Over lam: the masks of one draw, made anew for each."""

        def apply(batch: Batch, draw: Draw, lam: float) -> Mixed:
            forced = self.with_lam(draw, lam)
            shares = np.full(len(draw["mask"]), lam)
            mask = self.packed(int(draw["mask_seed"]), shares, tuple(batch.inputs.shape[1:]))
            return self.apply(batch, forced | {"mask": torch.from_numpy(mask).to(batch.target.device)})

        return [replace(strip, apply=apply) for strip in super().strips()]
