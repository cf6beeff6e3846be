"""Manifold Mixup: mixing inside the model (Verma et al., ICML 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mixup_lab.mixing.features import undisturbed
from mixup_lab.mixing.functional import interpolate
from mixup_lab.mixing.mixer import Bound, Draw
from mixup_lab.mixing.mixup import Mixup
from mixup_lab.types import Batch, Inputs, Mixed

INPUT = "input"
MOST_NAMES = 40  # of layers, in a message
TRIAL = 3  # examples in the forward pass that tries the layers


@dataclass
class ManifoldMixup(Mixup):
    """Mix the output of one layer, drawn anew for each batch from a declared set, instead of the input.

    A layer that the model uses more than once is mixed the first time. In evaluation mode nothing is mixed. Bind it
    before the model is compiled; there will be one graph for each layer of the set.

    Args:
        layers: names of modules as `model.named_modules()` has them, and `input`; each must give one tensor (B, ...).
            None: what the model declares as `mixup_layers`, and `input`.
        alpha: as in Mixup; the paper's 2 for hidden layers.

    Raises:
        ValueError: for an empty set; in `bind`, for a layer that the model does not have.
    """

    whole_batch = True
    alpha: float = 2.0
    layers: Sequence[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers is not None and (isinstance(self.layers, str) or len(self.layers) == 0):
            raise ValueError(f"layers must be a list of at least one layer, got {self.layers}")
        self._armed: tuple[int, Tensor, Tensor] | None = None

    def bind(self, bound: Bound) -> None:
        """Hook the layers, after a forward pass on trial in evaluation mode that must reach them."""
        super().bind(bound)
        modules = {name: module for name, module in bound.model.named_modules() if name}
        if self.layers is None:
            declared = getattr(bound.model, "mixup_layers", None)
            if declared is None:
                raise ValueError(f"this model declares no mixup_layers; name some with layers=[...]: {_list(modules)}")
            self.layers = [INPUT, *declared]
        for name in self.layers:
            if name != INPUT and name not in modules:
                raise ValueError(f"layers: the model has no layer {name!r}; there are: {INPUT}, {_list(modules)}")
        hidden = {number: modules[name] for number, name in enumerate(self.layers) if name != INPUT}
        found = _outputs(bound.model, list(hidden.values()), bound.input_shape)
        for number, output in zip(hidden, found, strict=True):
            if not (isinstance(output, Tensor) and output.shape[:1] == (TRIAL,)):
                name = self.layers[number]
                raise ValueError(f"layers: {name!r} does not give one tensor with a row for each example")
        for number, module in hidden.items():
            module.register_forward_hook(self._hook(number))

    def extras(self, rng: np.random.Generator, lam: np.ndarray) -> dict[str, np.ndarray]:
        """`layer` (S,): which one, by its place in the set."""
        return {"layer": rng.integers(len(self._set()), size=len(lam))}

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        """The input is mixed at once if it is its turn; else the model's hook mixes when the layer is reached."""
        self._armed = None  # nothing is left of a batch that the model never saw
        return super().apply(batch, draw)

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        """Only where the layer is the input."""
        if self._set()[draw["layer"]] == INPUT:
            return super().mix(inputs, perm, lam, draw)
        if self.labels != "labels_only":
            self._armed = draw["layer"], perm, lam
        return inputs, lam

    def _set(self) -> Sequence[str]:
        self._known("manifold_mixup")
        assert self.layers is not None
        return self.layers

    def _hook(self, number: int) -> Any:
        def mix_output(module: nn.Module, _: Any, output: Any) -> Any:
            if self._armed is None or self._armed[0] != number or not module.training:
                return None
            (_, perm, lam), self._armed = self._armed, None
            return interpolate(output, perm, lam)

        return mix_output


def _outputs(model: nn.Module, layers: Sequence[nn.Module], input_shape: tuple[int, ...]) -> list[Any]:
    """What each layer gives for TRIAL empty examples; None where it is not reached."""
    outputs: dict[nn.Module, Any] = {}

    def keep(layer: nn.Module, _: Any, output: Any) -> None:
        outputs.setdefault(layer, output)

    handles = [layer.register_forward_hook(keep) for layer in layers]
    like = next(model.parameters())
    try:
        with undisturbed(model), torch.no_grad():
            model.forward(torch.zeros(TRIAL, *input_shape, dtype=like.dtype, device=like.device))
    finally:
        for handle in handles:
            handle.remove()
    return [outputs.get(layer) for layer in layers]


def _list(names: Iterable[str]) -> str:
    """The outer modules; inner ones have longer names of the same kind."""
    outer = [name for name in names if name.count(".") <= 1]
    return ", ".join(outer[:MOST_NAMES]) + (", ..." if len(outer) > MOST_NAMES else "")
