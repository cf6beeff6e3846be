"""The configuration folder read as text: groups, options, keys, and the comments that explain them.

Help, completion and the hints of error messages need this in milliseconds, so nothing is composed and neither Hydra
nor OmegaConf is imported. `--cfg job` shows the real result of a line.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from mixup_lab.config.commands import COMMANDS, OWN

LENS = "lens"  # the group of `evaluate`, which looks at finished runs; all others are of runs


class Key(NamedTuple):
    """One key of a file: its full dotted name there, the value as it is written, and the comment on its line."""

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
    """The content of one yaml file."""

    about: str  # its first comment line
    header: tuple[str, ...]  # all comment lines at its top, as they are written, without the #
    package: str | None  # of `# @package`, if any
    defaults: tuple[Default, ...]
    keys: tuple[Key, ...]


@cache
def read(path: Path) -> ConfigFile:
    """Read one file; if it is not valid yaml, only the comments at its top, since Hydra reports the mistake."""
    text = path.read_text(encoding="utf-8")
    notes: list[str] = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        notes += [line.removeprefix("#").removeprefix(" ").rstrip()] * line.startswith("#")
    package = next((note.removeprefix("@package").strip() for note in notes if note.startswith("@package")), None)
    header = tuple(note for note in notes if not note.startswith("@package"))
    about = next((note.lstrip("# ") for note in header if note), "")
    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        root = None
    entries = root.value if isinstance(root, yaml.MappingNode) else []
    listed = next((value for key, value in entries if key.value == "defaults"), None)
    defaults = map(_default, listed.value) if isinstance(listed, yaml.SequenceNode) else ()
    keys = tuple(key for key in _keys(entries, "", text) if key.name.split(".")[0] not in ("defaults", "hydra"))
    return ConfigFile(about, header, package, tuple(defaults), keys)


def _default(node: yaml.Node) -> Default:
    name, option = node.value, None
    if isinstance(node, yaml.MappingNode) and node.value:
        name, option = (part.value for part in node.value[0])
    *words, name = str(name).split() or [""]
    name, _, place = name.partition("@")
    return Default(name, option, "override" in words, place == "_here_")


def _keys(entries: list[tuple[yaml.Node, yaml.Node]], prefix: str, text: str) -> Iterator[Key]:
    """The leaves below a mapping, except `_target_`."""
    for key, value in entries:
        name = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode) and value.value:
            yield from _keys(value.value, f"{name}.", text)
        elif key.value != "_target_":
            same_line = value.start_mark.line == key.start_mark.line
            rest = text[(value if same_line else key).end_mark.index :].partition("\n")[0]
            yield Key(name, _written(value, text), rest.partition("#")[2].strip())


def _written(node: yaml.Node, text: str) -> str:
    if isinstance(node, yaml.SequenceNode) and not node.flow_style:
        return f"[{', '.join(_written(element, text) for element in node.value)}]"
    return " ".join(text[node.start_mark.index : node.end_mark.index].split())


class Tree:
    """The options that one primary config offers, over one or more folders. The first folder takes precedence."""

    def __init__(self, folders: Sequence[Path], primary: str) -> None:
        self.folders = [folder for folder in folders if folder.is_dir()]
        self.primary = primary
        files = [file for file, _ in self._files(primary)]
        # group -> option without any override
        self.chosen = {d.name.lstrip("/"): d.option for file in files for d in file.defaults if d.option is not None}
        self.keys = self._keys(primary)  # those that do not depend on a choice

    def find(self, name: str) -> Path | None:
        """The file of a config name such as `aug/mixup`, as Hydra would choose it."""
        paths = (folder / f"{name.removesuffix('.yaml')}.yaml" for folder in self.folders)
        return next((path for path in paths if path.is_file()), None)

    def _files(
        self, name: str, package: str | None = None, above: tuple[str, ...] = ()
    ) -> Iterator[tuple[ConfigFile, str]]:
        """The files of a config name, each with the prefix of its keys; files that it builds on come first."""
        path = self.find(name)
        if path is None or name in above:
            return
        file, folder = read(path), name.rpartition("/")[0]
        package = package or file.package or folder.replace("/", ".")
        for default in file.defaults:
            if default.option is None and default.name != "_self_":
                base = default.name[1:] if default.name.startswith("/") else f"{folder}/{default.name}".lstrip("/")
                yield from self._files(base, package if default.here else None, (*above, name))
        yield file, f"{package}." if package and package != "_global_" else ""

    def _keys(self, name: str) -> list[Key]:
        keys: dict[str, Key] = {}
        for file, prefix in self._files(name):
            _merge(keys, (key._replace(name=prefix + key.name) for key in file.keys))
        return list(keys.values())

    def groups(self) -> list[str]:
        """Names of the groups: those of the defaults list in its order, then the others. Hydra's own are left out."""
        # Two levels, not all: a user's folder may hold other things than options, such as data.
        groups = {
            path.parent.relative_to(folder).as_posix()
            for folder in self.folders
            for pattern in ("*/*.yaml", "*/*/*.yaml")
            for path in folder.glob(pattern)
        }
        listed = [name for name in self.chosen if name in groups]
        return listed + sorted(name for name in groups - set(listed) if name.split("/")[0] != "hydra")

    def options(self, group: str) -> dict[str, str]:
        """Options of a group, each with its description."""
        names = {path.stem for folder in self.folders for path in (folder / group).glob("*.yaml")}
        return {name: read(path).about for name in sorted(names) if (path := self.find(f"{group}/{name}"))}

    def option_keys(self, group: str, option: str) -> list[Key]:
        """Full names of the keys of an option, with those of the files that it builds on.

        A line may use several lenses, so their keys have the name of the option in front: `lens.calibration.bins`.
        """
        keys = self._keys(f"{group}/{option}")
        if group != LENS:
            return keys
        return [key._replace(name=key.name.replace(f"{LENS}.", f"{LENS}.{option}.", 1)) for key in keys]

    def choices(self, overrides: Sequence[str]) -> dict[str, str]:
        """The options in force on a line: its words `group=option`, then the options that these set, then defaults."""
        groups = set(self.groups())
        words = (word.lstrip("+").partition("=") for word in overrides)
        typed = {group: option.split(",")[-1].strip("'\" ") for group, equals, option in words if equals}
        chosen = {group: option for group, option in typed.items() if group in groups}
        for group, option in tuple(chosen.items()):
            path = self.find(f"{group}/{option}")
            for default in read(path).defaults if path else ():
                if default.override and default.option is not None:
                    chosen.setdefault(default.name.lstrip("/"), default.option)
        return {**self.chosen, **chosen}

    def known(self, overrides: Sequence[str]) -> list[Key]:
        """Every key that can be set on this line."""
        keys = {key.name: key for key in self.keys}
        for group, option in self.choices(overrides).items():
            _merge(keys, self.option_keys(group, option))
        return list(keys.values())


def groups_of(command: str, tree: Tree) -> list[str]:
    """The groups that a line of this command chooses from: those of a run, lenses, or none."""
    if LENS in OWN.get(command, {}):
        return [LENS]
    if COMMANDS[command].job is None:
        return []
    return [group for group in tree.groups() if group != LENS]


def lens_keys(tree: Tree) -> list[Key]:
    """The settings of every lens."""
    return [key for name in tree.options(LENS) for key in tree.option_keys(LENS, name)]


def own_keys(command: str, tree: Tree) -> list[Key]:
    """The keys of a command that do not go to Hydra, with those of the lenses if it uses these."""
    own = OWN.get(command, {})
    pattern = f"{LENS}.NAME.KEY"
    keys = [Key(name, "", about) for name, about in own.items() if name != pattern]
    return [*keys, *(lens_keys(tree) if pattern in own else ())]


def _merge(keys: dict[str, Key], more: Iterable[Key]) -> None:
    """Add keys; one without a comment keeps the comment of the key that it replaces."""
    for key in more:
        before = keys.get(key.name)
        keys[key.name] = key if key.comment or before is None else key._replace(comment=before.comment)
