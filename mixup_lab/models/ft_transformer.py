"""FT-Transformer: a transformer over the features of a row (Gorishniy et al., 2021, section 3.3).

B: examples in a batch, F: values of an encoded row, K: features, D: width of a token.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixup_lab.models.checks import check_at_least, check_probability
from mixup_lab.models.layers import drop


class FTTransformer(nn.Module):
    """A token for each feature and a [CLS] token, pre-norm transformer layers, and a head that reads [CLS].

    As in the paper: no first norm in the first layer, ReGLU in the feed-forward part, head LayerNorm - ReLU - linear.
    Their default is width 192, depth 3, heads 8; ours is a third as wide, for tables of a few thousand rows on a CPU.

    Args:
        input_shape: `(F,)`.
        blocks: widths of the features within a row, which sum to F: 1 for a number, k for a one-hot vector of k
            categories. None: each value is a feature.
        width: D, a multiple of `heads`.
        depth: number of layers, >= 1.
        heads: of the attention, >= 1.
        ffn_factor: units of the feed-forward part in units of D, > 0.
        attention_dropout: probability in [0, 1) of dropping an attention weight.
        ffn_dropout: probability in [0, 1) within the feed-forward part.
        residual_dropout: probability in [0, 1) at the end of each part.
    """

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        num_outputs: int,
        blocks: Sequence[int] | None = None,
        width: int = 64,
        depth: int = 3,
        heads: int = 8,
        ffn_factor: float = 4 / 3,
        attention_dropout: float = 0.2,
        ffn_dropout: float = 0.1,
        residual_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(input_shape) != 1 or min(input_shape) < 1:
            raise ValueError(f"FTTransformer takes the rows of a table (F,), got input_shape={tuple(input_shape)}")
        blocks = (1,) * input_shape[0] if blocks is None else tuple(blocks)
        if min(blocks) < 1 or sum(blocks) != input_shape[0]:
            raise ValueError(f"blocks must be numbers >= 1 that sum to {input_shape[0]}, got {blocks}")
        check_at_least(1, num_outputs=num_outputs, width=width, depth=depth, heads=heads)
        if width % heads:
            raise ValueError(f"width must be a multiple of heads ({heads}), got {width}")
        if not ffn_factor * width >= 1:
            raise ValueError(f"ffn_factor must leave at least one unit of width {width}, got {ffn_factor}")
        check_probability(
            attention_dropout=attention_dropout, ffn_dropout=ffn_dropout, residual_dropout=residual_dropout
        )
        inner = int(ffn_factor * width)
        self.tokens = Tokens(blocks, width)
        dropouts = (attention_dropout, ffn_dropout, residual_dropout)
        self.layers = nn.Sequential(*(_Layer(width, heads, inner, dropouts, norm=k > 0) for k in range(depth)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, num_outputs))
        self.mixup_layers = ("tokens", *(f"layers.{k}" for k in range(depth)))

    def forward(self, inputs: Tensor) -> Tensor:
        """`(B, F)` to outputs `(B, num_outputs)`."""
        outputs: Tensor = self.head(self.layers(self.tokens(inputs))[:, 0])
        return outputs


class Tokens(nn.Module):
    """[CLS], `bias + value * weight` for each number, `bias + one-hot @ weights` for each category: (B, 1 + K, D).

    A mixed one-hot vector gives the mixture of the embeddings. Numbers come before categories.

    Args:
        blocks: widths of the features, K of them.
        width: D.
    """

    def __init__(self, blocks: Sequence[int], width: int) -> None:
        super().__init__()
        bound = width**-0.5
        self.weight = nn.Parameter(torch.empty(sum(blocks), width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(len(blocks), width).uniform_(-bound, bound))
        self.cls = nn.Parameter(torch.empty(1, 1, width).uniform_(-bound, bound))
        starts = torch.tensor([0, *blocks]).cumsum(0).tolist()
        spans = [(start, start + size) for start, size in zip(starts, blocks, strict=False)]
        self._numbers = [start for start, end in spans if end - start == 1]
        self._categories = [(start, end) for start, end in spans if end - start > 1]
        self._leading = self._numbers == list(range(len(self._numbers)))

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, F) to (B, 1 + K, D)."""
        which = slice(len(self._numbers)) if self._leading else self._numbers
        parts = [inputs[:, which, None] * self.weight[which]]
        parts += [(inputs[:, start:end] @ self.weight[start:end]).unsqueeze(1) for start, end in self._categories]
        features = torch.cat(parts, 1) + self.bias
        return torch.cat([self.cls.expand(inputs.shape[0], -1, -1).to(features.dtype), features], 1)


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, dropouts: tuple[float, float, float], norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout, ffn_dropout, residual_dropout = dropouts
        self.norm1 = nn.LayerNorm(width) if norm else nn.Identity()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * inner)
        self.down = nn.Linear(inner, width)
        self.ffn_dropout = drop(ffn_dropout)
        self.residual_dropout = drop(residual_dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.residual_dropout(self._attend(self.norm1(tokens)))
        value, gate = self.up(self.norm2(tokens)).chunk(2, -1)
        output: Tensor = tokens + self.residual_dropout(self.down(self.ffn_dropout(value * F.relu(gate))))
        return output

    def _attend(self, tokens: Tensor) -> Tensor:
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        dropout = self.attention_dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        output: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return output
