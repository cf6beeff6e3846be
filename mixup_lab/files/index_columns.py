"""Columns that number the rows of a table: they say where a row stands, not what it is."""

from collections.abc import Collection

import numpy as np

from mixup_lab.files.columns import Column
from mixup_lab.files.table import TableFile
from mixup_lab.pasting import word
from mixup_lab.types import UserError

FEWEST = 10  # rows, so that values in order are not chance
SPARSEST = 10  # rows of the whole table for each of these, at most: pandas keeps the numbers of rows that were chosen


def useless_columns(file: TableFile, named: Collection[str]) -> dict[str, str]:
    """Columns without a name of their own that are left out, and the reason: an index, or no values.

    The first rows tell: an index holds whole numbers from 0 on that all differ and are not far apart.

    Args:
        file: with the rows of train.
        named: columns that keys of `conf/dataset` name.

    Raises:
        UserError: for such a column with other values.
    """
    unnamed = [name for name in file.unnamed if name not in named]
    if not unnamed:
        return {}
    piece = next(file.pieces(skip=True, names=unnamed), None)
    found = {}
    for name in unnamed:
        place = file.names.index(name)
        column = Column(name, ("",))
        texts = piece.columns[place] if piece else ()
        column.decide(texts, ".")
        numbers, bad = column.convert(texts)
        if np.isnan(numbers).all() and column.kind is None:
            found[name] = "it has neither a name nor values"
        elif not bad and column.kind != "text" and _may_be_index(numbers):
            found[name] = "an index"
        else:
            raise UserError(
                f"{file.path}: column {place + 1} has no name, like an index, but holds other values; leave it out with"
                f" {word('dataset.drop', [name])}, or give it a name"
            )
    return found


def _may_be_index(numbers: np.ndarray) -> bool:
    """Whether (N,) are numbers of rows, all of them or a choice, in any order."""
    different = np.unique(numbers)  # NaN is last
    whole = bool((different == np.round(different)).all())
    return whole and len(different) == len(numbers) and 0 <= different[0] <= different[-1] <= SPARSEST * len(numbers)


def counts_rows(numbers: np.ndarray, dropped: int) -> bool:
    """Whether the numbers (N,) are whole and grow by 1 from row to row, but for rows that were left out."""
    steps = np.diff(numbers)
    return len(numbers) >= FEWEST and bool(
        (steps >= 1).all() and numbers[0] == round(float(numbers[0])) and (steps == np.round(steps)).all()
        and numbers[-1] - numbers[0] < len(numbers) + dropped
    )  # fmt: skip
