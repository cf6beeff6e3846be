"""Components of a newcomer, copied word for word from the page about own components: a `.py` and a `.yaml` each."""

import json
import re

import pytest
from helpers.pages import CHECKOUT, own_files
from helpers.processes import lines_of, mixup_lab, summary_of

from mixup_lab import cli

PAGE = CHECKOUT / "docs" / "guide" / "own-components.md"
if not PAGE.is_file():
    pytest.skip("the pages are not here", allow_module_level=True)

OWN = ("--config-dir", "myconf")
TINY = ("trainer.epochs=1", "trainer.batch_size=16", "trainer.threads=1", "trainer.device=cpu", "trainer.progress=none")
# Each component with the words that choose it, and the packages that they name.
COMPONENTS = {
    "a method that mixes pairs": ("aug=columns", "dataset=fake"),
    "a method that does not": ("aug=input_dropout", "dataset=fake"),
    "a model": ("model=two_layers", "dataset=fake", "aug=manifold_mixup"),
    "pictures": ("dataset=stripes", "aug=mixup"),
    "rows": ("dataset=springs", "aug=mixup"),
    "a kind of target": ("dataset=hands", "aug=mixup"),
    "a transform": ("transform=invert", "dataset=fake", "aug=mixup"),
    "four of them": ("dataset=stripes", "model=two_layers", "transform=invert", "aug=columns"),
}
TRUST = f"trust=[{','.join(sorted(name.removesuffix('.py') for name in own_files(PAGE) if name.endswith('.py')))}]"


@pytest.fixture
def newcomer(tmp_path):
    """A folder with the files of the page."""
    for name, text in own_files(PAGE).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def change(folder, name, old, new):
    """Break one file of the page."""
    text = (folder / name).read_text()
    assert text.count(old) == 1, f"{name} has {old!r} {text.count(old)} times"
    (folder / name).write_text(text.replace(old, new))


def succeed(*words, cwd):
    done = mixup_lab(*words, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def refusal(*words, cwd):
    """The one sentence that a command refuses, without a run."""
    done = mixup_lab(*words, cwd=cwd)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1, done.stderr
    assert not list(cwd.rglob("summary.json"))
    assert not [line for record in cwd.rglob("record.jsonl") for line in record.read_text().splitlines()]
    return done.stderr


def test_every_file_of_the_page_belongs_to_a_component():
    options = {name for name in own_files(PAGE) if name.endswith(".yaml")}
    used = {f"myconf/{word.replace('=', '/')}.yaml" for words in COMPONENTS.values() for word in words}
    assert options <= used
    assert len(options) == 7


# These are compared and reported as well, and quick runs have them; "four of them" uses most of the others.
COMPARED = ("a method that does not", "a kind of target", "four of them")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in COMPARED)) for name in COMPONENTS]
)
def test_own_components_train_preview_and_are_compared_and_reported(name, newcomer):
    words = COMPONENTS[name]
    line = (*OWN, TRUST, *words, *TINY)
    succeed("train", *line, "hydra.run.dir=run", cwd=newcomer)
    summary = summary_of(newcomer / "run")
    assert summary["status"] == "ok"
    start, *_ = lines_of(newcomer / "run")
    assert {f"{group}={option}" for group, option in start["choices"].items()} >= set(words)
    primary = start["primary"]
    assert f"test/{primary}" in summary["scalars"]

    succeed("preview", *line, "out=sheet.png", cwd=newcomer)
    assert (newcomer / "sheet.png").read_bytes().startswith(b"\x89PNG")

    if name not in COMPARED:
        return
    aug = next(word for word in words if word.startswith("aug="))
    key = "" if aug == "aug=input_dropout" else "aug.alpha=0,1"
    axis = [key] if key else []
    said = succeed("compare", *line, *axis, "seed=0,1", "study=own", "hydra/launcher=basic", cwd=newcomer)
    assert "baseline" in said
    (newcomer / "outputs" / "own" / "report.html").unlink()
    succeed("report", "outputs/own", cwd=newcomer)
    report = json.loads((newcomer / "outputs" / "own" / "report.json").read_text())
    assert report["metric"]["name"] == primary
    assert len(report["arms"]) == 2
    assert (newcomer / "outputs" / "own" / "report.html").is_file()


def test_the_method_for_pairs_mixes_columns(newcomer):
    succeed("train", *OWN, TRUST, "aug=columns", "aug.law=fixed", "aug.lam=0.5", "dataset=stripes", *TINY,
            "hydra.run.dir=run", cwd=newcomer)  # fmt: skip
    summary = summary_of(newcomer / "run")
    assert summary["scalars"]["mix/lam_mean"] == 0.5
    start, *_ = lines_of(newcomer / "run")
    assert start["data"]["test"] == 80


def test_the_kind_of_target_is_learnt_and_its_metric_decides(newcomer):
    succeed("train", *OWN, TRUST, "dataset=hands", "aug=mixup", "aug.alpha=0.2", *TINY, "trainer.epochs=60",
            "optimizer=adam", "hydra.run.dir=run", cwd=newcomer)  # fmt: skip
    start, *_ = lines_of(newcomer / "run")
    assert (start["primary"], start["maximize"]) == ("angle_error", False)
    assert summary_of(newcomer / "run")["scalars"]["test/angle_error"] < 45  # by chance 90


def test_own_components_are_not_run_without_trust(newcomer):
    code = (newcomer / "my_methods.py").read_text()
    (newcomer / "my_methods.py").write_text(code + "\nopen('ran', 'w').close()\n")
    said = refusal("train", *OWN, "aug=columns", *TINY, cwd=newcomer)
    assert "my_methods.Columns" in said
    assert "trust=[my_methods]" in said
    assert not (newcomer / "ran").exists()


def test_help_lists_own_options_with_their_comment(newcomer, capsys, monkeypatch):
    monkeypatch.chdir(newcomer)
    assert (
        cli.main(
            ["train", "aug", "transform", "model", "dataset", "optimizer", "scheduler", "mix_schedule", "--help", *OWN]
        )
        == 0
    )
    flat = " ".join(capsys.readouterr().out.split())
    for name, text in own_files(PAGE).items():
        if name.endswith(".yaml"):
            option = name.rpartition("/")[2].removesuffix(".yaml")
            assert f"{option} {text.splitlines()[0].removeprefix('# ')}" in flat


def test_a_mistake_in_own_options_names_the_key(newcomer):
    said = refusal("train", *OWN, TRUST, "aug=input_dropout", "+aug.sahre=0.4", *TINY, cwd=newcomer)
    assert said == "mixup-lab train: unknown key 'aug.sahre'; did you mean 'aug.share'?\n"


# File, text there, its replacement, the word that chooses the component, and the sentence.
WRONG = {
    "numbers where a class is due": (
        "my_pictures.py", "ArrayPool(images, target)", "ArrayPool(images, target + 0.0)",
        "dataset=stripes", r"targets of train must be int64 .*float64",
    ),
    "one class": (
        "my_pictures.py", '("across", "down")', '("across",)',
        "dataset=stripes", r"the dataset has 1 class, at least 2 are needed",
    ),
    "pictures in floating point": (
        "my_pictures.py", "ArrayPool(images, target)", "ArrayPool(images / 255.0, target)",
        "dataset=stripes", r"float64 .*pictures must be uint8 \(N, C, H, W\)",
    ),
    "pictures without channels": (
        "my_pictures.py", "ArrayPool(images, target)", "ArrayPool(images[:, 0], target)",
        "dataset=stripes", r"\(N, 8, 8\).*pictures must be uint8 \(N, C, H, W\)",
    ),
    "more targets than pictures": (
        "my_pictures.py", "ArrayPool(images, target)", "ArrayPool(images[1:], target)",
        "dataset=stripes", r"got \(399, 1, 8, 8\) and \(400,\)",
    ),
    "a source that returns something else": (
        "my_pictures.py", "return Loaded(ArrayPool(images, target), None, None, Classes((\"across\", \"down\")))",
        "return images, target", "dataset=stripes", r"dataset: .*Loaded",
    ),
    "rows of bytes": (
        "my_rows.py", "return replace(loaded, fit=fit)",
        "return replace(loaded, train=ArrayPool((rows * 100).astype(np.uint8), length))",
        "dataset=springs", r"uint8 \(N, 2\) and no encoder",
    ),
    "rows without an encoder": (
        "my_rows.py", "return replace(loaded, fit=fit)", "return loaded",
        "dataset=springs", r"float32 \(N, 2\) and no encoder",
    ),
    "an encoder of another shape": (
        "my_rows.py", "self.shape = tuple(mean.shape)", "self.shape = (5,)",
        "dataset=springs", r"dataset: Standardised must return float32 \(3, 5\) .*got float32 \(3, 2\)",
    ),
    "a target of another shape": (
        "my_angles.py", "ArrayPool(images, angle)", "ArrayPool(images, angle[:, 0])",
        "dataset=hands", r"angles of train must be float32 \(N, 1\), got float32 \(200,\)",
    ),
    "a loss that is reduced": (
        "my_angles.py", ".square().sum(1)  # (B,)", ".square().mean()",
        "dataset=hands", r"the loss of Direction must have the shape \(B,\)",
    ),
    "a kind of target without its primary metric": (
        "my_angles.py", '"angle_error": float', '"error": float',
        "dataset=hands", r"metrics of Direction must hold loss and its primary, angle_error; they hold loss, error$",
    ),
    "a method without a base class": (
        "my_dropout.py", "class InputDropout(Mixer)", "class InputDropout",
        "aug=input_dropout", r"my_dropout\.InputDropout must be derived from mixup_lab\.mixing\.mixer\.Mixer",
    ),
    "a method with shares of another shape": (
        "my_methods.py", "blend(pictures, perm, mask), mask", "blend(pictures, perm, mask), mask[:, 0, :3, None, None]",
        "aug=columns", r"aug: Columns .*lam must have the shape \(B,\)",
    ),
    "a method with pictures of another shape": (
        "my_methods.py", "blend(pictures, perm, mask), mask", "blend(pictures, perm, mask)[..., 1:], mask",
        "aug=columns", r"aug: Columns .*inputs must be a tensor of shape \(3, 3, 16, 16\)",
    ),
    "a method that changes the batch": (
        "my_dropout.py", "inputs * (chance", "inputs.mul_(2.0) * (chance",
        "aug=input_dropout", r"InputDropout changes the batch in place",
    ),
    "a method that fails": (
        "my_dropout.py", "self.share)", "self.shares)",
        "aug=input_dropout", r"aug: InputDropout .*no attribute 'shares'",
    ),
    "a key out of range": (
        "myconf/aug/input_dropout.yaml", "share: 0.1", "share: 1.5",
        "aug=input_dropout", r"aug.share must be in \[0, 1\), got 1.5",
    ),
    "a model with outputs of another shape": (
        "my_models.py", "nn.Linear(width, num_outputs)", "nn.Linear(width, num_outputs + 1)",
        "model=two_layers", r"model: TwoLayers must return 3 examples with 4 outputs each, got \(3, 5\)",
    ),
    "a model that fails": (
        "my_models.py", "nn.Linear(width, num_outputs)", "nn.Linear(width + 1, num_outputs)",
        "model=two_layers", r"model: TwoLayers fails on 3 examples: mat1 and mat2",
    ),
    "a model without the arguments of a model": (
        "my_models.py", "input_shape, num_outputs, width=32", "num_outputs, width=32",
        "model=two_layers", r"model: .*input_shape",
    ),
    "a transform with pictures of another type": (
        "my_transforms.py", "255 - inputs)", "255 - inputs).float()",
        "transform=invert", r"transform: Invert must return uint8 .*got float32",
    ),
    "a transform with pictures of another shape": (
        "my_transforms.py", "255 - inputs)", "255 - inputs)[..., 1:]",
        "transform=invert", r"transform: Invert must return uint8 .*got uint8 \(3, 3, 16, 15\)",
    ),
    "a transform without a base class": (
        "my_transforms.py", "class Invert(Transform)", "class Invert",
        "transform=invert", r"my_transforms\.Invert must be derived from mixup_lab\.transforms\.transform\.Transform",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_wrong_components_are_refused_in_one_sentence(case, newcomer):
    name, old, new, word, expected = case
    change(newcomer, name, old, new)
    others = [default for default in ("dataset=fake", "aug=mixup") if default.split("=")[0] != word.split("=")[0]]
    sentence = refusal("train", *OWN, TRUST, word, *others, *TINY, "hydra.run.dir=run", cwd=newcomer)
    assert re.search(expected, sentence), sentence
