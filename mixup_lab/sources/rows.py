"""Rows of a table with the encoder that is learnt from the training rows: what all sources of tables share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.inputs.rows import TableEncoder, learn


def fitted(loaded: Loaded, names: Sequence[str], texts: Sequence[Sequence[str] | None], rows: np.ndarray) -> Loaded:
    """The same data with an encoder that is learnt from some rows of the train pool.

    Args:
        loaded: of a train pool in memory or mapped, (N, C) float32 with NaN for missing values.
        names: of the C columns.
        texts: for each column the texts of its codes 0, 1, ...; None: it holds numbers.
        rows: (n,) int64, the training rows.

    Raises:
        UserError: for a column with too many categories.
    """
    assert isinstance(loaded.train, ArrayPool)
    numbers = [k for k, column in enumerate(texts) if column is None]
    categories = {k: column for k, column in enumerate(texts) if column is not None}
    learnt = learn(loaded.train.inputs, rows, numbers, categories, names)
    return replace(loaded, encoder=TableEncoder(learnt, numbers, list(categories)))
