"""Shared by all methods that mix an example with one partner of its batch."""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.checks import check_pictures, check_tensor
from mixup_lab.mixing.features import features, last_linear
from mixup_lab.mixing.functional import rows, soft
from mixup_lab.mixing.inside import Inside, declared
from mixup_lab.mixing.law import Law
from mixup_lab.mixing.mixer import LAMS, UNMIXED, Bound, Draw, Laws, Mixer, Request, Strip, at_least_zero
from mixup_lab.mixing.partners import BY_DISTANCE, BY_LABEL, PARTNERS, draw_partners, nearest
from mixup_lab.types import Batch, Inputs, Mixed, like

LAM_PER = {"batch": "one for each batch", "sample": "one for each example", "pair": "one for each pair of examples"}
LAW_ARGUMENTS = ("law", "beta", "lam", "lam_min", "lam_max", "fold")
LABELS = ("two_term", "soft", "dominant", "inputs_only", "labels_only", "union")


@dataclass
class PairMixer(Mixer):
    """Mixes every example with one partner of its batch. A method defines `mix`; the rest is here.

    Args:
        alpha: >= 0 and finite; 0 trains bit for bit like the baseline.
        law: of lam: `beta` (alpha, `beta`), `uniform`, or `fixed` at `lam`.
        beta: second parameter of the law `beta`, > 0; None: the same as alpha.
        lam: value of the law `fixed`, in [0, 1].
        lam_min: with `lam_max`: the law is truncated to this interval.
        lam_max: see `lam_min`.
        fold: use max(lam, 1 - lam): the own label never has the smaller share.
        lam_per: one lam for each `batch` (the paper's code), `sample` or `pair` (couples that share lam and place).
        prob: in [0, 1]; the share of the batches (examples, pairs: see `lam_per`) that are mixed.
        partner: see `mixup_lab.mixing.partners.draw_partners`; also `nearest_input` and `nearest_feature`.
        bandwidth: of `partner=near_label`, in standard deviations of the labels, > 0.
        labels: `two_term` (both labels, lam between their losses), `soft` (one label in between; the same loss),
            `dominant` (the label of the larger share alone), `inputs_only` (own labels with mixed inputs),
            `labels_only` (mixed labels with own inputs), `union` (the boxes of both in one set, each with its share).
        num_classes: needed for soft labels outside runs; a run fills it in.
        seed: of the generator for direct calls; None: a different one each time. Runs have a stream of their own.

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

    scheduled = True
    own_law = ""  # says what a method draws instead of lam; lam in `extras` and `mix` is then 1 (unmixed) or 0

    def __post_init__(self) -> None:
        at_least_zero(alpha=self.alpha)
        if not 0 <= self.prob <= 1:
            raise ValueError(f"prob must be in [0, 1], got {self.prob}")
        for name, allowed in (("lam_per", tuple(LAM_PER)), ("partner", PARTNERS), ("labels", LABELS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)}")
        if self.lam_per == "pair" and self.partner not in ("random", "pairs"):
            raise ValueError(f"lam_per=pair draws its own couples and cannot be combined with partner={self.partner}")
        if not 0 < self.bandwidth < math.inf:
            raise ValueError(f"bandwidth must be a finite number > 0, got {self.bandwidth}")
        self.alpha = float(self.alpha)
        if self.own_law:
            for part in fields(self):
                if part.name in LAW_ARGUMENTS and (value := getattr(self, part.name)) != part.default:
                    raise ValueError(f"{self.own_law} and has no {part.name}={value}")
            self._law = Law("fixed", value=0.0)
        else:
            self._law = Law(self.law, self.beta, self.lam, self.lam_min, self.lam_max, self.fold)
        self._law.draw(np.random.default_rng(0), np.array([self.alpha]), 1)  # a trial: alpha and interval must agree
        self._partner = "pairs" if self.lam_per == "pair" else self.partner
        self.needs_labels = self._partner in BY_LABEL
        self.by_example = self.by_example and self._partner not in BY_DISTANCE
        self._bound: Bound | None = None
        self._layers: tuple[str, ...] = ()
        self._inside: Inside | None = None

    # ---- defined by a method -----------------------------------------------------------------------------------------

    @abstractmethod
    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        """The mixed inputs, and the actual share of the own label.

        Args:
            inputs: (B, ...), not to be changed in place.
            perm: (B,) int64 partners.
            lam: (B,) float32 as drawn; 1 must return the inputs bit for bit, and the share 1.
            draw: of this step, with the arrays of `extras` and the own `target`.

        Returns:
            Inputs, and lam (B,), or the own share of each pixel (H, W) or (B, H, W) if the method mixes by masks: it
            applies to targets of that shape, its mean to all others.
        """

    def extras(self, rng: np.random.Generator, lam: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Further draws besides partners and lam, such as places; see `Mixer.draw` for the arrays.

        Args:
            rng: the mixing stream.
            lam: (S, n) float32; n is 1 if a batch has one lam (`lam_per=batch`), else B. Draws that belong to a lam
                have the shape (S, n, ...).
            shape: of one input.
        """
        return {}

    # ---- the same for all methods ------------------------------------------------------------------------------------

    def bind(self, bound: Bound) -> None:
        """Keep the parts of the training for later; hook the layers to be mixed."""
        super().bind(bound)
        labels = bound.labels
        if self._partner == "nearest_feature":
            last_linear(bound.model)
        if self._partner == "nearest_input" and bound.tokens:
            raise ValueError("partner=nearest_input needs inputs that are numbers; for texts use nearest_feature")
        if self.labels == "soft" and not labels.averaged:
            raise ValueError("labels=soft needs labels that can be averaged, which these cannot; use labels=two_term")
        if self._partner in BY_LABEL and not labels.one_each:
            raise ValueError(
                f"partner={self._partner} needs one label for each example, and these have several; use partner=random"
            )
        if self.labels == "union" and labels.join is None:
            raise ValueError("labels=union joins the boxes of both pictures, and these labels are not boxes")
        self.num_classes = self.num_classes or labels.num_classes
        self._bound = bound
        self._layers = self.layers_inside(bound)
        if bound.tokens and not self._layers:
            raise ValueError("this model declares no layer where tokens could be mixed: its mixup_layers are empty")
        if self._layers:
            self.whole_batch, self.by_example = True, False
            self._inside = Inside(bound.model, self._layers, bound.input_shape, bound.tokens)

    def layers_inside(self, bound: Bound) -> tuple[str, ...]:
        """The layers inside the model where the method may mix: for tokens the first of `mixup_layers`, else none."""
        return declared(bound.model)[:1] if bound.tokens else ()

    def mix_inside(self, layer: str, mix: Callable[[Tensor], Tensor]) -> None:
        """Mix the output (B, ...) of this layer in the next forward pass in training mode."""
        assert self._inside is not None
        if self.labels != "labels_only":
            self._inside.arm(layer, mix)

    def disarm(self) -> None:
        if self._inside is not None:
            self._inside.disarm()

    def draw(self, rng: np.random.Generator, request: Request) -> dict[str, np.ndarray]:
        """`perm` (S, B) int64, `lam` (S, B) float32 and `extras`. Partners come first, so all alphas share them."""
        draws = {} if self._partner in BY_DISTANCE else {"perm": self._perm(rng, request)}
        units = 1 if self.lam_per == "batch" else request.batch_size
        unmixed = rng.random((request.steps, units)) >= request.probs(self.prob)
        lam = self._law.draw(rng, request.alphas(self.alpha), units)
        lam[unmixed] = 1.0
        draws["lam"] = lam.repeat(request.batch_size // units, axis=1)
        draws |= self.extras(rng, lam, request.shape)
        if self.lam_per == "pair":
            first = np.minimum(draws["perm"], np.arange(request.batch_size))
            step = np.arange(request.steps)[:, None]
            for name, values in draws.items():
                if name != "perm" and values.shape[:2] == first.shape:
                    draws[name] = values[step, first]
        return draws

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        draw = self.find_partners(draw, batch.inputs)
        mixed = self.mix(batch.inputs, draw["perm"], draw["lam"], {**draw, "target": batch.target})
        if not (isinstance(mixed, tuple) and len(mixed) == 2 and isinstance(mixed[1], Tensor)):
            raise ValueError(f"{type(self).__name__}.mix must return the mixed inputs and lam, two tensors in a tuple")
        return self._labelled(batch, mixed[0], draw["perm"], _share(mixed[1], batch.target))

    # ---- for a preview -----------------------------------------------------------------------------------------------

    def laws(self) -> Laws:
        return [] if self.own_law else [(self.prob, self._law, self.alpha), (1 - self.prob, UNMIXED, 1.0)]

    def find_partners(self, draw: Draw, inputs: Inputs) -> Draw:
        """Add `perm` if it depends on distances; features are computed in evaluation mode, without side effects."""
        if "perm" in draw:
            return draw
        tensor = check_tensor(f"partner={self._partner}", inputs)
        if self._partner == "nearest_feature":
            bound = self.bound("partner=nearest_feature")
            with bound.autocast():
                tensor = features(bound.model, tensor)
        return {**draw, "perm": nearest(tensor)}

    def partners(self, draw: Draw) -> list[Tensor]:
        return [draw["perm"]] if "perm" in draw else []

    def mixed_layers(self) -> tuple[str, ...]:
        return self._layers

    def layer(self, draw: Draw) -> str | None:
        return self._layers[0] if self._layers else None

    def facts(self) -> list[tuple[str, str]]:
        return [("lam", LAM_PER[self.lam_per]), ("partner", self.partner), ("labels", self.labels)]

    def strips(self) -> list[Strip]:
        """Over lam, unless inputs stay unmixed or are mixed inside the model, where there is nothing to show."""
        if self.labels == "labels_only" or self._layers:
            return []
        return [self.strip("One pair over lam", "lam", LAMS, self.with_lam)]

    def strip(
        self, title: str, parameter: str, values: tuple[float, ...], force: Callable[[Draw, float], Draw]
    ) -> Strip:
        """A strip of draws in which `force` sets the parameter."""
        return Strip(title, parameter, values, self, lambda batch, draw, value: self.apply(batch, force(draw, value)))

    def with_lam(self, draw: Draw, lam: float) -> Draw:
        """The draw with this lam for all examples."""
        return {**draw, "lam": torch.full_like(draw["lam"], lam)}

    # ---- parts -------------------------------------------------------------------------------------------------------

    def bound(self, what: str) -> Bound:
        """The training that the method is bound to. Raises ValueError if there is none; `what` needs it."""
        if self._bound is None:
            raise ValueError(f"{what} needs the model; call bind(Bound(...)) first")
        return self._bound

    def _perm(self, rng: np.random.Generator, request: Request) -> np.ndarray:
        kind, steps, size = self._partner, request.steps, request.batch_size
        perm, without = draw_partners(kind, rng, steps, size, request.targets, self.bandwidth)
        if without and kind in ("same_class", "different_class", "no_self"):
            kept = "stay unmixed" if kind != "different_class" else "get one of their own class"
            self._warn_once(
                f"partner={kind}: {without:.1%} of the examples have no such partner in the batch and {kept}"
            )
        return perm

    def _labelled(self, batch: Batch, inputs: Inputs, perm: Tensor, lam: Tensor) -> Mixed:
        own, partner = batch.target, rows(batch.target, perm)
        if self.labels == "two_term":
            return Mixed(inputs, own, partner, lam)
        if self.labels == "labels_only":
            return Mixed(batch.inputs, own, partner, lam)
        if self.labels == "inputs_only":
            return Mixed(inputs, own, own, lam)
        if self.labels == "union":
            join = self.bound("labels=union").labels.join
            assert join is not None
            label = join(own, partner, lam)
        elif self.labels == "dominant":
            label = torch.where(like(lam >= 0.5, own) > 0, own, partner)
        else:
            own, partner = soft(own, self.num_classes), soft(partner, self.num_classes)
            label = partner.lerp(own, like(lam, own))
        return Mixed(inputs, label, label, lam)


@dataclass
class PictureMixer(PairMixer):
    """A method for pictures (C, H, W)."""

    def bind(self, bound: Bound) -> None:
        super().bind(bound)
        check_pictures(type(self).__name__.lower(), bound.input_shape)

    def __call__(self, inputs: Inputs, target: Tensor) -> Mixed:
        """As `Mixer.__call__`."""
        self.pictures(inputs)
        return super().__call__(inputs, target)

    def pictures(self, inputs: Inputs) -> Tensor:
        """The inputs; raises ValueError unless they are one tensor (B, C, H, W)."""
        tensor = check_tensor(type(self).__name__.lower(), inputs)
        check_pictures(type(self).__name__.lower(), tensor.shape[1:])
        return tensor


def spread(first: float, last: float) -> tuple[float, ...]:
    """As many values as LAMS, evenly spaced."""
    return tuple(np.linspace(first, last, len(LAMS)).tolist())


def _share(lam: Tensor, target: Tensor) -> Tensor:
    """lam for each pixel if the targets have pixels, else for each example."""
    if lam.dim() == 1:
        return lam
    if lam.dim() not in (2, 3):
        raise ValueError(f"lam must have the shape (B,), (H, W) or (B, H, W), got {tuple(lam.shape)}")
    if target.dim() > 2 and target.shape[-2:] == lam.shape[-2:]:
        return lam.expand(len(target), *lam.shape[-2:])
    return lam.mean((-2, -1)).expand(len(target))
