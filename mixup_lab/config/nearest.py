"""Did you mean ...? The known name that is most similar to an unknown one, and the sentence about it."""

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The most similar of `names`, or None if none is similar."""
    by_lower = {candidate.lower(): candidate for candidate in sorted(names, reverse=True)}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def nearest_key(key: str, keys: Iterable[str]) -> str | None:
    """The most similar dotted key, compared part by part: `trainer.epochs` for `trianer.epochs`."""
    keys = list(keys)
    parts: list[str] = []
    for part in key.split("."):
        prefix = ".".join([*parts, ""]) if parts else ""
        children = {name.removeprefix(prefix).split(".")[0] for name in keys if name.startswith(prefix)}
        match = part if part in children else nearest(part, children)
        if match is None:
            return _by_last_part(key, keys)
        parts.append(match)
    return ".".join(parts)


def _by_last_part(key: str, keys: list[str]) -> str | None:
    """`trainer.epochs` for `epochs` or `model.epochs`."""
    last = key.split(".")[-1]
    ends = {name.split(".")[-1]: name for name in reversed(keys)}
    match = last if last in ends else nearest(last, ends)
    return ends[match] if match else None


def hint(name: str, names: Iterable[str], listed: Iterable[str] | None = None) -> str:
    """The end of an error about an unknown name: the nearest of `names`, or a list (`names` by default)."""
    names = list(names)
    close = nearest_key(name, names)
    options = ", ".join(names if listed is None else listed)
    return f"; did you mean '{close}'?" if close else f"; choose one of: {options}"


def unknown_key(key: str, keys: Iterable[str], listed: Iterable[str] | None = None) -> str:
    """The whole error about an unknown key."""
    return f"unknown key '{key}'{hint(key, keys, listed)}"
