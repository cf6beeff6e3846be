"""Baseline against Mixup: test accuracy of each arm over the seeds, and the difference to the baseline of each seed.

    python scripts/demo_table.py DIRECTORY

Reads the `summary.json` of every run below the directory and nothing else.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

METRIC = "test/accuracy"


def main(argv: Sequence[str]) -> int:
    if len(argv) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    summaries = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(argv[0]).rglob("summary.json"))]
    finished = [summary for summary in summaries if summary["status"] == "ok"]
    if not finished:
        print(f"no finished runs below {argv[0]}", file=sys.stderr)
        return 1
    print("\n" + table(finished))
    if len(finished) < len(summaries):
        print(f"\nleft out: {len(summaries) - len(finished)} of {len(summaries)} runs, which did not finish")
    return 0


def table(summaries: Sequence[dict[str, Any]]) -> str:
    """One line an arm, the baseline first."""
    arms: dict[str, dict[int, float]] = {}
    names: dict[str, str] = {}
    for summary in summaries:
        arms.setdefault(summary["arm"], {})[summary["seed"]] = summary["scalars"][METRIC]
        names[summary["arm"]] = summary["name"]
    order = sorted(arms, key=lambda arm: (names[arm] != "baseline", names[arm]))
    baseline = next((arms[arm] for arm in order if names[arm] == "baseline"), {})
    width = max(len(name) for name in [*names.values(), "arm"])
    lines = [f"{'arm':{width}}  seeds  {METRIC}  difference to the baseline of the same seed"]
    for arm in order:
        runs = arms[arm]
        pairs = [runs[seed] - baseline[seed] for seed in sorted(runs) if seed in baseline]
        shown = "" if runs is baseline or not pairs else _percent_points(pairs)
        line = f"{names[arm]:{width}}  {len(runs):5}  {_mean(list(runs.values())):13.2%}  {shown}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def _percent_points(pairs: Sequence[float]) -> str:
    """Mean and each pair; a handful of seeds shows a direction at best, so there is no verdict."""
    each = ", ".join(f"{100 * pair:+.2f}" for pair in pairs)
    return f"{100 * _mean(pairs):+.2f} points ({each})"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
