"""A bidirectional LSTM over words (Graves and Schmidhuber, 2005)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mixup_lab.models.checks import check_at_least, check_probability, check_tokens
from mixup_lab.models.token_embedding import TokenEmbedding, apart, masked_mean


class BiLSTM(nn.Sequential):
    """The mean over words of a forward and a backward LSTM: `(B, L or less)` int64 to `(B, num_outputs)`.

    The mean is weighted by the mask. The backward LSTM begins at the last token, in a mixture that of the longer text,
    so padding changes nothing.

    Args:
        input_shape: `(L,)`, tokens of the longest text.
        num_tokens: size of the vocabulary.
        embedding_dim: length of the vector of a word, >= 1.
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
        _, size = check_tokens("BiLSTM", input_shape, num_outputs, num_tokens)
        check_at_least(1, embedding_dim=embedding_dim, hidden=hidden)
        check_probability(dropout=dropout)
        self.embedding = TokenEmbedding(size, embedding_dim)
        self.sentence = _BothWays(embedding_dim, hidden)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * hidden, num_outputs))


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
    """Each text with its words in reverse order, padding still at the end: (B, L, F), (B, L) to (B, L, F)."""
    place = torch.arange(mask.shape[1], device=mask.device)
    end = (mask > 0).sum(1, keepdim=True)
    turned = torch.where(place < end, end - 1 - place, place)
    return values.gather(1, turned.unsqueeze(2).expand_as(values))
