"""Where the rows of a table are kept while a run needs them: in memory, or in files that are mapped into it.

Large tables go to the cache folder as they are read, a piece at a time, and the next start maps what is there. A folder
of the cache holds one table in one state; it is written aside and renamed, so two processes may write the same one.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from mixup_lab.notices import say
from mixup_lab.types import UserError

BLOCK = 4 << 20
ABANDONED = 3600  # seconds after which an unfinished folder of another process is nobody's
DTYPES: dict[str, np.dtype[Any]] = {"values": np.dtype(np.float32), "extras": np.dtype(np.float64)}


class Stored(NamedTuple):
    """Rows of one file: `values` (N, C) float32 are the features, `extras` (N, E) float64 targets and the like."""

    values: np.ndarray
    extras: np.ndarray


def in_memory(pieces: Iterable[Stored]) -> Stored:
    """All pieces as two arrays."""
    values, extras = zip(*pieces, strict=True)
    return Stored(np.concatenate(values), np.concatenate(extras))


@dataclass(frozen=True)
class Shelf:
    """The place of one table in the cache. `state` stands for that of its files, `manner` for how they are read."""

    folder: Path
    state: str
    manner: str

    @property
    def place(self) -> Path:
        """Where the table lies, if it is there."""
        return self.folder / f"{self.state}-{self.manner}"

    @classmethod
    def of(cls, root: str, state: str, manner: str, folder: Path) -> Shelf:
        """The place of the table in `root` below `folder`."""
        path = os.path.realpath(root)
        own = f"{os.path.basename(path)}-{blake2b(os.fsencode(path), digest_size=6).hexdigest()}"
        return cls(folder / own, state, manner)

    def read(self) -> tuple[dict[str, Any], dict[str, Stored]] | None:
        """What was kept, with the arrays mapped; None if there is nothing that can be used."""
        try:
            about = json.loads((self.place / "table.json").read_text())
            return about["meta"], {
                split: Stored(**{part: _mapped(self.place / f"{split}-{part}", part, **facts[part]) for part in DTYPES})
                for split, facts in about["splits"].items()
            }
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            say(f"the cache folder {self.place} cannot be used ({error}); it is made again")
            shutil.rmtree(self.place, ignore_errors=True)
            return None

    def writer(self, needed: int) -> Writer | None:
        """Begin to keep a table of about `needed` bytes; None where there is no place for it, which is said."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            free = shutil.disk_usage(self.folder).free
            if needed > free / 2:
                raise OSError(f"{needed / 2**30:.1f} GiB would take more than half of the free space")
            aside = self.folder / f"{self.place.name}.{os.getpid()}-{time.monotonic_ns()}.tmp"
            aside.mkdir()
        except OSError as error:
            say(f"the table is not kept in {self.folder} ({error}); dataset.cache_dir=DIR names another place")
            return None
        return Writer(self, aside)

    def _sweep(self) -> None:
        """Delete what no process will want: other states of the table, and unfinished folders."""
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):
                unfinished = path.suffix == ".tmp"
                if (
                    time.time() - path.stat().st_mtime > ABANDONED
                    if unfinished
                    else not path.name.startswith(self.state)
                ):
                    shutil.rmtree(path, ignore_errors=True)


class Writer:
    """Takes the rows of a table piece by piece; `finish` makes them the kept ones. Leaves nothing unfinished behind."""

    def __init__(self, shelf: Shelf, aside: Path) -> None:
        self._shelf, self._aside = shelf, aside
        self._splits: dict[str, dict[str, dict[str, Any]]] = {}

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._aside, ignore_errors=True)

    def take(self, split: str, pieces: Iterable[Stored]) -> None:
        """All rows of one file."""
        facts = {part: {"shape": [0, 0], "crc32": 0} for part in DTYPES}
        with (
            open(self._aside / f"{split}-values", "xb") as values,
            open(self._aside / f"{split}-extras", "xb") as extras,
        ):
            files = {"values": values, "extras": extras}
            for piece in pieces:
                for part, array in piece._asdict().items():
                    raw = np.ascontiguousarray(array, DTYPES[part]).data.cast("B") if array.size else b""
                    self._write(files[part], raw)
                    known: dict[str, Any] = facts[part]
                    known["crc32"] = zlib.crc32(raw, known["crc32"])
                    known["shape"] = [known["shape"][0] + len(array), array.shape[1]]
        self._splits[split] = facts

    def _write(self, file: BinaryIO, raw: memoryview | bytes) -> None:
        try:
            file.write(raw)
        except OSError as error:
            raise UserError(
                f"the table cannot be kept in {self._aside.parent} ({error.strerror}); dataset.cache_dir=DIR names"
                " another place, dataset.cache=false keeps it in memory"
            ) from error

    def finish(self, meta: dict[str, Any]) -> dict[str, Stored]:
        """Rename, and map what was written; if another process was faster, its work is as good.

        Raises:
            UserError: if it cannot be read back.
        """
        about = {"meta": meta, "splits": self._splits}
        (self._aside / "table.json").write_text(json.dumps(about))
        with suppress(OSError):
            os.rename(self._aside, self._shelf.place)
        kept = self._shelf.read()
        if kept is None:
            raise UserError(f"dataset.cache_dir: the table that was written to {self._shelf.folder} cannot be read")
        return kept[1]


def _mapped(path: Path, part: str, shape: list[int], crc32: int) -> np.ndarray:
    """A view of the file, copied on write so that torch may have it; a damaged file raises ValueError."""
    dtype = DTYPES[part]
    if path.stat().st_size != shape[0] * shape[1] * dtype.itemsize:
        raise ValueError("its size is wrong")
    found = 0
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            found = zlib.crc32(block, found)
    if found != crc32:
        raise ValueError("its checksum is wrong")
    if not path.stat().st_size:
        return np.zeros((shape[0], shape[1]), dtype)
    mapped: np.ndarray = np.asarray(np.memmap(path, dtype, "c", shape=(shape[0], shape[1])))
    return mapped
