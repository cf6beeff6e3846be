"""A multi-layer perceptron: the model for tables, and the smallest one for pictures."""

from collections.abc import Sequence

from torch import nn

from mixup_lab.models.checks import check_flat, check_probability
from mixup_lab.models.layers import drop


class MLP(nn.Sequential):
    """Flatten, then linear - ReLU - dropout per hidden layer, then linear. `(B, ...)` to `(B, num_outputs)`.

    Args:
        input_shape: shape of one example, any number of axes.
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
        num_inputs = check_flat("MLP", input_shape, num_outputs)
        if any(units < 1 for units in hidden):
            raise ValueError(f"hidden must hold numbers of units >= 1, got {list(hidden)}")
        check_probability(dropout=dropout)
        layers: list[nn.Module] = []
        for units in hidden:
            layers.append(nn.Sequential(nn.Linear(num_inputs, units), nn.ReLU(inplace=True), drop(dropout)))
            num_inputs = units
        self.flat = nn.Flatten()
        self.hidden = nn.Sequential(*layers)
        self.mixup_layers = tuple(f"hidden.{i}" for i in range(len(layers)))
        self.head = nn.Linear(num_inputs, num_outputs)
