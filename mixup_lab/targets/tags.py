"""Multi-label classification: any number of tags for each example, a binary cross-entropy for each tag.

N: examples, B: examples in a batch, T: tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mixup_lab.targets.target import Columns, Settings, Target, Task, label_shift
from mixup_lab.types import UserError


class Tags(Target):
    """Any number of tags for each example: float32 (N, T) of 0 and 1."""

    kind, noun = "tags", "tag"

    def check(self, where: str, target: np.ndarray) -> None:
        self._require(where, target, np.float32, 2, len(self.names))
        if not np.isin(target, (0, 1)).all():
            raise UserError(f"tags of {where} must be 0 or 1, found {target[~np.isin(target, (0, 1))][0]:g}")
        if not target.any():
            raise UserError(f"no example of {where} has any tag: there is nothing to measure")
        if where == "train":
            for name, values in zip(self.names, target.T, strict=True):
                if values.min() == values.max():
                    raise UserError(f"the tag {name} is {values[0]:g} in all of train: there is nothing to learn")

    def strata(self, target: np.ndarray) -> np.ndarray:
        """The rarest tag of each example, after an idea of Sechidis et al. (2011); one more for those without tags."""
        counts = np.where(target > 0, target.sum(0), np.inf)
        rarest: np.ndarray = np.where(target.any(1), counts.argmin(1), target.shape[1]).astype(np.int64)
        return rarest

    def counts(self, target: np.ndarray) -> np.ndarray:
        return np.asarray(target.sum(0, dtype=np.int64))

    def describe_one(self, target: np.ndarray) -> str:
        return ", ".join(name for name, value in zip(self.names, target.tolist(), strict=True) if value > 0) or "no tag"

    def columns(self, chances: np.ndarray) -> Columns:
        """The tags with a probability above 1/2, joined by `|`, and the probability of each: (n, T)."""
        likely = [[name for name, p in zip(self.names, row, strict=True) if p > 0.5] for row in chances.tolist()]
        shares = {f"p_{name}": chances[:, k] for k, name in enumerate(self.names)}
        return Columns({"prediction": ["|".join(tags) for tags in likely]}, shares)

    def task(self, target: np.ndarray, device: torch.device, **settings: Unpack[Settings]) -> MultiLabel:
        self._refuse_class_settings(settings)
        counts = torch.from_numpy(target).sum(0, dtype=torch.float64)
        return MultiLabel(self.names, counts / counts.sum())


class MultiLabel(Task):
    """Targets are 0 or 1 for each tag (B, T), outputs are logits (B, T).

    What mixing means here: the binary cross-entropy is linear in the target, so the two-term loss exactly equals the
    loss of the mixed tags `lam * y_i + (1 - lam) * y_j`.

    Args:
        names: of the tags.
        label_shares: (T,) how often each tag occurs among all tags of train, which sum to 1.
    """

    primary = "map"
    maximize = True

    def __init__(self, names: tuple[str, ...], label_shares: Tensor | None = None) -> None:
        if not names:
            raise ValueError("there must be at least one tag")
        self.names = names
        self.num_outputs = len(names)
        self.label_shares = label_shares

    def element_loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy averaged over the tags of an example: (B, T), (B, T) -> (B,)."""
        return F.binary_cross_entropy_with_logits(scores, target, reduction="none").mean(1)

    def train_sums(self, output: Tensor, target: Tensor, partner: Tensor, lam: Tensor) -> dict[str, Tensor]:
        """`accuracy_mixed`: the share of the label that a decision at 1/2 hits, mean over tags; `label_mass` (T,)."""
        between = partner.lerp(target, lam.unsqueeze(1))
        hit = torch.where(output > 0, between, 1 - between)
        return {"accuracy_mixed": hit.mean(1).sum(), "label_mass": between.sum(0)}

    def train_scalars(self, sums: dict[str, Tensor]) -> dict[str, float]:
        accuracy = float(sums["accuracy_mixed"]) / len(sums["lam"])
        return {"train/accuracy_mixed": accuracy, **label_shift(sums["label_mass"], self.label_shares)}

    def observe(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"logits": output, "target": target}

    def chances(self, answer: Tensor) -> Tensor:
        """Probabilities (B, T)."""
        return answer.sigmoid()

    def constant(self, target: np.ndarray) -> Tensor:
        """The logit of the share of each tag, which is at least half an example away from 0 and 1."""
        shares = torch.from_numpy(target).double().mean(0)
        return shares.clamp(0.5 / len(target), 1 - 0.5 / len(target)).logit()

    def regressed(self, target: Tensor) -> Tensor:
        """1/2 for a tag, -1/2 for none, so that the decision is at 0."""
        return target.double() - 0.5

    def mistakes(self, kept: dict[str, Tensor], names: Sequence[str], count: int) -> list[tuple[int, str]]:
        """Examples with a wrong or a missing tag, the largest loss first, with the tags that the model predicts."""
        logits, target = kept["logits"], kept["target"]
        wrong = ((logits > 0) != (target > 0)).any(1).nonzero().flatten()
        loss = self.loss(logits[wrong], target[wrong])
        order = wrong[loss.argsort(descending=True, stable=True)][:count].tolist()
        answers = [[name for name, logit in zip(names, logits[i].tolist(), strict=True) if logit > 0] for i in order]
        return [(i, ", ".join(tags) or "no tag") for i, tags in zip(order, answers, strict=True)]

    def metrics(self, kept: dict[str, Tensor]) -> dict[str, float]:
        """`loss`, `map` (mean over tags of the average precision), `micro_f1`, `macro_f1` and `subset_accuracy`.

        Decisions are at probability 1/2. Means over tags leave out tags without examples in the split.
        """
        logits, target = kept["logits"], kept["target"]
        decided, true = logits > 0, target > 0
        seen = true.any(0)
        scores = torch.sigmoid(logits.double())
        precision = [average_precision(scores[:, k], true[:, k]) for k in seen.nonzero().flatten().tolist()]
        both, either = (decided & true).sum(0), decided.sum(0) + true.sum(0)
        return {
            "loss": float(self.loss(logits, target).double().mean()),
            "map": float(torch.stack(precision).double().mean()),
            "micro_f1": float(2 * both.sum() / either.sum()),
            "macro_f1": float((2 * both / either)[seen].double().mean()),
            "subset_accuracy": float((decided == true).all(1).double().mean()),
        }


def average_precision(scores: Tensor, true: Tensor) -> Tensor:
    """The area under the step curve of precision over recall: scores (n,) and bool (n,), at least one True, to ().

    Equal scores are one step.
    """
    order = scores.argsort(descending=True)
    steps = F.pad(scores[order].diff().nonzero().flatten(), (0, 1), value=len(scores) - 1)
    hits = true[order].cumsum(0)[steps]
    gains = F.pad(hits / hits[-1], (1, 0)).diff()  # of recall
    return (gains * (hits / (steps + 1))).flip(0).sum()
