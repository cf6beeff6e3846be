"""Streams: reproducible, told apart by seed, purpose and index, and independent of the global generators."""

import itertools
import random

import numpy as np
import pytest
import torch

from mixup_lab.seeding import stream, torch_seed


def test_same_stream_same_numbers():
    assert (stream(0, "order", 3).random(8) == stream(0, "order", 3).random(8)).all()


def test_every_stream_is_another_one():
    keys = list(itertools.product(range(4), ["split", "weights", "order", "transform", "mixing"], range(4)))
    firsts = {float(stream(*key).random()) for key in keys}
    assert len(firsts) == len(keys)
    assert len({torch_seed(seed, purpose) for seed, purpose, _ in keys}) == 20


def test_global_generators_are_neither_read_nor_disturbed():
    states = np.random.get_state()[1].copy(), random.getstate(), torch.get_rng_state()
    first = stream(0, "mixing").random()
    assert (np.random.get_state()[1] == states[0]).all()
    assert random.getstate() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    torch.manual_seed(5)
    random.seed(5)
    assert stream(0, "mixing").random() == first


def test_negative_seed():
    with pytest.raises(ValueError, match="seed must be >= 0, got -1"):
        stream(-1, "order")
