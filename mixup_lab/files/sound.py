"""One audio file to a clip of a given sample rate and length, and what is known of many files.

soundfile decodes, in C and without Python's lock, so threads do it. It is an extra: `mixup-lab[audio]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mixup_lab.files.threads import in_threads
from mixup_lab.types import UserError

if TYPE_CHECKING:
    from types import ModuleType

CHUNK = 128  # files that one task reads
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


class Header(NamedTuple):
    """What is known of a file without decoding it."""

    rate: int  # Hz
    samples: int  # per channel


def decoder(source: str) -> ModuleType:
    """soundfile; `source` names who needs it, should it be missing."""
    try:
        import soundfile
    except ImportError as error:
        raise UserError(f"{source} needs soundfile: pip install 'mixup-lab[audio]'") from error
    module: ModuleType = soundfile
    return module


def read_header(path: str) -> Header:
    """Rate and length of a file.

    Raises:
        UserError: that names the file if it cannot be read or holds no sound.
    """
    import soundfile

    try:
        info = soundfile.info(path)
    except Exception as error:
        raise _unreadable(path, error) from error
    if info.frames < 1:
        raise _useless(path, "holds no sound (0 samples)")
    return Header(int(info.samplerate), int(info.frames))


def decode(path: str, rate: int, samples: int) -> np.ndarray:
    """A clip, float32 (samples,) in [-1, 1]: the mean of its channels, resampled, and cut or padded at both ends alike.

    Of a longer clip the middle is kept; a shorter one stands in the middle of zeros.

    Raises:
        UserError: that names the file if it cannot be read, or holds no sound or values that are not finite.
    """
    wave, own_rate = read(path)
    if own_rate != rate:
        from scipy.signal import resample_poly  # late: it takes long to import, and is seldom needed

        common = gcd(rate, own_rate)
        wave = resample_poly(wave, rate // common, own_rate // common)
    return fitted(wave, samples)


def read(path: str) -> tuple[np.ndarray, int]:
    """All of a file as float32 (n,), the mean of its channels, and its sample rate in Hz. Raises as `decode` does."""
    import soundfile

    try:
        channels, rate = soundfile.read(path, dtype="float32", always_2d=True)  # (n, channels)
    except Exception as error:
        raise _unreadable(path, error) from error
    if not len(channels):
        raise _useless(path, "holds no sound (0 samples)")
    if not np.isfinite(channels).all():
        raise _useless(path, "holds values that are not finite")
    wave: np.ndarray = channels[:, 0] if channels.shape[1] == 1 else channels.mean(1)
    return wave, int(rate)


def fitted(wave: np.ndarray, samples: int) -> np.ndarray:
    """The middle of a clip (n,), or the clip in the middle of zeros: float32 (samples,)."""
    start = abs(len(wave) - samples) // 2
    if len(wave) >= samples:
        return np.ascontiguousarray(wave[start : start + samples], dtype=np.float32)
    out = np.zeros(samples, dtype=np.float32)
    out[start : start + len(wave)] = wave
    return out


def scan(paths: Sequence[str], thorough: bool, advance: Callable[[int], None]) -> list[Header | UserError]:
    """Header of each file, or what is wrong with it. `thorough` decodes too: some damage shows only then."""

    def one(path: str) -> Header | UserError:
        try:
            header = read_header(path)
            if thorough:
                read(path)
        except UserError as error:
            return error
        return header

    def part(start: int) -> list[Header | UserError]:
        return [one(path) for path in paths[start : start + CHUNK]]

    return [header for headers in in_threads(part, len(paths), CHUNK, advance) for header in headers]


def _unreadable(path: str, error: Exception) -> UserError:
    reason = getattr(error, "error_string", None) or " ".join(str(error).split()) or type(error).__name__
    return _useless(path, f"cannot be read as audio ({str(reason).rstrip('.')})")


def _useless(path: str, what: Any) -> UserError:
    return UserError(f"{path} {what}; dataset.on_error=skip leaves such files out")
