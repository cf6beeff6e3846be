"""Precision, and what is recorded of a GPU, as far as a machine without one can show it."""

import warnings

import pytest
import torch

from mixup_lab.training import device as devices
from mixup_lab.training.device import Precision, allow_tf32, gpu_versions

CPU = torch.device("cpu")
PARTS = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)


@pytest.fixture
def flags():
    before = [part.fp32_precision for part in PARTS]
    yield lambda: [part.fp32_precision for part in PARTS]
    for part, value in zip(PARTS, before, strict=True):
        part.fp32_precision = value


def test_fp32_is_in_full_everywhere_and_tf32_is_too(flags):
    allow_tf32(True)
    assert flags() == ["tf32"] * 3
    allow_tf32(False)
    assert flags() == ["ieee"] * 3


def test_tf32_on_a_cpu_is_fp32_and_says_so(flags):
    before = flags()
    with pytest.warns(UserWarning, match="^trainer.precision=tf32: cpu has no tf32 arithmetic, it will be the same as"):
        made = Precision("tf32", CPU)
    assert (made.dtype, made.scaler.is_enabled()) == (torch.float32, False)
    assert flags() == before, "flags of NVIDIA GPUs are not touched"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Precision("fp32", CPU)


def test_versions_of_a_gpu(tmp_path, monkeypatch):
    assert gpu_versions(CPU) == {}
    file = tmp_path / "version"
    file.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.133.20  Sun Mar 30 04:20:14 UTC 2025\nGCC 12.3\n"
    )
    monkeypatch.setattr(devices, "DRIVER", file)
    found = gpu_versions(torch.device("cuda", 0))
    assert found["driver"] == "570.133.20"
    assert found["cuda"] == str(torch.version.cuda)
    monkeypatch.setattr(devices, "DRIVER", tmp_path / "no")
    assert set(gpu_versions(torch.device("cuda", 0))) == {"cuda", "cudnn"}
