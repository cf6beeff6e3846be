"""The words of `compare` and `report` that are their own and not Hydra's; a light file, since help reads it."""

from __future__ import annotations

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
