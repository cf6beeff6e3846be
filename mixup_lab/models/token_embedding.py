"""The first layer of all text models: from token ids to vectors, with a mask that is mixed like them."""

import torch
from torch import Tensor, nn

PADDING, UNKNOWN = 0, 1  # ids of places after the end of a text, and of tokens outside the vocabulary
BOUND = 0.25  # of the initial weights, as for words without a word2vec vector in Kim (2014)


class TokenEmbedding(nn.Module):
    """Token ids (B, L) to (B, L, D + 1): a vector for each token, zero for padding, and the mask as the last channel.

    The mask is 1 for a token of the text and 0 for padding. It is a part of the output, so Mixup mixes it too: it
    becomes lam where only the own text has a token, 1 - lam where only the partner has one. Pooling and attention are
    weighted by it. The vector of unknown tokens begins at zero and stays there if the training split has none.

    Args:
        num_tokens: ids of the vocabulary, padding and unknown included, >= 3.
        dim: D, >= 1.
    """

    def __init__(self, num_tokens: int, dim: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(num_tokens, dim, padding_idx=PADDING)
        nn.init.uniform_(self.vectors.weight, -BOUND, BOUND)
        with torch.no_grad():
            self.vectors.weight[[PADDING, UNKNOWN]] = 0.0

    def forward(self, tokens: Tensor) -> Tensor:
        """`(B, L)` int64 to `(B, L, D + 1)`."""
        vectors = self.vectors(tokens)
        return torch.cat([vectors, (tokens != PADDING).unsqueeze(2).to(vectors.dtype)], 2)


def apart(embedded: Tensor) -> tuple[Tensor, Tensor]:
    """Split the output into vectors (B, L, D) and mask (B, L); the mask gets no gradient."""
    return embedded[..., :-1], embedded[..., -1].detach()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over the text, weighted by the mask: (B, L, F), (B, L) to (B, F)."""
    weight = mask.to(values.dtype).unsqueeze(1)
    total = torch.bmm(weight, values).squeeze(1)
    return total / weight.sum(2).clamp_min(1.0)  # a text has at least one token
