"""A bidirectional LSTM over words (Graves and Schmidhuber, 2005)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mixup_lab.models.checks import check_dropout
from mixup_lab.models.token_embedding import TokenEmbedding, apart, check_tokens, masked_mean


class BiLSTM(nn.Module):
    """One LSTM from the first word to the last and one from the last to the first; the mean of their outputs.

    The mean is weighed by the mask. The way back begins at the last place where the text, or the one mixed in, has a
    token, so that padding changes nothing.

    Args:
        input_shape: `(L,)`, tokens of the longest text.
        num_outputs: number of logits, >= 1.
        num_tokens: size of the vocabulary.
        embedding_dim: numbers of a word, >= 1.
        hidden: units of each direction, >= 1.
        dropout: probability in [0, 1) of zeroing a feature before the last layer in training.
    """

    mixup_layers = ("embedding", "sentence")

    def __init__(
        self,
        *,
        input_shape: Sequence[int],
        num_outputs: int,
        num_tokens: int | None = None,
        embedding_dim: int = 300,
        hidden: int = 128,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        _, size = check_tokens(
            "BiLSTM", input_shape, num_outputs, num_tokens, embedding_dim=embedding_dim, hidden=hidden
        )
        check_dropout(dropout)
        self.embedding = TokenEmbedding(size, embedding_dim)
        self.sentence = _BothWays(embedding_dim, hidden)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * hidden, num_outputs))

    def forward(self, tokens: Tensor) -> Tensor:
        """`(B, L or less)` int64 to logits `(B, num_outputs)`."""
        logits: Tensor = self.head(self.sentence(self.embedding(tokens)))
        return logits


class _BothWays(nn.Module):
    """`(B, L, D + 1)` to `(B, 2 * hidden)`."""

    def __init__(self, num_in: int, hidden: int) -> None:
        super().__init__()
        self.there = nn.LSTM(num_in, hidden, batch_first=True)
        self.back = nn.LSTM(num_in, hidden, batch_first=True)

    def forward(self, embedded: Tensor) -> Tensor:
        vectors, mask = apart(embedded)
        there = self.there(vectors)[0]
        back = backwards(self.back(backwards(vectors, mask))[0], mask)
        return masked_mean(torch.cat([there, back], 2), mask)


def backwards(values: Tensor, mask: Tensor) -> Tensor:
    """Each text in the reverse order of its words, padding where it was: (B, L, F), (B, L) to (B, L, F)."""
    place = torch.arange(mask.shape[1], device=mask.device)
    end = (mask > 0).sum(1, keepdim=True)
    turned = torch.where(place < end, end - 1 - place, place)
    return values.gather(1, turned.unsqueeze(2).expand_as(values))
