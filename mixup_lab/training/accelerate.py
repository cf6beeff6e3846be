"""How the steps of a run are computed: one operation after the other, compiled, or as a CUDA graph."""

import os
import shutil

import torch

from mixup_lab.notices import say
from mixup_lab.training.ingredients import Ingredients
from mixup_lab.types import UserError

# What torch.compile needs on a CPU, and Triton on a GPU; names in capitals are variables of the environment.
COMPILERS = {"cpu": ("C++", ("CXX", "c++", "g++", "clang++")), "cuda": ("C", ("CC", "cc", "gcc", "clang"))}
GRAPHS = 64  # of one compiled model, at most


def choose(made: Ingredients, optimizer: torch.optim.Optimizer) -> str:
    """`none`, `compile` or `graph`: what `trainer.accelerate` says, or for `auto` what suits the run.

    On an NVIDIA GPU `auto` is `graph`, or `none` where that is not possible, and says why. Elsewhere it is `none`: on a
    CPU compiling never paid within a run (docs/performance.md).
    `compile` without the compiler that it needs warns once and is `none`.

    Raises:
        UserError: if `graph` is not possible.
    """
    way = made.settings.accelerate
    if way == "compile":
        missing = _missing_compiler(made.device)
        if missing:
            say(f"trainer.accelerate=compile needs a {missing} compiler, and none was found; nothing is compiled")
        return "none" if missing else "compile"
    if way == "none" or (way == "auto" and made.device.type != "cuda"):
        return "none"
    obstacle = why_no_graph(made, optimizer)
    if obstacle is None:
        return "graph"
    if way == "graph":
        raise UserError(f"trainer.accelerate=graph {obstacle}; use none or auto")
    say(f"trainer.accelerate=auto is none here: graph {obstacle}")
    return "none"


def why_no_graph(made: Ingredients, optimizer: torch.optim.Optimizer) -> str | None:
    """Why the steps of this run cannot be CUDA graphs, as the rest of a sentence; None if they can."""
    mixer = type(made.mixer).__name__
    if made.device.type != "cuda":
        return f"needs an NVIDIA GPU, and this run computes on {made.device}"
    if made.settings.precision == "fp16":
        return "cannot hold trainer.precision=fp16, whose loss scaling is decided on the host; bf16 can"
    if not made.mixer.capturable:
        return f"cannot hold {mixer}, which needs numbers on the host that differ from step to step"
    if made.data.train.lengths is not None:
        return "needs batches of one shape, and batches of texts are as long as their longest"
    if not optimizer.defaults.get("fused"):
        return f"needs an optimizer that torch has fused (SGD, Adam, AdamW, Adagrad), not {type(optimizer).__name__}"
    return None


def compile_in_place(model: torch.nn.Module) -> None:
    """Compile a model with torch.compile; its state stays as it is."""
    import torch._dynamo  # imported here: it takes a second

    # Manifold Mixup has a graph for each layer of its set; beyond torch's limit of 8 the model would not be compiled.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS)
    model.compile()


def _missing_compiler(device: torch.device) -> str | None:
    language, programs = COMPILERS.get(device.type, ("", ()))
    found = not programs or any(shutil.which(os.environ.get(name, name)) for name in programs)
    return None if found else language
