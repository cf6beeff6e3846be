"""Google's Speech Commands: one-second recordings of single words, in its official folder and its official splits."""

from __future__ import annotations

import os
from functools import partial

from mixup_lab.data.source import Loaded
from mixup_lab.files.folders import check_folder, files_below
from mixup_lab.files.sound import SUFFIXES, decoder
from mixup_lab.files.sounds import Clips, Row, clips_of
from mixup_lab.notices import say
from mixup_lab.sources.sounds import Sound
from mixup_lab.types import UserError

LISTS = {"val": "validation_list.txt", "test": "testing_list.txt"}
ORIGIN = "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"


class SpeechCommands:
    """Speech Commands (Warden, 2018), 16 kHz: `ROOT/WORD/*.wav`; what mixing does to the spectrograms: see `Sound`.

    `validation_list.txt` and `testing_list.txt` hold other speakers than train. Folders that begin with `_`, such as
    `_background_noise_`, are no words. If you remove the folder of a word, its entries in the lists are passed over,
    and a line says how many. There is no download: the archive stands at ORIGIN, and is unpacked into ROOT.

    Args:
        root: folder of the words and lists.
        seconds: this and all that follow: see `Sound`.
        n_mels: mel bands.
        n_fft: samples of a window.
        hop: samples from one frame to the next.
        floor: in dB, what counts as silence.
        level: what 0 dB is, `clip` or `full_scale`.
        on_error: `raise` or `skip`.
        cache: whether to keep spectrograms on disk.
        cache_dir: where.

    Raises:
        UserError: for values outside their range, and for a folder that is not laid out so.
    """

    def __init__(
        self,
        root: str = "data/speech_commands",
        seconds: float | None = 1.0,
        n_mels: int = 40,
        n_fft: int | None = None,
        hop: int | None = None,
        floor: float = -80.0,
        level: str = "clip",
        on_error: str = "raise",
        cache: bool = True,
        cache_dir: str | None = None,
    ) -> None:
        self.sound = Sound(16_000, seconds, n_mels, n_fft, hop, floor, level, on_error, cache, cache_dir)
        self.root = os.path.expanduser(str(root))

    def load(self) -> Loaded:
        """List the files; the spectrograms follow when they are asked for."""
        decoder("dataset=speech_commands")
        if not os.path.isdir(self.root):
            raise UserError(f"dataset.root={self.root} does not exist; unpack {ORIGIN} into it (there is no download)")
        return self.sound.load(self.root, self._clips())

    def _clips(self) -> Clips:
        check_folder(self.root)
        with os.scandir(self.root) as entries:
            words = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(("_", ".")))
        found = {}
        for word in words:
            for entry in sorted(files_below(os.path.join(self.root, word), f"{word}/", SUFFIXES)):
                found[entry[0]] = Row(entry, "train", word, None, partial("{}/{}".format, self.root, entry[0]))
        for split, name in LISTS.items():
            for path in self._listed(name, words):
                if path not in found:
                    raise UserError(f"{self.root}/{name} names {path}, which is not there; unpack {ORIGIN} again")
                found[path] = found[path]._replace(split=split)
        return clips_of(f"dataset.root={self.root}", list(found.values()))

    def _listed(self, name: str, words: list[str]) -> list[str]:
        """The entries of a list that are of these words."""
        try:
            with open(os.path.join(self.root, name), encoding="utf-8") as file:
                paths = [line.strip() for line in file if line.strip()]
        except OSError as error:
            raise UserError(f"dataset.root={self.root} has no {name}; unpack {ORIGIN} into it") from error
        known = [path for path in paths if path.split("/")[0] in words]
        if len(known) < len(paths):
            say(f"{len(paths) - len(known)} of {len(paths)} entries of {name} are of words without a folder, left out")
        return known
