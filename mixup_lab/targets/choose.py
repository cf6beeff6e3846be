"""From the kind of the targets to the task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mixup_lab.targets.boxes import Detection
from mixup_lab.targets.classes import Classification, class_weights, weights_of
from mixup_lab.targets.kinds import Boxes, Classes, Kind, Numbers, Pixels, Tags, label_counts
from mixup_lab.targets.numbers import Regression
from mixup_lab.targets.pixels import Segmentation
from mixup_lab.targets.tags import MultiLabel
from mixup_lab.targets.task import Task


def make_task(
    kind: Kind,
    target: np.ndarray,
    device: torch.device,
    label_smoothing: float = 0.0,
    weights: str | Sequence[float] | None = None,
    input_shape: Sequence[int] = (),
) -> Task:
    """The task of a run.

    Args:
        kind: of the targets.
        target: (n, ...) of the training split; what a task has to know of its data comes from these alone.
        device: where outputs will be.
        label_smoothing: see `Classification`.
        weights: see `class_weights`.
        input_shape: of one example, which boxes refer to.

    Raises:
        ValueError: for settings that this kind of targets has no use for; the sentence begins with the key.
    """
    if isinstance(kind, Classes):
        shares = torch.from_numpy(np.bincount(target, minlength=len(kind.names)) / len(target))
        weighed = class_weights(weights, target, len(kind.names))
        return Classification(
            len(kind.names), label_smoothing, None if weighed is None else weighed.to(device), label_shares=shares
        )
    if isinstance(kind, Pixels):
        pixels = label_counts(target)[: len(kind.names)]
        pixel_weights = None if weights is None else weights_of(weights, pixels).to(device)
        return Segmentation(len(kind.names), label_smoothing, pixel_weights)
    if label_smoothing:
        raise ValueError(f"label_smoothing={label_smoothing:g} is for classes; {_PLURAL[type(kind)]} have none")
    if weights is not None:
        raise ValueError(f"class_weights={weights} is for classes; {_PLURAL[type(kind)]} have none")
    values = torch.from_numpy(target)
    if isinstance(kind, Numbers):
        mean, std = values.double().mean(0), values.double().std(0, correction=0)
        return Regression(mean.float().to(device), std.float().to(device))
    if isinstance(kind, Tags):
        counts = values.sum(0, dtype=torch.float64)
        return MultiLabel(kind.names, counts / counts.sum())
    if isinstance(kind, Boxes):
        real = values[values[..., 0] >= 0]
        each = torch.bincount(real[:, 0].long(), minlength=len(kind.names))
        return Detection(kind.names, input_shape, len(real) / len(values), each / each.sum())
    raise ValueError(f"dataset: no task is known for targets of the kind {type(kind).__name__}")


_PLURAL: dict[type, str] = {Numbers: "numbers", Tags: "tags", Boxes: "boxes"}
