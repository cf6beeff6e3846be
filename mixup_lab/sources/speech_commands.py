"""Google's Speech Commands: one-second recordings of single words, in the official folder layout and splits."""

import os
from collections import Counter
from dataclasses import dataclass
from functools import partial

from mixup_lab.data.source import Loaded
from mixup_lab.files.clips import Row, clips_of
from mixup_lab.files.folders import files_below, say_others
from mixup_lab.files.sound import SUFFIXES, decoder
from mixup_lab.notices import say
from mixup_lab.sources.audio_source import AudioSource
from mixup_lab.types import UserError

LISTS = {"val": "validation_list.txt", "test": "testing_list.txt"}
ORIGIN = "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"


@dataclass(kw_only=True)
class SpeechCommands(AudioSource):
    """Speech Commands (Warden, 2018), 16 kHz: `ROOT/WORD/*.wav`; for other keys see `AudioSource`.

    `validation_list.txt` and `testing_list.txt` have other speakers than train; a group is a speaker. Folders that
    begin with `_`, such as `_background_noise_`, are not words. If you remove the folder of a word, its entries in the
    lists are ignored, and their number is reported. There is no download: unpack the archive at ORIGIN into ROOT.

    Raises:
        UserError: for values outside their range, and for a folder with another layout.
    """

    sample_rate: int | None = 16_000
    seconds: float | None = 1.0

    def load(self) -> Loaded:
        """List the files; the spectrograms follow later."""
        decoder("dataset=speech_commands")
        if not os.path.isdir(self.root):
            raise UserError(f"dataset.root={self.root} does not exist; unpack {ORIGIN} into it (there is no download)")
        with os.scandir(self.root) as entries:
            words = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(("_", ".")))
        rows, others = {}, Counter[str]()
        for word in words:
            for entry in sorted(files_below(os.path.join(self.root, word), f"{word}/", SUFFIXES, others)):
                speaker = os.path.basename(entry[0]).partition("_nohash_")[0]
                rows[entry[0]] = Row(entry, "train", word, speaker, partial("{}/{}".format, self.root, entry[0]))
        say_others(self.root, others)
        for split, name in LISTS.items():
            for path in self._listed(name, words):
                if path not in rows:
                    raise UserError(f"{self.root}/{name} lists {path}, which does not exist; unpack {ORIGIN} again")
                rows[path] = rows[path]._replace(split=split)
        return self.load_clips(clips_of(f"dataset.root={self.root}", list(rows.values())))

    def _listed(self, name: str, words: list[str]) -> list[str]:
        """The entries of a list that belong to these words."""
        try:
            with open(os.path.join(self.root, name), encoding="utf-8") as file:
                paths = [line.strip() for line in file if line.strip()]
        except OSError as error:
            raise UserError(f"dataset.root={self.root} has no {name}; unpack {ORIGIN} into it") from error
        kept = [path for path in paths if path.split("/")[0] in words]
        if len(kept) < len(paths):
            say(f"{len(paths) - len(kept)} of {len(paths)} entries of {name} are left out: their words have no folder")
        return kept
