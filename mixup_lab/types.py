"""The types that cross every border of the package, and the errors that a user sees.

Shapes: `B` examples in a batch, `...` the shape of one example.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Inputs: TypeAlias = Any  # a tensor (B, ...), or a dict of such tensors
VOID = 255  # the label of pixels that are ignored


class Batch(NamedTuple):
    """Examples and their targets, on one device."""

    inputs: Inputs  # (B, ...)
    target: Tensor  # (B,) for classification: class indices, int64


class View(NamedTuple):
    """The part of a picture that an example (C, H, W) shows. Pixels are those of the file, upright."""

    size: tuple[int, int]  # width and height of the whole picture
    corner: tuple[float, float]  # left and top edge of the part, from the left and the top of the picture
    step: tuple[float, float]  # width and height of a pixel of the example


class Mixed(NamedTuple):
    """A batch after mixing. `lam` is the share of the sample's own input and own label; 1 means unmixed."""

    inputs: Inputs  # (B, ...)
    target: Tensor  # own labels
    partner: Tensor  # the labels of the samples mixed in
    lam: Tensor  # (B,) in [0, 1]; (B, H, W) where a mask decides for each pixel
    weight: Tensor | None = None  # (B,) of each example in the mean of the losses; None: all equal

    def loss(self, criterion: Callable[[Tensor, Tensor], Tensor], output: Tensor) -> Tensor:
        """`lam * L(output, own) + (1 - lam) * L(output, partner)`, the loss of each element, to be averaged.

        It equals cross-entropy with soft labels exactly, and has the gradient of the mixed target for the squared
        error; for the absolute error (L1) it is a different loss.

        Args:
            criterion: L, not reduced: (B, ...) of output and target, such as `nn.CrossEntropyLoss(reduction="none")`.
            output: of the model, (B, ...).

        Raises:
            ValueError: if the criterion reduces.
        """
        own, partner = criterion(output, self.target), criterion(output, self.partner)
        if own.dim() == 0:
            raise ValueError('the criterion reduces its losses to one; make it with reduction="none"')
        return self.weighted(partner.lerp(own, like(self.lam, own)))

    def weighted(self, loss: Tensor) -> Tensor:
        """The loss of each element (B, ...) times the weight of its example."""
        return loss if self.weight is None else loss * self.weight.reshape(-1, *[1] * (loss.dim() - 1))

    def pieces(self, count: int) -> Iterator[Mixed]:
        """The batch cut into `count` parts of nearly equal size; views, not copies."""
        fields = ([field] * count if field is None else field.tensor_split(count) for field in self)
        return (Mixed(*parts) for parts in zip(*fields, strict=True))

    def last(self, count: int) -> Mixed:
        """The last `count` rows: the mixed ones, if a method puts unmixed examples in front of them."""
        weight = None if self.weight is None else self.weight[-count:]
        return Mixed(self.inputs[-count:], self.target[-count:], self.partner[-count:], self.lam[-count:], weight)


def like(lam: Tensor, values: Tensor) -> Tensor:
    """`lam` in the dtype and with the dimensions of `values` (B, ...), to be multiplied with them.

    (B,) becomes (B, 1, ...); (B, H, W) becomes (B, 1, H, W) where the values have channels.
    """
    lam = lam.to(values.dtype)
    if lam.dim() == 1:
        return lam.reshape(-1, *[1] * (values.dim() - 1))
    return lam.unsqueeze(1) if values.dim() > lam.dim() else lam


class Labels(NamedTuple):
    """Properties of the targets that mixing methods depend on; every task has them."""

    num_classes: int | None = None  # None: targets are not classes
    averaged: bool = True  # whether a label between two labels exists; sets of boxes have none
    one_each: bool = True  # one label for each example; False where each pixel or each box has its own
    whole: bool = False  # whether labels stay true only if both inputs are whole in the mixture, as boxes do
    join: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None  # own, partner, lam -> both labels in one set


class Pool(ABC):
    """The examples of one of train, val and test. N: examples; `...`: the shape of one as it is stored."""

    target: np.ndarray  # (N, ...), as the kind of the targets has them: class indices (N,) int64, for example
    shape: tuple[int, ...]  # of every example, as it is stored: (C, H, W) for pictures
    # (N,) int64 for padded examples (L, ...), such as texts: values beyond the length are 0 and mean nothing, and
    # batches are made of similar lengths and trimmed. None: examples are not padded.
    lengths: np.ndarray | None = None
    # (N,) texts or whole numbers: examples of one group (a patient, a speaker) stay in one split, and are not
    # independent of each other. Equal groups of two pools are the same group. None: not known.
    groups: np.ndarray | None = None

    @property
    def paths(self) -> Sequence[str] | None:
        """The N files of the examples, below the root of the data. Default: None, examples are not files."""
        return None

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Memory of all examples, in bytes."""

    @abstractmethod
    def load(self) -> Tensor:
        """All examples, (N, ...): uint8 for pictures, channels_last is fastest. May take a while, with progress."""

    @abstractmethod
    def read(self, i: int) -> Tensor:
        """Example number `i`, (...), equal to `load()[i]`.

        Called in worker processes, which are forked on Linux: torch's transforms and matrix products (MKL) may wait for
        ever there, NumPy's do not.
        """

    def rows(self, rows: np.ndarray) -> Tensor:
        """Some examples, (n, ...), equal to `load()[rows]`. Default: read one by one."""
        import torch

        first = self.read(int(rows[0]))
        layout = torch.channels_last if first.dim() == 3 else torch.contiguous_format
        examples = torch.empty((len(rows), *first.shape), dtype=first.dtype, memory_format=layout)
        examples[0] = first
        for place, row in enumerate(rows[1:].tolist(), 1):
            examples[place] = self.read(row)
        return examples


class UserError(Exception):
    """A mistake that the user can fix: one sentence that names the key, the value and what is allowed.

    The command line prints only the sentence and exits with code 2.
    """


class RunFailed(Exception):
    """A run that ended badly and was recorded as failed, such as a loss that is not finite. Exit code 1."""


class Interrupted(KeyboardInterrupt):
    """A run that was asked to stop by a signal, and saved a checkpoint first. Exit code 128 + signum.

    `advice` is how a single run goes on; a study goes on in another way.
    """

    def __init__(self, signum: int, message: str, advice: str = "") -> None:
        super().__init__(signum, message, advice)  # all, so that it can be pickled on its way from another process
        self.signum, self.message, self.advice = signum, message, advice

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}" if self.advice else self.message
