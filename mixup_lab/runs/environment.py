"""Where a run was made: versions, commit. Recorded with the run, never part of its identity."""

import os
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


# The folder may come from somebody else: git runs no command that its settings name.
_GIT = ("git", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", "-c", "protocol.allow=never")


def git_commit() -> str | None:
    """The commit of the working directory, with `+` behind it when it has uncommitted changes; None outside of git."""
    try:
        commit = _git("rev-parse", "HEAD")
        named = _git("config", "-z", "--name-only", "--list").split("\0")
        # Filters see the content of files that are compared; a key may hold any sign, which `-c` would take apart.
        filters = [key for key in dict.fromkeys(named) if key.startswith("filter.")]
        off = {"GIT_CONFIG_COUNT": str(len(filters))}
        for k, key in enumerate(filters):
            off |= {f"GIT_CONFIG_KEY_{k}": key, f"GIT_CONFIG_VALUE_{k}": ""}
        changes = _git("--no-optional-locks", "status", "--porcelain", "-uno", "--ignore-submodules=all", **off)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.strip() + "+" * bool(changes.strip())


def _git(*words: str, **more: str) -> str:
    environment = {**os.environ, **more}
    done = subprocess.run([*_GIT, *words], capture_output=True, text=True, timeout=5, check=True, env=environment)
    return done.stdout
