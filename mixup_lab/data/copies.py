"""Examples that occur more than once: a copy of a training example in val or test flatters every arm."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mixup_lab.seeding import stream

LARGEST = 2**28  # bytes of examples that are compared, in about a quarter of a second
CHUNK = 2**22  # numbers at a time


class Copies(NamedTuple):
    """How often examples occur again."""

    in_train: dict[str, int]  # of val and of test, the examples that train has too
    again: int  # of all examples of the three splits, those that are equal to an earlier one
    sizes: dict[str, int]  # of the splits

    def note(self, same: bool) -> str | None:
        """A sentence, if there are any in val or test; `same`: the splits are the same in every run of a study.

        Where they differ the sentence is about the data as a whole, so that all runs have the same one.
        """
        if not any(self.in_train.values()):
            return None
        if not same:
            where = f"copies of other examples: {self.again:,} of {sum(self.sizes.values()):,}"
            return f"{where}; those in val or test whose other is in train flatter every arm"
        both = " and ".join(
            f"{k:,} of {self.sizes[split]:,} {split} examples" for split, k in self.in_train.items() if k
        )
        if sum(self.in_train.values()) == 1:
            return f"{both} occurs in train too: it flatters every arm"
        return f"{both} occur in train too: they flatter every arm"


def count_copies(inputs: Mapping[str, Tensor], rows: Mapping[str, np.ndarray]) -> Copies | None:
    """Compare the examples of train, val and test as they are stored; None if they are too many.

    Args:
        inputs: for each split the examples (N, ...) of its pool; splits may share one.
        rows: for each split those that are in it.
    """
    unique = {id(tensor): tensor for tensor in inputs.values()}
    if sum(tensor.nbytes for tensor in unique.values()) > LARGEST:
        return None
    hashed = {key: hashes(tensor) for key, tensor in unique.items()}
    found = {split: hashed[id(inputs[split])][ids] for split, ids in rows.items()}
    in_train = {split: int(np.isin(found[split], found["train"]).sum()) for split in ("val", "test")}
    every = np.concatenate(list(found.values()))
    return Copies(in_train, len(every) - len(np.unique(every)), {split: len(ids) for split, ids in rows.items()})


def hashes(inputs: Tensor) -> np.ndarray:
    """A number for each example (N, ...) of any dtype: int64 (N,), the same for equal examples.

    It is the sum of all 32-bit words times random 64-bit numbers. Two different examples have the same one with a
    probability of at most 2^-33, nearly always of 2^-64.
    """
    count = _words(inputs[:1]).shape[1]
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    factors = torch.from_numpy(stream(0, "copies").integers(low, high, count) | 1).to(inputs.device)
    parts = torch.split(inputs, max(1, CHUNK // count))
    sums: np.ndarray = torch.cat([(_words(part).long() * factors).sum(1) for part in parts]).cpu().numpy()
    return sums


def _words(inputs: Tensor) -> Tensor:
    """The memory of each example as whole numbers (N, words)."""
    flat = inputs.flatten(1).contiguous()
    octets = flat.view(torch.uint8)
    return octets if octets.shape[1] % 4 else octets.view(torch.int32)
