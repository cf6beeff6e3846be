"""Rows of a table in memory are encoded once, ahead of training, if the result fits in memory too."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixup_lab.data.feeds import Feed, Resident
from mixup_lab.data.storage import SHARE, free_bytes
from mixup_lab.inputs.encoder import Encoder

CHUNK = 8192  # rows at a time


class Encoded(Encoder):
    """An encoder for rows that are already encoded: it returns them unchanged, and draws as their encoder does."""

    together = True

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.shape, self.noun = encoder.shape, encoder.noun

    def __call__(self, inputs: Tensor) -> Tensor:
        return inputs

    def draw(self, inputs: Tensor, box: int) -> np.ndarray:
        return self._encoder.draw(inputs, box)

    def legend(self) -> list[tuple[str, np.ndarray]]:
        return self._encoder.legend()

    def offers(self) -> dict[str, Any]:
        return self._encoder.offers()


def encode_ahead(feeds: Mapping[int, Feed], encoder: Encoder, device: torch.device) -> tuple[dict[int, Feed], Encoder]:
    """The feeds with encoded rows, and an encoder with nothing left to do; both unchanged if that is not possible.

    A training step of a small model takes about a millisecond, a fifth of which would go into encoding the batch.

    Args:
        feeds: of all pools.
        encoder: on the device.
        device: where the feeds are.
    """
    resident = {key: feed for key, feed in feeds.items() if isinstance(feed, Resident)}
    if len(resident) < len(feeds) or not encoder.together:
        return dict(feeds), encoder
    count = sum(len(feed.inputs) for feed in resident.values())
    needed, free = count * math.prod(encoder.shape) * torch.float32.itemsize, free_bytes(device)
    if free is not None and needed > SHARE * free:
        return dict(feeds), encoder
    done: dict[int, Feed] = {
        key: replace(feed, inputs=_encoded(feed.inputs, encoder)) for key, feed in resident.items()
    }
    return done, Encoded(encoder)


def _encoded(rows: Tensor, encoder: Encoder) -> Tensor:
    done = torch.empty((len(rows), *encoder.shape), device=rows.device)
    for start in range(0, len(rows), CHUNK):  # the whole table at once would need several times its size
        done[start : start + CHUNK] = encoder(rows[start : start + CHUNK])
    return done
