"""Precision, and what is recorded of a GPU, as far as a machine without one can show it."""

import warnings
from contextlib import nullcontext

import pytest
import torch
from helpers.cases import each

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
    assert isinstance(made.autocast(), nullcontext)
    assert not made.scaler.is_enabled()
    assert flags() == before, "flags of NVIDIA GPUs are not touched"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Precision("fp32", CPU)


@each(
    "name, turns, gpus, expected",
    [
        ("auto", 5, 2, ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]),
        ("cuda", 4, 3, ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]),
        ("cuda:1", 3, 2, ["cuda:1"] * 3),
        ("cpu", 2, 2, ["cpu"] * 2),
        ("auto", 2, 1, ["auto"] * 2),
        ("auto", 2, 0, ["auto"] * 2),
        ("cuda", 2, 0, ["cuda"] * 2),  # an error of its own
    ],
)
def test_runs_that_see_every_gpu_take_them_in_turn(name, turns, gpus, expected):
    assert [devices.spread(name, turn, gpus) for turn in range(turns)] == expected


GIB, MIB = 2**30, 2**20


@each(
    "name, free, total, sentence",
    [
        ("cuda:0", 120 * MIB, 80 * GIB, "trainer.device=cuda:0 has only 120 MiB of 80.0 GiB free: other programs use"),
        (
            "auto",
            0,
            24 * GIB,
            "trainer.device=auto is cuda:0, which has only 0 MiB of 24.0 GiB free: other programs use",
        ),
        ("cuda", 0, 0, "trainer.device=cuda is cuda:0, which cannot be opened: other programs use all of it; end them"),
        ("cuda:0", 256 * MIB - 1, 2 * GIB, "trainer.device=cuda:0 has only 256 MiB of 2.0 GiB free"),
        ("cuda:0", 256 * MIB, 2 * GIB, None),
        ("auto", 79 * GIB, 80 * GIB, None),
    ],
)
def test_a_gpu_that_others_fill_is_one_sentence(name, free, total, sentence):
    said = devices.no_room(name, torch.device("cuda", 0), free, total)
    assert said is None if sentence is None else said.startswith(sentence)


def test_words_of_cuda_for_a_gpu_that_cannot_be_opened():
    for words in ("CUDA error: out of memory", "CUDA error: CUDA-capable device(s) is/are busy or unavailable"):
        assert devices.TAKEN.search(words)
    assert not devices.TAKEN.search("CUDA error: device-side assert triggered")


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
