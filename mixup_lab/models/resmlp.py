"""A residual multi-layer perceptron for tables (Gorishniy et al., 2021, arXiv:2106.11959)."""

from collections.abc import Sequence

from torch import Tensor, nn

from mixup_lab.models.checks import check_at_least, check_flat, check_probability
from mixup_lab.models.layers import drop


class ResMLP(nn.Sequential):
    """Linear, then residual blocks, then BatchNorm - ReLU - linear: the ResNet of the paper, section 3.2.

    A block is x + dropout(linear(dropout(ReLU(linear(BatchNorm(x)))))). `(B, ...)` to `(B, num_outputs)`.

    Args:
        input_shape: shape of one example, any number of axes; it is flattened.
        width: of the residual stream, >= 1.
        depth: number of blocks, >= 1.
        expansion: units of the inner layer of a block, in units of `width`, > 0.
        dropout: probability in [0, 1) after the inner layer.
        residual_dropout: probability in [0, 1) at the end of each block.
    """

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        num_outputs: int,
        width: int = 128,
        depth: int = 3,
        expansion: float = 2.0,
        dropout: float = 0.1,
        residual_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        num_inputs = check_flat("ResMLP", input_shape, num_outputs)
        check_at_least(1, width=width, depth=depth)
        if not expansion * width >= 1:
            raise ValueError(f"expansion must leave at least one unit of width {width}, got {expansion}")
        check_probability(dropout=dropout, residual_dropout=residual_dropout)
        inner = int(expansion * width)
        self.flat = nn.Flatten()
        self.stem = nn.Linear(num_inputs, width)
        self.blocks = nn.Sequential(*(_Block(width, inner, dropout, residual_dropout) for _ in range(depth)))
        self.head = nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, num_outputs))
        self.mixup_layers = ("stem", *(f"blocks.{k}" for k in range(depth)))


class _Block(nn.Module):
    def __init__(self, width: int, inner: int, dropout: float, residual_dropout: float) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm1d(width),
            nn.Linear(width, inner),
            nn.ReLU(),
            drop(dropout),
            nn.Linear(inner, width),
            drop(residual_dropout),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        mixed: Tensor = inputs + self.residual(inputs)
        return mixed
