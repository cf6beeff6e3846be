"""Running `mixup-lab` lines in tests: in this process where nothing is trained, else in one of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mixup_lab import cli

CHECKOUT = Path(__file__).resolve().parents[2]
Line = Callable[..., tuple[int, str, str]]


def in_this_process(patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> Line:
    """A function that runs a line in `folder` and gives its exit code, stdout and stderr."""
    patch.chdir(folder)
    patch.setattr(sys, "path", list(sys.path))
    patch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    patch.delenv("HYDRA_FULL_ERROR", raising=False)

    def line(*words: str) -> tuple[int, str, str]:
        code = cli.main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return line


def process(*words: str, cwd: Path, script: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a line in a process of its own; `script` is Python code to run in place of the program."""
    start = ["-c", script] if script else ["-m", "mixup_lab"]
    return subprocess.run(
        [sys.executable, *start, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
