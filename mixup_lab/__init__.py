"""mixup-lab: does Mixup help my data, with my model, at which alpha, and is the gain more than noise?"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixup_lab.commands.loaded import load as load

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`load`, imported when it is needed: `import mixup_lab` alone does not import torch."""
    if name == "load":
        from mixup_lab.commands.loaded import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
