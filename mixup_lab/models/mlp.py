"""A multi-layer perceptron: the model for tables, and the smallest one for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from mixup_lab.models.checks import check_at_least, check_dropout


class MLP(nn.Module):
    """Flatten, then linear - ReLU - dropout per hidden layer, then linear. `(B, ...)` to `(B, num_outputs)`.

    Args:
        input_shape: shape of one example, any number of axes.
        num_outputs: number of logits, >= 1.
        hidden: units of each hidden layer, each >= 1; empty gives a linear model.
        dropout: probability in [0, 1) of zeroing a hidden unit in training.
    """

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        num_outputs: int,
        hidden: Sequence[int] = (256, 256),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not input_shape or min(input_shape) < 1:
            raise ValueError(f"MLP takes a shape of positive sizes, got input_shape={tuple(input_shape)}")
        if any(units < 1 for units in hidden):
            raise ValueError(f"hidden must hold numbers of units >= 1, got {list(hidden)}")
        check_at_least("num_outputs", num_outputs, 1)
        check_dropout(dropout)

        layers: list[nn.Module] = []
        num_inputs = prod(input_shape)
        for units in hidden:
            layers.append(
                nn.Sequential(
                    nn.Linear(num_inputs, units),
                    nn.ReLU(inplace=True),
                    nn.Dropout(dropout) if dropout else nn.Identity(),
                )
            )
            num_inputs = units
        self.hidden = nn.Sequential(*layers)
        self.mixup_layers = tuple(f"hidden.{i}" for i in range(len(layers)))
        self.head = nn.Linear(num_inputs, num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """`(B, ...)` to logits `(B, num_outputs)`."""
        logits: Tensor = self.head(self.hidden(inputs.flatten(1)))
        return logits
