"""The imports of the process that the runs are forked from: all modules that take seconds to import.

No CUDA is started and no thread: the GPU and the threads of a run are chosen after the fork.
"""

import atexit
import gc
import pkgutil
from contextlib import suppress
from importlib import import_module

import mixup_lab

OTHERS = (
    "torch", "tensorboard.compat.proto.event_pb2", "tensorboard.summary.writer.record_writer",
    "tensorboard.plugins.custom_scalar.layout_pb2", "tensorboard.plugins.hparams.summary_v2",
    "tensorboard.plugins.scalar.metadata", "tensorboard.plugins.text.metadata", "rich.progress",
    "PIL.ImageFont", "PIL.PngImagePlugin", "PIL.JpegImagePlugin", "PIL.BmpImagePlugin", "PIL.GifImagePlugin",
    "PIL.PpmImagePlugin", "hydra._internal.logging_config",
)  # fmt: skip
ROOMS = (
    "commands", "config", "data", "files", "inputs", "mixing", "models", "runs", "sources", "targets", "training",
    "transforms",
)  # fmt: skip
OURS = [
    module.name
    for room in ROOMS
    for module in pkgutil.iter_modules([f"{mixup_lab.__path__[0]}/{room}"], f"mixup_lab.{room}.")
]
for name in (*OTHERS, "mixup_lab.cli", *OURS):
    with suppress(ImportError):  # a run that needs it reports the error
        import_module(name)

from hydra.core.plugins import Plugins  # noqa: E402

Plugins.instance()  # looks for plugins
gc.collect()
gc.freeze()  # the collector would write to every page, which then would not be shared any more
atexit.register(gc.unfreeze)  # some libraries warn about uncollected objects at exit
