"""Types of values: whether a value fits the annotation of its key, and what is allowed in words."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a string", NoneType: "null"}
_PLURAL = {int: "whole numbers", float: "numbers", bool: "truth values", str: "names"}


def hints_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """The annotated parameters of a class or function; none where an annotation cannot be resolved."""
    try:
        if dataclasses.is_dataclass(factory):
            return get_type_hints(factory)
        return get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    except (NameError, TypeError, AttributeError):
        return {}


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is of an annotated type. Annotations other than of numbers, texts and lists allow any.

    A text may be typed as a number, such as the name of a folder.
    """
    if _is_union(hint):
        return any(fits(value, part) for part in get_args(hint))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is str:
        return value is not None and not isinstance(value, (list, dict))
    if hint in (bool, NoneType):
        return isinstance(value, hint)
    if _is_list(hint):
        element = next(iter(get_args(hint)), Any)
        return isinstance(value, (list, tuple)) and all(fits(item, element) for item in value)
    return True


def allowed(hint: Any) -> str:
    """An annotated type in words: `null or a number`."""
    if _is_union(hint):
        return " or ".join(dict.fromkeys(allowed(part) for part in get_args(hint)[::-1]))
    if _is_list(hint):
        return f"a list of {_PLURAL.get(next(iter(get_args(hint)), Any), 'values')}"
    return _WORDS.get(hint, str(hint))


def several(key: str, value: Any) -> str:
    """The end of an error about numbers that were meant as values to try one after the other; empty for others."""
    parts = re.split(r"[\s;]+", value.strip()) if isinstance(value, str) else value
    if not isinstance(parts, list) or len(parts) < 2 or not all(map(_is_number, parts)):
        return ""
    return f"; several values to compare are written {key}={','.join(map(str, parts))}"


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _is_union(hint: Any) -> bool:
    return isinstance(hint, UnionType) or get_origin(hint) is Union


def _is_list(hint: Any) -> bool:
    return get_origin(hint) in (list, Sequence)
