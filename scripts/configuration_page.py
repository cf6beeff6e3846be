#!/usr/bin/env python3
"""Write docs/reference/configuration.md from the comments of conf/: python scripts/configuration_page.py

tests/test_docs.py fails while the page differs from conf/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path

from mixup_lab.config.commands import FLAGS, OWN, Flag
from mixup_lab.config.tree import Key, Tree, read

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
PAGE = ROOT / "docs" / "reference" / "configuration.md"
BUNDLES = ("experiment", "variant")  # groups whose options set keys of other groups

INTRODUCTION = """\
<!-- Written by scripts/configuration_page.py from the comments of conf/; change those. -->

# Configuration

A command line has two kinds of arguments: `group=option` chooses a file of `conf/GROUP/`, `key=value` sets one value.

```sh
mixup-lab train dataset=fake model=small_cnn trainer.epochs=5 seed=1
mixup-lab train dataset=fake model=small_cnn --cfg job   # print the whole configuration, run nothing
mixup-lab train aug=mixup --help                         # groups, options, and the keys of this option
```

With `-m`, and always in `compare`, a key with several values makes several runs: `aug.alpha=0,0.4 'seed=range(5)'`. An
unknown key or a wrong type is an error, and the message suggests the nearest key. Brackets need quotes in a shell:
`'model.hidden=[64,64]'`. `--config-dir DIR` adds the options of your own folder.

The keys that matter most: `seed`, `aug.alpha`, `dataset.root`, `dataset.train_size` (a number, or a share such as
`0.1`), `optimizer.lr`, `trainer.epochs`, `trainer.batch_size`, `trainer.device`, `trainer.precision`.

Completion in your shell: `eval "$(mixup-lab -sc install=bash)"` for bash, likewise for zsh;
`mixup-lab -sc install=fish | source` for fish.
"""
NOTES = {
    "experiment": "Presets: data, model and training that belong together, with the numbers to expect. They are chosen"
    " with `experiment=NAME`; arguments on the command line win over a preset.",
    "variant": "Bundles of settings under one name, so that a study can have them as one axis.",
    "lens": "[Lenses](../guide/lenses.md) look at finished runs, for `mixup-lab evaluate` and `compare lenses=[...]`.",
    "aug": "[Methods](../guide/methods.md) explains what they do.",
    "dataset": "[Your data](../guide/your-data.md) explains the formats.",
}


def page() -> str:
    """The whole page."""
    train = Tree([CONF], "train")
    return "\n".join([INTRODUCTION, *_top(train), *(line for group in train.groups() for line in _group(train, group))])


def _top(tree: Tree) -> Iterator[str]:
    yield "## Keys of every run\n"
    yield from _keys(key for key in tree.keys if "." not in key.name)
    yield "`mixup-lab preview` has one more: `out`, the file of the sheet.\n"
    for command, own in OWN.items():
        yield f"## Keys of {command}\n"
        yield from _table(("key", "meaning"), ((f"`{key}`", note) for key, note in own.items()))
    yield "## Flags\n"
    yield from _table(("flag", "meaning"), ((f"`{_words(flag)}`", flag.about) for flag in FLAGS))


def _words(flag: Flag) -> str:
    return " ".join(filter(None, (", ".join(flag.names), flag.value)))


def _group(tree: Tree, group: str) -> Iterator[str]:
    options = tree.options(group)
    yield f"## Group {group}\n"
    if group in NOTES:
        yield f"{NOTES[group]}\n"
    default = tree.chosen.get(group)
    rows = [(f"`{name}`" + (" (default)" if name == default else ""), about) for name, about in options.items()]
    if len(rows) > 1:
        yield from _table(("option", "meaning"), rows)
    if group in BUNDLES:
        for name in options:
            yield from _preset(CONF / group / f"{name}.yaml")
        return
    shared = _shared(tree, group, options)
    if shared:
        yield f"**Keys of {'every' if len(shared[1]) == len(options) else 'most'} {group}**\n"
        yield from _keys(shared[0])
    common = {key.name: key.value for key in shared[0]} if shared else {}
    for name in options:
        own = [key for key in tree.option_keys(group, name) if common.get(key.name) != key.value]
        if own:
            yield f"### {group}={name}\n"
            yield f"{options[name]}\n"
            yield from _keys(own)


def _shared(tree: Tree, group: str, options: Iterable[str]) -> tuple[list[Key], list[str]] | None:
    """The keys of conf/GROUP_defaults.yaml, and the options that have them; an option may change their values."""
    file = CONF / f"{group}_defaults.yaml"
    if not file.is_file():
        return None
    keys = [key._replace(name=f"{group}.{key.name}") for key in read(file).keys]
    names = {key.name for key in keys}
    having = [name for name in options if names <= {key.name for key in tree.option_keys(group, name)}]
    everywhere = names <= {key.name for key in tree.keys}
    return keys, list(options) if everywhere else having


def _preset(path: Path) -> Iterator[str]:
    """The comment at the head of a preset: its command and the numbers to expect."""
    _, *lines = path.read_text(encoding="utf-8").splitlines()
    head = [line[1:].removeprefix(" ") for line in takewhile(lambda line: line.startswith("#"), lines)]
    if len(head) > 1:
        yield f"### {path.parent.name}={path.stem}\n"
        yield "\n".join(["```text", *head, "```\n"])


def _keys(keys: Iterable[Key]) -> Iterator[str]:
    yield from _table(("key", "default", "meaning"), ((f"`{k.name}`", f"`{k.value}`", k.comment) for k in keys))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _row(head)
    yield _row(["---"] * len(head))
    for row in rows:
        yield _row([_escaped(cell) for cell in row])
    yield ""


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    """The text of a cell: outside of `code`, characters with a meaning in Markdown are escaped."""
    parts = text.replace("|", r"\|").split("`")
    parts[::2] = [re.sub(r"([*<\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
