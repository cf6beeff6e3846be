"""Convolutions over words (Kim: Convolutional Neural Networks for Sentence Classification, EMNLP 2014)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mixup_lab.models.checks import check_at_least, check_probability, check_tokens
from mixup_lab.models.token_embedding import TokenEmbedding


class TextCNN(nn.Sequential):
    """The largest value of each feature over windows of 3, 4 and 5 words: `(B, L or less)` int64 to `(B, num_outputs)`.

    The embedding is learnt from random vectors, Kim's "CNN-rand". As in his code, each text is padded by width - 1
    places on both sides, so that there is a window for each overlap with the text. The mask is one more channel of the
    convolution, instead of a bias: a window without words gives 0, the minimum of a ReLU, so padding changes nothing;
    and where Mixup mixes words with padding, it multiplies their features by lam. Kim's bound on the norm of the last
    layer's weights is left out.

    Args:
        input_shape: `(L,)`, tokens of the longest text.
        num_tokens: size of the vocabulary.
        embedding_dim: length of the vector of a word, >= 1.
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
        _, size = check_tokens("TextCNN", input_shape, num_outputs, num_tokens)
        check_at_least(1, embedding_dim=embedding_dim, channels=channels)
        check_probability(dropout=dropout)
        self.embedding = TokenEmbedding(size, embedding_dim)
        self.sentence = _Windows(embedding_dim + 1, widths, channels)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(len(widths) * channels, num_outputs))


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
