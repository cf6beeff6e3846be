"""The scripts of the checkout: what they do on a fresh machine, and what they say when Python is too old."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
