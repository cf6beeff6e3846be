"""Audio files with a class each: in folders, with their class in their names, or listed in a table."""

from __future__ import annotations

import os

from mixup_lab.data.source import Loaded
from mixup_lab.files.sound import decoder
from mixup_lab.files.sounds import Clips, Columns, clips_by_csv, clips_by_folder, clips_by_name
from mixup_lab.sources.sounds import Sound
from mixup_lab.types import UserError


class AudioFolder:
    """wav, flac, ogg and mp3 files as log-mel spectrograms (1, n_mels, frames); what mixing does to them: see `Sound`.

    Without `csv` and `label_pattern` the files lie in `ROOT/train/CLASS/*`, with `val` and `test` beside it or not.
    Patterns are regular expressions with one group, searched in each path below root.

    Args:
        root: folder where all paths begin.
        csv: a table (CSV, TSV, parquet) with a header, its path below root; a row for each clip.
        path_column: where the paths of the clips stand.
        label_column: where their classes stand.
        split_column: where train, val or test stand; None: val and test are carved.
        group_column: where it stands what may not be torn apart, such as the speaker; None: nothing.
        label_pattern: finds the class in a path, for files that do not lie in folders by class.
        group_pattern: finds the group in a path. Clips of one group stay in one split.
        sample_rate: this and all that follow: see `Sound`.
        seconds: length of a clip.
        n_mels: mel bands.
        n_fft: samples of a window.
        hop: samples from one frame to the next.
        floor: in dB, what counts as silence.
        level: what 0 dB is, `clip` or `full_scale`.
        on_error: `raise` or `skip`, of files that cannot be read and of rows of a table without a class.
        cache: whether to keep spectrograms on disk.
        cache_dir: where.

    Raises:
        UserError: for values outside their range, and for files that are not laid out so.
    """

    def __init__(
        self,
        root: str | None = None,
        csv: str | None = None,
        path_column: str = "path",
        label_column: str = "label",
        split_column: str | None = None,
        group_column: str | None = None,
        label_pattern: str | None = None,
        group_pattern: str | None = None,
        sample_rate: int | None = None,
        seconds: float | None = None,
        n_mels: int = 40,
        n_fft: int | None = None,
        hop: int | None = None,
        floor: float = -80.0,
        level: str = "clip",
        on_error: str = "raise",
        cache: bool = True,
        cache_dir: str | None = None,
    ) -> None:
        if root in (None, "", "???"):
            raise UserError("dataset.root has no value; set dataset.root=DIR to a folder with audio files in it")
        self.sound = Sound(sample_rate, seconds, n_mels, n_fft, hop, floor, level, on_error, cache, cache_dir)
        self.root = os.path.expanduser(str(root))
        self.csv = csv
        self.columns = Columns(path_column, label_column, split_column, group_column)
        self.label_pattern, self.group_pattern = label_pattern, group_pattern
        if csv is not None and label_pattern is not None:
            raise UserError("dataset.csv and dataset.label_pattern both say the classes; leave one of them out")
        if csv is None and (split_column or group_column):
            key = "split_column" if split_column else "group_column"
            raise UserError(f"dataset.{key} is for a table; set dataset.csv=FILE, or leave it out")
        if group_column and group_pattern:
            raise UserError("dataset.group_column and dataset.group_pattern both say the groups; leave one of them out")

    def load(self) -> Loaded:
        """List the files and learn their lengths; the spectrograms follow when they are asked for."""
        decoder(f"dataset.root={self.root}")
        return self.sound.load(self.root, self._clips())

    def _clips(self) -> Clips:
        if self.csv is not None:
            skip = self.sound.on_error == "skip"
            return clips_by_csv(self.root, self.csv, self.columns, self.group_pattern, skip)
        if self.label_pattern is not None:
            return clips_by_name(self.root, self.label_pattern, self.group_pattern)
        return clips_by_folder(self.root, self.group_pattern)
