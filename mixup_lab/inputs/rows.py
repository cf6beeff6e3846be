"""The encoder of table rows, learnt from the training rows alone.

Numbers are imputed by their median and standardised; a column with missing values in the training rows has a flag of
its own. A category becomes a one-hot vector with one place for each category of the training rows, and one more,
"other", for missing values and for categories that these rows do not have.

What mixing means here: everything is a vector, so Mixup interpolates it. A linear layer maps a mixed one-hot vector to
the mixture of the two embeddings, `W (lam a + (1 - lam) b) = lam W a + (1 - lam) W b`: mixing one-hot vectors is mixing
embeddings.

B: rows in a batch, C: columns as they are stored, F: values of an encoded row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixup_lab.inputs.coordinates import draw_rows, legend
from mixup_lab.inputs.encoder import Encoder
from mixup_lab.pasting import word
from mixup_lab.types import UserError

MOST = 1000  # categories of one column


@dataclass(frozen=True)
class Learnt:
    """Statistics of the columns over the training rows.

    For the numeric columns, float32 (numbers,): `median` replaces missing values; `mean` and `scale`, one over the
    standard deviation, hold after that, and `scale` is 0 for a constant column. `flagged` are the indices of those
    with missing values. `slots`: for each category column the place in its one-hot vector of a missing value, then of
    the codes 0, 1, ...; `widths` are the lengths of these vectors.
    """

    median: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    flagged: np.ndarray
    slots: tuple[np.ndarray, ...]
    widths: tuple[int, ...]


def learn(
    values: np.ndarray, rows: np.ndarray, numbers: Sequence[int], categories: dict[int, Sequence[str]],
    names: Sequence[str],
) -> Learnt:  # fmt: skip
    """Learn from some rows of a table (N, C). Raises UserError if a column has too many categories."""
    statistics = np.array([_moments(values[rows, j]) for j in numbers], dtype=np.float64).reshape(-1, 4)
    slots, widths = [], []
    for j, texts in categories.items():
        codes = values[rows, j]
        counts = np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=len(texts))
        seen = sorted(np.flatnonzero(counts).tolist(), key=lambda code: texts[code])
        if len(seen) > MOST:
            raise UserError(
                f"column {names[j]} has {len(seen):,} categories in the training rows, more than {MOST:,};"
                f" leave it out with {word('dataset.drop', [names[j]])}"
            )
        slot = np.full(1 + len(texts), len(seen), dtype=np.int64)
        slot[1 + np.array(seen, dtype=np.int64)] = np.arange(len(seen))
        slots.append(slot)
        widths.append(len(seen) + 1)
    with np.errstate(over="ignore"):
        median, mean, scale, missing = statistics.T.astype(np.float32)
    for j, one in zip(numbers, scale.tolist(), strict=True):
        if not np.isfinite(one):
            raise UserError(f"the numbers of column {names[j]} differ by less than float32 can hold; change their unit")
    return Learnt(median, mean, scale, np.flatnonzero(missing), tuple(slots), tuple(widths))


def _moments(column: np.ndarray) -> tuple[float, float, float, bool]:
    """Median, mean and 1 / std after imputation, and whether values are missing."""
    missing = np.isnan(column)
    present = column[~missing] if missing.any() else column
    if not len(present):
        return 0.0, 0.0, 0.0, True
    median = float(np.median(present))
    low, high = float(present.min()), float(present.max())
    if low == high:  # not by the variance: the mean of equal numbers may be off by rounding
        return median, median, 0.0, bool(missing.any())
    full = np.where(missing, np.float32(median), column).astype(np.float64)
    mean = full.mean()
    full -= mean
    full *= full
    return median, float(mean), float(1 / np.sqrt(full.mean())), bool(missing.any())


class TableEncoder(Encoder):
    """Stored (B, C) float32 to encoded (B, F) float32: numbers, then flags of missing values, then one-hot vectors.

    Args:
        learnt: from the training rows.
        numbers: indices of the stored columns that hold numbers.
        categories: indices of those that hold codes of categories.
        columns: about each stored column, in plain values; for `about` alone.
        device: where batches will be.
    """

    noun = "rows of a table"
    together = True

    def __init__(
        self,
        learnt: Learnt,
        numbers: Sequence[int],
        categories: Sequence[int],
        columns: Sequence[dict[str, object]] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        self._made_of = learnt, numbers, categories, columns
        self._columns = columns
        self._flags = len(learnt.flagged)
        self.blocks: tuple[int, ...] = (1,) * (len(numbers) + self._flags) + learnt.widths
        self.shape = (sum(self.blocks),)
        with torch.device(device):
            self._numbers = None if list(numbers) == list(range(len(numbers))) else torch.tensor(numbers)
            self._mean, self._scale = torch.tensor(learnt.mean), torch.tensor(learnt.scale)
            self._filled = (torch.tensor(learnt.median) - self._mean) * self._scale
            self._flagged = torch.tensor(learnt.flagged)
            self._codes = torch.tensor(categories)
            # One table for all category columns: where the codes of each begin in it, and the place of each code.
            starts = np.cumsum([0, *map(len, learnt.slots)])
            offsets = np.cumsum([0, *learnt.widths])
            self._first = torch.tensor(starts[:-1] + 1, dtype=torch.float32)
            self._places = torch.tensor(
                np.concatenate([np.zeros(0, np.int64), *(s + o for s, o in zip(learnt.slots, offsets, strict=False))])
            )
        self._count, self._hot = len(numbers), int(offsets[-1])

    def to(self, device: torch.device) -> TableEncoder:
        return TableEncoder(*self._made_of, device)

    def __call__(self, inputs: Tensor) -> Tensor:
        """A few operations of fixed shape, whatever the values."""
        raw = inputs[:, : self._count] if self._numbers is None else inputs.index_select(1, self._numbers)
        missing = raw.isnan()
        numbers = torch.where(missing, self._filled, raw.sub(self._mean).mul_(self._scale))
        if not (self._flags or self._hot):
            return numbers
        parts = [numbers]
        if self._flags:
            parts.append(missing.index_select(1, self._flagged).float())
        if self._hot:
            codes = inputs.index_select(1, self._codes).nan_to_num_(-1.0).add_(self._first).long()
            hot = inputs.new_zeros(inputs.shape[0], self._hot)  # not len(): an exported program takes any number
            parts.append(hot.scatter_(1, self._places[codes], 1.0))
        return torch.cat(parts, 1)

    def offers(self) -> dict[str, tuple[int, ...]]:
        """`blocks`: how many values of a row belong to each column, numbers first."""
        return {"blocks": self.blocks}

    def about(self) -> dict[str, object]:
        """`columns`: `name` of each, and `categories`, the texts of its codes 0, 1, ..., or None if it holds numbers.

        `spelling` and `offset`, a number to be subtracted, are there for numbers that are not stored as they are.
        """
        return {"columns": list(self._columns)}

    def draw(self, inputs: Tensor, box: int) -> np.ndarray:
        """Each row as a line over its columns, with bars for flags and one-hot vectors: uint8 (n, box, box, 3)."""
        bars = self.blocks[self._count :]
        return draw_rows(inputs.float().cpu().numpy(), self._count, bars, box)

    def legend(self) -> list[tuple[str, np.ndarray]]:
        return legend(self._count, self.blocks[self._count :])
