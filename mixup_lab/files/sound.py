"""Decode an audio file to a clip of a given sample rate and length.

soundfile decodes in C without Python's lock, so many files are read in threads. It is an extra: `mixup-lab[audio]`.
"""

from __future__ import annotations

import os
import re
from math import gcd
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mixup_lab.files.keys import SKIP_HINT
from mixup_lab.files.reasons import reason_of
from mixup_lab.types import UserError

if TYPE_CHECKING:
    from types import ModuleType

SUFFIXES = (
    ".wav", ".flac", ".ogg", ".mp3", ".wave", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64",
    ".rf64",
)  # fmt: skip
HEADER = 2  # version of what is refused by its header
UNKNOWN = 2**31 - 2**16  # bytes; a header that announces more is that of a stream, whose length was unknown
SLACK = 64  # bytes that a header may announce too much: some count themselves
ANNOUNCED = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
REST = re.compile(r"Unknown chunk marker \S+ at position (\d+)")
LEAST_REST = 0.1  # of a file: bytes after the sound that are sound too, not a remark
RATES = range(1_000, 1_000_001)  # Hz; others come from wrong headers, and resampling them would take forever
CANCELLED = 0.01  # of the power of the channels: below it their mean has lost the sound


class Header(NamedTuple):
    """Facts about a file that need no decoding."""

    rate: int  # Hz
    samples: int  # per channel


def decoder(source: str) -> ModuleType:
    """soundfile. Raises UserError if it is not installed; `source` names the option that needs it."""
    try:
        import soundfile
    except ImportError as error:
        raise UserError(f"{source} needs soundfile: pip install 'mixup-lab[audio]'") from error
    module: ModuleType = soundfile
    return module


def read_header(path: str, thorough: bool = False) -> Header:
    """Rate and length of a file. `thorough` decodes it too: some damage shows only then.

    Raises:
        UserError: for a file that cannot be read, holds no sound, or another length of it than its header announces.
    """
    import soundfile

    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise ValueError("it is not a file")
        info = soundfile.info(path)
    except Exception as error:
        raise _unreadable(path, error) from error
    if info.samplerate not in RATES:
        raise _useless(path, f"has the sample rate {info.samplerate} Hz, which must be from {RATES[0]} to {RATES[-1]}")
    for announced, real in ANNOUNCED.findall(info.extra_info):  # libsndfile reads what there is, and only notes this
        if int(real) + SLACK < int(announced) < UNKNOWN:
            raise _useless(path, f"is cut short: its header announces {announced} bytes of sound, it has {real}")
    size = os.path.getsize(path)
    if (rest := REST.search(info.extra_info)) and size - int(rest[1]) > LEAST_REST * size:
        raise _useless(path, f"has a wrong header: it ends the sound after {rest[1]} of {size} bytes")
    if thorough:
        read(path)
    if info.frames < 1:
        raise _useless(path, "holds no sound (0 samples)")
    return Header(int(info.samplerate), int(info.frames))


def decode(path: str, rate: int, samples: int) -> np.ndarray:
    """A clip, float32 (samples,) in [-1, 1]: one channel (see `read`), resampled, cut or padded equally at both ends.

    Raises:
        UserError: for a file that cannot be read, holds no sound, or holds values that are not finite.
    """
    wave, own_rate = read(path)
    if own_rate != rate:
        from scipy.signal import resample_poly  # late: it takes long to import, and is seldom needed

        common = gcd(rate, own_rate)
        wave = resample_poly(wave, rate // common, own_rate // common)
    return cut_or_padded(wave, samples)


def read(path: str) -> tuple[np.ndarray, int]:
    """All of a file as float32 (n,), and its sample rate in Hz. Raises as `decode` does.

    It is the mean of the channels; of channels that cancel out, such as those of opposite sign, the loudest one.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            rate, announced = file.samplerate, file.frames
            channels = file.read(dtype="float32", always_2d=True)  # (n, channels)
    except Exception as error:
        raise _unreadable(path, error) from error
    if not len(channels):
        raise _useless(path, "holds no sound (0 samples)")
    if len(channels) < announced:
        raise _useless(path, f"is cut short: its header announces {announced} samples, it has {len(channels)}")
    if not np.isfinite(channels).all():
        raise _useless(path, "holds values that are not finite")
    if channels.shape[1] == 1:
        return channels[:, 0], int(rate)
    wave: np.ndarray = channels.mean(1)
    powers = np.square(channels, dtype=np.float64).mean(0)
    if np.square(wave, dtype=np.float64).mean() < CANCELLED * powers.mean():
        wave = channels[:, powers.argmax()]
    return wave, int(rate)


def cut_or_padded(wave: np.ndarray, samples: int) -> np.ndarray:
    """The middle of a clip (n,), or the clip in the middle of zeros: float32 (samples,)."""
    start = abs(len(wave) - samples) // 2
    if len(wave) >= samples:
        return np.ascontiguousarray(wave[start : start + samples], dtype=np.float32)
    out = np.zeros(samples, dtype=np.float32)
    out[start : start + len(wave)] = wave
    return out


def _unreadable(path: str, error: Exception) -> UserError:
    return _useless(path, f"cannot be read as audio ({reason_of(path, error)})")


def _useless(path: str, what: Any) -> UserError:
    return UserError(f"{path} {what}{SKIP_HINT}")
