"""Files that are whole or not there: written aside, flushed, then renamed over the old one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from mixup_lab.types import UserError


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a new file that takes the place of `path` only when all of it is on the disk.

    Raises:
        UserError: if the disk is full or the place cannot be written to; the old file is as it was.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except (OSError, RuntimeError) as error:  # torch.save reports a failing file as RuntimeError
        aside.unlink(missing_ok=True)
        reason = error if isinstance(error, OSError) else error.__context__ or error
        raise UserError(f"cannot write {path}: {getattr(reason, 'strerror', None) or reason}") from error
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def clear_leftovers(folder: Path) -> None:
    """Remove what processes that were killed while they wrote have left in a folder that nobody else writes to."""
    for path in folder.glob("*.part"):
        path.unlink(missing_ok=True)


def try_lock(file: IO[Any]) -> bool:
    """Lock an open file until it is closed, or the process ends in whatever way; False if another process has it.

    True where the system has no such locks.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
