"""Read the headers of files in threads, cache them, and report files that cannot be used."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

import numpy as np

from mixup_lab.files.cache import Cache
from mixup_lab.files.keys import SKIP_HINT
from mixup_lab.files.threads import in_threads
from mixup_lab.notices import say
from mixup_lab.types import UserError

T = TypeVar("T")
SHOWN = 3  # problems in the line that reports them all


@dataclass
class Problems:
    """Files, boxes and the like that cannot be used: the first raises an error, or all are left out and counted."""

    skip: bool
    sentences: list[str] = field(default_factory=list)

    def meet(self, sentence: str) -> None:
        """Raise UserError, or count one more thing that is left out."""
        sentence = sentence.removesuffix(SKIP_HINT)
        if not self.skip:
            raise UserError(sentence + SKIP_HINT)
        self.sentences.append(sentence)

    def report(self, things: str) -> int:
        """Return how many were left out, and report them in one line, if any."""
        if self.sentences:
            shown = "; ".join(self.sentences[:SHOWN]) + "; ..." * (len(self.sentences) > SHOWN)
            say(f"{len(self.sentences)} {things} are left out: {shown}")
        return len(self.sentences)


def read_headers(
    splits: Mapping[str, Sequence[T]],
    read: Callable[[T], Sequence[float]],
    problems: Problems,
    cache: Cache,
    title: str,
    version: str,
) -> dict[str, np.ndarray]:
    """For each split an array (N, K) of the headers of its N items; unusable items have rows of 0.

    Args:
        splits: items, such as paths.
        read: returns K numbers, the first greater than 0, or raises UserError for an unusable item.
        problems: collects unusable items; without `skip` the first one raises.
        cache: keeps the headers; those of unusable items are read again.
        title: of the progress display.
        version: of everything that a header depends on.
    """
    items = list(chain.from_iterable(splits.values()))

    def one(i: int) -> Sequence[float] | UserError:
        try:
            return read(items[i])
        except UserError as error:
            if not problems.skip:
                problems.meet(str(error))  # raises, so that no more files are read
            return error

    name = f"headers-{'decoded' if problems.skip else 'seen'}-{version}"
    table = cache.read(name)
    if table is None:
        headers = dict(enumerate(in_threads(one, len(items), title)))
    else:
        headers = {i: one(i) for i in np.flatnonzero(table[:, 0] == 0).tolist()}
    for header in headers.values():
        if isinstance(header, UserError):
            problems.meet(str(header))
    if table is None:
        width = max((len(header) for header in headers.values() if not isinstance(header, UserError)), default=1)
        rows = [[0] * width if isinstance(header, UserError) else header for header in headers.values()]
        table = np.array(rows, dtype=None if rows else np.int64).reshape(-1, width)
        cache.write(name, table)
    ends = np.cumsum([len(split) for split in splits.values()])[:-1]
    return dict(zip(splits, np.split(table, ends), strict=True))
