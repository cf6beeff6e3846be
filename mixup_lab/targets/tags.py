"""Multi-label classification: any number of tags for each example, a binary cross-entropy for each tag.

B: examples in the batch, T: tags.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


class MultiLabel:
    """Targets are 0 or 1 for each tag (B, T), outputs are logits (B, T).

    What mixing means here: the binary cross-entropy is linear in the target, so the two-term loss equals the one of the
    mixed tags `lam * y_i + (1 - lam) * y_j` exactly.

    Args:
        names: of the tags.
        label_shares: (T,) how often each tag occurs among all tags of train, which sum to 1.
    """

    primary = "map"
    maximize = True
    num_classes = None

    def __init__(self, names: tuple[str, ...], label_shares: Tensor | None = None) -> None:
        if not names:
            raise ValueError("there must be at least one tag")
        self.names = names
        self.label_shares = label_shares

    @property
    def num_outputs(self) -> int:
        """T."""
        return len(self.names)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy averaged over the tags of an example: (B, T), (B, T) -> (B,)."""
        return F.binary_cross_entropy_with_logits(output, target, reduction="none").mean(1)

    def train_sums(self, output: Tensor, target: Tensor, partner: Tensor, lam: Tensor) -> dict[str, Tensor]:
        """`accuracy_mixed`: over all tags, the share of the label that a decision at 1/2 hits; `label_mass` (T,)."""
        between = partner.lerp(target, lam.unsqueeze(1))
        hit = torch.where(output > 0, between, 1 - between)
        return {"accuracy_mixed": hit.mean(1).sum(), "label_mass": between.sum(0)}

    def train_scalars(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """`train/accuracy_mixed` over all tags, and how far the tags asked for are from those of the data."""
        scalars = {"train/accuracy_mixed": float(sums["accuracy_mixed"]) / len(sums["lam"])}
        if self.label_shares is not None and float(sums["label_mass"].sum()) > 0:
            shares = sums["label_mass"] / sums["label_mass"].sum()
            scalars["mix/label_shift"] = float((shares - self.label_shares).abs().sum() / 2)
        return scalars

    def observe(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """`logits` and `target`, (B, T)."""
        return {"logits": output, "target": target}

    def mistakes(self, kept: dict[str, Tensor], names: Sequence[str], count: int) -> list[tuple[int, str]]:
        """Examples with a wrong tag or without a right one, by their loss: the tags that the model gives them."""
        logits, target = kept["logits"], kept["target"]
        wrong = ((logits > 0) != (target > 0)).any(1).nonzero().flatten()
        loss = self.loss(logits[wrong], target[wrong])
        order = wrong[loss.argsort(descending=True, stable=True)][:count].tolist()
        said = [[name for name, logit in zip(names, logits[i].tolist(), strict=True) if logit > 0] for i in order]
        return [(i, ", ".join(tags) or "no tag") for i, tags in zip(order, said, strict=True)]

    def metrics(self, kept: dict[str, Tensor]) -> dict[str, float]:
        """`loss`, `map` (mean over tags of the average precision), `micro_f1`, `macro_f1` and `subset_accuracy`.

        Decisions are at probability 1/2. A tag without examples in the split counts in no mean.
        """
        from torchmetrics.functional.classification import binary_average_precision, binary_f1_score

        logits, target = kept["logits"], kept["target"]
        scores, whole, decided = torch.sigmoid(logits.double()), target.long(), (logits > 0).long()
        seen = target.any(0).nonzero().flatten().tolist()
        precision = torch.stack([binary_average_precision(scores[:, k], whole[:, k]) for k in seen])
        f1 = torch.stack([binary_f1_score(decided[:, k], whole[:, k]) for k in seen])
        return {
            "loss": float(self.loss(logits, target).double().mean()),
            "map": float(precision.double().mean()),
            "micro_f1": float(binary_f1_score(decided.flatten(), whole.flatten())),
            "macro_f1": float(f1.double().mean()),
            "subset_accuracy": float((decided == whole).all(1).double().mean()),
        }
