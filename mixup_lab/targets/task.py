"""The contract of a task: what the training loop asks of it, whatever the targets are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Task(Protocol):
    """One kind of problem. B: examples in the batch; `...`: what else a target or an output has.

    Metrics are made of what is kept of each example, so that batches of any size and order give the same value.
    A task may also have `normalize(output)` and `normalized_loss(normalized, target)`, which together are its `loss`:
    then the part of it that does not depend on the label is done once for both labels of a mixture.
    And `as_target(output)`, what an output says in the form of a target, if targets have a place in the picture: then
    both are drawn.
    """

    primary: str  # the metric that decides, evaluated on val and test
    maximize: bool

    @property
    def num_outputs(self) -> int:
        """How many outputs (channels, of a map) a model needs."""

    @property
    def num_classes(self) -> int | None:
        """How many classes there are; None where targets are no classes."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The training loss of each element, (B,) or (B, H, W). Never reduced: the loop mixes."""

    def train_sums(self, output: Tensor, target: Tensor, partner: Tensor, lam: Tensor) -> dict[str, Tensor]:
        """What is summed over the mixed examples of an epoch."""

    def train_scalars(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """What an epoch's sums are shown as; `sums["lam"]` (n,) has one number for each example."""

    def observe(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """What is kept of clean examples for metrics and for `predictions.npz`: each (B, ...)."""

    def mistakes(self, kept: dict[str, Tensor], names: Sequence[str], count: int) -> list[tuple[int, str]]:
        """At most `count` examples of what was kept on which the model is most wrong, the worst first.

        Each with its number and with what the model says of it in a few words; `names` are those of the kind.
        """

    def metrics(self, kept: dict[str, Tensor]) -> dict[str, float]:
        """All metrics of what was kept of a split, `loss` and `primary` among them."""
