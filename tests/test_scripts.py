"""The scripts of the checkout: the table of the demo, and what they say when Python is too old."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


def summary(folder: Path, name: str, seed: int, accuracy: float, status: str = "ok") -> None:
    run = folder / name / f"seed={seed}"
    run.mkdir(parents=True)
    scalars = {"test/accuracy": accuracy, "val/accuracy": 0.5}
    content = {"status": status, "arm": f"hash of {name}", "name": name, "seed": seed, "scalars": scalars}
    (run / "summary.json").write_text(json.dumps(content))


def table(folder: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(CHECKOUT / "scripts" / "demo_table.py"), str(folder)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_the_table_pairs_runs_by_seed(tmp_path):
    summary(tmp_path, "mixup-a0.4", 0, 0.95)
    summary(tmp_path, "mixup-a0.4", 1, 0.90)
    summary(tmp_path, "mixup-a0.4", 2, 0.10)  # has no partner
    summary(tmp_path, "baseline", 0, 0.90)
    summary(tmp_path, "baseline", 1, 0.92)
    summary(tmp_path, "baseline", 2, 0.99, status="failed")
    done = table(tmp_path)
    _, head, baseline, mixup, *_, last = done.stdout.splitlines()
    assert head.split()[:3] == ["arm", "seeds", "test/accuracy"]
    assert baseline.split() == ["baseline", "2", "91.00%"]
    assert mixup.split() == ["mixup-a0.4", "3", "65.00%", "+1.50", "points", "(+5.00,", "-2.00)"]
    assert last == "left out: 1 of 6 runs, which did not finish"


def test_a_table_of_nothing_is_an_error(tmp_path):
    done = table(tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"no finished runs below {tmp_path}\n"


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
