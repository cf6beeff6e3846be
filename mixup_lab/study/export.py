"""The answer for other programs: CSV with a line for each run, and everything as JSON."""

import csv
import io
import json
import math
from dataclasses import fields, is_dataclass
from typing import Any

from mixup_lab.study.formats import setting
from mixup_lab.study.results import Answer
from mixup_lab.visible import visible


def csv_rows(answer: Answer) -> str:
    """A line for each run: arm, name, seed, status, axes, metric, difference to the baseline, path, scalars."""
    fixed = ("arm", "name", "seed", "status")
    numbers = ("val", "test", "best_test", "difference", "path")
    scalars = sorted({tag for arm in answer.arms for cell in arm.cells for tag in cell.scalars})
    taken = {*fixed, *numbers, *scalars}
    axes = [f"setting:{axis}" if axis in taken else axis for axis in answer.axes]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_defused, [*fixed, *axes, *numbers, *scalars]))
    tests = {(arm.id, cell.seed): cell.test for arm in answer.arms for cell in arm.cells}
    for arm in answer.arms:
        chosen = [_cell_of(arm.settings.get(axis)) for axis in answer.axes]
        name = _defused(arm.name)
        for cell in arm.cells:
            base = tests.get((arm.baseline, cell.seed)) if arm.baseline else None
            gain = None if base is None or cell.test is None else cell.test - base
            values = [cell.val, cell.test, cell.best_test, gain, _defused(cell.path or "")]
            writer.writerow(
                [_defused(arm.id), name, cell.seed, cell.status, *chosen, *values, *map(cell.scalars.get, scalars)]
            )
    return visible(out.getvalue())


def _cell_of(x: Any) -> str:
    number = isinstance(x, int | float) and not isinstance(x, bool)
    return "" if x is None else setting(x) if number else _defused(setting(x))


def _defused(text: str) -> str:
    """Text with an apostrophe in front if a spreadsheet would run it as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def as_json(answer: Answer) -> str:
    """The whole answer; NaN and infinity are null, keys are sorted."""
    return json.dumps(_plain(answer), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(x: Any) -> Any:
    if is_dataclass(x):
        kept = [field.name for field in fields(x) if field.metadata.get("json", True)]
        return {name: _plain(getattr(x, name)) for name in kept}
    if isinstance(x, dict):
        return {visible(str(key)): _plain(inner) for key, inner in x.items()}
    if isinstance(x, list | tuple):
        return [_plain(inner) for inner in x]
    if isinstance(x, float):
        return float(x) if math.isfinite(x) else None
    return x if x is None or isinstance(x, bool | int) else visible(str(x))
