"""Files that are either complete or absent (written aside, then renamed), and locks between processes."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from mixup_lab.types import UserError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a UserError that names `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def write_atomically(path: Path, content: str | bytes | Callable[[IO[bytes]], object]) -> None:
    """Write a new file, and put it in the place of `path` only when all of it is on the disk.

    Args:
        path: the file; its folder must exist.
        content: of the file, or a function that writes it to an open file.

    Raises:
        UserError: if the disk is full or `path` cannot be written; the old file is unchanged.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with writing(path):
            try:
                with aside.open("wb") as file:
                    if callable(content):
                        content(file)
                    else:
                        file.write(content.encode() if isinstance(content, str) else content)
                    file.flush()
                    os.fsync(file.fileno())
                aside.replace(path)
            except RuntimeError as error:  # torch.save reports a failed write like this, but the GPU's errors too
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from error
                if not any(words in str(error) for words in ("writ", "unexpected pos")):
                    raise
                raise OSError(str(error)) from error
    except BaseException:
        with suppress(OSError):  # on a file system that can only be read it was not made
            aside.unlink(missing_ok=True)
        raise


def clear_leftovers(folder: Path, *, alone: bool = False) -> None:
    """Remove the half-written files of killed processes from a folder.

    Args:
        folder: those in it, but not in the folders below.
        alone: no other process writes to it, on no machine; without it a file stays if its process is alive here.
    """
    for path in folder.glob("*.part"):
        number = path.suffixes[-2:-1]
        if alone or (number and not _alive(number[0].removeprefix("."))):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _alive(number: str) -> bool:
    """Whether a process with this number may be alive; also where that is not known."""
    if os.name != "posix" or not number.isdecimal():
        return True
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True


def set_aside(path: Path) -> Path:
    """Give a damaged file another name, so that it is not written over; returns it."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    with writing(aside):
        path.rename(aside)
    return aside


def try_lock(file: IO[Any], *, wait: bool = False) -> bool:
    """Lock an open file until it is closed or the process ends.

    Args:
        file: any open file; every process must lock the same one.
        wait: wait while another process holds the lock, instead of returning False.

    Returns:
        False if another process holds the lock. True also where the system has no such locks (Windows, some network
        file systems).
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time enter; the others wait. The lock file `path` and its folder are made if missing.

    Raises:
        UserError: if the lock file cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    with file:
        try_lock(file, wait=True)
        yield
