"""Checks of keys of `conf/dataset` that several sources share, and the hint for errors that can be skipped."""

import os
from collections.abc import Collection, Sequence

from mixup_lab.types import UserError

SPLITS = ("train", "val", "test")
ON_ERROR = ("raise", "skip")
SKIP_HINT = "; dataset.on_error=skip leaves it out"


def check_choice(key: str, value: object, allowed: Collection[str]) -> None:
    """Raise UserError unless the value is one of those allowed."""
    check(value in allowed, key, value, f"one of {', '.join(allowed)}")


def check(ok: bool, key: str, value: object, allowed: str) -> None:
    """Raise UserError unless `ok`; `allowed` completes "must be"."""
    if not ok:
        raise UserError(f"dataset.{key}={value} must be {allowed}")


def path_given(key: str, value: object, hint: str) -> str:
    """The user's path with `~` expanded. Raises UserError if there is none; `hint` completes "set dataset.KEY="."""
    if value in (None, "", "???"):
        raise UserError(f"dataset.{key} has no value; set dataset.{key}={hint}")
    return os.path.expanduser(str(value))


def few(names: Sequence[str], most: int = 8, end: str = ", ...") -> str:
    """The first names, joined by commas, and `end` if there are more."""
    return ", ".join(names[:most]) + (end if len(names) > most else "")
