"""The configuration folder read as text: groups, options, keys, and the comments that explain them.

Help, completion and the hints of error messages need this in milliseconds, so nothing is composed and neither Hydra
nor OmegaConf is imported. What Hydra would really make of a line is shown by `--cfg job`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

# Quoted text first, so that a `#` inside quotes is no comment.
_VALUE = re.compile(r"""^((?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|(?<!\s)\#|[^#"'])*)(?:\#\s?(.*))?$""")
_LINE = re.compile(r"^(\s*)([\w./@-]+)\s*:(?:\s+(.*))?$")
_DEFAULT = re.compile(r"^-\s*(override\s+)?(optional\s+)?([\w/.-]+)(@[\w.]+)?\s*(?::\s*([^#\s]+))?\s*(?:#.*)?$")


class Key(NamedTuple):
    """One key of a file: its full dotted name there, the value as it is written, and the comment beside it."""

    name: str
    value: str
    comment: str


class Default(NamedTuple):
    """One entry of a defaults list: `group: option`, or a file (`option` is None)."""

    name: str
    option: str | None
    override: bool
    here: bool  # put where the file itself is (`@_here_`)


class ConfigFile(NamedTuple):
    """What one yaml file says."""

    about: str  # its first comment line
    package: str | None  # of `# @package`, if any
    defaults: tuple[Default, ...]
    keys: tuple[Key, ...]


@cache
def read(path: Path) -> ConfigFile:
    """Read one file. Lines that are not understood are left out: this is help, not the parser that decides."""
    about, package = "", None
    defaults: list[Default] = []
    keys: list[Key] = []
    parents: list[tuple[int, str]] = []  # indentation and name of the mappings that are open
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("#"):
            note = text.lstrip("#").strip()
            if note.startswith("@package"):
                package = note.removeprefix("@package").strip()
            elif not keys and not defaults:
                about = about or note
            continue
        if text.startswith("- "):
            _item(text, parents, defaults, keys)
            continue
        match = _LINE.match(line)
        if match is None:
            continue
        indent, name, rest = len(match[1]), match[2], match[3] or ""
        while parents and parents[-1][0] >= indent:
            parents.pop()
        parents.append((indent, name))
        value, comment = _split(rest)
        keys.append(Key(".".join(part for _, part in parents), value, comment))
    return ConfigFile(about, package, tuple(defaults), tuple(_leaves(keys)))


def _split(rest: str) -> tuple[str, str]:
    match = _VALUE.match(rest)
    return (match[1].strip(), (match[2] or "").strip()) if match else (rest.strip(), "")


def _item(text: str, parents: list[tuple[int, str]], defaults: list[Default], keys: list[Key]) -> None:
    """A line of a list: an entry of the defaults list, or an element of the last key's value."""
    if parents and parents[-1][1] == "defaults":
        match = _DEFAULT.match(text)
        if match:
            defaults.append(Default(match[3], match[5], bool(match[1]), match[4] == "@_here_"))
    elif keys:
        last, element = keys[-1], _split(text[2:])[0]
        inner = f"{last.value[1:-1]}, {element}" if last.value.startswith("[") else element
        keys[-1] = last._replace(value=f"[{inner}]")


def _leaves(keys: list[Key]) -> Iterator[Key]:
    names = {key.name for key in keys}
    inner = {name.rpartition(".")[0] for name in names}
    for key in keys:
        if key.name not in inner and key.name.split(".")[0] not in ("defaults", "hydra") and "_target_" not in key.name:
            yield key


class Tree:
    """The options that one primary config offers, over one or more folders. The first folder has the last word."""

    def __init__(self, folders: Sequence[Path], primary: str) -> None:
        self.folders = [folder for folder in folders if folder.is_dir()]
        self.primary = primary
        self.chosen: dict[str, str] = {}  # group -> option that stands without any override
        self.keys: list[Key] = []  # keys that are there whatever is chosen
        self._enter(primary, set())

    def _enter(self, name: str, seen: set[str]) -> None:
        path = self.find(name)
        if path is None or name in seen:
            return
        seen.add(name)
        file = read(path)
        for default in file.defaults:
            if default.option is None:
                self._enter(default.name.lstrip("/"), seen)
            else:
                self.chosen[default.name.lstrip("/")] = default.option
        prefix = f"{file.package}." if file.package and file.package != "_global_" else ""
        self.keys += [key._replace(name=prefix + key.name) for key in file.keys]

    def find(self, name: str) -> Path | None:
        """The file of a config name such as `aug/mixup`, as Hydra would choose it."""
        paths = (folder / f"{name.removesuffix('.yaml')}.yaml" for folder in self.folders)
        return next((path for path in paths if path.is_file()), None)

    def groups(self) -> list[str]:
        """Names of the groups: those of the defaults list in its order, then the others. Hydra's own are left out."""
        # Two levels, not all: a user's folder may hold anything beside the options, data too.
        found = {
            path.parent.relative_to(folder).as_posix()
            for folder in self.folders
            for pattern in ("*/*.yaml", "*/*/*.yaml")
            for path in folder.glob(pattern)
        }
        listed = [name for name in self.chosen if name in found]
        return listed + sorted(name for name in found - set(listed) if name.split("/")[0] != "hydra")

    def options(self, group: str) -> dict[str, str]:
        """Options of a group with a line each."""
        names = {path.stem for folder in self.folders for path in (folder / group).glob("*.yaml")}
        return {name: read(path).about for name in sorted(names) if (path := self.find(f"{group}/{name}"))}

    def option_keys(self, group: str, option: str) -> list[Key]:
        """Full names of the keys that an option brings, with those of the files that it builds on."""
        return list(self._option_keys(group, option, set()).values())

    def _option_keys(self, group: str, option: str, seen: set[str]) -> dict[str, Key]:
        path = self.find(f"{group}/{option}")
        if path is None or option in seen:
            return {}
        seen.add(option)
        file = read(path)
        keys: dict[str, Key] = {}
        for default in file.defaults:
            if default.option is None and not default.name.startswith("/") and default.name != "_self_":
                keys |= self._option_keys(group, default.name, seen)
        package = group.replace("/", ".") if file.package is None else file.package
        prefix = "" if package == "_global_" else f"{package}."
        for default in file.defaults:  # `/file@_here_`: keys that several options share
            shared = self.find(default.name[1:]) if default.here and default.name.startswith("/") else None
            keys |= (
                {prefix + key.name: key._replace(name=prefix + key.name) for key in read(shared).keys} if shared else {}
            )
        for key in file.keys:
            known = keys.get(prefix + key.name)
            comment = key.comment or (known.comment if known else "")
            keys[prefix + key.name] = Key(prefix + key.name, key.value, comment)
        return keys

    def choices(self, overrides: Sequence[str]) -> dict[str, str]:
        """The options in force on a line: the words `group=option`, then what these override, then the defaults."""
        groups = set(self.groups())
        words = (word.lstrip("+").partition("=") for word in overrides)
        given = {group: option.split(",")[-1].strip("'\" ") for group, equals, option in words if equals}
        chosen = {group: option for group, option in given.items() if group in groups}
        for group, option in tuple(chosen.items()):
            path = self.find(f"{group}/{option}")
            for default in read(path).defaults if path else ():
                if default.override and default.option is not None:
                    chosen.setdefault(default.name.lstrip("/"), default.option)
        return {**self.chosen, **chosen}

    def known(self, overrides: Sequence[str]) -> list[Key]:
        """Every key that can be given on this line."""
        keys = {key.name: key for key in self.keys}
        for group, option in self.choices(overrides).items():
            if self.find(f"{group}/{option}"):
                for key in self.option_keys(group, option):
                    known = keys.get(key.name)
                    keys[key.name] = key if key.comment or known is None else key._replace(comment=known.comment)
        return list(keys.values())
