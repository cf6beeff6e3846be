"""Whether transform and model are for the data at hand: one sentence where they are not."""

from __future__ import annotations

from torch import nn

from mixup_lab.config.build import accepts
from mixup_lab.config.schema import RunConfig
from mixup_lab.data.prepare import Data
from mixup_lab.targets.kinds import Boxes, Pixels
from mixup_lab.transforms.transform import NoTransform, Transform
from mixup_lab.types import UserError

FOLLOWED = "use none, crop_flip, cutout, random_erasing"  # the transforms that masks and boxes can follow


def check_transform(transform: Transform, data: Data) -> None:
    """Raise UserError unless the transform is for these inputs, and targets that have a place can follow it."""
    name = type(transform).__name__
    if isinstance(data.kind, Pixels) and getattr(transform, "apply_mask", None) is None:
        raise UserError(f"transform: masks cannot follow what {name} does; {FOLLOWED}")
    if isinstance(data.kind, Boxes) and getattr(transform, "apply_boxes", None) is None:
        raise UserError(f"transform: boxes cannot follow what {name} does; {FOLLOWED}")
    if isinstance(transform, NoTransform):
        return
    if data.tokens:
        raise UserError(f"transform: {name} changes pictures, these are texts; use transform=none")
    if not data.mean:
        raise UserError(f"transform: {name} is for pictures, these data are none; use transform=none")


def check_reads(config: RunConfig, data: Data) -> None:
    """Raise UserError unless the model, which is not built yet, reads such inputs."""
    if data.tokens and not accepts("model", config.model, "num_tokens", trust=config.trust):
        raise UserError("model: the examples are texts; set model=text_cnn, bilstm or text_transformer")


def check_answers(model: nn.Module, data: Data) -> None:
    """Raise UserError unless the model answers in the kind of the targets; `answers` is what it says of itself."""
    answers, name, targets = getattr(model, "answers", None), type(model).__name__, type(data.kind).__name__.lower()
    if isinstance(data.kind, Boxes) and answers != "boxes":
        raise UserError(f"model: {name} finds no boxes; use dense_detector or torchvision_detection")
    if answers == "boxes" and not isinstance(data.kind, Boxes):
        raise UserError(f"model: {name} finds boxes alone, and the targets are {targets}")
    if answers == "masks" and not isinstance(data.kind, Pixels):
        raise UserError(f"model: {name} answers with a class for each pixel, and the targets are {targets}")
