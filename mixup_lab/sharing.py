"""How many runs share this machine: a launcher says it in variables of each run's environment. No torch here."""

import os

RUNS, RUNS_ON_GPU = "MIXUP_LAB_RUNS", "MIXUP_LAB_RUNS_ON_GPU"


def variables(runs: int, on_gpu: int) -> dict[str, str]:
    """The environment of a run: how many run side by side with it on the machine and on its GPU, itself included."""
    return {RUNS: str(runs), RUNS_ON_GPU: str(on_gpu)}


def runs_side_by_side() -> tuple[int, int]:
    """How many runs share the machine of this process, and its GPU; (1, 1) if no launcher has said so."""
    return int(os.environ.get(RUNS, 1)), int(os.environ.get(RUNS_ON_GPU, 1))
