"""The end of `mixup-lab train -m`: what its runs have reached, and how they are compared."""

import os
import shlex
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mixup_lab.runs.record import Event, read_result
from mixup_lab.runs.store import SEED
from mixup_lab.visible import score, visible


def show(folders: Sequence[Path]) -> None:
    """Print the means of the finished runs, and the line that makes the report; nothing for fewer than two.

    Runs that differ in the seed alone are one row, named by their folder below that of the sweep.
    """
    results: dict[Path, list[Event]] = defaultdict(list)
    for folder in sorted(folders):
        result = read_result(folder)
        if result is not None:
            results[folder.parent if folder.name.startswith(SEED) else folder].append(result)
    finished = [result for several in results.values() for result in several]
    if len(finished) < 2:
        return
    top = Path(os.path.commonpath(folders))
    primary = finished[0]["primary"]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("run", overflow="fold")
    for heading in ("seeds", f"val {primary}", f"test {primary}"):
        table.add_column(heading, justify="right")
    for place, several in results.items():
        name = Text(visible(os.path.relpath(place, top)) if place != top else place.name)
        means = (fmean(float(r["scalars"][f"{split}/{primary}"]) for r in several) for split in ("val", "test"))
        table.add_row(name, str(len(several)), *map(score, means))
    console = Console(highlight=False)
    console.print(table)
    print(f"report  mixup-lab report {shlex.quote(os.path.relpath(top))}", flush=True)
