"""Boundary: the classes that a model predicts over a plane, for examples of two numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from mixup_lab.evaluation.between import slope
from mixup_lab.evaluation.finished import Finished
from mixup_lab.evaluation.lens import Found, Lens, Unsuited
from mixup_lab.evaluation.looks import Units, need_classes
from mixup_lab.runs.findings import Score, Surface

ROOM = 0.1  # around the data at each side, as a share of their range
SURE = 0.9  # largest probability from which on a model is sure


@dataclass
class Boundary(Lens):
    """See `about`.

    Args:
        side: points of the grid along each side; at least 2.
    """

    title = "Decision boundary"
    about = (
        "The probabilities of the model over the plane of the data, for examples that are two numbers, as in Figure 1b"
        " of the Mixup paper (Zhang et al., 2018). Distances are in standard deviations of the numbers over the"
        " training examples. A model that was trained on mixtures is less sure between the classes; whether its"
        " boundary lies better is said by margin: how far a test example can move before the prediction changes,"
        " counted as negative where the prediction is wrong."
    )
    needs_weights = True
    side: int = 80

    def __post_init__(self) -> None:
        if self.side < 2:
            raise ValueError(f"side must be at least 2, got {self.side}")

    def measure(self, run: Finished, others: Sequence[Finished]) -> Found:
        need_classes(run, "boundary")
        data = run.parts.data
        if data.encode.tokens or tuple(data.encode.shape) != (2,):
            raise Unsuited(
                f"boundary needs examples that are two numbers, and these are {data.encode.noun} of"
                f" {data.encode.describe()}"
            )
        every = torch.cat([run.encoded(split, np.arange(len(split)))[0] for split in data.splits])
        low, high = every.amin(0).cpu().double().numpy(), every.amax(0).cpu().double().numpy()
        if not (low < high).all():
            raise Unsuited("boundary needs two numbers that are not the same in all examples")
        x, y = np.linspace(low - ROOM * (high - low), high + ROOM * (high - low), self.side, axis=1)
        grid = torch.from_numpy(np.stack(np.meshgrid(x, y), 2).reshape(-1, 2)).float().to(every.device)
        logits = run.outputs(grid).cpu().double().reshape(self.side, self.side, -1)
        probabilities = logits.softmax(2).numpy()

        inputs, target = run.encoded(data.test, np.arange(len(data.test)))
        largest, predicted = run.outputs(inputs).softmax(1).max(1)
        units, size = Units.of(data.encode, run.parts.device), run.evaluator.batch_size
        norms = torch.cat([slope(run, units, part)[1] for part in torch.split(inputs, size)])
        steep = (largest * norms).cpu().double().numpy()  # the gradient of p is p times that of log p
        points, right = inputs.cpu().numpy(), (predicted == target).cpu().numpy()

        found = Found({})
        crossings = changes(logits.numpy(), x, y)
        if len(crossings):
            distances = cKDTree(crossings).query(points)[0]
            found.examples["margin"] = np.where(right, distances, -distances)
            what = "distance to the decision boundary within the picture, negative if wrong; mean over test examples"
            found.scores["margin"] = Score(float(found.examples["margin"].mean()), maximize=True, about=what)
        else:
            found.notes.append("The model predicts one class in the whole picture, so it has no boundary there.")
        unsure = float((probabilities.max(2) < SURE).mean())
        what = f"share of the picture in which the largest probability is below {SURE}"
        found.scores["unsure"] = Score(unsure, maximize=None, percent=True, about=what)
        what = "norm of the gradient of the largest probability by the inputs, mean over test examples"
        found.examples["gradient_norm"] = steep
        found.scores["gradient_norm"] = Score(float(steep.mean()), maximize=None, about=what)
        found.surface = Surface(
            x[[0, -1]], y[[0, -1]], np.moveaxis(probabilities, 2, 0).astype(np.float16), points, target.cpu().numpy(),
            np.array(run.class_names),
        )  # fmt: skip
        return found


def changes(logits: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where the predicted class changes between neighbours on a grid, if logits are linear between them: (n, 2).

    Args:
        logits: (rows, columns, classes).
        x: of the columns, ascending.
        y: of the rows, ascending.
    """
    corners = np.stack(np.meshgrid(x, y), 2)
    found = []
    for one, other in (np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:]):
        a, b = logits[one].argmax(2), logits[other].argmax(2)
        ends = [
            np.take_along_axis(part, a[..., None], 2) - np.take_along_axis(part, b[..., None], 2)
            for part in (logits[one], logits[other])
        ]
        differ = a != b
        before, after = (end[differ] for end in ends)  # of the logits: >= 0, then <= 0
        total = before - after
        share = np.divide(before, total, out=np.full_like(total, 0.5), where=total > 0)
        found.append(corners[one][differ] * (1 - share) + corners[other][differ] * share)
    return np.concatenate(found)
