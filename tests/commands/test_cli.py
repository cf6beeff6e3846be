"""What the command line prints, and how much it loads for it."""

import os
import re
import subprocess
import sys
from dataclasses import fields

import pytest
from helpers.command_line import in_this_process
from helpers.processes import CHECKOUT, fresh

from mixup_lab import cli
from mixup_lab.config.tree import read


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    return in_this_process(monkeypatch, capsys, tmp_path)


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_overview_lists_commands_and_where_results_go(run, words):
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    for text in [*cli.COMMANDS, "outputs", "Examples", "-sc install=bash", "mixup-lab train --help"]:
        assert text in out


def test_version_names_torch(run):
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("mixup-lab 0.1.0 (Python 3.")
    assert "torch 2." in out
    assert run("train", "--version")[1] == out


def test_help_lists_every_option_with_its_comment(run):
    code, out, _ = run("train", "--help")
    assert code == 0
    for folder in {path.parent for path in (CHECKOUT / "conf").glob("*/*.yaml")} - {CHECKOUT / "conf" / "hydra"}:
        words = ("evaluate",) if folder.name == "lens" else ("train", folder.name)
        flat = " ".join(run(*words, "--help")[1].split())
        for path in folder.glob("*.yaml"):
            about = read(path).about
            assert about, f"{path} has no comment line that says what it is"
            assert f"{path.stem} {' '.join(about.split())}" in flat
            assert folder.name == "lens" or f" {path.stem}" in out
    assert "* digits" in out
    assert "  * digits " in run("train", "dataset", "--help")[1]
    assert "* none" in out
    for key in ("seed=0", "resume=null", "trainer.epochs=auto", "dataset.train_size=", "--cfg", "--multirun"):
        assert key in out
    assert "aug.alpha=1.0" not in out
    assert "\033" not in out


def test_help_shows_the_keys_of_the_chosen_option(run):
    out = run("train", "aug=mixup", "--help")[1]
    assert "Keys of aug=mixup" in out
    assert "aug.alpha=1.0" in out
    assert "._target_" not in out


def test_help_of_a_preset_shows_its_header_and_its_keys(run):
    out = run("train", "experiment=bccd_detector", "--help")[1]
    path = CHECKOUT / "conf" / "experiment" / "bccd_detector.yaml"
    header = [line.removeprefix("# ") for line in path.read_text().splitlines() if line.startswith("# ")][1:]
    flat = " ".join(out.split())
    assert " ".join(" ".join(header).split()) in flat
    assert "\n    mixup aug.alpha=0.2                        0.471  0.845\n" in out, "a table keeps its columns"
    assert "model.width=32" in out
    assert "trainer.class_weights" not in out
    assert "dataset: audio_folder, breast_cancer," in out
    assert out.count("\n") < 100


def test_help_names_the_launchers_and_the_keys_of_slots(run):
    from hydra_plugins.mixup_lab_slots.slots_launcher import SlotsLauncherConf

    keys = {f"hydra.launcher.{field.name}={field.default}" for field in fields(SlotsLauncherConf)}
    keys = {key for key in keys if "_target_" not in key}
    for words in (("compare", "--help"), ("compare", "hydra/launcher=slots", "--help"), ("train", "--help")):
        out = run(*words)[1]
        assert keys == set(re.findall(r"hydra\.launcher\.\w+=(?!2)\w+", out))
        assert ("* slots" in out, "* basic" in out) == (words[0] == "compare", words[0] == "train")
        assert "(none)" not in out


def test_help_knows_the_users_folder(run, tmp_path):
    (tmp_path / "conf" / "aug").mkdir(parents=True)
    (tmp_path / "conf" / "aug" / "mine.yaml").write_text("# Mixing of my own\n_target_: mine.Mix\nstrength: 3  # how\n")
    out = run("train", "--config-dir", "conf", "aug=mine", "-h")[1]
    assert "Mixing of my own" in out
    assert "aug.strength=3" in out
    (tmp_path / "conf" / "own.yaml").write_text("defaults: \n  - train\n  - _self_\nextra: 1  # mine\n")
    out = run("train", "-cd=conf", "--config-name=own", "-h")[1]
    assert "extra=1" in out
    assert "* digits" in out


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_help_fits_the_terminal(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    out = run("train", "aug=mixup", "--help")[1]
    longest = max(len(line) for line in out.splitlines() if line.startswith("        "))
    assert longest <= max(50, int(columns))


def test_cfg_job_shows_the_composed_configuration(run):
    code, out, err = run("train", "aug=mixup", "aug.alpha=0.4", "--cfg", "job")
    assert (code, err) == (0, "")
    assert "alpha: 0.4" in out
    assert "seed: 0" in out
    code, out, _ = run("train", "--cfg", "job", "--package", "trainer", "trainer.epochs=7")
    assert code == 0
    assert "epochs: 7" in out
    assert "seed" not in out


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["train", "--cfg", "job"], ["train", "agu=mixup"]])
def test_nothing_of_this_imports_torch(words, tmp_path):
    script = (
        "import sys; from mixup_lab.cli import main; main(sys.argv[1:]); "
        "loaded = {m.split('.')[0] for m in sys.modules}; "
        "print(sorted(loaded & {'torch', 'torchvision', 'tensorboard', 'rich', 'hydra'}))"
    )
    loaded = fresh(*words, cwd=tmp_path, script=script).stdout.splitlines()[-1]
    assert loaded == ("[]" if "--help" in words else "['hydra']")


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    line = f"{sys.executable} -m mixup_lab train --help | true"
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
