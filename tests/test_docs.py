"""No page rots: every command runs, every Python block too, links lead somewhere, pictures have a text.

Commands run with tiny settings on tiny data that has the names of the pages (`DIR`, `rows.csv`, ...). Those that need a
download, a GPU, a cluster or hours are composed and not run.
"""

import ast
import doctest
import importlib.metadata
import importlib.util
import re
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest
from helpers import detection_examples, mask_examples
from helpers.command_line import in_this_process
from helpers.data_examples import picture, write_folder
from helpers.pages import CHECKOUT, LINK, blocks, commands, name, own_files, pages, prose
from helpers.processes import mixup_lab
from helpers.studies import write_study

if not (CHECKOUT / "CONTRIBUTING.md").is_file():
    pytest.skip("the pages are not here", allow_module_level=True)

COMMANDS = sorted({words for page in pages() for words in commands(page)})
README = commands(CHECKOUT / "README.md")
# A command with one of these words is composed, not run.
COMPOSED = (
    "experiment=", "dataset=cifar10", "dataset=fashion_mnist", "trainer.device=cuda", "hydra/launcher=",
    "hydra.launcher", "model=timm", "model=torchvision",
)  # fmt: skip
# Word in a command -> package that has to be installed for it.
EXTRAS = {
    "submitit": "hydra-submitit-launcher", "joblib": "hydra-joblib-launcher", "optuna": "optuna", "audio": "soundfile",
}  # fmt: skip
# What is put in the place of settings that take long: beginning of a word -> how it goes on.
TINY = {
    "trainer.epochs=": "1", "trainer.batch_size=": "8", "seed=": "0", "confirm=": "1", "max_seeds=": "8",
    "dataset.image_size=[": "64,64]",
}  # fmt: skip
ALWAYS = ("trainer.epochs=1", "trainer.device=cpu", "trainer.threads=1", "trainer.progress=none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with everything that the commands name."""
    root = tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(0)
    names = [f"train/{('cat', 'dog')[i % 2]}/p{i // 4}_{i}.png" for i in range(60)]
    write_folder(root / "DIR", {path: picture((40, 36), seed=i) for i, path in enumerate(names)})
    labels = [f"{path},{path[6:9]},{i % 2},{i // 2 % 2}" for i, path in enumerate(names)]
    (root / "DIR" / "labels.csv").write_text("\n".join(["path,label,red,round", *labels]) + "\n")
    rows = [f"{rng.normal():.3f},p{i // 4},{('red', 'blue')[i % 2]},{rng.normal():.3f}" for i in range(120)]
    (root / "rows.csv").write_text("\n".join(["size,patient,colour,price", *rows]) + "\n")
    texts = [f"{('good', 'bad')[i % 2]} book number {i},{('yes', 'no')[i % 2]}" for i in range(120)]
    (root / "reviews.csv").write_text("\n".join(["text,label", *texts]) + "\n")
    for i in range(60):
        path = root / "clips" / "train" / ("yes", "no")[i % 2] / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(rng.integers(-9000, 9000, 4000, dtype=np.int16).tobytes())
    mask_examples.write(root / "scans", "train", *mask_examples.shapes(40, seed=0, size=32))
    detection_examples.voc_tree(root / "cells", {"train": detection_examples.rectangles(40, seed=0)})
    results = [f"{arm},{seed},{0.9 + rng.normal() / 99},{0.9}" for arm in ("erm", "mixup") for seed in range(8)]
    (root / "results.csv").write_text("\n".join(["arm,seed,test/accuracy,val/accuracy", *results]) + "\n")
    for study in ("digits-mlp", "noisy-digits"):
        write_study(root / "outputs" / study, {alpha: rng.random((8, 50)) < 0.9 for alpha in (0, 0.4)})
    for path, text in own_files(CHECKOUT / "docs" / "guide" / "own-components.md").items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    done = mixup_lab("train", *ALWAYS, "hydra.run.dir=RUN_DIR", cwd=root)
    assert (done.returncode, done.stderr) == (0, "")
    return root


def tiny(words: tuple[str, ...], number: int) -> list[str]:
    """A command as it is run here."""
    command, *rest = words
    if command not in ("train", "compare", "preview") or {"--help", "--cfg"} & set(rest) or "resume=RUN_DIR" in rest:
        return list(words)
    if any(word.startswith(COMPOSED) for word in rest):
        if "-m" in rest:  # of several values the first
            rest = [re.sub(r"^([^(\[]*?),.*", r"\1", word) for word in rest if word != "-m"]
        return [command, *rest, "--cfg", "job"]
    given = {key: value for key, _, value in (word.partition("=") for word in rest)}
    rest = [next((begin + end for begin, end in TINY.items() if word.startswith(begin)), word) for word in rest]
    several = command == "compare" or "-m" in rest
    if "seed" in given and not several:
        rest = [word for word in rest if not word.startswith("seed=")]
    rest += [word for word in ALWAYS if word.partition("=")[0] not in given]
    if "dataset.root" in given:
        rest += ["trainer.batch_size=8"] * ("trainer.batch_size" not in given)
    rest += ["model.width=8"] * ("model=unet" in rest)
    rest += ["hydra.sweeper.n_trials=2"] * ("hydra/sweeper" in given)
    if command == "compare":
        one_method = "aug.alpha" not in given and "," not in given.get("aug", "")
        rest += [f"study=page{number}", "hydra/launcher=basic"]
        rest += ["seed=0"] * ("seed" not in given and "until" not in given) + ["aug.alpha=0,1"] * one_method
    return [command, *rest]


def marks(words: tuple[str, ...]) -> list[pytest.MarkDecorator]:
    """Studies are slow; the quick tests run those of the README alone."""
    return [pytest.mark.slow] * (words[0] == "compare" and words not in README)


@pytest.mark.parametrize("words", [pytest.param(words, marks=marks(words), id=" ".join(words)) for words in COMMANDS])
def test_commands_run(words, folder, monkeypatch, capsys):
    for word, package in EXTRAS.items():
        if word in " ".join(words) and not _installed(package):
            pytest.skip(f"{package} is not installed")
    line = tiny(words, COMMANDS.index(words))
    if {"--help", "--cfg", "-sc"} & set(line):
        code, _, err = in_this_process(monkeypatch, capsys, folder)(*line)
    else:
        done = mixup_lab(*line, cwd=folder)
        code, err = done.returncode, done.stderr
    assert code == 0, err
    assert "Traceback" not in err


def _installed(package: str) -> bool:
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def test_pages_have_commands_that_a_shell_understands():
    assert len(COMMANDS) > 50
    script = "\n".join(block.text for page in pages() for block in blocks(page, "sh"))
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def python_blocks():
    return [
        pytest.param(block.text, id=f"{name(page)}:{number}")
        for page in pages()
        for number, block in enumerate(blocks(page, "python"))
        if block.text not in own_files(page).values()  # tests/test_extension.py runs these
    ]


# Names that the block of README.md takes as given.
GIVEN = """
import torch
from torch import nn
loader = [(torch.rand(4, 3), torch.arange(4) % 2)]
model = nn.Linear(3, 2)
"""


@pytest.fixture
def exported(folder):
    """The file that a page loads, made as the page says; gone again for the test of that command."""
    words = ("export", "RUN_DIR", "out=model.pt2")
    assert words in COMMANDS
    done = mixup_lab(*words, "overwrite=true", cwd=folder)
    assert done.returncode == 0, done.stderr
    yield
    (folder / "model.pt2").unlink()


@pytest.mark.parametrize("text", python_blocks())
def test_python_blocks_run(text, request, monkeypatch):
    if "RUN_DIR" in text or "model.pt2" in text:
        monkeypatch.chdir(request.getfixturevalue("folder"))
    if "model.pt2" in text:
        request.getfixturevalue("exported")
    if ">>>" in text:
        test = doctest.DocTestParser().get_doctest(text, {}, "page", None, 0)
        out: list[str] = []
        assert doctest.DocTestRunner().run(test, out=out.append).failed == 0, "".join(out)
    else:
        exec(GIVEN + text, {})


def test_docstrings_keep_their_promises():
    paths = [path for path in sorted((CHECKOUT / "mixup_lab").rglob("*.py")) if ">>>" in path.read_text()]
    assert paths
    for path in paths:
        parts = path.relative_to(CHECKOUT).with_suffix("").parts
        module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
        result = doctest.testmod(module)
        assert result.attempted > 0, f"{path}: its examples are in no docstring that doctest finds"
        assert result.failed == 0, path


def anchors(path: Path) -> set[str]:
    """The anchors that a forge and the site give to the headings of a page."""
    found = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", pages(), ids=name)
def test_links_lead_somewhere(page):
    for _, _, target in LINK.findall(prose(page)):
        if re.match(r"\w+://", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.is_file(), f"{name(page)} links to {target}"
        assert not anchor or anchor in anchors(place), f"{name(page)} links to {target}"


def test_pictures_have_a_text_and_are_used():
    used = set()
    for page in pages():
        for picture_mark, text, target in LINK.findall(prose(page)):
            if picture_mark:
                assert len(text) > 20, f"{name(page)}: {target} needs a text for those who do not see it"
                used.add((page.parent / target).resolve())
    files = {path.resolve() for path in (CHECKOUT / "docs").iterdir() if path.suffix in (".png", ".svg")}
    assert used == files


def script(name_of: str):
    """A script of the checkout as a module."""
    spec = importlib.util.spec_from_file_location(name_of, CHECKOUT / "scripts" / f"{name_of}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_configuration_is_that_of_conf():
    module = script("configuration_page")
    assert module.PAGE.read_text() == module.page(), "run scripts/configuration_page.py"


def test_the_pictures_of_statistics_are_those_of_the_script():
    """By their words and the places of their dots; another matplotlib may write other bytes."""
    module = script("statistics_pictures")
    for picture_name in module.PICTURES:
        old, new = (module.DOCS / f"{picture_name}.svg").read_text(), module.drawn(picture_name)
        for pattern in (r">([^<]+)</text>", r'<use href="[^"]*" x="([\d.]+)"'):
            assert re.findall(pattern, old) == re.findall(pattern, new), "run scripts/statistics_pictures.py"
    assert ">6 of 30 studies" in (module.DOCS / "looking.svg").read_text(), "as the page says"


def test_the_readme_is_short_and_has_no_placeholder():
    text = (CHECKOUT / "README.md").read_text()
    assert len(text.splitlines()) <= 160
    assert "REPOSITORY" not in text


def test_every_page_is_in_the_contents_of_the_site():
    conf = (CHECKOUT / "docs" / "conf.py").read_text()
    contents = ast.literal_eval(re.search(r'CONTENTS = ("""(?:.|\n)*?""")', conf)[1])
    listed = {line for line in contents.splitlines() if re.fullmatch(r"[\w/-]+", line)}
    docs = CHECKOUT / "docs"
    assert listed == {path.relative_to(docs).with_suffix("").as_posix() for path in pages() if docs in path.parents} - {
        "index"
    }
    links = {target for _, _, target in LINK.findall((docs / "index.md").read_text())}
    assert {f"{page}.md" for page in listed} <= links
