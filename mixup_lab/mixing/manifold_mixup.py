"""Manifold Mixup (Verma et al.: Manifold Mixup: Better Representations by Interpolating Hidden States, ICML 2019)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixup_lab.mixing.inside import INPUT, declared
from mixup_lab.mixing.mixer import LAMS, Bound, Draw, Strip
from mixup_lab.mixing.mixup import Mixup
from mixup_lab.types import Batch, Mixed


@dataclass
class ManifoldMixup(Mixup):
    """Mix the output of one layer, drawn anew for each batch from a declared set, instead of the input.

    A layer that the model uses more than once is mixed the first time. In evaluation mode nothing is mixed. Bind it
    before the model is compiled; there will be one graph for each layer of the set. For texts the set leaves out the
    input; with `layers=[sentence]` it is the senMixup of Guo et al. (2019).

    Args:
        layers: names of modules from `model.named_modules()`, and `input`; the output of each must be one tensor
            (B, ...). None: the model's `mixup_layers`, and `input`.
        alpha: as in Mixup; 2 in the paper for hidden layers.

    Raises:
        ValueError: for an empty set; in `bind`, for a layer that the model does not have.
    """

    capturable = True
    whole_batch = True
    alpha: float = 2.0
    layers: Sequence[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers is not None and (isinstance(self.layers, str) or len(self.layers) == 0):
            raise ValueError(f"layers must be a list of at least one layer, got {self.layers}")

    def layers_inside(self, bound: Bound) -> tuple[str, ...]:
        """The whole set; `Inside` checks it."""
        if self.layers is None:
            self.layers = [*([] if bound.tokens else [INPUT]), *declared(bound.model)]
        if bound.tokens and INPUT in self.layers:
            raise ValueError(f"layers: tokens of texts cannot be mixed at the {INPUT}; leave it out")
        return tuple(self.layers)

    def extras(self, rng: np.random.Generator, lam: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """`layer` (S,): index of the layer in the set."""
        return {"layer": rng.integers(len(self._set()), size=len(lam))}

    def layer(self, draw: Draw) -> str | None:
        name = self._set()[draw["layer"]]
        return None if name == INPUT else name

    def apply(self, batch: Batch, draw: Draw) -> Mixed:
        """Mix the input at once if it was drawn; else the hook mixes when the forward pass reaches the layer."""
        self.disarm()  # in case the last batch never reached the model
        return super().apply(batch, draw)

    def strips(self) -> list[Strip]:
        if self.labels == "labels_only" or INPUT not in self._layers:
            return []
        return [self.strip("One pair over lam, where it is mixed at the input", "lam", LAMS, self.with_lam)]

    def with_lam(self, draw: Draw, lam: float) -> Draw:
        return super().with_lam(draw, lam) | {"layer": self._layers.index(INPUT)}

    def _set(self) -> tuple[str, ...]:
        self.bound("manifold_mixup")
        return self._layers
