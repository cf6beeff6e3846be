"""The words of a command line: flags and their values, quotation, and the configuration folders that they choose."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from mixup_lab.config.tree import Tree
from mixup_lab.pasting import quote
from mixup_lab.types import UserError


def config_dir() -> Path:
    """The folder of the configuration: inside an installed package, next to it in a checkout."""
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "conf", here.parent / "conf"):
        if folder.is_dir():
            return folder
    raise UserError(f"the configuration folder is missing: neither {here / 'conf'} nor {here.parent / 'conf'} exists")


def tree_of(words: Sequence[str], command: str) -> Tree:
    """The options that a line can use: ours, and those of its `--config-dir`."""
    own = flag_value(words, "--config-dir", "-cd")
    folders = [config_dir(), *([Path(own)] if own else [])]
    return Tree(folders, flag_value(words, "--config-name", "-cn") or command)


def flag_value(words: Sequence[str], *names: str) -> str | None:
    """The value of a flag: the next word, or the text after `=`."""
    for index, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag in names:
            return value if equals else next(iter(words[index + 1 :]), None)
    return None


def unquoted(value: str) -> str:
    """The value of a word without quotation marks around it."""
    if value[:1] in "'\"" and len(value) > 1 and value[-1] == value[0]:
        return re.sub(rf"\\({value[0]})", r"\1", value[1:-1])
    return value


def as_typed(word: str) -> str:
    """An override whose value is the path of a file or folder, with quotation marks for Hydra if it needs them."""
    key, equals, value = word.partition("=")
    special = re.search(r"[^\w./:~-]", value) and key.replace(".", "").replace("_", "").isalnum()
    if not equals or not special or not os.path.exists(os.path.expanduser(value)):
        return word
    return f"{key}={quote(value)}"
