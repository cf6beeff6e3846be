"""A small transformer encoder over words (Vaswani et al., 2017), with the norm first (Xiong et al., 2020)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixup_lab.models.checks import check_at_least, check_probability, check_tokens
from mixup_lab.models.token_embedding import BOUND, TokenEmbedding, apart, masked_mean


class TextTransformer(nn.Sequential):
    """Learnt positions, transformer blocks, and the mean over the text: `(B, L or less)` int64 to `(B, num_outputs)`.

    All three are weighted by the mask m of each place: its position vector, its weight in the attention (log m is added
    to its score) and its weight in the mean are multiplied by m. So padding changes nothing.

    Args:
        input_shape: `(L,)`, tokens of the longest text.
        num_tokens: size of the vocabulary.
        width: length of the vector of a word, a multiple of `heads`.
        depth: blocks, >= 1.
        heads: of the attention, >= 1.
        dropout: probability in [0, 1), in training, of zeroing a value in the residual of a block, and a feature before
            the last layer.
    """

    mixup_layers = ("embedding", "sentence")

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        num_outputs: int,
        num_tokens: int | None = None,
        width: int = 128,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        length, size = check_tokens("TextTransformer", input_shape, num_outputs, num_tokens)
        check_at_least(1, width=width, depth=depth, heads=heads)
        if width % heads:
            raise ValueError(f"width must be a multiple of heads={heads}, got {width}")
        check_probability(dropout=dropout)
        self.embedding = TokenEmbedding(size, width)
        self.sentence = _Encoder(length, width, depth, heads, dropout)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, num_outputs))


class _Encoder(nn.Module):
    """`(B, L, width + 1)` to `(B, width)`."""

    def __init__(self, length: int, width: int, depth: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.empty(length, width).uniform_(-BOUND, BOUND))  # as large as those of words
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, embedded: Tensor) -> Tensor:
        x, mask = apart(embedded)
        x = x + self.positions[: x.shape[1]] * mask.unsqueeze(2)
        # The smallest number in place of 0 keeps a row without any token finite.
        score = mask.float().clamp_min(torch.finfo(torch.float32).tiny).log()[:, None, None, :]
        for block in self.blocks:
            x = block(x, score)
        return masked_mean(self.norm(x), mask)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, score: Tensor) -> Tensor:
        """`x` (B, L, width); `score` (B, 1, 1, L) is added to the attention score of each place."""
        query, key, value = self.query_key_value(self.norm(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=score.to(query.dtype))
        x = x + self.dropout(self.out(attended.transpose(1, 2).flatten(2)))
        fed: Tensor = self.dropout(self.narrow(F.gelu(self.wide(self.second_norm(x)))))
        return x + fed
