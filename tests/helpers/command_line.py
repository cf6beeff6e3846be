"""Running `mixup-lab` lines in the process of the tests; `processes.py` runs them in processes of their own."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mixup_lab import cli

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
