"""What `bench.py` measures of mixing alone: from a batch with its labels to the mixed ones, everything drawn anew."""

from __future__ import annotations

import time

import torch

from mixup_lab.mixing import CutMix, Mixup

METHODS = {"Mixup": Mixup, "CutMix": CutMix}
CLASSES = 10


class Alone:
    """One library's mixing of one batch.

    Args:
        library: ours, torchvision or timm.
        method: Mixup or CutMix.
        per: batch or sample: what has a lam of its own.
        shape: of the batch.
        device: cpu or cuda.
    """

    alike, epoch = True, 10**9

    def __init__(self, library: str, method: str, per: str, shape: list[int], device: str) -> None:
        generator = torch.Generator().manual_seed(0)
        self.batch, self.device = shape[0], device
        self.inputs = torch.randn(shape, generator=generator).to(device)  # timm writes into it
        self.target = torch.randint(CLASSES, shape[:1], generator=generator).to(device)
        self.mix = {"ours": _ours, "torchvision": _torchvision, "timm": _timm}[library](method, per)
        _check_mixed(self.mix, self.inputs, self.target)

    def run(self, steps: int) -> tuple[float, int]:
        started = time.perf_counter()
        for _ in range(steps):
            self.mix(self.inputs, self.target)
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started, steps


def _ours(method: str, per: str):
    return METHODS[method](alpha=1.0, lam_per=per, seed=0)


def _torchvision(method: str, per: str):
    from torchvision.transforms import v2

    assert per == "batch"
    return {"Mixup": v2.MixUp, "CutMix": v2.CutMix}[method](alpha=1.0, num_classes=CLASSES)


def _timm(method: str, per: str):
    from timm.data import Mixup

    alphas = {"Mixup": (1.0, 0.0), "CutMix": (0.0, 1.0)}[method]
    mode = {"batch": "batch", "sample": "elem"}[per]
    return Mixup(*alphas, mode=mode, label_smoothing=0.0, num_classes=CLASSES)


def _check_mixed(mix, inputs, target) -> None:
    """Stop if a few calls leave inputs or labels unchanged."""
    changed = set()
    for _ in range(10):
        mixed = mix(inputs.clone(), target)
        moved = (mixed[0] - inputs).flatten(1).abs().amax(1) > 0
        soft = mixed.lam < 1 if hasattr(mixed, "lam") else mixed[1].amax(1) < 1
        changed |= {"inputs"} if moved.any() else set()
        changed |= {"labels"} if soft.any() else set()
        if not torch.isfinite(mixed[0]).all() or mixed[0].shape != inputs.shape:
            raise ValueError(f"{mix} returns a batch of wrong shape or values")
    if changed != {"inputs", "labels"}:
        raise ValueError(f"{mix} does not mix inputs and labels, only {sorted(changed)}")
