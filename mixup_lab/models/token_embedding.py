"""The first layer of all models of texts: from token ids to vectors, with a mask that mixes as they do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mixup_lab.models.checks import check_at_least

PADDING, UNKNOWN = 0, 1  # ids: behind the end of a text; not in the vocabulary
BOUND = 0.25  # of the initial weights, the same for words that word2vec does not have in Kim (2014)


class TokenEmbedding(nn.Module):
    """Token ids (B, L) to (B, L, D + 1): a vector for each token, zero for padding, and the mask as the last channel.

    The mask is 1 for a token of the text and 0 for padding. Since it is a part of the output, Mixup mixes it too: where
    the own text alone has a token it becomes lam, where the partner alone has one 1 - lam. Whoever pools or attends
    weighs by it. Tokens that are not in the vocabulary begin at zero: where training has none they say nothing.

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
    """Vectors (B, L, D) and mask (B, L); the mask takes no gradient."""
    return embedded[..., :-1], embedded[..., -1].detach()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over the text, each place weighed by the mask: (B, L, F), (B, L) to (B, F)."""
    weight = mask.to(values.dtype).unsqueeze(1)
    total = torch.bmm(weight, values).squeeze(1)
    return total / weight.sum(2).clamp_min(1.0)  # a text has a token at least


def check_tokens(
    model: str, input_shape: Sequence[int], num_outputs: int, num_tokens: int | None, **sizes: int
) -> tuple[int, int]:
    """The length of the longest text and the size of the vocabulary, once they are known to suit a model of texts.

    Args:
        model: name for the error message.
        input_shape: `(L,)`, the longest text.
        num_outputs: number of logits, >= 1.
        num_tokens: size of the vocabulary; None: the inputs are no texts.
        sizes: further arguments, each >= 1.

    Raises:
        ValueError: that names the argument.
    """
    if num_tokens is None or len(input_shape) != 1:
        raise ValueError(
            f"{model} takes texts, such as those of dataset=text_table; the examples are of shape {tuple(input_shape)}"
        )
    check_at_least("num_tokens", num_tokens, 3)
    for name, value in {"num_outputs": num_outputs, **sizes}.items():
        check_at_least(name, value, 1)
    return input_shape[0], num_tokens
