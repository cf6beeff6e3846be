"""Where a run was made: versions, commit. Recorded with the run, never part of its identity."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

import mixup_lab


def versions() -> dict[str, str]:
    """Python's version and those of the packages that numbers depend on."""
    numbers = {"mixup_lab": mixup_lab.__version__, "python": platform.python_version()}
    for package in ("torch", "torchvision", "numpy"):
        try:
            numbers[package] = version(package)
        except PackageNotFoundError:
            continue
    return numbers


def git_commit() -> str | None:
    """The commit of the working directory, with `+` behind it when it has uncommitted changes; None outside of git."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        changes = subprocess.run(["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + "+" * bool(changes.stdout.strip())
