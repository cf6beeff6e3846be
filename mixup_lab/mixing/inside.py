"""Mixing inside a model: hooks mix the output of a layer during the forward pass."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mixup_lab.mixing.features import undisturbed

INPUT = "input"
MOST_NAMES = 40  # of layers, in a message
TRIAL = 3  # examples in the trial forward pass


class Inside:
    """Hooks on layers of a model, one of which is armed for the next forward pass in training mode.

    A layer that the model uses more than once is mixed the first time. In evaluation mode nothing is mixed. Create it
    before the model is compiled; there will be one graph for each layer.

    Args:
        model: a trial forward pass in evaluation mode, which does not change its state, must reach all layers.
        layers: names of modules from `model.named_modules()`; `input` is not a layer and gets no hook.
        input_shape: of one example.
        tokens: whether inputs are token ids, int64, instead of numbers.

    Raises:
        ValueError: for a layer that the model does not have, or whose output is not one tensor (B, ...).
    """

    def __init__(self, model: nn.Module, layers: Sequence[str], input_shape: tuple[int, ...], tokens: bool) -> None:
        modules = {name: module for name, module in model.named_modules() if name}
        for name in layers:
            if name != INPUT and name not in modules:
                allowed = _list(modules if tokens else [INPUT, *modules])
                raise ValueError(f"layers: the model has no layer {name!r}; choose one of: {allowed}")
        hidden = [name for name in layers if name != INPUT]
        outputs = _outputs(model, [modules[name] for name in hidden], input_shape, tokens)
        for name, output in zip(hidden, outputs, strict=True):
            if not (isinstance(output, Tensor) and output.shape[:1] == (TRIAL,) and output.is_floating_point()):
                raise ValueError(f"layers: {name!r} does not return one tensor with a row for each example")
        for name in hidden:
            modules[name].register_forward_hook(self._hook(name))
        self._armed: tuple[str, Callable[[Tensor], Tensor]] | None = None

    def arm(self, layer: str, mix: Callable[[Tensor], Tensor]) -> None:
        """Mix the output (B, ...) of this layer, and of no other, in the next forward pass in training mode."""
        self._armed = layer, mix

    def disarm(self) -> None:
        """Mix no layer, for example if the batch never reached the model."""
        self._armed = None

    def _hook(self, name: str) -> Any:
        def mix_output(module: nn.Module, _: Any, output: Any) -> Any:
            if self._armed is None or self._armed[0] != name or not module.training:
                return None
            (_, mix), self._armed = self._armed, None
            return mix(output)

        return mix_output


def declared(model: nn.Module) -> tuple[str, ...]:
    """The `mixup_layers` of the model.

    Raises:
        ValueError: if it declares none.
    """
    layers = getattr(model, "mixup_layers", None)
    if layers is None:
        names = [name for name, _ in model.named_modules() if name]
        raise ValueError(f"this model declares no mixup_layers; name some with layers=[...]: {_list(names)}")
    return tuple(layers)


def _outputs(model: nn.Module, layers: Sequence[nn.Module], input_shape: tuple[int, ...], tokens: bool) -> list[Any]:
    """The output of each layer for TRIAL examples of zeros; None if it is not reached."""
    outputs: dict[nn.Module, Any] = {}

    def keep(layer: nn.Module, _: Any, output: Any) -> None:
        outputs.setdefault(layer, output)

    handles = [layer.register_forward_hook(keep) for layer in layers]
    like = next(model.parameters())
    try:
        with undisturbed(model), torch.no_grad():
            model.forward(
                torch.zeros(TRIAL, *input_shape, dtype=torch.int64 if tokens else like.dtype, device=like.device)
            )
    finally:
        for handle in handles:
            handle.remove()
    return [outputs.get(layer) for layer in layers]


def _list(names: Iterable[str]) -> str:
    """The outer modules, up to MOST_NAMES, joined by commas; inner ones would make the list too long."""
    outer = [name for name in names if name.count(".") <= 1]
    return ", ".join(outer[:MOST_NAMES]) + (", ..." if len(outer) > MOST_NAMES else "")
