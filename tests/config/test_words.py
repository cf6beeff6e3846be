"""Paths with characters that mean something to Hydra or to a shell."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, OverrideParseException

from mixup_lab.config.errors import explain
from mixup_lab.config.words import as_typed, tree_of
from mixup_lab.pasting import word as advice

NAMES = [
    "b,c",
    "Mueller's",
    "a b",
    "x=1",
    "100%",
    "(1)",
    "[a]",
    "{a",
    'say "no"',
    "ends\\",
    "a:b",
    "$HOME",
    "é,ü",
    "~,x",
]


def parsed(word: str) -> str:
    """What Hydra reads."""
    return OverridesParser.create().parse_overrides([word])[0].value()


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_taken_as_typed(tmp_path, name):
    path = tmp_path / name / "data"
    path.mkdir(parents=True)
    assert parsed(as_typed(f"dataset.root={path}")) == str(path)


@pytest.mark.parametrize("word", ["aug.alpha=0.1,0.2", "--config-dir=a,b", "train", "model.args={a: 1}", "x='a b'"])
def test_other_words_stay_as_they_are(word):
    assert as_typed(word) == word


def test_a_path_without_special_characters_stays_as_it_is(tmp_path):
    assert as_typed(f"dataset.root={tmp_path}") == f"dataset.root={tmp_path}"


@pytest.mark.parametrize("name", NAMES)
def test_advice_can_be_pasted(name):
    (word,) = shlex.split(advice("dataset.root", f"/data/{name}"))
    assert parsed(word) == f"/data/{name}"


@pytest.mark.parametrize("value", ["nowhere/b,c", "Mueller's", "a/x=1", "a b"])
def test_sentences_have_the_advice(value):
    word = f"dataset.root={value}"
    error: HydraException = ConfigCompositionException(f"Sweep parameters '{word}' requires --multirun")
    if "," not in value:
        error = OverrideParseException(word, "no viable alternative")
    assert advice("dataset.root", value) in str(explain(error, [word], tree_of([], "train")))
