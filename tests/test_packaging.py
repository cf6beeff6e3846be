"""What is shipped works: a wheel away from the checkout, the sdist, and the checkout without any installation."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


def pip(*words: str, cwd: Path) -> None:
    # Nothing is fetched: what the package needs is in the environment of the tests already.
    line = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    subprocess.run(line, cwd=cwd, check=True, capture_output=True, text=True, timeout=300)


def build(what: str, source: Path, target: Path) -> Path:
    """Build a wheel or an sdist with the project's own build backend."""
    script = f"import sys, hatchling.build as b; print(b.build_{what}(sys.argv[1]))"
    line = [sys.executable, "-c", script, str(target)]
    done = subprocess.run(line, cwd=source, check=True, capture_output=True, text=True, timeout=300)
    return target / done.stdout.split()[-1]


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    return build("wheel", CHECKOUT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that the wheel is installed into, its script included."""
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", "--no-compile", "--target", str(target), str(wheel), cwd=target)
    return target


def run(*line: str, cwd: Path, pythonpath: Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(pythonpath)}
    done = subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.slow
def test_the_wheel_holds_code_and_every_option(wheel):
    names = set(content(wheel))
    for path in (CHECKOUT / "conf").rglob("*.yaml"):
        assert f"mixup_lab/conf/{path.relative_to(CHECKOUT / 'conf').as_posix()}" in names
    for path in (CHECKOUT / "mixup_lab").rglob("*.py"):
        assert path.relative_to(CHECKOUT).as_posix() in names
    tops = {name.split("/")[0] for name in names}
    assert tops == {"mixup_lab", "mixup_lab-0.1.0.dist-info"}


@pytest.mark.slow
def test_the_wheel_works_away_from_the_checkout(installed, tmp_path):
    script = [sys.executable, str(installed / "bin" / "mixup-lab")]
    where = "import mixup_lab.config.words as w; print(w.config_dir())"
    assert run(sys.executable, "-c", where, cwd=tmp_path, pythonpath=installed).strip() == str(
        installed / "mixup_lab" / "conf"
    )
    assert run(*script, "--version", cwd=tmp_path, pythonpath=installed).startswith("mixup-lab 0.1.0 ")
    assert "* digits" in run(*script, "train", "--help", cwd=tmp_path, pythonpath=installed)
    job = run(*script, "train", "aug=mixup", "--cfg", "job", cwd=tmp_path, pythonpath=installed)
    assert "alpha: 1.0" in job
    assert not any(tmp_path.iterdir())


def test_a_bare_checkout_works_from_anywhere(tmp_path):
    line = [sys.executable, "-m", "mixup_lab", "train", "aug=mixup", "--cfg", "job"]
    assert "alpha: 1.0" in run(*line, cwd=tmp_path, pythonpath=CHECKOUT)


@pytest.mark.slow
def test_the_sdist_makes_the_same_wheel(wheel, tmp_path):
    sdist = build("sdist", CHECKOUT, tmp_path)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / sdist.name.removesuffix(".tar.gz")
    for name in ("tests/test_packaging.py", "scripts/test", "LICENSE", "conf/train.yaml"):
        assert (source / name).is_file()
    again = build("wheel", source, tmp_path)
    assert content(again) == content(wheel)
