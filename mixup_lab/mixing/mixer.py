"""The contract of a mixing method, the method that does nothing, and what all methods that mix pairs share.

A mixer first draws all chance for many steps from its own generator, then applies it with pure functions. So the same
draws give the same batches on every device, eagerly or compiled, and the maths is tested with chosen values.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mixup_lab.mixing.checks import check_call
from mixup_lab.mixing.functional import rows, soft
from mixup_lab.mixing.law import Law
from mixup_lab.mixing.partners import BY_DISTANCE, PARTNERS, draw_partners, nearest
from mixup_lab.types import Batch, Inputs, Mixed

LAM_PER = ("batch", "sample", "pair")
LABELS = ("two_term", "soft", "dominant", "inputs_only", "labels_only")

Draw = dict[str, Any]  # one step's draw: tensors on the device, and plain numbers for what the host has to know


@dataclass(frozen=True)
class Bound:
    """What a mixer may want to know of the training that it serves."""

    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]  # (B, ...) outputs, targets -> loss of each element
    input_shape: tuple[int, ...]  # of one example
    num_classes: int | None  # None where targets are no classes


class Mixer(ABC):
    """A method of mixing the examples of a batch; one class and one yaml in `conf/aug` make a new one.

    Most methods are a `PairMixer`, which needs `mix` alone.
    """

    alpha: float  # parameter of the law of lam; 0 means that nothing is mixed
    whole_batch = False  # whether forward and backward have to see the batch in one piece

    def bind(self, bound: Bound) -> None:  # noqa: B027 - most methods need nothing
        """Told once, before the first step, what is trained. Raises ValueError for what the method cannot serve."""

    @abstractmethod
    def draw(
        self,
        rng: np.random.Generator,
        steps: int,
        batch_size: int,
        *,
        targets: np.ndarray | None = None,
        scale_alpha: np.ndarray | None = None,
        scale_prob: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """All that is random, for `steps` batches.

        Args:
            rng: the mixing stream.
            steps: S.
            batch_size: B.
            targets: (S, B, ...) labels of these batches, where they are known.
            scale_alpha: (S,) factor of alpha at each step, where a schedule changes it.
            scale_prob: (S,) likewise, of the share that is mixed.

        Returns:
            Arrays of first dimension S. Those of more dimensions are uploaded to the device; those of one stay on the
            host: `apply` gets its step's value as a plain number.
        """

    @abstractmethod
    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        """Mix one batch with one step's draw, on the batch's device. The batch is not changed in place."""


class NoMixing(Mixer):
    """The baseline (ERM): every example is itself, lam = 1."""

    alpha = 0.0

    def draw(
        self,
        rng: np.random.Generator,
        steps: int,
        batch_size: int,
        *,
        targets: np.ndarray | None = None,
        scale_alpha: np.ndarray | None = None,
        scale_prob: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Nothing is drawn."""
        return {}

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        """The batch as it is, with itself as partner."""
        lam = torch.ones(len(batch.target), device=batch.target.device)
        return Mixed(batch.inputs, batch.target, batch.target, lam)


@dataclass
class PairMixer(Mixer):
    """Every example is mixed with one partner of its batch. A method says how in `mix`; the rest is here.

    Also callable in anyone's own training loop: `mixed = mixer(inputs, target)`.

    Args:
        alpha: >= 0 and finite; 0 trains bit for bit like the baseline.
        law: of lam: `beta` (alpha, `beta`), `uniform`, or `fixed` at `lam`.
        beta: second parameter of the law `beta`, > 0; None: the same as alpha.
        lam: value of the law `fixed`, in [0, 1].
        lam_min: with `lam_max`: the law is truncated to this interval.
        lam_max: see `lam_min`.
        fold: use max(lam, 1 - lam): the own label never has the smaller share.
        lam_per: one lam for each `batch` (the paper's code), `sample` or `pair` (couples that share one).
        prob: in [0, 1]; the share of the batches (examples, pairs: see `lam_per`) that are mixed at all.
        partner: see `mixup_lab.mixing.partners.draw_partners`; beside these `nearest_input` and `nearest_feature`.
        bandwidth: of `partner=near_label`, in standard deviations of the labels, > 0.
        labels: `two_term` (both labels, lam between their losses), `soft` (one label in between; the same loss),
            `dominant` (the label of the larger share alone), `inputs_only` (own labels with mixed inputs),
            `labels_only` (mixed labels with own inputs).
        seed: of the generator for direct calls; None: another one each time. Runs have a stream of their own.

    Raises:
        ValueError: if an argument is outside its range.
    """

    alpha: float = 1.0
    _: KW_ONLY
    law: str = "beta"
    beta: float | None = None
    lam: float = 0.5
    lam_min: float = 0.0
    lam_max: float = 1.0
    fold: bool = False
    lam_per: str = "batch"
    prob: float = 1.0
    partner: str = "random"
    bandwidth: float = 1.0
    labels: str = "two_term"
    num_classes: int | None = None
    seed: int | None = None
    _warned: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"alpha must be a finite number >= 0, got {self.alpha}")
        if not 0 <= self.prob <= 1:
            raise ValueError(f"prob must be in [0, 1], got {self.prob}")
        for name, allowed in (("lam_per", LAM_PER), ("partner", PARTNERS), ("labels", LABELS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)}")
        if self.lam_per == "pair" and self.partner not in ("random", "pairs"):
            raise ValueError(f"lam_per=pair draws its own couples and does not go with partner={self.partner}")
        if not (math.isfinite(self.bandwidth) and self.bandwidth > 0):
            raise ValueError(f"bandwidth must be a finite number > 0, got {self.bandwidth}")
        self.alpha = float(self.alpha)
        self._law = Law(self.law, self.beta, self.lam, self.lam_min, self.lam_max, self.fold)
        self._partner = "pairs" if self.lam_per == "pair" else self.partner
        self._rng = np.random.default_rng(self.seed)
        self._bound: Bound | None = None

    # ---- what a method says ----------------------------------------------------------------------------------------

    @abstractmethod
    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        """The mixed inputs, and the share of the own label that was really done.

        Args:
            inputs: (B, ...), not to be changed in place.
            perm: (B,) int64 partners.
            lam: (B,) float32 as drawn; 1 must give the inputs back bit for bit, and the share 1.
            draw: of this step, what `extras` drew included.

        Returns:
            Inputs, and lam (B,); or, where a mask decides for each pixel, its share (H, W) or (B, H, W), which targets
            of that shape need and of which others get the mean.
        """

    def extras(self, rng: np.random.Generator, lam: np.ndarray) -> dict[str, np.ndarray]:
        """What a method draws beside partners and lam (S, B), such as places; see `Mixer.draw` for the shapes."""
        return {}

    # ---- what is the same for all ----------------------------------------------------------------------------------

    def bind(self, bound: Bound) -> None:
        """Keep what soft labels, features and gradients need."""
        self.num_classes = self.num_classes or bound.num_classes
        self._bound = bound

    def draw(
        self,
        rng: np.random.Generator,
        steps: int,
        batch_size: int,
        *,
        targets: np.ndarray | None = None,
        scale_alpha: np.ndarray | None = None,
        scale_prob: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """`perm` (S, B) int64, `lam` (S, B) float32 and the method's own. Partners are first: all alphas share them."""
        draws = {} if self._partner in BY_DISTANCE else {"perm": self._perm(rng, steps, batch_size, targets)}
        units = 1 if self.lam_per == "batch" else batch_size
        one = np.ones(steps)
        unmixed = rng.random((steps, units)) >= self.prob * (one if scale_prob is None else scale_prob)[:, None]
        lam = self._law.draw(rng, self.alpha * (one if scale_alpha is None else scale_alpha), units)
        lam[unmixed] = 1.0
        if self.lam_per == "pair":
            lam = np.take_along_axis(lam, np.minimum(draws["perm"], np.arange(batch_size)), axis=1)
        draws["lam"] = np.broadcast_to(lam, (steps, batch_size)).copy()
        return draws | self.extras(rng, draws["lam"])

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        """Mix inputs and labels."""
        perm = draw["perm"] if "perm" in draw else self._nearest(batch.inputs)
        inputs, lam = self.mix(batch.inputs, perm, draw["lam"], draw)
        return self._labelled(batch, inputs, perm, _share(lam, batch.target))

    def __call__(self, inputs: Inputs, target: Tensor) -> Mixed:
        """Mix one batch in a training loop of your own.

        Args:
            inputs: (B, ...) floating point on any device, or a dict of such tensors, which are mixed alike.
            target: (B, ...) class indices or numbers.

        Returns:
            Mixed; `mixed.loss(criterion, model(mixed.inputs)).mean()` is the loss to minimise.

        Raises:
            TypeError: for what cannot be mixed, such as numpy arrays or uint8; the sentence says what to do.
        """
        size, device = check_call(inputs, target)
        known = target.cpu().numpy()[None] if self._partner not in ("random", "pairs", "roll", "no_self") else None
        drawn = self.draw(self._rng, 1, size, targets=known)
        return self.apply(Batch(inputs, target), at_step(upload(drawn, device), 0))

    def collate(self, examples: list[Any]) -> Mixed:
        """For `DataLoader(collate_fn=mixer.collate)`: stack the examples, then mix.

        Warns once that mixing in the loop is better: worker processes each mix with a copy of the same generator, which
        is not part of any checkpoint, and the mixed batch has to be sent to the device with both labels.
        """
        if not self._warned:
            self._warned = True
            warnings.warn(
                "mixing in collate_fn: every worker process has a copy of the same generator and mixes on the CPU;"
                " call the mixer in the training loop instead",
                stacklevel=2,
            )
        return self(*torch.utils.data.default_collate(examples))

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _perm(self, rng: np.random.Generator, steps: int, batch_size: int, targets: np.ndarray | None) -> np.ndarray:
        perm, without = draw_partners(self._partner, rng, steps, batch_size, targets, self.bandwidth)
        if without and not self._warned and self._partner in ("same_class", "different_class", "no_self"):
            self._warned = True
            kept = "stay unmixed" if self._partner != "different_class" else "get one of their own class"
            warnings.warn(
                f"partner={self._partner}: {without:.1%} of the examples have no such partner in the batch and {kept}",
                stacklevel=3,
            )
        return perm

    def _nearest(self, inputs: Inputs) -> Tensor:
        if not isinstance(inputs, Tensor):
            raise ValueError(f"partner={self._partner} needs inputs that are one tensor")
        return nearest(inputs if self._partner == "nearest_input" else self._features(inputs))

    def _features(self, inputs: Tensor) -> Tensor:
        """What the model's last linear layer reads, in evaluation mode: BatchNorm and dropout notice nothing."""
        from mixup_lab.mixing.features import features

        return features(self._known("partner=nearest_feature").model, inputs)

    def _known(self, what: str) -> Bound:
        if self._bound is None:
            raise ValueError(f"{what} needs the model; call bind(Bound(...)) first")
        return self._bound

    def _labelled(self, batch: Batch, inputs: Inputs, perm: Tensor, lam: Tensor) -> Mixed:
        own, partner = batch.target, rows(batch.target, perm)
        if self.labels == "two_term":
            return Mixed(inputs, own, partner, lam)
        if self.labels == "labels_only":
            return Mixed(batch.inputs, own, partner, lam)
        if self.labels == "inputs_only":
            return Mixed(inputs, own, own, lam)
        if self.labels == "dominant":
            larger = torch.where(_as(lam, own) >= 0.5, own, partner)
            return Mixed(inputs, larger, larger, lam)
        own, partner = soft(own, self.num_classes), soft(partner, self.num_classes)
        between = partner.lerp(own, _as(lam, own).to(own.dtype))
        return Mixed(inputs, between, between, lam)


def _share(lam: Tensor, target: Tensor) -> Tensor:
    """lam for each pixel where the targets have pixels, else for each example."""
    if lam.dim() == 1:
        return lam
    if target.dim() > 2:
        return lam.expand(len(target), *lam.shape[-2:])
    return lam.mean((-2, -1)).expand(len(target))


def _as(lam: Tensor, target: Tensor) -> Tensor:
    """lam with the dimensions of the target: (B, 1, ...) for one for each example, (B, 1, H, W) for soft pixels."""
    if lam.dim() == 1:
        return lam.reshape(-1, *[1] * (target.dim() - 1))
    return lam.unsqueeze(1) if target.dim() > lam.dim() else lam


def upload(draws: dict[str, np.ndarray], device: torch.device) -> dict[str, Any]:
    """The draws of many steps on the device; what has one number for each step stays on the host."""
    return {name: torch.from_numpy(v).to(device) if v.ndim > 1 else v for name, v in draws.items()}


def at_step(draws: dict[str, Any], step: int) -> Draw:
    """The draw of one step: views of tensors, nothing is copied; plain numbers of what stayed on the host."""
    return {name: v[step] if isinstance(v, Tensor) else v[step].item() for name, v in draws.items()}
