"""Manifold Mixup: mixing inside the model (Verma et al., ICML 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from mixup_lab.mixing.functional import interpolate
from mixup_lab.mixing.mixer import Bound, Draw
from mixup_lab.mixing.mixup import Mixup
from mixup_lab.types import Batch, Inputs, Mixed

INPUT = "input"
MOST_NAMES = 40  # of layers, in a message


@dataclass
class ManifoldMixup(Mixup):
    """Mix the output of one layer, drawn anew for each batch from a declared set, instead of the input.

    Args:
        layers: names of modules as `model.named_modules()` has them, and `input`; each must give one tensor (B, ...).
            None: what the model declares as `mixup_layers`, and `input`.
        alpha: as in Mixup; the paper's 2 for hidden layers.

    Raises:
        ValueError: for an empty set; in `bind`, for a layer that the model does not have.
    """

    alpha: float = 2.0
    layers: Sequence[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers is not None and len(self.layers) == 0:
            raise ValueError("layers must name at least one layer")
        self.whole_batch = True
        self._armed: tuple[int, Tensor, Tensor] | None = None

    def bind(self, bound: Bound) -> None:
        """Hook the layers."""
        super().bind(bound)
        modules = {name: module for name, module in bound.model.named_modules() if name}
        if self.layers is None:
            declared = getattr(bound.model, "mixup_layers", None)
            if declared is None:
                raise ValueError(f"this model declares no mixup_layers; name some with layers=[...]: {_list(modules)}")
            self.layers = [INPUT, *declared]
        for number, name in enumerate(self.layers):
            if name != INPUT:
                if name not in modules:
                    raise ValueError(f"layers: the model has no layer {name!r}; there are: {INPUT}, {_list(modules)}")
                modules[name].register_forward_hook(self._hook(number))

    def extras(self, rng: np.random.Generator, lam: np.ndarray) -> dict[str, np.ndarray]:
        """`layer` (S,): which one, by its place in the set."""
        return {"layer": rng.integers(len(self._set()), size=len(lam))}

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        """The input is mixed at once if it is its turn; else the model's hook mixes when the layer is reached."""
        mixed = super().apply(batch, draw)
        self._armed = draw["layer"], draw["perm"], draw["lam"]
        return mixed

    def mix(self, inputs: Inputs, perm: Tensor, lam: Tensor, draw: Draw) -> tuple[Inputs, Tensor]:
        """Only where the layer is the input."""
        if self._set()[draw["layer"]] == INPUT:
            return super().mix(inputs, perm, lam, draw)
        return inputs, lam

    def _set(self) -> Sequence[str]:
        if self.layers is None:
            raise ValueError("manifold_mixup needs the model; call bind(Bound(...)) first")
        return self.layers

    def _hook(self, number: int) -> Any:
        def mix_output(module: nn.Module, _: Any, output: Any) -> Any:
            if self._armed is None or self._armed[0] != number or not module.training:
                return None
            (_, perm, lam), self._armed = self._armed, None
            return interpolate(output, perm, lam)

        return mix_output


def _list(names: Iterable[str]) -> str:
    """The outer modules; inner ones have longer names of the same kind."""
    outer = [name for name in names if name.count(".") <= 1]
    return ", ".join(outer[:MOST_NAMES]) + (", ..." if len(outer) > MOST_NAMES else "")
