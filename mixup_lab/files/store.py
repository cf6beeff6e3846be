"""The rows of a table during a run: in memory, or in files that are mapped into memory.

Large tables are written to the cache, piece by piece as they are read, and the next start maps those files. A folder
holds one table in one state; it is written under another name and renamed, so two processes may write the same one.
"""

import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mixup_lab.files.cache import BLOCK, Cache
from mixup_lab.notices import say
from mixup_lab.types import UserError

DTYPES: dict[str, np.dtype[Any]] = {"values": np.dtype(np.float32), "extras": np.dtype(np.float64)}


class Stored(NamedTuple):
    """Rows of one file: `values` (N, C) float32 are the features, `extras` (N, E) float64 targets and the like."""

    values: np.ndarray
    extras: np.ndarray


def in_memory(pieces: Iterable[Stored]) -> Stored:
    """All pieces, joined in memory."""
    values, extras = zip(*pieces, strict=True)
    return Stored(np.concatenate(values), np.concatenate(extras))


@dataclass(frozen=True)
class Shelf:
    """The place of one table in a cache. `manner` is a digest of all settings that decide how its files are read."""

    cache: Cache
    manner: str

    def read(self) -> tuple[dict[str, Any], dict[str, Stored]] | None:
        """The metadata and the rows of each split, mapped; None if there are none, or if they are damaged."""
        if self.cache.folder is None:
            return None
        place = self.cache.path(self.cache.folder, self.manner)
        try:
            about = json.loads((place / "table.json").read_text())
            return about["meta"], {
                split: Stored(**{part: _mapped(place / f"{split}-{part}", part, **facts[part]) for part in DTYPES})
                for split, facts in about["splits"].items()
            }
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ArithmeticError) as error:
            say(f"the cache folder {place} cannot be used ({error}); it will be rebuilt")
            shutil.rmtree(place, ignore_errors=True)
            return None

    def keep(
        self, needed: int, rows: Mapping[str, Iterable[Stored]], meta: Callable[[], dict[str, Any]]
    ) -> dict[str, Stored] | None:
        """Write the rows of each split piece by piece, and map them; None, which is reported, if there is no space.

        Args:
            needed: estimated size in bytes.
            rows: pieces of each split.
            meta: returns the metadata; called after the last piece is read.

        Raises:
            UserError: if the disk is full, or if the files cannot be read back.
        """
        folder = self.cache.prepared(needed)
        if folder is None:
            return None
        place = self.cache.path(folder, self.manner)
        aside = place.with_name(f"{place.name}.{os.getpid()}.part")
        try:
            aside.mkdir()
        except OSError as error:
            self.cache.give_up(error)
            return None
        try:
            splits = {split: _written(aside, split, pieces) for split, pieces in rows.items()}
            (aside / "table.json").write_text(json.dumps({"meta": meta(), "splits": splits}))
            with suppress(OSError):  # another process was faster; its files are the same
                aside.rename(place)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        kept = self.read()
        if kept is None:
            raise UserError(f"dataset.cache_dir: the table that was written to {place} cannot be read")
        return kept[1]


def _written(folder: Path, split: str, pieces: Iterable[Stored]) -> dict[str, dict[str, Any]]:
    """Write the rows of a split; the shape and checksum of each part."""
    facts: dict[str, dict[str, Any]] = {part: {"shape": [0, 0], "crc32": 0} for part in DTYPES}
    with open(folder / f"{split}-values", "xb") as values, open(folder / f"{split}-extras", "xb") as extras:
        for piece in pieces:
            for (part, array), file in zip(piece._asdict().items(), (values, extras), strict=True):
                raw = np.ascontiguousarray(array, DTYPES[part]).data.cast("B") if array.size else b""
                try:
                    file.write(raw)
                except OSError as error:
                    raise UserError(
                        f"the table cannot be kept in {folder.parent} ({error.strerror}); dataset.cache_dir=DIR sets"
                        " another place, dataset.cache=false keeps it in memory"
                    ) from error
                fact = facts[part]
                fact["crc32"] = zlib.crc32(raw, fact["crc32"])
                fact["shape"] = [fact["shape"][0] + len(array), array.shape[1]]
    return facts


def _mapped(path: Path, part: str, shape: list[int], crc32: int) -> np.ndarray:
    """The file mapped into memory, copied on write since torch needs that; raises ValueError if it is damaged."""
    dtype = DTYPES[part]
    if path.stat().st_size != shape[0] * shape[1] * dtype.itemsize:
        raise ValueError("its size is wrong")
    crc = 0
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            crc = zlib.crc32(block, crc)
    if crc != crc32:
        raise ValueError("its checksum is wrong")
    if not path.stat().st_size:
        return np.zeros((shape[0], shape[1]), dtype)
    mapped: np.ndarray = np.asarray(np.memmap(path, dtype, "c", shape=(shape[0], shape[1])))
    return mapped
