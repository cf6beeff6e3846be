"""JSON of files that may be damaged or come from somebody else, compared with the shape that it must have.

A shape is written with types: `str`, `bool`, `int` (0 or more), `float` (any number; NaN and infinities also as texts),
`object` (any plain value, not nested deeply) and None. `[S]` is a list of S, `{str: S}` an object with values S under
any keys, `(S, T)` either of both, and `{"a": S, "b?": T}` an object with a, perhaps b, and anything else.
"""

import json
import stat
from pathlib import Path
from typing import Any

from mixup_lab.types import UserError

LARGEST = 64 * 2**20  # bytes of a file; no file of a run or study comes near
DEEPEST = 32  # lists and objects within each other
BIGGEST = 1e100  # larger numbers are damage: their squares could not be computed with
NOT_FINITE = ("nan", "inf", "-inf")
WORDS = {str: "a text", bool: "true or false", int: "a whole number, 0 or more", float: "a number",
         object: "a plain value", None: "null"}  # fmt: skip


class Damaged(UserError):
    """A file of a run or a study that does not hold what was written to it."""


def read_json(path: Path, shape: Any) -> Any:
    """The content of a file; None if it does not exist.

    Raises:
        Damaged: if it cannot be read, is not JSON or has another shape.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
            raise Damaged(f"{path} is damaged: it is not a file of at most {LARGEST >> 20} MiB")
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path} is damaged: it is not JSON ({str(error).splitlines()[0]})") from error
    problem = misfit(value, shape)
    if problem is not None:
        raise Damaged(f"{path} is damaged: {problem}")
    return value


def misfit(value: Any, shape: Any, name: str = "") -> str | None:
    """What is wrong with a value, "scalars.loss must be a number"; None if it has the shape."""
    inner = f"{name}." if name else ""
    if isinstance(shape, tuple):
        problems = [misfit(value, one, name) for one in shape]
        return None if None in problems else problems[0]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{name or 'it'} must be a list"
        return next((p for k, item in enumerate(value) if (p := misfit(item, shape[0], f"{inner}{k}"))), None)
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{name or 'it'} must be an object"
        if str in shape:
            return next((p for key, item in value.items() if (p := misfit(item, shape[str], f"{inner}{key}"))), None)
        for key, one in shape.items():
            plain = key.removesuffix("?")
            if plain in value or plain == key:
                if plain not in value:
                    return f"{inner}{plain} is missing"
                if problem := misfit(value[plain], one, f"{inner}{plain}"):
                    return problem
        return None
    return None if _fits(value, shape) else f"{name or 'it'} must be {WORDS[shape]}"


def _fits(value: Any, kind: Any) -> bool:
    if kind is None:
        return value is None
    if kind is object:
        return _depth(value, DEEPEST)
    if kind is int:
        return type(value) is int and 0 <= value < 2**53
    if kind is float:
        if isinstance(value, str):
            return value in NOT_FINITE
        return type(value) in (int, float) and (value != value or abs(value) <= BIGGEST or abs(value) == float("inf"))
    return type(value) is kind


def _depth(value: Any, left: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return left > 0 and all(_depth(part, left - 1) for part in parts)
