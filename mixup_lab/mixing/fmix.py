"""FMix (Harris et al.: FMix: Enhancing Mixed Sample Data Augmentation, 2020, arXiv:2002.12047)."""

from dataclasses import dataclass

import numpy as np

from mixup_lab.mixing.masks import MaskMixer


@dataclass
class FMix(MaskMixer):
    """Binary masks of random shape with smooth outlines, from low-pass noise.

    The amplitude of white noise is divided by frequency ** decay; the lam * H * W largest values are the own pixels.

    Args:
        decay: > 0; 3 in the paper. Smaller values give many small islands.
    """

    decay: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.decay > 0:
            raise ValueError(f"decay must be greater than 0, got {self.decay}")

    def masks(self, rng: np.random.Generator, lam: np.ndarray, height: int, width: int) -> np.ndarray:
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
