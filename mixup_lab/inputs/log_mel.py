"""From a waveform to a log-mel spectrogram.

Shapes: `M` mel bands, `F = n_fft / 2 + 1` frequencies of the Fourier transform, `T` frames. Levels are in dB.
"""

from dataclasses import dataclass, field

import numpy as np

LEVELS = ("clip", "full_scale")
QUIETEST = 1e-12  # power of a tone of -120 dB; a clip with nothing louder is silence


def hertz_to_mel(hertz: np.ndarray) -> np.ndarray:
    """The mel scale of O'Shaughnessy (1987), as in HTK: `2595 log10(1 + f / 700)`; 1000 Hz is 1000 mel."""
    return 2595 * np.log10(1 + hertz / 700)


def mel_to_hertz(mel: np.ndarray) -> np.ndarray:
    """The inverse of `hertz_to_mel`."""
    return 700 * (10 ** (mel / 2595) - 1)


def mel_filters(sample_rate: int, n_fft: int, n_mels: int) -> np.ndarray:
    """(M, F) float64: triangles of height 1 that are evenly spaced in mel, from 0 Hz to half the sample rate.

    Each begins at the peak of the previous one and ends at that of the next (Davis & Mermelstein, 1980; Young et al.,
    The HTK Book, section 5.4), in hertz, without normalisation: the defaults of torchaudio's `melscale_fbanks`.

    Raises:
        ValueError: if a triangle lies between two frequencies of the transform, and so contains none.
    """
    frequencies = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    edges = mel_to_hertz(np.linspace(0, hertz_to_mel(np.array(sample_rate / 2)), n_mels + 2))
    left, peak, right = (edges[k : k + n_mels, None] for k in range(3))
    filters: np.ndarray = np.minimum((frequencies - left) / (peak - left), (right - frequencies) / (right - peak))
    filters = filters.clip(min=0)
    empty = int((filters.sum(1) == 0).sum())
    if empty:
        raise ValueError(
            f"dataset.n_mels={n_mels} is too many for n_fft={n_fft} at {sample_rate} Hz: {empty} of the bands hold no"
            f" frequency of the transform; lower dataset.n_mels or raise dataset.n_fft"
        )
    return filters


@dataclass(frozen=True)
class LogMel:
    """`10 log10` of the power in each mel band, at least `floor`.

    Periodic Hann windows of `n_fft` samples follow every `hop` samples. The first is centred at the first sample, with
    zeros beyond both ends: `T = 1 + samples // hop`. Computed in float64, so that a clip has the same bits alone and
    among others, and kept as float16, in half the memory of float32: the error is at most 0.03 dB (up to 128 dB its
    steps are 0.0625 dB), far below the spread of real recordings (about 16 dB).

    Args:
        sample_rate: in Hz.
        n_fft: samples of a window.
        hop: samples from one frame to the next.
        n_mels: M.
        floor: in dB; quieter levels are raised to it. Silence, such as the padding of a short clip, is at the floor.
        level: the reference of 0 dB. `clip`: the largest value of each clip, so that the volume of a recording does not
            matter (with floor -80 as in librosa's `power_to_db(ref=np.max, top_db=80)`). `full_scale`: a tone of
            amplitude 1, so that it does.

    NumPy computes it, without BLAS: readers also run in forked processes, where MKL, which torch's transform and matrix
    products use, may wait for ever.

    Raises:
        ValueError: if a band contains no frequency of the transform.
    """

    sample_rate: int
    n_fft: int
    hop: int
    n_mels: int
    floor: float
    level: str
    _filters: np.ndarray = field(init=False, repr=False, compare=False)  # (M, F); a full-scale tone has power 1
    _window: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        window = np.hanning(self.n_fft + 1)[:-1]
        filters = mel_filters(self.sample_rate, self.n_fft, self.n_mels)
        object.__setattr__(self, "_window", window)
        object.__setattr__(self, "_filters", filters / (window.sum() / 2) ** 2)

    def frames(self, samples: int) -> int:
        """T of a clip of this many samples."""
        return 1 + samples // self.hop

    def __call__(self, wave: np.ndarray) -> np.ndarray:
        """A clip (samples,) in [-1, 1] to float16 (1, M, T)."""
        padded = np.pad(wave.astype(np.float64), self.n_fft // 2)
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.n_fft)[:: self.hop]  # (T, n_fft)
        spectrum = np.fft.rfft(frames * self._window)
        power = np.einsum("mf,tf->mt", self._filters, spectrum.real**2 + spectrum.imag**2)
        if self.level == "clip":
            power /= max(power.max(), QUIETEST)
        decibels: np.ndarray = 10 * np.log10(power.clip(min=10 ** (self.floor / 10)))
        return decibels.astype(np.float16)[None]
