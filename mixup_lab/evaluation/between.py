"""Between: what a model does on the way from one example to another one of a different class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixup_lab.evaluation.finished import Finished
from mixup_lab.evaluation.lens import Found, Lens, Unsuited
from mixup_lab.evaluation.looks import Units, need_classes, need_numbers
from mixup_lab.runs.findings import Line, Score

LAMS = tuple(k / 10 for k in range(11))
MIDDLE = (0.3, 0.7)  # of lam: the part that the scores are means over


@dataclass
class Between(Lens):
    """See `about`.

    Args:
        pairs: of test examples of different classes; at least 1.
    """

    title = "Between examples"
    about = (
        "What the model does at lam * a + (1 - lam) * b, for pairs a, b of test examples of different classes: how"
        " often it predicts neither of the two classes, and how long the gradient of the cross-entropy of its own"
        " prediction is, by the inputs (pixels between 0 and 1, rows of tables and sounds in standard deviations)."
        " Figure 2 of the Mixup paper (Zhang et al., 2018) shows the same between training examples. The scores are"
        " means over lam from 0.3 to 0.7. Fewer misses and shorter gradients mean that the model is smoother there. A"
        " run that mixes inputs was trained at such points, so that this says little about new data."
    )
    needs_weights = True
    pairs: int = 500

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise ValueError(f"pairs must be at least 1, got {self.pairs}")

    def measure(self, run: Finished, others: Sequence[Finished]) -> Found:
        need_classes(run, "between")
        need_numbers(run, "between")
        first, second = self._pairs(run)
        units = Units.of(run.parts.data.encode, run.parts.device)
        size, test = run.evaluator.batch_size, run.split("test")
        missed, norms = np.zeros(len(LAMS)), np.zeros(len(LAMS))
        for start in range(0, self.pairs, size):
            a, own = run.encoded(test, first[start : start + size])
            b, other = run.encoded(test, second[start : start + size])
            for k, lam in enumerate(LAMS):
                predicted, norm = slope(run, units, torch.lerp(b, a, lam))
                missed[k] += int(((predicted != own) & (predicted != other)).sum())
                norms[k] += float(norm.cpu().double().sum())
        found = Found({})
        what = "share of the predictions that are neither class"
        if len(run.class_names) > 2:
            self._add(found, "misses", "Neither class", what, missed / self.pairs, percent=True)
        else:
            found.notes.append("With two classes every prediction is one of the two, so there are no misses.")
        what = "norm of the gradient by the inputs"
        self._add(found, "gradient_norm", "Gradient between examples", what, norms / self.pairs, percent=False)
        return found

    def _add(self, found: Found, name: str, picture: str, what: str, values: np.ndarray, *, percent: bool) -> None:
        middle = np.mean([v for lam, v in zip(LAMS, values, strict=True) if MIDDLE[0] <= lam <= MIDDLE[1]])
        about = f"{what}, mean over lam from {MIDDLE[0]} to {MIDDLE[1]}"
        found.scores[name] = Score(float(middle), maximize=False, percent=percent, about=about)
        found.lines.append(Line(picture, "lam", what, LAMS, tuple(values.tolist())))

    def _pairs(self, run: Finished) -> tuple[np.ndarray, np.ndarray]:
        """Positions in test of random examples, (pairs,), and of others of different classes."""
        target, rng = run.split("test").target, run.stream("between")
        if len(np.unique(target)) < 2:
            raise Unsuited("between needs test examples of at least two classes")
        first, second = np.zeros((2, 0), dtype=np.int64)
        while len(first) < self.pairs:
            one, two = rng.integers(len(target), size=(2, self.pairs))
            differ = target[one] != target[two]
            first, second = np.append(first, one[differ]), np.append(second, two[differ])
        return first[: self.pairs], second[: self.pairs]


def slope(run: Finished, units: Units, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Predicted classes (B,), and the norm (B,) of the gradient of their cross-entropy by the inputs (B, ...).

    Without autocast; gradients of the model's parameters stay as they are.
    """
    with torch.enable_grad():
        delta = torch.zeros_like(inputs).requires_grad_()
        log_p = run.model(units.moved(inputs, delta)).float().log_softmax(1)
        predicted = log_p.argmax(1)
        (gradient,) = torch.autograd.grad(-log_p.gather(1, predicted.unsqueeze(1)).sum(), delta)
    return predicted, torch.linalg.vector_norm(gradient.flatten(1), dim=1)
