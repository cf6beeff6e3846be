"""Decoded data kept on disk for the next start, which verifies their checksums.

A file is one line of JSON (shape, dtype, checksum of each block) and then the raw values. It is written under another
name and renamed, so two processes may write the same file. Threads read and check it block by block.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO

import numpy as np

from mixup_lab.disk import write_atomically
from mixup_lab.notices import say
from mixup_lab.types import UserError

VERSION = 1
BLOCK = 4 << 20
THREADS = 4
LONGEST = 16 << 20  # bytes of the first line
ABANDONED = 3600  # seconds after which an unfinished file of another process can be deleted


class Damaged(Exception):
    """A cache file differs from what was written to it."""


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/mixup-lab`, or `~/.cache/mixup-lab`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mixup-lab"


@dataclass
class Cache:
    """Arrays that belong to one folder or file of data in one state.

    `digest` identifies that state; writing deletes the files of other states. Without a folder nothing is kept.
    """

    folder: Path | None
    digest: str
    writable: bool = True  # until writing fails, which is reported once

    @classmethod
    def of(cls, root: str, digest: str, folder: Path | None) -> Cache:
        """The cache of the data in `root`: a folder of its own below `folder`."""
        path = os.path.realpath(root)
        own = f"{os.path.basename(path)}-{blake2b(os.fsencode(path), digest_size=6).hexdigest()}"
        return cls(folder / own if folder else None, digest)

    def get(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array kept under this name; if there is none, it is made and kept."""
        array = self.read(name)
        if array is None:
            array = make()
            self.write(name, array)
        return array

    def read(self, name: str) -> np.ndarray | None:
        """The array kept under this name; None if there is none, or if it is damaged, which is reported."""
        if self.folder is None:
            return None
        path = self.path(self.folder, name)
        try:
            return _read(path)
        except FileNotFoundError:
            return None
        except (Damaged, OSError) as error:
            say(f"the cache file {path} cannot be used ({error}); it will be rebuilt")
            return None

    def write(self, name: str, array: np.ndarray) -> None:
        """Keep an array. A failure is reported once, and the program goes on."""
        folder = self.prepared(array.nbytes)
        if folder is not None:
            try:
                write_atomically(self.path(folder, name), lambda file: _write(file, array))
            except UserError as error:
                self.give_up(error)

    def prepared(self, needed: int) -> Path | None:
        """The folder, cleaned up, with space for `needed` bytes; None, which is reported, if nothing can be kept."""
        if self.folder is None or not self.writable:
            return None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep(self.folder)
            if needed > shutil.disk_usage(self.folder).free / 2:
                raise OSError(f"{needed / 2**30:.1f} GiB would take more than half of the free space")
        except OSError as error:
            self.give_up(error)
            return None
        return self.folder

    def path(self, folder: Path, name: str) -> Path:
        """Where an array is kept."""
        return folder / f"{self.digest}-{name}"

    def give_up(self, error: Exception) -> None:
        """Stop writing, and report the reason."""
        self.writable = False
        say(f"decoded data are not kept in {self.folder} ({error}); dataset.cache_dir=DIR sets another place")

    def _sweep(self, folder: Path) -> None:
        """Delete files of other states of the data, and unfinished files of killed processes."""
        for path in folder.iterdir():
            with suppress(FileNotFoundError):  # another process renamed or deleted it
                if path.suffix == ".part":
                    stale = time.time() - path.stat().st_mtime > ABANDONED
                else:
                    stale = not path.name.startswith(self.digest)
                if stale and path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif stale:
                    path.unlink()


def _write(file: IO[bytes], array: np.ndarray) -> None:
    raw = memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    sums = [zlib.crc32(raw[i : i + BLOCK]) for i in range(0, len(raw), BLOCK)]
    header = {"version": VERSION, "dtype": array.dtype.str, "shape": array.shape, "block": BLOCK, "crc32": sums}
    file.write(json.dumps(header).encode() + b"\n")
    file.write(raw)


def _read(path: Path) -> np.ndarray:
    with open(path, "rb") as file:
        try:
            header = json.loads(file.readline(LONGEST))
            shape, dtype, block, sums = (
                tuple(header["shape"]),
                np.dtype(header["dtype"]),
                header["block"],
                header["crc32"],
            )
            start, size = file.tell(), math.prod(shape) * dtype.itemsize
            right = os.fstat(file.fileno()).st_size == start + size and len(sums) == -(-size // block)
            if dtype.hasobject or not all(type(length) is int and length >= 0 for length in (*shape, block)):
                raise ValueError("not plain values")
        except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
            raise Damaged("its header is not readable") from error
        if not right:
            raise Damaged("its size is wrong")
        array = np.empty(shape, dtype)  # only now: the sizes agree
        raw = memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]

        def intact(number: int) -> bool:
            part = raw[number * block : (number + 1) * block]
            with open(path, "rb", buffering=0) as own:
                own.seek(start + number * block)
                return own.readinto(part) == len(part) and zlib.crc32(part) == sums[number]

        with ThreadPoolExecutor(THREADS) as pool:
            if not all(pool.map(intact, range(len(sums)))):
                raise Damaged("its checksum is wrong")
    return array
