"""The choice of how steps are computed."""

import pytest
import torch
from helpers.trainings import QUIET, config_of

from mixup_lab.config.assemble import assemble
from mixup_lab.training import accelerate
from mixup_lab.types import UserError

TINY = (*QUIET, "dataset=fake", "dataset.shape=[3,8,8]", "model=small_cnn", "model.width=4")


def way(*words: str) -> str:
    return assemble(config_of(*TINY, *words), "fingerprint").accelerate


def test_on_a_cpu():
    assert way() == way("trainer.accelerate=auto") == "none"
    with pytest.raises(UserError, match=r"trainer\.accelerate=graph needs an NVIDIA GPU, and this run computes on cpu"):
        way("trainer.accelerate=graph")
    with pytest.raises(UserError, match="accelerate must be one of none, compile, graph, auto, got fast"):
        way("trainer.accelerate=fast")


def test_without_a_compiler_nothing_is_compiled(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    assert way("trainer.accelerate=compile") == "none"
    sentence = "trainer.accelerate=compile needs a C++ compiler, and none was found; nothing is compiled"
    assert sentence in capsys.readouterr().err
    program = tmp_path / "own-compiler"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))
    assert way("trainer.accelerate=compile") == "compile"
    assert accelerate._missing_compiler(torch.device("cuda")) == "C"
    monkeypatch.setenv("CC", str(program))
    assert accelerate._missing_compiler(torch.device("cuda")) is None
    assert accelerate._missing_compiler(torch.device("mps")) is None
    assert capsys.readouterr().err == ""
