"""Lines of commands that compose no configuration: places, and key=value."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from mixup_lab.config.nearest import unknown_key
from mixup_lab.runs.settings import MACHINE_KEYS
from mixup_lab.types import UserError


class Words(NamedTuple):
    """The words of a line."""

    places: list[Path]
    values: dict[str, str]  # of the command's own keys
    machine: list[str]  # settings of the machine, as words

    def flag(self, key: str) -> bool:
        """Whether a key is true; without it false. Raises UserError for another value."""
        value = self.values.get(key, "false")
        if value not in ("true", "false"):
            raise UserError(f"{key} must be true or false, got {value}")
        return value == "true"

    def out(self, default: str | None, endings: Sequence[str]) -> Path:
        """The file that `out` names.

        Raises:
            UserError: without a name, for another ending, and if it exists, unless `overwrite` is true.
        """
        name = self.values.get("out", default)
        if name is None or not name.endswith(tuple(endings)):
            given = "has no value" if name is None else f"{name} has another ending"
            raise UserError(f"out {given}; it must be a file {' or '.join(f'*{ending}' for ending in endings)}")
        path = Path(name).expanduser()
        if path.exists() and not self.flag("overwrite"):
            raise UserError(f"out={name} exists; choose another name, or add overwrite=true")
        return path


def words_of(words: Sequence[str], command: str, keys: Collection[str]) -> Words:
    """Sort the words of a line.

    Raises:
        UserError: for a flag, and for a key that is neither the command's own nor a setting of the machine.
    """
    found = Words([], {}, [])
    for word in words:
        key, equals, value = word.partition("=")
        if word.startswith("-"):
            raise UserError(f"{command} has no flag {word}; see mixup-lab {command} --help")
        if not equals or Path(word).exists():
            found.places.append(Path(word).expanduser())
        elif key in MACHINE_KEYS - {"resume"}:
            found.machine.append(word)
        elif key in keys:
            found.values[key] = value
        else:
            raise UserError(unknown_key(key, keys))
    return found
