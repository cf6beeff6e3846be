"""Single-label classification: cross-entropy per example, accuracy, macro recall, AUROC and calibration.

N: examples, B: examples in a batch, C: classes. Metrics are sums that are divided once at the end, so that batches of
any size and order give the same value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mixup_lab.targets.target import Columns, Settings, Target, Task, label_shift
from mixup_lab.types import Labels, UserError

ECE_BINS = 15


class Classes(Target):
    """One class for each example: int64 (N,)."""

    kind, noun = "classes", "class"
    strata_are_classes = True

    def check(self, where: str, target: np.ndarray) -> None:
        self._require_two()
        self._require(where, target, np.int64, 1)
        low, high = int(target.min()), int(target.max())
        if low < 0 or high >= len(self.names):
            raise UserError(f"targets of {where} must lie in 0..{len(self.names) - 1}, found {low}..{high}")
        if where == "train" and low == high:
            raise UserError(f"all examples of train are of class {self.names[low]}: there is nothing to learn")

    def strata(self, target: np.ndarray) -> np.ndarray:
        return target

    def counts(self, target: np.ndarray) -> np.ndarray:
        return np.bincount(target, minlength=len(self.names))

    def describe_one(self, target: np.ndarray) -> str:
        return self.names[int(target)]

    def label_parts(self, own: np.ndarray, partner: np.ndarray, lam: float) -> list[tuple[float, str]]:
        """For soft labels (C,) every class with a share, the largest share first."""
        if own.ndim == 0:
            return super().label_parts(own, partner, lam)
        shares = lam * own + (1 - lam) * partner
        return [(float(shares[k]), self.names[k]) for k in np.argsort(-shares, kind="stable") if shares[k] > 0]

    def columns(self, chances: np.ndarray) -> Columns:
        """The most likely class, and the probability of each: (n, C)."""
        shares = {f"p_{name}": chances[:, k] for k, name in enumerate(self.names)}
        return Columns({"prediction": [self.names[k] for k in chances.argmax(1).tolist()]}, shares)

    def task(self, target: np.ndarray, device: torch.device, **settings: Unpack[Settings]) -> Classification:
        counts = np.bincount(target, minlength=len(self.names))
        kind = settings.get("class_weights")
        weights = None if kind is None else weights_of(kind, counts).to(device)
        smoothing = settings.get("label_smoothing", 0.0)
        return Classification(len(self.names), smoothing, weights, torch.from_numpy(counts / len(target)))


class Classification(Task):
    """Targets are class indices (B,), outputs are logits (B, C).

    Args:
        num_classes: C, at least 2.
        label_smoothing: eps in [0, 1): the training target is (1 - eps) * one-hot + eps / C (Szegedy et al., 2016).
            Evaluation never smooths: its loss is the negative log-likelihood.
        class_weights: w (C,), >= 0: in training the term of class c in the cross-entropy has the weight w[c]. In
            evaluation all examples have the same weight.
        label_shares: (C,) shares of the classes among the training examples, which sum to 1.
    """

    primary = "accuracy"
    maximize = True
    probabilistic = ("loss", "ece")

    def __init__(
        self,
        num_classes: int,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
        label_shares: Tensor | None = None,
    ) -> None:
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        if class_weights is not None and class_weights.shape != (num_classes,):
            raise ValueError(f"class_weights must be {num_classes} numbers, got the shape {tuple(class_weights.shape)}")
        self.num_classes = self.num_outputs = num_classes
        self.labels = Labels(num_classes)
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        self.label_shares = label_shares

    def normalize(self, output: Tensor) -> Tensor:
        """Log-probabilities (B, C): half the work of a cross-entropy, and the same for both labels of a mixture."""
        return output.log_softmax(1)

    def element_loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy from log-probabilities: (B, C), (B,) or soft (B, C) -> (B,).

        With class weights it is w[y] times the cross-entropy, linear in the label: both terms of a mixture, and a soft
        label, are divided by the number of examples alone.
        """
        if target.is_floating_point() or self.label_smoothing:  # normalising twice changes nothing
            return F.cross_entropy(
                scores, target, self.class_weights, reduction="none", label_smoothing=self.label_smoothing
            )
        return F.nll_loss(scores, target, self.class_weights, reduction="none")

    def train_sums(self, output: Tensor, target: Tensor, partner: Tensor, lam: Tensor) -> dict[str, Tensor]:
        """Sums over mixed examples, from outputs (B, C), targets (B,) or soft (B, C), partners likewise, lam (B,).

        `accuracy_mixed` credits a prediction with the share of the label it hits; it is not an accuracy on data.
        `label_mass` (C,) is the share of each class in the mixed labels, summed.
        """
        prediction = output.argmax(1)
        if target.is_floating_point():
            between = partner.lerp(target, lam.unsqueeze(1))
            return {"accuracy_mixed": between.gather(1, prediction.unsqueeze(1)).sum(), "label_mass": between.sum(0)}
        hit = lam * (prediction == target) + (1 - lam) * (prediction == partner)
        mass = output.new_zeros(self.num_classes, dtype=torch.float32)
        mass = mass.index_add(0, target, lam).index_add(0, partner, 1 - lam)
        return {"accuracy_mixed": hit.sum(), "label_mass": mass}

    def train_scalars(self, sums: dict[str, Tensor]) -> dict[str, float]:
        accuracy = float(sums["accuracy_mixed"]) / len(sums["lam"])
        return {"train/accuracy_mixed": accuracy, **label_shift(sums["label_mass"], self.label_shares)}

    def observe(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"logits": output, "target": target}

    def chances(self, answer: Tensor) -> Tensor:
        """Probabilities (B, C)."""
        return answer.softmax(1)

    def constant(self, target: np.ndarray) -> Tensor:
        """The logarithm of the share of each class; one that train lacks counts as half an example."""
        return log_shares(np.bincount(target, minlength=self.num_classes))

    def regressed(self, target: Tensor) -> Tensor:
        """1 for the own class, 0 for all others."""
        return F.one_hot(target, self.num_classes).double()

    def mistakes(self, kept: dict[str, Tensor], names: Sequence[str], count: int) -> list[tuple[int, str]]:
        """Wrong predictions, the most confident first: `cat (0.98)`."""
        sure, prediction = kept["logits"].softmax(1).max(1)
        wrong = (prediction != kept["target"]).nonzero().flatten()
        order = wrong[sure[wrong].argsort(descending=True, stable=True)][:count].tolist()
        return [(i, f"{names[int(prediction[i])]} ({float(sure[i]):.2f})") for i in order]

    def metrics(self, kept: dict[str, Tensor]) -> dict[str, float]:
        """`loss` (negative log-likelihood), `accuracy`, `macro_recall`, `macro_f1`, `auroc` and `ece`.

        `macro_recall`, the mean recall of the classes that occur, is also known as balanced accuracy; `macro_f1` is the
        mean of their 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall. `auroc` is the
        area under the ROC curve; of more than two classes the mean of each against the rest. `ece` is the expected
        calibration error of the largest probability, in 15 bins of equal width (Guo et al., 2017, eq. 3).
        """
        logits, target = kept["logits"], kept["target"]
        prediction = logits.argmax(1)
        hit = (prediction == target).float()
        zeros = logits.new_zeros(self.num_classes, dtype=torch.float32)
        correct = zeros.index_add(0, target, hit).cpu().double()
        support = zeros.index_add(0, target, torch.ones_like(hit)).cpu().double()
        predicted = zeros.index_add(0, prediction, torch.ones_like(hit)).cpu().double()
        present = support > 0
        return {
            "loss": float(F.cross_entropy(logits, target, reduction="sum").cpu().double() / support.sum()),
            "accuracy": float(correct.sum() / support.sum()),
            "macro_recall": float((correct[present] / support[present]).mean()),
            "macro_f1": float((2 * correct / (predicted + support))[present].mean()),
            **_ranking(logits, target, support.to(logits.device)),
            "ece": _calibration_error(logits, hit),
        }


def _ranking(logits: Tensor, target: Tensor, support: Tensor) -> dict[str, float]:
    """`auroc` (Mann-Whitney: ties count half), or nothing if a split has only one class."""
    count = len(target)
    decided = (support > 0) & (support < count)
    if not decided.any():
        return {}
    scores = logits.double().softmax(1).T.contiguous()  # (C, n)
    if len(scores) == 2:
        scores, decided = scores[1:], decided[1:]
    classes = torch.arange(logits.shape[1] - len(scores), logits.shape[1], device=logits.device)
    ordered = scores.sort(1).values
    ranks = torch.searchsorted(ordered, scores) + torch.searchsorted(ordered, scores, right=True) + 1  # twice the rank
    own = target == classes.unsqueeze(1)
    positive = own.sum(1).double()
    area = ((ranks * own).sum(1) / 2 - positive * (positive + 1) / 2) / (positive * (count - positive))
    return {"auroc": float(area[decided].mean())}


def _calibration_error(logits: Tensor, hit: Tensor) -> float:
    confidence = logits.double().softmax(1).amax(1)
    which = (confidence * ECE_BINS).long().clamp_max_(ECE_BINS - 1)
    gap = confidence.new_zeros(ECE_BINS).index_add_(0, which, hit.double() - confidence)
    return float(gap.abs().sum() / len(hit))


def log_shares(counts: np.ndarray) -> Tensor:
    """Logarithms (C,) of the shares that these counts (C,) have of all; 0 counts as 1/2."""
    return torch.from_numpy(counts).double().clamp_min(0.5).div(counts.sum()).log()


def weights_of(kind: str | Sequence[float], counts: np.ndarray) -> Tensor:
    """Class weights (C,) float32, scaled to mean 1 over the training examples, so that the learning rate still suits.

    Args:
        kind: `balanced`, the inverse of the frequency of a class (0 for a class without examples); or C numbers >= 0.
        counts: (C,) of the training examples of each class, or of their pixels.

    Raises:
        ValueError: if there is not one weight for each class, or if every class with examples has 0.
    """
    num_classes = len(counts)
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
