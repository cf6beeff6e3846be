"""Regression: squared error of standardised targets, RMSE, MAE and R2 in the targets' own units.

N: examples, B: examples in a batch, T: numbers of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from mixup_lab.targets.target import Columns, Settings, Target, Task
from mixup_lab.types import UserError

BINS = 10  # strata of equal size


class Numbers(Target):
    """One or more numbers to predict for each example: float32 (N, T)."""

    kind, noun = "numbers", "number"

    def check(self, where: str, target: np.ndarray) -> None:
        self._require(where, target, np.float32, 2, len(self.names))
        if not np.isfinite(target).all():
            row, column = np.argwhere(~np.isfinite(target))[0].tolist()
            raise UserError(f"the target {self.names[column]} of {where} is {target[row, column]} in example {row}")
        if where == "train":
            for name, values in zip(self.names, target.T, strict=True):
                if values.min() == values.max():
                    raise UserError(f"the target {name} is {values[0]:g} in all of train: there is nothing to learn")

    def strata(self, target: np.ndarray) -> np.ndarray:
        """Tenths of the first number by rank; fewer for few examples, so that each stratum reaches every split."""
        rank = np.argsort(np.argsort(target[:, 0], kind="stable"), kind="stable")
        return rank * max(1, min(BINS, len(rank) // 4)) // max(1, len(rank))

    def describe_one(self, target: np.ndarray) -> str:
        return ", ".join(f"{value:.4g}" for value in target.tolist())

    def columns(self, chances: np.ndarray) -> Columns:
        """One column for each number, in the order of training: (n, T)."""
        names = ["prediction"] if len(self.names) == 1 else [f"prediction_{name}" for name in self.names]
        return Columns(
            {name: [f"{x:.9g}" for x in values] for name, values in zip(names, chances.T.tolist(), strict=True)}, {}
        )

    def task(self, target: np.ndarray, device: torch.device, **settings: Unpack[Settings]) -> Regression:
        self._refuse_class_settings(settings)
        values = torch.from_numpy(target).double()
        return Regression(*(v.float().to(device) for v in (values.mean(0), values.std(0, correction=0))))


class Regression(Task):
    """Targets are numbers (B, T), outputs (B, T) are standardised: (target - mean) / std.

    What mixing means here: `lam * (f - y_i)^2 + (1 - lam) * (f - y_j)^2` has the same gradient as the squared error to
    the mixed target `lam * y_i + (1 - lam) * y_j`; the two differ by `lam * (1 - lam) * (y_i - y_j)^2`, which the model
    cannot change. So the training loss of a mixing run is higher than in programs that mix the targets. No such
    equality holds for the absolute error, which is why it is a metric here and not a loss.

    Args:
        mean: (T,) of the training targets.
        std: (T,) likewise, > 0.
    """

    primary = "rmse"
    maximize = False

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        if mean.dim() != 1 or mean.shape != std.shape or not bool((std > 0).all()):
            raise ValueError("mean and std must be (T,), and std greater than 0")
        self.mean, self.std = mean, std
        self.num_outputs = len(mean)

    def element_loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """The squared error in standard deviations, averaged over the targets of an example: (B, T), (B, T) -> (B,)."""
        return (scores - (target - self.mean) / self.std).square().mean(1)

    def train_sums(self, output: Tensor, target: Tensor, partner: Tensor, lam: Tensor) -> dict[str, Tensor]:
        """`squared_mixed`: squared distance to the mixed target, in standard deviations, averaged over T."""
        between = partner.lerp(target, lam.unsqueeze(1))
        return {"squared_mixed": self.loss(output, between).sum()}

    def train_scalars(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """`train/rmse_mixed`: root of the mean squared distance to the mixed targets, in standard deviations."""
        return {"train/rmse_mixed": (float(sums["squared_mixed"]) / len(sums["lam"])) ** 0.5}

    def observe(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """`prediction` and `target`, (B, T) in the targets' own units."""
        return {"prediction": self.answer(output), "target": target}

    def answer(self, output: Tensor) -> Tensor:
        """(B, T) in the targets' own units."""
        return output * self.std + self.mean

    def constant(self, target: np.ndarray) -> Tensor:
        """The mean."""
        return self.regressed(torch.from_numpy(target).double().mean(0).to(self.mean.device))

    def regressed(self, target: Tensor) -> Tensor:
        """Standardised numbers."""
        return (target.double() - self.mean) / self.std

    def mistakes(self, kept: dict[str, Tensor], names: Sequence[str], count: int) -> list[tuple[int, str]]:
        """Examples of the largest error, in standard deviations."""
        error = ((kept["prediction"] - kept["target"]) / self.std).square().mean(1)
        order = error.argsort(descending=True, stable=True)[:count].tolist()
        return [(i, ", ".join(f"{value:.4g}" for value in kept["prediction"][i].tolist())) for i in order]

    def metrics(self, kept: dict[str, Tensor]) -> dict[str, float]:
        """`loss` as in training, and `rmse`, `mae`, `r2`, each the mean over the targets."""
        prediction, target = kept["prediction"].double(), kept["target"].double()
        error = prediction - target
        mse = error.square().mean(0)
        spread = (target - target.mean(0)).square().mean(0)
        return {
            "loss": float((mse / self.std.double().square()).mean()),
            "rmse": float(mse.sqrt().mean()),
            "mae": float(error.abs().mean()),
            "r2": float((1 - mse / spread.clamp_min(torch.finfo(torch.float64).tiny)).mean()),
        }
