"""A process of `bench.py`: makes sides of a comparison and runs them, one order (a line of JSON) at a time."""

from __future__ import annotations

import json
import os
import resource
import sys
import warnings


def made(sides: dict, order: dict) -> dict:
    """Build a side, take its first steps, and settle how many steps a round has.

    Returns seconds: `load`, to build it; `first`, of its first step; `setup`, by which all steps until it ran at full
    speed took longer than later ones (compiling, capturing); and `steps` of a round, `batch`, and peak memory in GiB.
    """
    import time

    from bench_mixing import Alone
    from bench_train import Bare, Ours, Usual

    kinds = {"ours": Ours, "bare": lambda of, **args: Bare(sides[of][0], **args), "usual": Usual, "mixing": Alone}
    started = time.perf_counter()
    side = kinds[order["kind"]](**order["args"])
    load = time.perf_counter() - started
    first, warm = side.run(1), side.run(order["settle"] if side.alike else side.epoch)
    last = side.run(order["settle"])
    step = last[0] / last[1]
    steps = max(1, round(order["target"] / step))
    if not side.alike or steps > side.epoch / 3:
        steps = side.epoch * max(1, round(steps / side.epoch))  # whole epochs: what comes once an epoch counts, too
    sides[order["name"]] = side, steps
    setup = max(0.0, first[0] + warm[0] - (first[1] + warm[1]) * step)
    return {"load": load, "first": first[0], "setup": setup, "steps": steps, "batch": side.batch, "peak_gib": peak()}


def peak() -> float:
    """The most memory of the device so far, in GiB; of the process, on a CPU."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def about() -> dict:
    """The software, and the card if there is one."""
    import torch

    from mixup_lab.training.device import gpu_versions

    found = {"torch": torch.__version__, "python": sys.version.split()[0], "cuda": torch.cuda.is_available()}
    if found["cuda"]:
        found |= {"card": torch.cuda.get_device_name(), **gpu_versions(torch.device("cuda"))}
    return found


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to the log
    warnings.simplefilter("ignore")
    import bench_train  # noqa: F401  # its time is that of the imports

    from mixup_lab.training.device import keep_freed_memory

    if sys.argv[1] == "keep":
        keep_freed_memory()
    sides: dict = {}
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order["do"] == "make":
                answer = made(sides, order)
            elif order["do"] == "run":
                side, steps = sides[order["name"]]
                seconds, steps = side.run(steps)
                answer = {"seconds": seconds / steps}
            else:
                answer = about()
        except Exception as error:
            message = str(error).strip().partition("\n")[0]
            answer = {"error": f"{type(error).__name__}: {message}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)
    os._exit(0)  # trainings wait in their threads


if __name__ == "__main__":
    main()
