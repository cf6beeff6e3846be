"""The configuration folder read as text, names that are nearly right, and values in quotes."""

from helpers.cases import each

from mixup_lab.config.nearest import nearest, nearest_key
from mixup_lab.config.tree import Tree, read
from mixup_lab.pasting import quote


def test_nearest():
    assert nearest("mixpu", ["none", "mixup", "cutmix"]) == "mixup"
    assert nearest("MIXUP", ["none", "mixup"]) == "mixup"
    assert nearest("xyz", ["none", "mixup"]) is None
    keys = ["seed", "trainer.epochs", "optimizer.lr", "aug.alpha"]
    assert nearest_key("lr", keys) == "optimizer.lr"
    assert nearest_key("model.lr", keys) == "optimizer.lr"
    assert nearest_key("optimiser.lr", keys) == "optimizer.lr"
    assert nearest_key("zzz.qqq", keys) is None


def test_tree_reads_what_yaml_allows(tmp_path):
    (tmp_path / "top.yaml").write_text(
        "# About it\n# more\ndefaults:\n  - schema\n  - g: one  # why\n  - override hydra/launcher: x\n  - _self_\n"
        "\n# a note\na: 1 # first\nb: 'x # y'  # second\nc:\n  d: [1, 2]\n  e:\n    - p\n    - q  # r\nf: http://x#y\n"
        "hydra:\n  run:\n    dir: x\n"
    )
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "base.yaml").write_text("_target_: x.Y\nsize: 1  # how big\n")
    (tmp_path / "g" / "one.yaml").write_text("# One\ndefaults: \n  - base\nsize: 2\n")
    file = read(tmp_path / "top.yaml")
    assert file.about == "About it"
    assert [tuple(key) for key in file.keys] == [
        ("a", "1", "first"),
        ("b", "'x # y'", "second"),
        ("c.d", "[1, 2]", ""),
        ("c.e", "[p, q]", ""),
        ("f", "http://x#y", ""),
    ]
    tree = Tree([tmp_path, tmp_path / "absent"], "top")
    assert tree.groups() == ["g"]
    assert tree.options("g") == {"base": "", "one": "One"}
    assert [tuple(key) for key in tree.option_keys("g", "one")] == [("g.size", "2", "how big")]


@each("text", ["a", "a b", "it's", "\\", "a\\'b", "x,y={z}", "\\\\'", "end\\"])
def test_quote_survives_hydras_grammar(text):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    [override] = OverridesParser.create().parse_overrides([f"key={quote(text)}"])
    assert override.value() == text
