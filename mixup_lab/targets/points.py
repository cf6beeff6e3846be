"""The geometry of dense detection: points of a grid, each of which predicts a box around it.

B: examples, P: points, M: boxes of an example, padded with class -1. Boxes are class, left, top, right, bottom in
pixels; an optional sixth column is the weight of a box. Everything is a fixed number of operations on whole tensors:
nothing waits for the device.
"""

from typing import NamedTuple

import torch
from torch import Tensor

RADIUS = 1.5  # a point predicts a box if its centre is nearer than this, in cells (Tian et al., 2022)
CELLS = (2 * RADIUS) ** 2  # points that predict one box, unless the box is smaller than their area
RANGE = 4.0, 8.0  # with several grids: the farthest edge of the boxes of each grid, in cells


class Points(NamedTuple):
    """The places of the points, in pixels."""

    x: Tensor  # (P,)
    y: Tensor  # (P,)
    size: Tensor  # (P,) side of a cell of the point's grid


def grid(height: int, width: int, rows: int, columns: int, device: torch.device) -> Points:
    """The centres of the cells of a map of rows x columns over a picture of height x width pixels, row by row."""
    down, across = height / rows, width / columns
    y = (torch.arange(rows, device=device) + 0.5).mul_(down).repeat_interleave(columns)
    x = (torch.arange(columns, device=device) + 0.5).mul_(across).repeat(rows)
    return Points(x, y, torch.full_like(x, (down * across) ** 0.5))


def assign(points: Points, target: Tensor) -> tuple[Tensor, Tensor]:
    """The box that each point predicts.

    A point predicts a box that contains it, whose centre is less than `RADIUS` cells away and whose farthest edge is
    within the range of its grid: [4, 8] cells, from 0 for the finest and without limit for the coarsest. Of several
    boxes it takes the smallest (Tian et al., FCOS, 2019, section 3.2, with the sampling at centres of 2022).

    Args:
        points: (P,).
        target: (B, M, 5 or more).

    Returns:
        Whether a point predicts a box, bool (B, P), and its box (B, P, 5 or more); if it has none, an arbitrary one.
    """
    left, top, right, bottom = (edge.unsqueeze(1) for edge in target[..., 1:5].unbind(2))  # (B, 1, M)
    half_width, half_height = (right - left) / 2, (bottom - top) / 2
    size = points.size.unsqueeze(1)
    across = (points.x.unsqueeze(1) - (left + half_width)).abs()  # (B, P, M)
    down = (points.y.unsqueeze(1) - (top + half_height)).abs()
    farthest = torch.maximum(across + half_width, down + half_height)
    lower = torch.where(size == size.min(), 0.0, RANGE[0] * size)
    upper = torch.where(size == size.max(), torch.inf, RANGE[1] * size)
    fits = (across < half_width.minimum(RADIUS * size)) & (down < half_height.minimum(RADIUS * size))
    fits &= (farthest > lower) & (farthest < upper) & (target[..., 0] >= 0).unsqueeze(1)
    smallest, which = torch.where(fits, half_width * half_height, torch.inf).min(2)
    return smallest.isfinite(), target.gather(1, which.unsqueeze(2).expand(-1, -1, target.shape[2]))


def distances(points: Points, box: Tensor) -> Tensor:
    """From each point to the left, top, right and bottom edge of its box: (B, P, 5 or more) to (B, P, 4) pixels."""
    left, top, right, bottom = box[..., 1:5].unbind(2)
    return torch.stack([points.x - left, points.y - top, right - points.x, bottom - points.y], 2)


def edges(points: Points, distance: Tensor) -> Tensor:
    """The inverse of `distances`: left, top, right, bottom, (B, P, 4) pixels."""
    left, top, right, bottom = distance.unbind(2)
    return torch.stack([points.x - left, points.y - top, points.x + right, points.y + bottom], 2)


def giou(first: Tensor, second: Tensor) -> Tensor:
    """Generalised intersection over union of boxes around the same point, by their distances (..., 4) >= 0.

    Rezatofighi et al. (2019), eq. 1 and 2; in (-1, 1].
    """
    inner, outer = torch.minimum(first, second), torch.maximum(first, second)
    (width, height), (wide, high) = ((d[..., 0] + d[..., 2], d[..., 1] + d[..., 3]) for d in (inner, outer))
    areas = [(d[..., 0] + d[..., 2]) * (d[..., 1] + d[..., 3]) for d in (first, second)]
    union = areas[0] + areas[1] - width * height
    hull = (wide * high).clamp_min(1e-6)
    return width * height / union.clamp_min(1e-6) - (hull - union) / hull


def centerness(distance: Tensor) -> Tensor:
    """How near a point is to the middle of its box, by its distances (..., 4) > 0: in (0, 1] (FCOS, eq. 3)."""
    left, top, right, bottom = distance.unbind(-1)
    across = torch.minimum(left, right) / torch.maximum(left, right)
    down = torch.minimum(top, bottom) / torch.maximum(top, bottom)
    return (across * down).sqrt()
