"""Fonts for any script: matplotlib's DejaVu, and where it lacks a sign an installed font that has it."""

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

LATIN = 0x250  # signs below are in DejaVu


@cache
def dejavu() -> Path:
    """The file of DejaVu Sans that comes with matplotlib, which is not imported for it."""
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"


def font_for(text: str) -> Path:
    """A font with all signs of a text, or with as many of them as possible."""
    signs = {ord(sign) for sign in text if not sign.isspace()}
    if max(signs, default=0) < LATIN:
        return dejavu()
    return max([dejavu(), *_installed()], key=lambda path: len(signs & _signs(path)))  # of equals the first


def families_for(texts: Iterable[str]) -> list[str]:
    """Names of the fonts that `font_for` chooses for some texts, for matplotlib."""
    paths = dict.fromkeys([dejavu(), *(font_for(text) for text in texts)])
    if len(paths) == 1:
        return ["DejaVu Sans"]
    from matplotlib.font_manager import fontManager

    names = {Path(entry.fname): entry.name for entry in fontManager.ttflist}
    return list(dict.fromkeys(names.get(path, "DejaVu Sans") for path in paths))


@cache
def _installed() -> tuple[Path, ...]:
    """Upright fonts of normal weight, those of the system before those of matplotlib.

    One of these has a frame with the name of its script for every sign there is; it is left out.
    """
    from matplotlib.font_manager import fontManager  # imported late: it takes a moment and only rare texts need it

    plain = [
        entry
        for entry in fontManager.ttflist
        if entry.style == "normal" and entry.weight in (400, "normal") and "Last Resort" not in entry.name
    ]
    ours = dejavu().parent
    return tuple(sorted({Path(entry.fname) for entry in plain}, key=lambda path: (path.parent == ours, path)))


@cache
def _signs(path: Path) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(path)).get_charmap())
