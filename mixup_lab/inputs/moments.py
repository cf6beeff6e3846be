"""Mean and standard deviation of each channel over the training split, for standardisation. Scale [0, 1]."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from mixup_lab.types import UserError

CHUNK = 512  # pictures at a time
SAMPLE = 10_000  # pictures that are read for the estimate when streaming; its error is below 1 %

Moments = tuple[tuple[float, ...], tuple[float, ...]]


def moments(batches: Iterator[Tensor], channels: int, advance: Callable[[int], None] = lambda done: None) -> Moments:
    """Exact mean and standard deviation per channel of uint8 pictures that come in batches (B, C, H, W).

    Values are counted in whole numbers, so neither order nor device matters. A constant channel gets the standard
    deviation 1.
    """
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for inputs in batches:
        for channel in range(channels):
            counts[channel] += torch.bincount(inputs[:, channel].flatten(), minlength=256).cpu()
        advance(len(inputs))
    mean, std = [], []
    for histogram in counts.tolist():
        n = sum(histogram)
        first = sum(value * count for value, count in enumerate(histogram))
        second = sum(value**2 * count for value, count in enumerate(histogram))
        variance = (n * second - first**2) / n**2  # exact up to the division: nothing cancels
        mean.append(first / n / 255)
        std.append(math.sqrt(variance) / 255 if variance > 0 else 1.0)
    return tuple(mean), tuple(std)


def spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the rows, evenly spread over all of them."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def checked(key: str, values: Sequence[float], channels: int) -> tuple[float, ...]:
    """The user's values for `dataset.mean` or `dataset.std`, one for each channel."""
    plural = "s" if channels > 1 else ""
    if len(values) != channels:
        raise UserError(f"dataset.{key} must have {channels} value{plural}, one for each channel, got {list(values)}")
    if not all(math.isfinite(v) for v in values) or (key == "std" and min(values) <= 0):
        kind = "numbers greater than 0" if key == "std" else "finite numbers"
        raise UserError(f"dataset.{key} must hold {kind} (for pixels on the scale [0, 1]), got {list(values)}")
    return tuple(float(v) for v in values)
