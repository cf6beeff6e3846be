"""Audio files with a class each: in folders, with their class in their names, or listed in a table."""

from collections.abc import Sequence
from dataclasses import dataclass

from mixup_lab.data.source import Loaded
from mixup_lab.files.clips import clips_by_csv, clips_by_folder, clips_by_name
from mixup_lab.files.labelled import MISSING
from mixup_lab.files.sound import decoder
from mixup_lab.sources.audio_source import AudioSource
from mixup_lab.types import UserError


@dataclass(kw_only=True)
class AudioFolder(AudioSource):
    """Sounds as log-mel spectrograms (1, n_mels, frames); for other keys see `AudioSource`.

    Files are those that libsndfile reads, such as wav, flac, ogg, mp3 and aiff.

    Without `csv` and `label_pattern` they are in `ROOT/train/CLASS/*`, and in `val` and `test` if they exist, or in
    `ROOT/CLASS/*`.
    Patterns are regular expressions with one group, searched in each path below root.

    Args:
        csv: path below root of a table (CSV, TSV or parquet) with a header; one row for each clip.
        path_column: name of the column of paths.
        label_column: name of the column of classes.
        split_column: name of the column of train, val or test; None: val and test are carved.
        group_column: name of the column of groups, such as speakers; None: there are none.
        missing: texts that mean a missing label in the table, in capitals or not.
        label_pattern: finds the class in a path, for files that are not in folders by class.
        group_pattern: finds the group in a path. Clips of one group stay in one split.

    Raises:
        UserError: for values outside their range, and for files with another layout.
    """

    ROOT = "DIR to a folder with audio files in it"

    csv: str | None = None
    path_column: str = "path"
    label_column: str = "label"
    split_column: str | None = None
    group_column: str | None = None
    missing: Sequence[str] = MISSING
    label_pattern: str | None = None
    group_pattern: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.csv is not None and self.label_pattern is not None:
            raise UserError("dataset.csv and dataset.label_pattern both set the classes; leave one of them out")
        if self.csv is None and (self.split_column or self.group_column):
            key = "split_column" if self.split_column else "group_column"
            raise UserError(f"dataset.{key} is for a table; set dataset.csv=FILE, or leave it out")
        if self.group_column and self.group_pattern:
            raise UserError("dataset.group_column and dataset.group_pattern both set the groups; leave one of them out")

    def load(self) -> Loaded:
        """List the files and read their lengths; the spectrograms follow later."""
        decoder(f"dataset.root={self.root}")
        if self.csv is not None:
            columns = {f"{key}_column": getattr(self, f"{key}_column") for key in ("path", "label", "split", "group")}
            listing = clips_by_csv(
                self.root, self.csv, columns, self.group_pattern, self.skip, list(map(str, self.missing))
            )
        elif self.label_pattern is not None:
            listing = clips_by_name(self.root, self.label_pattern, self.group_pattern)
        else:
            listing = clips_by_folder(self.root, self.group_pattern)
        return self.load_clips(listing)
