"""Fixtures of all tests."""

import os

import pytest
import torch
from helpers.trainings import Training


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Tests share the machine; results of one CPU thread repeat bit for bit."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture
def train(tmp_path):
    """`train("aug=mixup", ...)` trains in a fresh directory and returns the finished Training."""

    def run(*overrides: str, name: str | None = None) -> Training:
        training = Training(tmp_path / (name or f"run{len(list(tmp_path.iterdir()))}"), *overrides)
        training.scalars = training.run()
        return training

    return run
