"""The commands of the line, and the words of `compare` and `report` that are their own and not Hydra's.

A light file, since help and completion read it.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """`job` ("module:function") takes a composed configuration; `program` takes the words and gives the exit code."""

    about: str
    job: str | None = None
    program: str | None = None


COMMANDS = {
    "compare": Command(
        "Baseline against Mixup over alphas and seeds, answered with statistics.",
        program="mixup_lab.commands.compare:main",
    ),
    "train": Command(
        "Train a model, with or without mixing; with -m a sweep of runs.", job="mixup_lab.commands.train:train"
    ),
    "preview": Command(
        "What a run would train on, as a picture: examples, mixtures, the law of lam.",
        job="mixup_lab.commands.preview:preview",
    ),
    "report": Command(
        "The answer again from recorded runs, or from a table of another trainer.",
        program="mixup_lab.commands.report:main",
    ),
}
COMPLETION = ("-sc", "--shell-completion")

ANALYSIS = {
    "metric": "NAME of the metric that decides; default: the task's own",
    "maximize": "true or false, whether more of it is better; default: the task's own, or guessed from the name",
    "baseline": "NAME of the arm that all others are compared with; default: the unmixed one of the same settings",
    "min_effect": "smallest difference of interest, in points for metrics in percent (default 0.1)",
}
COMPARE = {
    "study": "NAME of the study, a folder below outputs; default: DATASET-MODEL, or the name of your own data",
    "confirm": "N: then train each baseline and its best arm on N fresh seeds; a verdict from those alone (default 0)",
    "fail_fast": "true: stop at the first run that fails (default false)",
    **ANALYSIS,
}
REPORT = {
    **ANALYSIS,
    "out": "DIR for the report; default: the first folder",
}
OWN = {"compare": COMPARE, "report": REPORT}
