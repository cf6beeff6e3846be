"""The contract of a mixing method.

A mixer first draws everything random for many steps from its own generator, then applies the draws with pure functions.
So the same draws give the same batches on every device, eagerly or compiled, and tests can choose the values. (The one
exception is noise, drawn as a seed: its values come from the device's generator and differ between kinds of devices.)
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mixup_lab.mixing.checks import check_call
from mixup_lab.mixing.law import Law
from mixup_lab.types import Batch, Inputs, Labels, Mixed

Draw = dict[str, Any]  # one step's draw: tensors on the device, and plain numbers that the host needs
Laws = list[tuple[float, Law, float]]  # weight, law and alpha; the weights sum to 1
LAMS = tuple(round(1 - k / 10, 1) for k in range(11))
UNMIXED = Law("fixed", value=1.0)


@dataclass(frozen=True)
class Request:
    """The batches that a mixer draws for.

    Args:
        steps: S.
        batch_size: B.
        targets: (S, B, ...) labels of these batches; only if the mixer `needs_labels`.
        shape: of one input, (C, H, W) for pictures: some masks are drawn pixel by pixel.
        scale_alpha: (S,) factor of alpha at each step, from a schedule.
        scale_prob: (S,) factor of the share that is mixed, from a schedule.
    """

    steps: int
    batch_size: int
    targets: np.ndarray | None = None
    shape: tuple[int, ...] = ()
    scale_alpha: np.ndarray | float = 1.0
    scale_prob: np.ndarray | float = 1.0

    def alphas(self, alpha: float) -> np.ndarray:
        """This alpha at each step, (S,)."""
        return np.asarray(np.full(self.steps, alpha) * self.scale_alpha)

    def probs(self, prob: float) -> np.ndarray:
        """This share at each step, (S, 1)."""
        return np.asarray(np.full(self.steps, prob) * self.scale_prob)[:, None]


@dataclass(frozen=True)
class Bound:
    """The parts of a training that a mixer may use."""

    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]  # (B, ...) outputs, targets -> loss of each element
    input_shape: tuple[int, ...]  # of one example
    labels: Labels
    tokens: bool = False  # inputs are token ids (B, L), which can be mixed inside the model only
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext  # around each pass of the model


@dataclass(frozen=True)
class Strip:
    """One parameter that `preview` varies, with all other draws fixed."""

    title: str
    parameter: str
    values: tuple[float, ...]
    mixer: Mixer  # makes the draws
    apply: Callable[[Batch, Draw, float], Mixed]  # the method with the parameter at this value


class Mixer(ABC):
    """A method of mixing the examples of a batch; a new one needs a class and a yaml in `conf/aug`.

    A method must define `apply`. Most methods are a `PairMixer` and define `mix` instead. A mixer can also be called in
    your own training loop: `mixed = mixer(inputs, target)`.
    """

    alpha: float = 1.0  # parameter of the law of lam; 0 means that nothing is mixed
    prob: float = 1.0  # share of the batches (or examples, pairs) that are mixed
    lam_per: str = "batch"  # which examples share one lam: those of a `batch`, of a `pair`, or none (`sample`)
    seed: int | None = None  # of the generator for direct calls
    scheduled = False  # whether `draw` follows `Request.alphas` or `probs`, which a schedule changes over the training
    needs_labels = False  # whether the draw depends on the labels
    asks_model = False  # whether lam depends on the model and the inputs
    whole_batch = False  # whether forward and backward need the batch in one piece
    by_example = False  # whether a mixture depends on its pair and lam only: many batches can be mixed at once
    capturable = False  # whether equal numbers on the host mean equal operations, so that a CUDA graph can hold a step
    on_tokens = False  # whether inputs may be token ids
    keeps_inputs_whole = False  # whether the mixture shows all of both inputs, as labels such as boxes need
    rows = 1  # rows of the mixed batch for each example; the mixed ones come last
    own_title = "own"  # of the column of own pictures in a preview
    mixed_title = "mixed"  # of the column of mixed ones

    def __init_subclass__(cls, **more: Any) -> None:
        """`by_example` and `capturable` are not inherited: a subclass may mix in another way."""
        super().__init_subclass__(**more)
        cls.by_example = vars(cls).get("by_example", False)
        cls.capturable = vars(cls).get("capturable", False)

    def bind(self, bound: Bound) -> None:
        """Called once, before the first step.

        Raises:
            ValueError: if the method does not suit this training.
        """
        name = type(self).__name__
        if bound.tokens and not self.on_tokens:
            raise ValueError(
                f"{name} needs inputs that are numbers, such as pixels; these inputs are tokens of texts, which"
                " aug=mixup and aug=manifold_mixup mix inside the model"
            )
        if bound.labels.whole and not self.keeps_inputs_whole:
            raise ValueError(
                f"{name} does not keep both inputs whole, as these labels need; use aug=mixup, manifold_mixup,"
                " regmixup, noise_mix or noise"
            )

    def draw(self, rng: np.random.Generator, request: Request) -> dict[str, np.ndarray]:
        """Everything random for `request.steps` batches, from the mixing stream `rng`.

        Returns:
            Arrays whose first dimension is S. Those with more dimensions are uploaded to the device; the others stay on
            the host, and `apply` gets the value of its step as a plain number, such as which layer is mixed.
        """
        return {}

    @abstractmethod
    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        """Mix one batch with one step's draw, on the batch's device. The batch is not changed in place."""

    def disarm(self) -> None:  # noqa: B027
        """Cancel mixing inside the model for a batch that never reached it."""

    # ---- for previews; every method has a default -------------------------------------------------------------------

    def laws(self) -> Laws:
        """The law of lam, as a mixture of laws; empty if lam follows from something else."""
        return []

    def find_partners(self, draw: Draw, inputs: Inputs) -> Draw:
        """The draw, completed by partners that depend on the inputs (B, ...)."""
        return draw

    def partners(self, draw: Draw) -> list[Tensor]:
        """The partners in a step's draw, each (B,) int64; empty without partners, or before `find_partners`."""
        return []

    def mixed_layers(self) -> tuple[str, ...]:
        """The layers that `layer` chooses from."""
        return ()

    def layer(self, draw: Draw) -> str | None:
        """The layer whose output a step mixes; None: the inputs themselves."""
        return None

    def variety(self, draw: Draw) -> str:
        """The variety of mixing that a step uses, if a method has several: previews show examples of each."""
        return self.layer(draw) or ""

    def note(self, draw: Draw) -> str:
        """A word or two about a step's draw."""
        return ""

    def facts(self) -> list[tuple[str, str]]:
        """Names and values of settings that a preview states."""
        return []

    def largest_share(self, draws: dict[str, np.ndarray], lam: np.ndarray) -> np.ndarray:
        """The largest share of one example in each mixture, for the actual lam (S * B,)."""
        return np.asarray(np.maximum(lam, 1 - lam))

    def strips(self) -> list[Strip]:
        """The parameters that a preview varies."""
        return []

    # ---- in your own training loop ----------------------------------------------------------------------------------

    def __call__(self, inputs: Inputs, target: Tensor) -> Mixed:
        """Mix one batch in your own training loop.

        Args:
            inputs: (B, ...) floating point on any device, or a dict of such tensors, which are mixed alike.
            target: (B, ...) class indices or numbers, on the same device.

        Returns:
            Mixed; `mixed.loss(criterion, model(mixed.inputs)).mean()` is the loss to minimise.

        Raises:
            TypeError: for inputs that cannot be mixed, such as numpy arrays or uint8; the message names the remedy.
            ValueError: for an empty batch, unequal lengths or devices, and batches that the method refuses.
        """
        size, device = check_call(inputs, target)
        targets = target.cpu().numpy()[None] if self.needs_labels else None
        shape = tuple(inputs.shape[1:]) if isinstance(inputs, Tensor) else ()
        drawn = self.draw(self._rng, Request(1, size, targets, shape))
        # at_step(upload(drawn, device), 0), but indexed before the upload, which saves a tenth of the call
        draw = {name: torch.from_numpy(v[0]).to(device) if v.ndim > 1 else v[0].item() for name, v in drawn.items()}
        return self.apply(Batch(inputs, target), draw)

    @property
    def collate(self) -> Callable[[list[Any]], Mixed]:
        """For `DataLoader(collate_fn=mixer.collate)`: stacks the examples (inputs, target), then mixes.

        Warns once, here and not in every worker, that mixing in the loop is better. In each epoch each worker draws
        from a stream of its own, seeded by the loader.
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
    def _warned(self) -> set[str]:
        return set()

    def _warn_once(self, sentence: str) -> None:
        kind = sentence.partition(":")[0]
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(sentence, stacklevel=3)


def at_least_zero(**arguments: float) -> None:
    """Raise ValueError unless these are finite numbers >= 0."""
    for name, value in arguments.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number >= 0, got {value}")


def upload(draws: dict[str, np.ndarray], device: torch.device) -> dict[str, Any]:
    """The draws of many steps on the device; arrays with one number for each step stay on the host."""
    return {name: torch.from_numpy(v).to(device) if v.ndim > 1 else v for name, v in draws.items()}


def at_steps(draws: dict[str, Any], first: int, last: int) -> Draw:
    """The draws (S, B) of the steps `first` to `last` - 1 as those of one batch; partners stay within their step.

    For mixers that are `by_example`.
    """
    part = {name: values[first:last] for name, values in draws.items()}
    if "perm" in part:
        steps, size = part["perm"].shape
        part["perm"] = part["perm"] + torch.arange(0, steps * size, size, device=part["perm"].device).unsqueeze(1)
    return {name: values.flatten() for name, values in part.items()}


def at_step(draws: dict[str, Any], step: int) -> Draw:
    """The draw of one step: views of the tensors, and plain numbers from the arrays on the host."""
    return {name: v[step] if isinstance(v, Tensor) else v[step].item() for name, v in draws.items()}
