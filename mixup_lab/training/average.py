"""An exponential moving average of a model's weights."""

import copy

import torch
from torch import Tensor, nn


class MovingAverage:
    """The average of a model's parameters and buffers over the steps; what is not a floating-point number is copied.

    One operation for all tensors and none that reads from the device, unlike `torch.optim.swa_utils.AveragedModel`,
    whose counter of steps lies on the device.

    Args:
        model: is copied; the average begins with its weights after the first step.
        decay: in (0, 1): `average = decay * average + (1 - decay) * weights`.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(model)
        self.decay = decay
        self.begun = False

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step."""
        averages, weights = _tensors(self.module), _tensors(model)
        if not self.begun:
            torch._foreach_copy_(averages, weights)
        else:
            smooth = [k for k, tensor in enumerate(averages) if tensor.is_floating_point()]
            others = [k for k, tensor in enumerate(averages) if not tensor.is_floating_point()]
            torch._foreach_lerp_([averages[k] for k in smooth], [weights[k] for k in smooth], 1 - self.decay)
            if others:
                torch._foreach_copy_([averages[k] for k in others], [weights[k] for k in others])
        self.begun = True

    def state_dict(self) -> dict[str, object]:
        """Everything that a checkpoint needs."""
        return {"begun": self.begun, "module": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore what `state_dict` returned; errors as those of a module."""
        self.begun = bool(state["begun"])
        self.module.load_state_dict(state["module"])  # type: ignore[arg-type]


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
