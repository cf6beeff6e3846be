"""From a list of audio files to pools of spectrograms; the keys that sources of audio share."""

import math
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from mixup_lab.data.source import Loaded
from mixup_lab.data.storage import SHARE, free_bytes
from mixup_lab.files.folders import Listing
from mixup_lab.files.headers import read_headers
from mixup_lab.files.keys import check, check_choice
from mixup_lab.files.pool import FilePool
from mixup_lab.files.sound import HEADER, SUFFIXES, Header, decode, read_header
from mixup_lab.inputs.log_mel import LEVELS, LogMel
from mixup_lab.inputs.moments import CHUNK, SAMPLE, spread
from mixup_lab.inputs.spectrograms import Spectrograms
from mixup_lab.notices import say
from mixup_lab.sources.file_source import CachedSource
from mixup_lab.sources.new_files import decoded
from mixup_lab.targets.classes import Classes
from mixup_lab.types import UserError

VERSION = 2  # of the cached spectrograms; change it to have them computed again
COVERED = 95  # percent of the training clips that are not cut, if no length is set
WINDOW, STEP = 0.025, 0.010  # seconds


class ClipPool(FilePool):
    """Clips as log-mel spectrograms, float16 (N, 1, M, T): M mel bands, T frames."""

    def load(self) -> Tensor:
        return self._all

    @cached_property
    def _all(self) -> Tensor:  # cached: the clips are read first to fit the encoder, then for training
        return super().load().squeeze(1).unsqueeze(1)  # with the strides of a contiguous tensor


@dataclass(kw_only=True)
class AudioSource(CachedSource):
    """Clips in files; for other keys see `CachedSource`.

    Mixing adds standardised log-mel values: `lam * a + (1 - lam) * b` is a mean of levels in dB. That is not the
    log-mel of two sounds heard at once, as the log of a sum is not the sum of logs: where one clip is silent the other
    gets quieter, towards the floor, instead of staying as loud as it is. Zhang et al. (2018, section 3.3) mix
    spectrograms too; waveforms are not mixed here. Methods with masks (cutmix, fmix, ...) exchange regions of time and
    frequency, and lam is the share of that area. All clips have one length. Padding is silence in the waveform and so
    the floor in the spectrogram, and is mixed like any other level: the ends of a longer clip fade where a shorter
    partner is padded.

    Args:
        sample_rate: in Hz, at least 1000; files of other rates are resampled. None: the most common one of train.
        seconds: length of a clip: longer ones keep their middle, shorter ones are padded with silence at both ends.
            None: the length of the files if they agree, else the one that leaves 95 % of the training clips whole.
        n_mels: mel bands, at least 1.
        n_fft: samples of a window, at least 16; None: the smallest power of two of at least 25 ms.
        hop: samples from one frame to the next, 1..n_fft; None: 10 ms.
        floor: in dB, below 0: the level of silence.
        level: the reference of 0 dB: `clip`, the largest value of each clip, or `full_scale`, a tone of amplitude 1.

    Raises:
        UserError: for values outside their range.
    """

    sample_rate: int | None = None
    seconds: float | None = None
    n_mels: int = 40
    n_fft: int | None = None
    hop: int | None = None
    floor: float = -80.0
    level: str = "clip"

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, least in (("sample_rate", 1000), ("n_mels", 1), ("n_fft", 16), ("hop", 1)):
            value = getattr(self, key)
            check(value is None or value >= least, key, value, f"{'' if key == 'n_mels' else 'null or '}>= {least}")
        check(self.seconds is None or 0 < self.seconds < math.inf, "seconds", self.seconds, "null or greater than 0")
        check(-math.inf < self.floor < 0, "floor", self.floor, "a level below 0 dB")
        check_choice("level", self.level, LEVELS)

    def load_clips(self, listing: Listing) -> Loaded:
        """Read rates and lengths of the files; the spectrograms follow later."""
        import soundfile

        cache, total = self.cache_of(self.root, listing.digest), sum(map(len, listing.names.values()))
        version = f"sndfile{soundfile.__libsndfile_version__}-{HEADER}"
        problems = self.problems()
        title = f"looking at {total:,} audio files in {self.root}"
        headers = read_headers(listing.names, self._header, problems, cache, title, version)
        keep = {split: table[:, 0] > 0 for split, table in headers.items()}
        listing = listing.keeping(keep, self.root)
        dropped = listing.dropped + problems.report(f"of {total} audio files in {self.root}")
        tables = {split: table[keep[split]] for split, table in headers.items()}
        rate = self.sample_rate or _rate(self.root, tables)
        samples = max(1, round(self.seconds * rate)) if self.seconds else _samples(self.root, tables, rate)
        made = self._log_mel(rate)
        shape = 1, made.n_mels, made.frames(samples)
        version += f"-logmel{VERSION}-{rate}-{samples}-{made.n_fft}-{made.hop}-{made.floor:g}-{made.level}"
        read = partial(_spectrogram, made, samples)
        pools = {
            split: ClipPool(
                self.root, split, names, listing.target[split], shape, read, version, cache, np.float16,
                None if listing.groups is None else np.array(listing.groups[split]),
            )
            for split, names in listing.names.items()
        }  # fmt: skip
        new = decoded(read, shape, SUFFIXES, "audio files", np.float16)
        loaded = Loaded.of(pools, Classes(listing.class_names), dropped=dropped, group_pattern=True, new=new)
        return replace(loaded, fit=lambda rows: replace(loaded, encoder=_fitted(pools["train"], made.floor, rows)))

    def _header(self, name: str) -> Header:
        return read_header(f"{self.root}/{name}", self.skip)

    def _log_mel(self, rate: int) -> LogMel:
        n_fft = self.n_fft or 2 ** math.ceil(math.log2(WINDOW * rate))
        hop = self.hop or round(STEP * rate)
        check(hop <= n_fft, "hop", hop, f"at most dataset.n_fft ({n_fft})")
        try:
            return LogMel(rate, n_fft, hop, self.n_mels, self.floor, self.level)
        except ValueError as error:
            raise UserError(str(error)) from error


def _spectrogram(log_mel: LogMel, samples: int, path: str) -> np.ndarray:
    """One file: float16 (1, M, T)."""
    return log_mel(decode(path, log_mel.sample_rate, samples))


def _rate(root: str, tables: dict[str, np.ndarray]) -> int:
    every = np.unique(np.concatenate([table[:, 0] for table in tables.values()]))
    rates, counts = np.unique(tables["train"][:, 0], return_counts=True)
    rate = int(rates[::-1][counts[::-1].argmax()])  # if tied, the highest
    if len(every) > 1:
        say(
            f"audio in {root} has sample rates from {every[0]} to {every[-1]} Hz: all files are resampled to {rate};"
            " dataset.sample_rate=N sets another rate"
        )
    return rate


def _samples(root: str, tables: dict[str, np.ndarray], rate: int) -> int:
    """The length of a clip in samples at this rate."""
    lengths = {split: -(-table[:, 1] * rate // table[:, 0]) for split, table in tables.items()}
    low, high = (int(f([f(length) for length in lengths.values()])) for f in (min, max))
    if low == high:
        return low
    seconds = math.ceil(float(np.percentile(lengths["train"], COVERED)) / rate * 100) / 100
    say(
        f"clips in {root} are {low / rate:.2f} to {high / rate:.2f} s long: longer ones are cut to their middle"
        f" {seconds:.2f} s, shorter ones padded with silence; dataset.seconds=N sets another length"
    )
    return round(seconds * rate)


def _fitted(train: FilePool, floor: float, rows: np.ndarray) -> Spectrograms:
    """The encoder, with mean and standard deviation over these rows of `train` alone.

    If the clips do not fit in memory, only 10,000 of them, evenly spread, are read for it.
    """
    free = free_bytes(torch.device("cpu"))
    if free is None or train.nbytes <= SHARE * free:
        parts = (train.load()[rows[start : start + CHUNK]] for start in range(0, len(rows), CHUNK))
    else:
        parts = (train.read(i)[None] for i in spread(rows, SAMPLE).tolist())
    count, first, second, high = 0, 0.0, 0.0, -math.inf
    for part in parts:
        values = part.double() - floor  # relative to the floor, so that little cancels in the variance
        count += values.numel()
        first += float(values.sum())
        second += float(values.square().sum())
        high = max(high, float(part.max()))
    variance = second / count - (first / count) ** 2
    std = math.sqrt(variance) if variance > 1e-6 else 1.0  # in dB; below this all clips are silent
    return Spectrograms(train.shape, floor + first / count, std, floor, max(high, floor + 1))
