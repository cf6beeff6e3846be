"""Random streams by purpose.

Every use of chance has its own stream, so two arms of one seed share all random numbers except those of mixing:
`split` (which examples), `weights` (initial weights), `order` (of the examples), `transform` (crops and flips),
`mixing` (lam and partners), `dropout`. A stream is a pure function of `(seed, purpose, index)`. With the epoch as the
index, resuming needs no saved state, and no stream depends on how much another one has drawn.
"""

import zlib

import numpy as np


def _entropy(seed: int, purpose: str, index: int) -> np.random.SeedSequence:
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")
    return np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), index])


def stream(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """The random generator for one purpose, and one epoch if `index` is given. Seed 0 is a seed like any other.

    >>> bool(stream(0, "order").integers(100) == stream(0, "order").integers(100))
    True
    """
    return np.random.default_rng(_entropy(seed, purpose, index))


def torch_seed(seed: int, purpose: str) -> int:
    """A seed in [0, 2**63) for torch's own generators, which initialise weights and draw dropout masks."""
    return int(_entropy(seed, purpose, 0).generate_state(1, np.uint64)[0] >> np.uint64(1))
