"""Arrays on disk that must not be wrong: what was decoded once is read back, checked, at the next start.

A file is one line of JSON (shape, dtype, checksum of each block) and then the raw values. It is written aside and
renamed, so that two processes may write the same one. Reading and checking run block by block in threads.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from mixup_lab.notices import say

VERSION = 1
BLOCK = 4 << 20
THREADS = 4
ABANDONED = 3600  # seconds after which an unfinished file of another process is nobody's


class Damaged(Exception):
    """A file of the cache does not hold what was written."""


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/mixup-lab`, or `~/.cache/mixup-lab`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mixup-lab"


@dataclass
class Cache:
    """Arrays that belong to one folder or file of data in one state.

    `digest` stands for that state; files of another state of the same folder are deleted when new ones are written.
    """

    folder: Path
    digest: str
    usable: bool = True  # until writing fails: then it is said once and not tried again

    @classmethod
    def of(cls, root: str, digest: str, folder: Path) -> Cache:
        """The cache of the data in `root` below `folder`."""
        path = os.path.realpath(root)
        own = f"{os.path.basename(path)}-{blake2b(os.fsencode(path), digest_size=6).hexdigest()}"
        return cls(folder / own, digest)

    def read(self, what: str) -> np.ndarray | None:
        """The array that was written under this name; None if there is none. A damaged one is reported, then None."""
        path = self._path(what)
        try:
            return _read(path)
        except FileNotFoundError:
            return None
        except (Damaged, OSError) as error:
            say(f"the cache file {path} cannot be used ({error}); it is made again")
            return None

    def write(self, what: str, array: np.ndarray) -> None:
        """Keep an array. If that is not possible one line says so, and the program goes on without."""
        if not self.usable:
            return
        path = self._path(what)
        aside = path.with_name(f"{path.name}.{os.getpid()}-{time.monotonic_ns()}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
            if array.nbytes > free / 2:
                raise OSError(f"{array.nbytes / 2**30:.1f} GiB would take more than half of the free space")
            self._sweep()
            try:
                _write(aside, array)
                os.replace(aside, path)
            finally:
                aside.unlink(missing_ok=True)
        except OSError as error:
            self.usable = False
            say(f"what was decoded is not kept in {self.folder} ({error}); dataset.cache_dir=DIR names another place")

    def _path(self, what: str) -> Path:
        return self.folder / f"{self.digest}-{what}"

    def _sweep(self) -> None:
        """Delete what no process will want: other states of the folder, and unfinished files."""
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # another process renamed or deleted it
                if path.suffix == ".tmp":
                    stale = time.time() - path.stat().st_mtime > ABANDONED
                else:
                    stale = not path.name.startswith(self.digest)
                if stale:
                    path.unlink()


def _write(path: Path, array: np.ndarray) -> None:
    raw = memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    sums = [zlib.crc32(raw[i : i + BLOCK]) for i in range(0, len(raw), BLOCK)]
    header = {"version": VERSION, "dtype": array.dtype.str, "shape": array.shape, "block": BLOCK, "crc32": sums}
    with open(path, "xb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        file.write(raw)


def _read(path: Path) -> np.ndarray:
    with open(path, "rb") as file:
        try:
            header = json.loads(file.readline())
            array = np.empty(header["shape"], dtype=header["dtype"])
            block, sums = header["block"], header["crc32"]
        except (ValueError, KeyError, TypeError, MemoryError) as error:
            raise Damaged("its header is not readable") from error
        start, size = file.tell(), array.nbytes
        if os.fstat(file.fileno()).st_size != start + size or len(sums) != -(-size // block):
            raise Damaged("its size is wrong")
        raw = memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]

        def sound(number: int) -> bool:
            part = raw[number * block : (number + 1) * block]
            with open(path, "rb", buffering=0) as own:
                own.seek(start + number * block)
                return own.readinto(part) == len(part) and zlib.crc32(part) == sums[number]

        with ThreadPoolExecutor(THREADS) as pool:
            if not all(pool.map(sound, range(len(sums)))):
                raise Damaged("its checksum is wrong")
    return array
