"""Convolutions over words (Kim: Convolutional Neural Networks for Sentence Classification, EMNLP 2014)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mixup_lab.models.checks import check_dropout
from mixup_lab.models.token_embedding import TokenEmbedding, check_tokens


class TextCNN(nn.Module):
    """Windows of 3, 4 and 5 words, 100 features of each, and of each feature the largest value in the text.

    The embedding is learnt from random vectors, Kim's "CNN-rand". As in his code a text has width - 1 empty places on
    both sides, so that every window with a word in it counts. The mask is one more channel of the convolution, in place
    of a bias: a window without words gives 0, which is the least that a ReLU gives, so padding changes nothing; and
    where Mixup leaves lam of a text alone, it leaves lam of its features. Kim's bound on the norm of the last layer's
    weights is left out.

    Args:
        input_shape: `(L,)`, tokens of the longest text.
        num_outputs: number of logits, >= 1.
        num_tokens: size of the vocabulary.
        embedding_dim: numbers of a word, >= 1.
        widths: words in a window, each >= 1.
        channels: features for each width, >= 1.
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
        widths: Sequence[int] = (3, 4, 5),
        channels: int = 100,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise ValueError(f"widths must hold numbers of words >= 1, got {list(widths)}")
        _, size = check_tokens(
            "TextCNN", input_shape, num_outputs, num_tokens, embedding_dim=embedding_dim, channels=channels
        )
        check_dropout(dropout)
        self.embedding = TokenEmbedding(size, embedding_dim)
        self.sentence = _Windows(embedding_dim + 1, widths, channels)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(len(widths) * channels, num_outputs))

    def forward(self, tokens: Tensor) -> Tensor:
        """`(B, L or less)` int64 to logits `(B, num_outputs)`."""
        logits: Tensor = self.head(self.sentence(self.embedding(tokens)))
        return logits


class _Windows(nn.Module):
    """`(B, L, D + 1)` to `(B, features)`."""

    def __init__(self, num_in: int, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.windows = nn.ModuleList(
            nn.Conv1d(num_in, channels, width, padding=width - 1, bias=False) for width in widths
        )

    def forward(self, embedded: Tensor) -> Tensor:
        along = embedded.transpose(1, 2)
        return torch.cat([window(along).amax(2) for window in self.windows], 1).relu()
