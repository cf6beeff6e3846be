"""What the process that the runs are forked from imports: everything that a run would spend seconds on.

No CUDA is started and no thread: the GPU and the threads of a run are chosen after the fork.
"""

import atexit
import gc
import pkgutil
from contextlib import suppress
from importlib import import_module

import mixup_lab

gc.disable()  # there is no garbage among what is imported, and looking for it takes a fifth of the time
# Compiler and TensorBoard are what torch would import in the first step and with the first writer.
OTHERS = (
    "torch", "torch._dynamo", "torch.utils.tensorboard", "tensorboard.summary",
    "tensorboard.plugins.hparams.summary_v2", "rich.progress",
    "PIL.ImageFont", "PIL.PngImagePlugin", "PIL.JpegImagePlugin", "PIL.BmpImagePlugin", "PIL.GifImagePlugin",
    "PIL.PpmImagePlugin", "hydra._internal.logging_config",
)  # fmt: skip
OURS = [
    module.name
    for room in ("commands", "config", "training", "data", "tasks", "mixing", "models", "runs")
    for module in pkgutil.iter_modules([f"{mixup_lab.__path__[0]}/{room}"], f"mixup_lab.{room}.")
]
for name in (*OTHERS, "mixup_lab.cli", *OURS):
    with suppress(ImportError):  # a run that needs it will say so
        import_module(name)

from hydra.core.plugins import Plugins  # noqa: E402

Plugins.instance()  # looks for plugins
gc.collect()
gc.freeze()  # the collector would write to every page, which then is not shared any more
gc.enable()
atexit.register(gc.unfreeze)  # some libraries complain of whatever is not collected in the end
