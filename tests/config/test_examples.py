"""Every example of the help, and every value that a comment of conf/ names, is one that the program takes.

Examples that a page has too are run by `tests/test_docs.py`; the others are composed, or their keys are known.
"""

import re
import shlex

import pytest
from helpers.cases import each
from helpers.pages import CHECKOUT, commands, pages
from helpers.trainings import CONF
from hydra import compose, initialize_config_dir

from mixup_lab.config.build import check_types
from mixup_lab.config.commands import OWN
from mixup_lab.config.help import EXAMPLES
from mixup_lab.config.schema import parse, register
from mixup_lab.config.tree import own_keys, read
from mixup_lab.config.words import tree_of

ON_PAGES = {words for page in pages() for words in commands(page)} if (CHECKOUT / "README.md").is_file() else set()
LINES = [tuple(shlex.split(line))[1:] for rows in EXAMPLES.values() for line, _ in rows]
OTHERS = [words for words in LINES if words not in ON_PAGES]


@pytest.fixture(scope="module", autouse=True)
def hydra():
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@each("words", [words for words in OTHERS if words[0] in ("train", "compare", "preview")])
def test_examples_that_train_compose(words):
    command, *rest = words
    typed = [word for word in rest if "=" in word and word.partition("=")[0] not in (*OWN.get(command, {}), "resume")]
    # Of several values the first, as in a run of the sweep.
    first = [re.sub(r"^([^(\[{]*?),.*", r"\1", word) for word in typed]
    config = parse(compose("train", overrides=first))
    for word in first:
        key, _, value = word.partition("=")
        if "." in key:
            group, _, name = key.partition(".")
            assert str({**config.resolved[group]}[name]) in (value, f"{value}.0")
    unknown = [word for word in rest if word.partition("=")[0] in OWN.get(command, {}) and not word.partition("=")[2]]
    assert unknown == []


@each("words", [words for words in OTHERS if words[0] not in ("train", "compare", "preview")])
def test_examples_that_read_runs_have_keys_that_are_known(words):
    command, *rest = words
    known = {key.name for key in own_keys(command, tree_of(rest, command))} | {"hydra.launcher.slots"}
    assert {word.partition("=")[0] for word in rest if "=" in word} <= known


def named():
    """Key and value of every comment with `e.g. VALUE`, for each option: {group: {option: [words]}}."""
    found = {}
    for path in sorted(CONF.glob("*/*.yaml")):
        for key in read(path).keys:
            value = re.search(r"e\.g\. (\{.*?\}|[\w.]+)", key.comment)
            if value and path.parent.name not in ("experiment", "lens"):
                group = path.parent.name
                found.setdefault((group, path.stem), []).append(f"{group}.{key.name}={value[1].rstrip('.')}")
    return found


@each("option, words", [(option, tuple(words)) for option, words in named().items()])
def test_values_that_comments_name_are_taken(option, words):
    group, name = option
    config = parse(
        compose("train", overrides=[f"{group}={name}", *words, *["dataset.root=DIR"] * (group == "dataset")])
    )
    if group == "trainer":
        config.trainer.check()
    else:
        check_types(group, config.source if group == "dataset" else getattr(config, group))


def test_comments_name_values():
    assert {("model", "timm"), ("model", "torchvision"), ("trainer", "default")} <= set(named())
    assert len(OTHERS) < len(LINES)
