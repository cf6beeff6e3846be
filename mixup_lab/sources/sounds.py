"""From a list of audio files to pools of spectrograms: what all sources of audio share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from mixup_lab.data.source import Loaded
from mixup_lab.data.storage import SHARE, free_bytes
from mixup_lab.files.cache import Cache, default_folder
from mixup_lab.files.sound import scan
from mixup_lab.files.sounds import Clips
from mixup_lab.inputs.log_mel import LEVELS, LogMel
from mixup_lab.inputs.moments import CHUNK, SAMPLE, spread
from mixup_lab.inputs.spectrograms import Spectrograms
from mixup_lab.notices import say, track
from mixup_lab.sources.clips import AudioPool
from mixup_lab.targets.classes import Classes
from mixup_lab.types import UserError

ON_ERROR = ("raise", "skip")
COVERED = 95  # percent of the training clips that are not cut, where no length is given
WINDOW, STEP = 0.025, 0.010  # seconds


@dataclass(frozen=True)
class Sound:
    """What is made of a clip.

    Mixing adds standardised log-mel values: `lam * a + (1 - lam) * b` is a mean of levels in dB. That is not the
    log-mel of two sounds heard at once, for the log of a sum is not the sum of logs: where one clip is silent the other
    becomes quieter towards the floor, and does not stay as loud as it is. Zhang et al. (2018, section 3.3) mix
    spectrograms too; waveforms are not mixed here. Methods with masks (cutmix, fmix, ...) exchange regions of time and
    frequency, and lam is the share of that area. Clips have one length: padding is silence in the waveform, so it is
    the floor in the spectrogram, and takes part in mixing like any other level: the ends of a longer clip fade where a
    shorter partner is padded.

    Args:
        sample_rate: Hz, at least 1000; others are resampled. None: that of the files, or the commonest of train.
        seconds: length of a clip: the middle of longer ones, shorter ones in the middle of silence. None: that of the
            files if they agree, else so that 95 % of the training clips are whole.
        n_mels: mel bands, at least 1.
        n_fft: samples of a window, at least 16; None: the power of two from 25 ms on.
        hop: samples from one frame to the next, 1..n_fft; None: 10 ms.
        floor: in dB, below 0: what counts as silence.
        level: what 0 dB is: `clip`, the largest value of each clip, or `full_scale`, a tone of amplitude 1.
        on_error: `raise` stops at a file that cannot be read; `skip` leaves it out and says how many there were.
        cache: whether to keep spectrograms on disk for the next start.
        cache_dir: where; None: `$XDG_CACHE_HOME/mixup-lab` or `~/.cache/mixup-lab`.

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
    on_error: str = "raise"
    cache: bool = True
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        for key, least in (("sample_rate", 1000), ("n_mels", 1), ("n_fft", 16), ("hop", 1)):
            value = getattr(self, key)
            if value is not None and value < least:
                raise UserError(f"dataset.{key} must be {'' if key == 'n_mels' else 'null or '}>= {least}, got {value}")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise UserError(f"dataset.seconds must be null or greater than 0, got {self.seconds}")
        if not -math.inf < self.floor < 0:
            raise UserError(f"dataset.floor must be a level below 0 dB, got {self.floor}")
        for key, allowed in (("level", LEVELS), ("on_error", ON_ERROR)):
            if getattr(self, key) not in allowed:
                raise UserError(f"dataset.{key} must be one of {', '.join(allowed)}, got {getattr(self, key)}")

    def load(self, root: str, clips: Clips) -> Loaded:
        """Learn rates and lengths of the files; the spectrograms follow when they are asked for."""
        folder = (Path(self.cache_dir).expanduser() if self.cache_dir else default_folder()) if self.cache else None
        listing = clips.listing
        cache = Cache.of(root, listing.digest, folder) if folder else None
        headers = self._headers(root, clips, cache)
        keep = {split: table[:, 0] > 0 for split, table in headers.items()}
        dropped = sum(int((~kept).sum()) for kept in keep.values())
        for split, kept in keep.items():
            _check_classes_remain(root, split, listing.class_names, listing.target[split], kept)
        if dropped:
            say(f"{dropped} of {sum(map(len, keep.values()))} audio files in {root} cannot be used, left out")
        tables = {split: table[keep[split]] for split, table in headers.items()}
        rate = self.sample_rate or _rate(root, tables)
        samples = max(1, round(self.seconds * rate)) if self.seconds else _samples(root, tables, rate)
        pools = {}
        for split, kept in keep.items():
            names = [name for name, good in zip(listing.names[split], kept, strict=True) if good]
            pools[split] = AudioPool(
                root, split, names, listing.target[split][kept], self._log_mel(rate), samples, cache
            )
        groups = None
        if clips.groups is not None:
            groups = np.unique(np.array(clips.groups["train"])[keep["train"]], return_inverse=True)[1].astype(np.int64)
        train = pools["train"]
        loaded = Loaded(
            train,
            pools.get("val"),
            pools.get("test"),
            Classes(listing.class_names),
            groups=groups,
            dropped=dropped + clips.dropped,
        )
        return replace(loaded, fit=lambda rows: replace(loaded, encoder=_fitted(train, rows)))

    def _log_mel(self, rate: int) -> LogMel:
        n_fft = self.n_fft or 2 ** math.ceil(math.log2(WINDOW * rate))
        hop = self.hop or round(STEP * rate)
        if hop > n_fft:
            raise UserError(f"dataset.hop must be at most dataset.n_fft ({n_fft}), got {hop}")
        try:
            return LogMel(rate, n_fft, hop, self.n_mels, self.floor, self.level)
        except ValueError as error:
            raise UserError(str(error)) from error

    def _headers(self, root: str, clips: Clips, cache: Cache | None) -> dict[str, np.ndarray]:
        """For each split int64 (N, 2): sample rate and samples; zeros for a file that cannot be used."""
        import soundfile

        skip = self.on_error == "skip"
        listing = clips.listing
        names = [name for split in listing.names.values() for name in split]
        key = f"headers-{'decoded' if skip else 'seen'}-sndfile{soundfile.__libsndfile_version__}"
        table = cache.read(key) if cache else None
        if table is None or table.shape != (len(names), 2):
            with track(f"looking at {len(names):,} audio files in {root}", len(names)) as advance:
                found = scan([f"{root}/{name}" for name in names], skip, advance)
            errors = [header for header in found if isinstance(header, UserError)]
            if errors and not skip:
                raise errors[0]
            table = np.array([(0, 0) if isinstance(h, UserError) else h for h in found], dtype=np.int64)
            if cache:
                cache.write(key, table)
        ends = np.cumsum([len(split) for split in listing.names.values()])[:-1]
        return dict(zip(listing.names, np.split(table, ends), strict=True))


def _rate(root: str, tables: dict[str, np.ndarray]) -> int:
    every = np.unique(np.concatenate([table[:, 0] for table in tables.values()]))
    rates, counts = np.unique(tables["train"][:, 0], return_counts=True)
    rate = int(rates[::-1][counts[::-1].argmax()])  # of equally many the higher one
    if len(every) > 1:
        say(
            f"audio in {root} has sample rates from {every[0]} to {every[-1]} Hz: all is resampled to {rate};"
            " dataset.sample_rate=N sets another rate"
        )
    return rate


def _samples(root: str, tables: dict[str, np.ndarray], rate: int) -> int:
    """Of a clip at this rate."""
    lengths = {split: -(-table[:, 1] * rate // table[:, 0]) for split, table in tables.items()}
    low, high = (int(f([f(length) for length in lengths.values()])) for f in (min, max))
    if low == high:
        return low
    seconds = math.ceil(float(np.percentile(lengths["train"], COVERED)) / rate * 100) / 100
    say(
        f"clips in {root} are {low / rate:.2f} to {high / rate:.2f} s long: {seconds:.2f} s are kept, the middle of"
        " longer ones, shorter ones in the middle of silence; dataset.seconds=N sets another length"
    )
    return round(seconds * rate)


def _check_classes_remain(
    root: str, split: str, class_names: Sequence[str], target: np.ndarray, kept: np.ndarray
) -> None:
    for k, name in enumerate(class_names):
        if (target == k).any() and not (target[kept] == k).any():
            raise UserError(f"dataset.root={root} has no audio file of class {name} in {split} that can be read")


def _fitted(train: AudioPool, rows: np.ndarray) -> Spectrograms:
    """The encoder whose numbers come from these rows of `train` alone.

    Clips that do not fit in memory are not all read for it, but 10,000 that are evenly spread.
    """
    free = free_bytes(torch.device("cpu"))
    if free is None or train.nbytes <= SHARE * free:
        parts = (train.load()[rows[start : start + CHUNK]] for start in range(0, len(rows), CHUNK))
    else:
        parts = (train.read(i)[None] for i in spread(rows, SAMPLE).tolist())
    count, first, second, high = 0, 0.0, 0.0, -math.inf
    floor = train.log_mel.floor
    for part in parts:
        values = part.double() - floor  # from the floor on, so that little cancels in the variance
        count += values.numel()
        first += float(values.sum())
        second += float(values.square().sum())
        high = max(high, float(part.max()))
    variance = second / count - (first / count) ** 2
    std = math.sqrt(variance) if variance > 1e-6 else 1.0  # dB; below it all is silence
    return Spectrograms(train.shape, floor + first / count, std, floor, max(high, floor + 1))
