"""Checks of keys of `conf/dataset` that several sources share, and the hint for errors that can be skipped."""

import os
import re
from collections.abc import Callable, Collection, Sequence

from mixup_lab.types import UserError

SPLITS = ("train", "val", "test")
# The usual names of splits, in lower case: of folders, in lists and tables, and in the names of metrics.
SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "eval": "val", "test": "test", "testing": "test",
}  # fmt: skip
ON_ERROR = ("raise", "skip")
DECIMALS = ("auto", ".", ",")
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


def matching(key: str, named: Sequence[str], columns: Sequence[str], taken: Collection[str] = ()) -> tuple[str, ...]:
    """Names of columns, in which * stands for any characters: all columns that match, in the order of the table.

    Args:
        key: of `conf/dataset`, for messages.
        named: by the user.
        columns: of the table.
        taken: columns that * does not match, since they are named elsewhere.

    Raises:
        UserError: for a name with * that matches none.
    """
    found: list[str] = []
    for name in named:
        if "*" not in name or name in columns:
            found.append(name)
            continue
        pattern = re.compile(".*".join(map(re.escape, name.split("*"))), re.DOTALL)
        own = [column for column in columns if pattern.fullmatch(column) and column not in taken]
        if not own:
            raise UserError(f"dataset.{key}={name} matches no column; they are {few(columns, 12)}")
        found += [column for column in own if column not in found]
    return tuple(found)


def text_finder(key: str, pattern: str) -> Callable[[str], str]:
    """A function from a path to the part of it that the one group of a regular expression matches.

    Raises:
        UserError: for another expression, and later for a path that it does not match.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"dataset.{key}={pattern} is not a regular expression: {error}") from error
    if compiled.groups != 1:
        raise UserError(f"dataset.{key}={pattern} must have one group in parentheses, it has {compiled.groups}")

    def text_in(name: str) -> str:
        match = compiled.search(name)
        if not match or not match[1]:
            raise UserError(f"dataset.{key}={pattern} does not match the path {name}")
        return match[1]

    return text_in
