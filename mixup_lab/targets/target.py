"""The contract of a kind of target, and of the task that a model is trained for. One file for each kind.

N: examples; n: some of them; B: examples in a batch; `...`: the shape of one target or output.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor

from mixup_lab.types import Labels, UserError, View


class Settings(TypedDict, total=False):
    """Facts of a run that a task may depend on."""

    label_smoothing: float  # in [0, 1), for classes
    class_weights: str | Sequence[float] | None  # `balanced` or one number for each class, for classes
    input_shape: Sequence[int]  # of one example


class Columns(NamedTuple):
    """Predictions of n examples as columns of a table, by their names."""

    decided: dict[str, list[str]]  # what the model decides for: `prediction`, or one column for each number
    shares: dict[str, np.ndarray]  # the probabilities behind it, (n,) each: `p_NAME`


class Shown(NamedTuple):
    """A picture that a model predicted something for."""

    name: str  # of the file, with its path below the folder that the user gave
    view: View  # the part that the model saw


class Moves(Protocol):
    """The part of a transform that moves targets with a place; see `mixup_lab.transforms.transform.Transform`."""

    def move_masks(self, masks: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """Masks (B, H, W) after the transform."""

    def move_boxes(self, boxes: Tensor, draw: dict[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        """Boxes (B, M, 5) of pictures of shape (C, H, W) after the transform."""


@dataclass(frozen=True)
class Target(ABC):
    """A kind of target. A source makes one with the `names` of the classes, columns or tags.

    `kind` is recorded in each run, and tables of results are keyed by it. `placed` targets have a place in the picture:
    they follow its transform and are drawn on it.
    """

    names: tuple[str, ...]
    kind: ClassVar[str]  # plural: "classes", "numbers"
    noun: ClassVar[str]  # what `names` are names of: "class", "number"
    placed: ClassVar[bool] = False
    strata_are_classes: ClassVar[bool] = False  # rare ones are reported, and splits by groups keep each in train
    models: ClassVar[str] = ""  # options of conf/model for this kind, if no others work
    predictions: ClassVar[str] = "predictions.csv"  # where `predict` writes by default; without an ending a folder

    @abstractmethod
    def check(self, where: str, target: np.ndarray) -> None:
        """Raise UserError unless these targets (N, ...) are valid; `where` is train, val or test, for the message."""

    def strata(self, target: np.ndarray) -> np.ndarray:
        """(N,) int64 >= 0: each split gets an even share of every stratum. Default: one stratum."""
        return np.zeros(len(target), dtype=np.int64)

    def counts(self, target: np.ndarray) -> np.ndarray:
        """The number of examples of each name (K,), for kinds of which a split may lack some. Default: (0,), none."""
        return np.zeros(0, dtype=np.int64)

    @abstractmethod
    def describe_one(self, target: np.ndarray) -> str:
        """One target (...) in a few words."""

    def describe(self) -> str:
        """The number of classes, columns or tags: `10 classes`, `1 number`."""
        plural = "es" if self.noun.endswith("s") else "s"
        return f"{len(self.names)} {self.noun}{plural if len(self.names) != 1 else ''}"

    def label_parts(self, own: np.ndarray, partner: np.ndarray, lam: float) -> list[tuple[float, str]]:
        """The label of a mixed example: share, greater than 0, and description of each part."""
        both = ((lam, own), (1 - lam, partner))
        return [(share, self.describe_one(target)) for share, target in both if share > 0]

    def move(self, target: Tensor, transform: Moves, draw: dict[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        """Targets (B, ...) of pictures of shape (C, H, W) after a transform. Default: unchanged."""
        return target

    def draw(self, tiles: np.ndarray, targets: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """New tiles with the targets on them. Default: the tiles themselves.

        Args:
            tiles: uint8 (n, height, width, 3), as an encoder draws them.
            targets: (n, ...).
            shape: of one example, (C, H, W) for pictures; positions in targets refer to it.
        """
        return tiles

    def draw_mixed(
        self, tiles: np.ndarray, own: np.ndarray, partner: np.ndarray, lam: np.ndarray, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Tiles of mixed examples with the targets (n, ...) of both on them. Default: the tiles themselves.

        `lam` is (n,), or (n, H, W) if it differs between pixels; for the rest see `draw`.
        """
        return tiles

    def legend(self) -> list[tuple[str, np.ndarray]]:
        """Name and colour, uint8 (3,), of everything that `draw` distinguishes by colour."""
        return []

    def columns(self, chances: np.ndarray) -> Columns | None:
        """Predictions as columns of a table, from `Task.chances` (n, ...). Default: None, they are `documents`."""
        return None

    def documents(self, chances: np.ndarray, shown: Sequence[Shown]) -> Iterator[tuple[str, bytes]]:
        """Predictions of n pictures as files, from `Task.chances` (n, ...), in the pixels of the pictures.

        Default: none, they are `columns`.

        Yields:
            The path of a file below the folder `predictions`, "" if that is a file, and the content.

        Raises:
            UserError: if two pictures would have one file.
        """
        yield from ()

    @abstractmethod
    def task(self, target: np.ndarray, device: torch.device, **settings: Unpack[Settings]) -> Task:
        """The task of a run.

        Args:
            target: (N, ...) of the training split, the only data that a task may learn from.
            device: of the model's outputs.
            settings: see `Settings`.

        Raises:
            ValueError: for settings that do not apply to this kind of target; the message begins with the key.
        """

    def _require(self, where: str, target: np.ndarray, dtype: type, dims: int, last: int | None = None) -> None:
        if target.dtype != dtype or target.ndim != dims or (last is not None and target.shape[-1] != last):
            ending = f", the last of {last}" if last else ""
            needed = f"{np.dtype(dtype)} of {dims} dimension{'s'[: dims > 1]}{ending}"
            raise UserError(f"targets of {where} must be {needed} for {self.kind}, got {target.dtype} {target.shape}")

    def _require_two(self) -> None:
        if len(self.names) < 2:
            raise UserError(f"the dataset has {self.describe()}, at least 2 are needed")

    def _refuse_class_settings(self, settings: Settings) -> None:
        for key in ("label_smoothing", "class_weights"):
            if value := settings.get(key):
                raise ValueError(f"{key}={value} is for classes, not for {self.kind}")


class Task(ABC):
    """What the training loop needs for one kind of target.

    The loss of an output is `element_loss(normalize(output), target)`: what does not depend on the label is computed
    once for both labels of a mixture. Metrics are computed from what `observe` keeps of each example, so that batches
    of any size and order give the same value.
    """

    primary: str  # the metric that decides, evaluated on val and test
    maximize: bool
    num_outputs: int  # outputs (channels, if the output is a map) that a model needs
    labels = Labels()  # properties of the targets that mixing methods depend on
    probabilistic: tuple[str, ...] = ("loss",)  # metrics that need outputs to be probabilities, or their logits

    def accepts(self, output: Tensor) -> bool:
        """Whether outputs (B, ...) of a model have a valid shape. Default: one dimension is `num_outputs`."""
        return self.num_outputs in output.shape[1:]

    def normalize(self, output: Tensor) -> Tensor:
        """The part of the loss that is the same for every label, (B, ...) to (B, ...). Default: the identity."""
        return output

    @abstractmethod
    def element_loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """The training loss of each element, (B,) or (B, H, W), of normalized outputs. Not reduced: the loop mixes."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The training loss of each element, (B,) or (B, H, W), from outputs of the model."""
        return self.element_loss(self.normalize(output), target)

    def train_sums(self, output: Tensor, target: Tensor, partner: Tensor, lam: Tensor) -> dict[str, Tensor]:
        """Values to be summed over the mixed examples of an epoch. Default: none."""
        return {}

    def train_scalars(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """Scalars from the sums of an epoch; `sums["lam"]` (n,) has one number for each example. Default: none."""
        return {}

    @abstractmethod
    def observe(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Arrays to keep of clean examples, each (B, ...), for metrics and for `predictions.npz`."""

    @abstractmethod
    def metrics(self, kept: dict[str, Tensor]) -> dict[str, float]:
        """All metrics of a split from its kept arrays, `loss` and `primary` among them."""

    def constant(self, target: np.ndarray) -> Tensor | None:
        """The trivial answer: the best output (...) that ignores the input, from the targets (N, ...) of train.

        Default: None, there is none.
        """
        return None

    def regressed(self, target: Tensor) -> Tensor | None:
        """Outputs (n, num_outputs) that a linear regression fits instead of targets (n, ...). Default: None."""
        return None

    def mistakes(self, kept: dict[str, Tensor], names: Sequence[str], count: int) -> list[tuple[int, str]]:
        """The examples with the worst answers, at most `count`, the worst first. Default: none.

        Returns:
            For each its index, and the model's answer in a few words; `names` are those of the kind.
        """
        return []

    def answer(self, output: Tensor) -> Tensor:
        """The output (B, ...) as users take it: logits, or numbers in the units of the targets. Default: unchanged."""
        return output

    def chances(self, answer: Tensor) -> Tensor:
        """What an answer (B, ...) predicts: probabilities, numbers or boxes. Default: the answer.

        Those of several models have a mean where `labels.averaged`.
        """
        return answer

    def as_target(self, output: Tensor) -> Tensor | None:
        """The model's answer in the form of targets (B, ...), to be drawn. Default: None, for targets without place."""
        return None


def label_shift(mass: Tensor, shares: Tensor | None) -> dict[str, float]:
    """`mix/label_shift`: how far the labels of an epoch are from those of the data, in [0, 1].

    It is the total variation distance: 0 if each class is as frequent in the mixed labels as in the data.

    Args:
        mass: (C,) the shares of each class in the mixed labels, summed.
        shares: (C,) of the classes in the data, which sum to 1; None: unknown, no scalar.
    """
    if shares is None or not float(mass.sum()) > 0:
        return {}
    return {"mix/label_shift": float((mass / mass.sum() - shares).abs().sum() / 2)}
