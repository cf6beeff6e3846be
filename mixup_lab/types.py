"""The two types that cross every border of the package, and the one error that a user sees.

Shapes: `B` examples in a batch, `...` the shape of one example.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Batch(NamedTuple):
    """Examples and what they are to be answered with, on one device."""

    inputs: Tensor  # (B, ...)
    target: Tensor  # (B,) for classification: class indices, int64


class Mixed(NamedTuple):
    """A batch after mixing. `lam` is the share of the sample's own input and own label; 1 means unmixed.

    `lam` is a float tensor that broadcasts to the unreduced loss: `(B,)` as a rule.
    """

    inputs: Tensor  # (B, ...)
    target: Tensor  # own labels
    partner: Tensor  # the labels of the samples mixed in
    lam: Tensor  # (B,), in [0, 1]


class UserError(Exception):
    """A mistake that the user can mend: one sentence that names the key, the value and what is allowed.

    The command line prints the sentence alone and exits with code 2.
    """


class RunFailed(Exception):
    """A run that ended badly and was recorded as failed, such as a loss that is not finite. Exit code 1."""


class Interrupted(KeyboardInterrupt):
    """A run that was asked to stop by a signal, and saved a checkpoint first. Exit code 128 + signum."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(signum, message)  # both, so that it can be pickled on its way from another process
        self.signum = signum

    def __str__(self) -> str:
        return str(self.args[1])
