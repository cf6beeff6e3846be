"""Single-label classification: cross-entropy per example, accuracy and macro recall.

B: examples in the batch, C: classes. Metrics are sums first and divided once, so that batches of any size and order
give the same value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class Classification:
    """Targets are class indices (B,), outputs are logits (B, C).

    Args:
        num_classes: C, at least 2.
        label_smoothing: eps in [0, 1): the training target is (1 - eps) * one-hot + eps / C (Szegedy et al., 2016).
            Evaluation never smooths: its loss is the negative log-likelihood.
        class_weights: w (C,), >= 0: in training the term of class c in the cross-entropy counts w[c] times. Evaluation
            weighs all examples alike.
    """

    primary = "accuracy"  # the metric that decides, evaluated on val and test
    maximize = True

    def __init__(self, num_classes: int, label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> None:
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.num_classes = num_classes
        if class_weights is not None and class_weights.shape != (num_classes,):
            raise ValueError(f"class_weights must be {num_classes} numbers, got the shape {tuple(class_weights.shape)}")
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights

    @property
    def num_outputs(self) -> int:
        """How many outputs a model needs."""
        return self.num_classes

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The training loss of each example: (B, C), (B,) or soft (B, C) -> (B,). Never reduced: the loop mixes.

        With class weights it is w[y] times the cross-entropy, linear in the label: both terms of a mixture, and a soft
        label, are divided by the number of examples alone.
        """
        return F.cross_entropy(
            output, target, self.class_weights, reduction="none", label_smoothing=self.label_smoothing
        )

    def train_sums(self, output: Tensor, target: Tensor, partner: Tensor, lam: Tensor) -> dict[str, Tensor]:
        """What is summed over the mixed examples of an epoch: (B, C), (B,) or soft (B, C), likewise, (B,).

        `accuracy_mixed` credits a prediction with the share of the label it hits; it is not an accuracy on data.
        `label_mass` (C,) is how much of each class the model was asked for.
        """
        prediction = output.argmax(1)
        if target.is_floating_point():
            between = partner.lerp(target, lam.unsqueeze(1))
            return {"accuracy_mixed": between.gather(1, prediction.unsqueeze(1)).sum(), "label_mass": between.sum(0)}
        hit = lam * (prediction == target) + (1 - lam) * (prediction == partner)
        mass = output.new_zeros(self.num_classes, dtype=torch.float32)
        mass = mass.index_add(0, target, lam).index_add(0, partner, 1 - lam)
        return {"accuracy_mixed": hit.sum(), "label_mass": mass}

    def eval_sums(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Sums over clean examples: `loss` (negative log-likelihood), `correct` and `support` (C,) by true class."""
        hit = (output.argmax(1) == target).float()
        zeros = output.new_zeros(self.num_classes, dtype=torch.float32)
        return {
            "loss": F.cross_entropy(output, target, reduction="sum"),
            "correct": zeros.index_add(0, target, hit),
            "support": zeros.index_add(0, target, torch.ones_like(hit)),
        }

    def compute(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """`loss`, `accuracy` and `macro_recall` (the mean over the classes that occur of their recall)."""
        read = {name: value.cpu().double() for name, value in sums.items()}
        correct, support = read["correct"], read["support"]
        present = support > 0
        return {
            "loss": float(read["loss"] / support.sum()),
            "accuracy": float(correct.sum() / support.sum()),
            "macro_recall": float((correct[present] / support[present]).mean()),
        }


def class_weights(kind: str | Sequence[float] | None, target: np.ndarray, num_classes: int) -> Tensor | None:
    """Weights of the classes (C,) float32, scaled to the mean 1 over the training examples, so that the rate suits.

    Args:
        kind: None; `balanced`, the inverse of a class's frequency (0 for one without examples); or numbers >= 0, (C,).
        target: (n,) class indices of the training examples.
        num_classes: C.

    Raises:
        ValueError: for another number of weights than classes, or 0 for every class with examples.
    """
    if kind is None:
        return None
    counts = np.bincount(target, minlength=num_classes)
    if kind == "balanced":
        weights = np.where(counts > 0, 1 / np.maximum(counts, 1), 0.0)
    else:
        weights = np.asarray(kind, dtype=float)
    if weights.shape != (num_classes,):
        raise ValueError(f"class_weights must be one number for each of {num_classes} classes, got {len(weights)}")
    mean = (weights * counts).sum() / counts.sum()
    if not mean > 0:
        raise ValueError("class_weights must be greater than 0 for at least one class that has training examples")
    return torch.from_numpy((weights / mean).astype(np.float32))
