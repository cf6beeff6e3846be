"""The scripts of the checkout: what they do on a fresh machine, and what they say when Python is too old."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.data_examples import picture, write_folder
from helpers.processes import environment

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture
def copy(tmp_path):
    """A checkout without an environment, reached through a path with a space."""
    root = tmp_path / "check out"
    root.mkdir()
    shutil.copytree(CHECKOUT / "scripts", root / "scripts")
    shutil.copy(CHECKOUT / "pyproject.toml", root)
    return root


def test_an_old_python_gets_one_sentence(copy, tmp_path):
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    env = {**os.environ, "PYTHON": str(old)}
    done = subprocess.run([str(copy / "scripts" / "test")], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"scripts/test: PYTHON={old} is not a Python of version 3.11 or newer\n"


@pytest.mark.slow
def test_an_environment_that_is_up_to_date_is_left_alone(copy, tmp_path):
    # The environment is a link to the one of the tests; the stamp says what it was installed for.
    programs = copy / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python").chmod(0o755)
    checksum = subprocess.run(["cksum"], input=(copy / "pyproject.toml").read_bytes(), capture_output=True, check=True)
    (copy / ".venv" / ".installed-for").write_text(f"{copy} test {checksum.stdout.decode()}")
    (copy / "tests").mkdir()
    (copy / "tests" / "test_one.py").write_text("def test_one():\n    pass\n")
    line = [str(copy / "scripts" / "test"), "-q"]
    done = subprocess.run(line, cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Installing" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 passed")


@pytest.mark.parametrize("name", ["scripts/demo", "scripts/test", ".ci/run"])
def test_scripts_are_executable_and_strict(name):
    path = CHECKOUT / name
    if not path.exists():
        pytest.skip(f"{name} is not part of the sdist")
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in path.read_text()
    subprocess.run(["bash", "-n", str(path)], check=True)


@pytest.mark.slow
def test_the_cost_of_mixing_is_measured(tmp_path):
    pictures = {f"train/{i % 2}/{i}.png": picture((32, 32), seed=i) for i in range(160)}
    data = write_folder(tmp_path / "data", {**pictures, **{f"test/{i}/0.png": picture((32, 32)) for i in range(2)}})
    found = tmp_path / "found.json"
    script = CHECKOUT / "scripts" / "bench_mixing.py"
    line = [sys.executable, str(script), "--data", str(data), "--json", str(found), "--threads", "1", "--rounds", "1",
            "--sizes", "small", "--methods", "cutmix", "mixup per sample"]  # fmt: skip
    done = subprocess.run(line, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(found.read_text())
    assert [row["what"] for row in rows[:2]] == ["step cutmix 1t", "step mixup per sample 1t"]
    assert {"torchvision / CutMix per batch, small channels_last 1t"} < {row["what"] for row in rows[2:]}
    assert all(row["a"] > 0 and row["b"] > 0 and row["low"] <= row["ratio"] <= row["high"] for row in rows)
    assert [line[:56].rstrip() for line in done.stdout.splitlines()] == [row["what"] for row in rows]
