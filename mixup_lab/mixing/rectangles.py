"""Rectangles to paste from one picture into another, and the share of the pixels that remain."""

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.functional import blend, paste

ONE_BY_ONE = 2**15  # with this many values in a picture a CPU copies single rectangles faster than it blends by a mask


def outside(inputs: Tensor, target: Tensor, top: int, bottom: int, left: int, right: int) -> Tensor:
    """The share of the own picture outside one rectangle: (B,), or (H, W) for targets that have pixels."""
    height, width = inputs.shape[-2:]
    if target.dim() <= 2:
        share = 1 - (bottom - top) * (right - left) / (height * width)
        return torch.full((len(inputs),), share, device=inputs.device)
    mask = torch.ones(height, width, device=inputs.device)
    mask[top:bottom, left:right] = 0
    return mask


def rectangles(row: Tensor, column: Tensor, lam: Tensor, height: int, width: int) -> Tensor:
    """Rectangles from centres and shares (n,): top, bottom, left and right, (n, 4) int64."""
    if row.is_cpu:  # NumPy has the same bits, and takes a fraction of the time for a few numbers
        return torch.from_numpy(_rectangles(row.numpy(), column.numpy(), lam.numpy(), height, width))
    edges = []
    for centre, size in ((row, height), (column, width)):
        length = (size * (1 - lam).sqrt()).floor()
        start = (centre * size).floor() - (length / 2).floor()
        edges += [start.clamp(min=0), (start + length).clamp(max=size)]
    return torch.stack(edges, dim=1).long()


def _rectangles(row: np.ndarray, column: np.ndarray, lam: np.ndarray, height: int, width: int) -> np.ndarray:
    edges = []
    for centre, size in ((row, height), (column, width)):
        length = np.floor(size * np.sqrt(1 - lam))
        start = np.floor(centre * size) - np.floor(length / 2)
        edges += [np.maximum(start, 0), np.minimum(start + length, size)]
    return np.stack(edges, axis=1).astype(np.int64)


def paste_rectangles(inputs: Tensor, target: Tensor, perm: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Paste one rectangle for all samples (1, 4), or one for each (B, 4), with `edges` from `rectangles`.

    Returns:
        A new tensor, and the share of the own picture: (B,), or (B, H, W) for targets that have pixels.
    """
    height, width = inputs.shape[-2:]
    if inputs.is_cpu and len(edges) == 1:
        ((top, bottom, left, right),) = edges.tolist()
        mixed = paste(inputs, inputs[..., top:bottom, left:right], perm, top, left)
    elif inputs.is_cpu and inputs[0].numel() >= ONE_BY_ONE:
        mixed = inputs.clone()
        for i, (j, (top, bottom, left, right)) in enumerate(zip(perm.tolist(), edges.tolist(), strict=True)):
            mixed[i, :, top:bottom, left:right] = inputs[j, :, top:bottom, left:right]
    else:  # a GPU would have to wait for the edges
        mask = _mask(edges, height, width)
        mixed = blend(inputs, perm, mask if len(edges) > 1 else mask[0])
    if target.dim() > 2:
        return mixed, _mask(edges, height, width).expand(len(inputs), height, width)
    area = (edges[:, 1] - edges[:, 0]) * (edges[:, 3] - edges[:, 2])
    return mixed, ((height * width - area) / (height * width)).expand(len(inputs))


def _mask(edges: Tensor, height: int, width: int) -> Tensor:
    """1 outside and 0 inside the rectangles: (n, 4) to (n, H, W) float32."""
    top, bottom, left, right = edges[:, :, None].unbind(1)
    row, column = (torch.arange(size, device=edges.device) for size in (height, width))
    down, across = ((row >= top) & (row < bottom)).float(), ((column >= left) & (column < right)).float()
    return (down[:, :, None] * across[:, None]).neg_().add_(1)
