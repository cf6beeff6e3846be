"""The contract of a mixing method, the method that does nothing, and what all methods that mix pairs share.

A mixer first draws all chance for many steps from its own generator, then applies it with pure functions. So the same
draws give the same batches on every device, eagerly or compiled, and the maths is tested with chosen values. (Noise
alone is drawn as a seed: its values come from the device's own generator and differ between kinds of devices.)
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mixup_lab.mixing.checks import check_call, check_tensor
from mixup_lab.mixing.features import features, last_linear
from mixup_lab.mixing.functional import rows, soft, union
from mixup_lab.mixing.inside import Inside, declared
from mixup_lab.mixing.law import Law
from mixup_lab.mixing.partners import BY_DISTANCE, BY_LABEL, PARTNERS, draw_partners, nearest
from mixup_lab.types import Batch, Inputs, Mixed

LAM_PER = ("batch", "sample", "pair")
LAW_ARGUMENTS = ("law", "beta", "lam", "lam_min", "lam_max", "fold")
LABELS = ("two_term", "soft", "dominant", "inputs_only", "labels_only", "union")

Draw = dict[str, Any]  # one step's draw: tensors on the device, and plain numbers for what the host has to know


@dataclass(frozen=True)
class Bound:
    """What a mixer may want to know of the training that it serves."""

    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]  # (B, ...) outputs, targets -> loss of each element
    input_shape: tuple[int, ...]  # of one example
    num_classes: int | None  # None where targets are no classes
    tokens: bool = False  # whether inputs are token ids (B, L), which can be mixed inside the model alone
    boxes: bool = False  # whether targets are sets of boxes (B, M, 5), which have no mean
    masks: bool = False  # whether targets are a class for each pixel (B, H, W)


class Mixer(ABC):
    """A method of mixing the examples of a batch; one class and one yaml in `conf/aug` make a new one.

    Most methods are a `PairMixer`, which needs `mix` alone. Also callable in anyone's own training loop:
    `mixed = mixer(inputs, target)`.
    """

    alpha: float = 1.0  # parameter of the law of lam; 0 means that nothing is mixed
    prob: float = 1.0  # share of the batches that are mixed at all
    seed: int | None = None  # of the generator for direct calls
    needs_labels = False  # whether the draw depends on the labels
    whole_batch = False  # whether forward and backward have to see the batch in one piece
    on_tokens = False  # whether the method serves inputs that are token ids
    on_boxes = False  # whether the boxes of both pictures are still true of the mixture

    @property
    def by_example(self) -> bool:
        """Whether an example is mixed with its partner and lam alone, so that several batches can be mixed at once."""
        return False

    def bind(self, bound: Bound) -> None:
        """Told once, before the first step, what is trained. Raises ValueError for what the method cannot serve."""
        if bound.tokens and not self.on_tokens:
            raise ValueError(
                f"{type(self).__name__} needs inputs that are numbers, such as pixels; these are tokens of texts, which"
                " aug=mixup and aug=manifold_mixup mix inside the model"
            )
        if bound.boxes and not self.on_boxes:
            raise ValueError(
                f"{type(self).__name__} does not keep the boxes of both pictures whole; for boxes there are aug=mixup,"
                " manifold_mixup, regmixup, noise_mix and noise"
            )

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

    def __call__(self, inputs: Inputs, target: Tensor) -> Mixed:
        """Mix one batch in a training loop of your own.

        Args:
            inputs: (B, ...) floating point on any device, or a dict of such tensors, which are mixed alike.
            target: (B, ...) class indices or numbers, on the same device.

        Returns:
            Mixed; `mixed.loss(criterion, model(mixed.inputs)).mean()` is the loss to minimise.

        Raises:
            TypeError: for what cannot be mixed, such as numpy arrays or uint8; the sentence says what to do.
            ValueError: for an empty batch, unequal lengths or devices, and what the method refuses.
        """
        size, device = check_call(inputs, target)
        known = target.cpu().numpy()[None] if self.needs_labels else None
        drawn = self.draw(self._rng, 1, size, targets=known)
        # at_step(upload(drawn, device), 0), but the only step is taken before it becomes a tensor: a tenth of a call
        draw = {name: torch.from_numpy(v[0]).to(device) if v.ndim > 1 else v[0].item() for name, v in drawn.items()}
        return self.apply(Batch(inputs, target), draw)

    @property
    def collate(self) -> Callable[[list[Any]], Mixed]:
        """For `DataLoader(collate_fn=mixer.collate)`: stacks the examples (inputs, target), then mixes.

        Warns once, here and not in every worker, that mixing in the loop is better. Each worker of each epoch draws
        from a stream of its own, which follows from the seed that the loader gives it.
        """
        self._warn_once(
            "mixing in collate_fn: worker processes mix on the CPU, with generators that no checkpoint keeps;"
            " call the mixer in the training loop instead"
        )
        return self._collate

    def _collate(self, examples: list[Any]) -> Mixed:
        worker = torch.utils.data.get_worker_info()
        if worker is not None and worker.seed != self._worker_seed:
            self._worker_seed = worker.seed
            self._rng = np.random.default_rng([worker.seed, self.seed or 0])
        return self(*torch.utils.data.default_collate(examples))

    _worker_seed: int | None = None

    @cached_property
    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    @cached_property
    def _said(self) -> set[str]:
        return set()

    def _warn_once(self, sentence: str) -> None:
        kind = sentence.partition(":")[0]
        if kind not in self._said:
            self._said.add(kind)
            warnings.warn(sentence, stacklevel=3)


class NoMixing(Mixer):
    """The baseline (ERM): every example is itself, lam = 1."""

    alpha = 0.0
    prob = 0.0
    on_tokens = True
    on_boxes = True
    by_example = True

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

    Args:
        alpha: >= 0 and finite; 0 trains bit for bit like the baseline.
        law: of lam: `beta` (alpha, `beta`), `uniform`, or `fixed` at `lam`.
        beta: second parameter of the law `beta`, > 0; None: the same as alpha.
        lam: value of the law `fixed`, in [0, 1].
        lam_min: with `lam_max`: the law is truncated to this interval.
        lam_max: see `lam_min`.
        fold: use max(lam, 1 - lam): the own label never has the smaller share.
        lam_per: one lam for each `batch` (the paper's code), `sample` or `pair` (couples that share lam and place).
        prob: in [0, 1]; the share of the batches (examples, pairs: see `lam_per`) that are mixed at all.
        partner: see `mixup_lab.mixing.partners.draw_partners`; beside these `nearest_input` and `nearest_feature`.
        bandwidth: of `partner=near_label`, in standard deviations of the labels, > 0.
        labels: `two_term` (both labels, lam between their losses), `soft` (one label in between; the same loss),
            `dominant` (the label of the larger share alone), `inputs_only` (own labels with mixed inputs),
            `labels_only` (mixed labels with own inputs), `union` (of boxes: those of both in one set, each with its
            share).
        num_classes: for soft labels outside of runs, which know it.
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
        self._law.draw(np.random.default_rng(0), np.array([self.alpha]), 1)  # on trial: alpha and interval must agree
        self._partner = "pairs" if self.lam_per == "pair" else self.partner
        self.needs_labels = self._partner in BY_LABEL
        self._bound: Bound | None = None
        self._layers: tuple[str, ...] = ()
        self._inside: Inside | None = None

    # ---- what a method says ----------------------------------------------------------------------------------------

    @abstractmethod
    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        """The mixed inputs, and the share of the own label that was really done.

        Args:
            inputs: (B, ...), not to be changed in place.
            perm: (B,) int64 partners.
            lam: (B,) float32 as drawn; 1 must give the inputs back bit for bit, and the share 1.
            draw: of this step, what `extras` drew included, and the own `target`.

        Returns:
            Inputs, and lam (B,); or, where a mask decides for each pixel, its share (H, W) or (B, H, W), which targets
            of that shape need and of which others get the mean.
        """

    def extras(self, rng: np.random.Generator, lam: np.ndarray) -> dict[str, np.ndarray]:
        """What a method draws beside partners and lam (S, B), such as places; see `Mixer.draw` for the shapes."""
        return {}

    # ---- what is the same for all ----------------------------------------------------------------------------------

    def bind(self, bound: Bound) -> None:
        """Keep what soft labels, features and gradients need; hook the layers that are to be mixed."""
        super().bind(bound)
        if self._partner == "nearest_feature":
            last_linear(bound.model)
        if self._partner == "nearest_input" and bound.tokens:
            raise ValueError("partner=nearest_input needs inputs that are numbers; of texts there is nearest_feature")
        if bound.boxes and (self.labels == "soft" or self._partner in BY_LABEL):
            setting = "labels=soft" if self.labels == "soft" else f"partner={self._partner}"
            raise ValueError(f"{setting} needs labels that have a mean or a distance; sets of boxes have neither")
        if bound.masks and self._partner in BY_LABEL:
            raise ValueError(f"partner={self._partner} needs one label for each example; masks have one for each pixel")
        if self.labels == "union" and not bound.boxes:
            raise ValueError("labels=union joins the boxes of both pictures; these targets are no boxes")
        self.num_classes = self.num_classes or bound.num_classes
        self._bound = bound
        self._layers = self.layers_inside(bound)
        if bound.tokens and not self._layers:
            raise ValueError("this model declares no layer where tokens could be mixed: its mixup_layers are empty")
        if self._layers:
            self.whole_batch = True
            self._inside = Inside(bound.model, self._layers, bound.input_shape, bound.tokens)

    def layers_inside(self, bound: Bound) -> tuple[str, ...]:
        """Where inside the model the method may mix: tokens at the first layer that the model declares."""
        return declared(bound.model)[:1] if bound.tokens else ()

    def layer(self, draw: Draw) -> str | None:
        """The layer whose output a step mixes; None: the inputs themselves."""
        return self._layers[0] if self._layers else None

    def mix_inside(self, layer: str, mix: Callable[[Tensor], Tensor]) -> None:
        """Have the next forward pass in training mode mix what this layer gives (B, ...)."""
        assert self._inside is not None
        if self.labels != "labels_only":
            self._inside.arm(layer, mix)

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
        prob = self.prob if scale_prob is None else self.prob * scale_prob[:, None]
        unmixed = rng.random((steps, units)) >= prob
        alpha = np.array([self.alpha] * steps) if scale_alpha is None else self.alpha * scale_alpha
        lam = self._law.draw(rng, alpha, units)
        lam[unmixed] = 1.0
        draws["lam"] = lam.repeat(batch_size // units, axis=1)
        draws |= self.extras(rng, draws["lam"])
        if self.lam_per == "pair":
            first = np.minimum(draws["perm"], np.arange(batch_size))
            for name, values in draws.items():
                if name != "perm" and values.shape == first.shape:
                    draws[name] = np.take_along_axis(values, first, axis=1)
        return draws

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        """Mix inputs and labels."""
        perm = draw["perm"] if "perm" in draw else self._nearest(batch.inputs)
        inputs, lam = self.mix(batch.inputs, perm, draw["lam"], {**draw, "target": batch.target})
        return self._labelled(batch, inputs, perm, _share(lam, batch.target))

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _perm(self, rng: np.random.Generator, steps: int, batch_size: int, targets: np.ndarray | None) -> np.ndarray:
        perm, without = draw_partners(self._partner, rng, steps, batch_size, targets, self.bandwidth)
        if without and self._partner in ("same_class", "different_class", "no_self"):
            kept = "stay unmixed" if self._partner != "different_class" else "get one of their own class"
            self._warn_once(
                f"partner={self._partner}: {without:.1%} of the examples have no such partner in the batch and {kept}"
            )
        return perm

    def _nearest(self, inputs: Inputs) -> Tensor:
        tensor = check_tensor(f"partner={self._partner}", inputs)
        return nearest(tensor if self._partner == "nearest_input" else self._features(tensor))

    def _features(self, inputs: Tensor) -> Tensor:
        """What the model's last linear layer reads, in evaluation mode: BatchNorm and dropout notice nothing."""
        return features(self._known("partner=nearest_feature").model, inputs)

    def _refuse_law(self, why: str) -> None:
        """For methods with a law of their own: whoever sets an argument of the law of lam is told that it does nothing.

        Raises:
            ValueError: if one has been set.
        """
        for part in fields(self):
            value = getattr(self, part.name)
            if part.name in LAW_ARGUMENTS and value != part.default:
                raise ValueError(f"{why} and knows no {part.name}={value}")

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
        if self.labels == "union":
            joined = union(own, partner, lam)
            return Mixed(inputs, joined, joined, lam)
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
    if target.dim() > 2 and target.shape[-2:] == lam.shape[-2:]:
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


def at_steps(draws: dict[str, Any], first: int, last: int) -> Draw:
    """The draws (S, B) of the steps from `first` to before `last` as those of one batch; partners stay in their step.

    For mixers that are `by_example`.
    """
    some = {name: values[first:last] for name, values in draws.items()}
    if "perm" in some:
        steps, size = some["perm"].shape
        some["perm"] = some["perm"] + torch.arange(0, steps * size, size, device=some["perm"].device).unsqueeze(1)
    return {name: values.flatten() for name, values in some.items()}


def at_step(draws: dict[str, Any], step: int) -> Draw:
    """The draw of one step: views of tensors, nothing is copied; plain numbers of what stayed on the host."""
    return {name: v[step] if isinstance(v, Tensor) else v[step].item() for name, v in draws.items()}
