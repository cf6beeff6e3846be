"""The answer as rows and words: number formats, the table that every view shows, CSV, JSON, the terminal."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import unicodedata
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from mixup_lab.study.results import Answer, Arm, Cell, ClassDifference, Interval, Metric, Moments

DASH = "–"
MINUS = "−"
RECALL = Metric("recall", maximize=True, percent=True)  # of a class, whatever the metric of the study is
MAX_CLASSES = 30  # more cannot be told apart in one picture

_VERDICT_STYLES = {"helps": "green", "helps_here": "green", "hurts": "red", "hurts_here": "red", "cannot_tell": "dim"}


# Numbers -----------------------------------------------------------------------------------------------------------


def known(x: float | None) -> float | None:
    """The number itself, or None where there is none (NaN and infinity are none)."""
    return x if x is not None and math.isfinite(x) else None


def percent(x: float | None) -> str:
    """A fraction in percent: 0.9722 -> "97.22 %"."""
    x = known(x)
    return DASH if x is None else f"{_fixed(100 * x, 2)} %"


def value(x: float | None, metric: Metric) -> str:
    """A value of the metric: "97.22 %", or four significant digits."""
    if metric.percent:
        return percent(x)
    x = known(x)
    return DASH if x is None else _fixed(x, _decimals(x, 4))


def spread(moments: Moments, metric: Metric) -> str:
    """Mean and standard deviation: "97.22 ± 0.31 %"; the mean alone for one seed."""
    mean, sd = known(moments.mean), known(moments.sd)
    if mean is None or sd is None:
        return value(mean, metric)
    if metric.percent:
        return f"{_fixed(100 * mean, 2)} ± {_fixed(100 * sd, 2)} %"
    digits = max(_decimals(mean, 4), _decimals(sd, 2))
    return f"{_fixed(mean, digits)} ± {_fixed(sd, digits)}"


def difference(x: float | None, metric: Metric, unit: bool = True) -> str:
    """A difference of the metric with its sign: "+0.31 points", or three significant digits."""
    x = known(x)
    if x is None:
        return DASH
    if metric.percent:
        return f"{_fixed(100 * x, 2, sign=True)}{' points' if unit else ''}"
    return _fixed(x, _decimals(x, 3), sign=True)


def interval(pair: Interval | None, metric: Metric) -> str:
    """Both ends of an interval of differences: "−0.05 to +0.67". Its unit stands in the heading."""
    if pair is None or known(pair[0]) is None or known(pair[1]) is None:
        return DASH
    scale, digits = (100, 2) if metric.percent else (1, _decimals(max(map(abs, pair)), 3))
    return " to ".join(_fixed(scale * end, digits, sign=True) for end in pair)


def magnitude(x: float, metric: Metric) -> str:
    """The size of a difference, without a sign: "0.5 points"."""
    return f"{100 * x:.3g} points" if metric.percent else f"{x:.3g}"


def p_value(p: float | None) -> str:
    """A p as papers print it: "0.25", "0.008", "< 0.0001"."""
    p = known(p)
    if p is None:
        return DASH
    if p < 0.0001:
        return "< 0.0001"
    digits = 4 if p < 0.001 else 3 if p < 0.1 else 2
    return "1" if p > 0.995 else f"{p:.{digits}f}"


def duration(seconds: float | None) -> str:
    """A time for people: "0.82 s", "3 min 05 s", "2 h 07 min"."""
    seconds = known(seconds)
    if seconds is None:
        return DASH
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def ratio(x: float | None) -> str:
    """A ratio to the baseline: "1.08 ×"."""
    x = known(x)
    return DASH if x is None else f"{x:.2f} ×"


def _fixed(x: float, digits: int, sign: bool = False) -> str:
    text = f"{x:{'+' if sign else ''}.{digits}f}"
    # What rounds to zero has no sign: "-0.00" would claim a direction.
    text = text.lstrip("+-") if not float(text) else text
    return text.replace("-", MINUS)


def _decimals(x: float, significant: int) -> int:
    """Decimals that show so many significant digits, within reason."""
    return min(8, max(0, significant - 1 - math.floor(math.log10(abs(x))))) if x else significant - 1


# Text --------------------------------------------------------------------------------------------------------------


def visible(text: str) -> str:
    """Text that any page and file can hold: what controls or cannot be encoded becomes U+FFFD; tab and newline stay."""
    bad = {c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n"} | {"\ufffe", "\uffff"}
    return "".join("\ufffd" if c in bad else c for c in text)


def setting(x: Any) -> str:
    """A value of the configuration, as one would type it."""
    if isinstance(x, bool) or x is None:
        return {True: "true", False: "false", None: "null"}[x]
    if isinstance(x, float):
        return f"{x:.10g}"
    if isinstance(x, list | tuple):
        return f"[{', '.join(map(setting, x))}]"
    if isinstance(x, dict):
        return f"{{{', '.join(f'{key}: {setting(inner)}' for key, inner in x.items())}}}"
    return str(x)


# What every view shows ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A line of the table, formatted."""

    arm: Arm
    name: str
    chosen: bool  # by val, from several
    seeds: str  # "5", or "4 of 5"
    val: str
    test: str
    difference: str  # without its unit, which stands in the heading
    retraining: str
    new_data: str
    p: str  # after Holm
    code: str  # "baseline" for a baseline
    verdict: str
    more_seeds: str
    trials: str


def blocks(answer: Answer) -> list[list[Arm]]:
    """Arms by the baseline that they are compared with, which comes first in its block."""
    groups: dict[str, list[Arm]] = {arm.id: [arm] for arm in answer.arms if arm.baseline is None}
    for arm in answer.arms:
        if arm.baseline is not None:
            groups.setdefault(arm.baseline, []).append(arm)
    return list(groups.values())


def rows(answer: Answer) -> list[list[Row]]:
    """The table of arms, formatted, by blocks."""
    return [[_row(answer, arm) for arm in block] for block in blocks(answer)]


def _row(answer: Answer, arm: Arm) -> Row:
    metric, against = answer.metric, arm.comparison
    done, planned = arm.test.n, len(arm.cells)
    return Row(
        arm=arm,
        name=arm.name,
        chosen=answer.choice is not None and answer.choice.candidates > 1 and answer.choice.arm == arm.id,
        seeds=str(done) if done == planned else f"{done} of {planned}",
        val=spread(arm.val, metric),
        test=spread(arm.test, metric),
        difference=difference(against.mean, metric, unit=False) if against else "",
        retraining=interval(against.retraining, metric) if against else "",
        new_data=interval(against.new_data, metric) if against else "",
        p=p_value(against.p_holm) if against else "",
        code=against.code if against else "baseline",
        verdict=against.words if against else "baseline" if arm.baseline is None else DASH,
        more_seeds=(DASH if against.more_seeds is None else f"about {against.more_seeds}") if against else "",
        trials=str(arm.trials),
    )


def unfinished(answer: Answer) -> list[tuple[Arm, Cell]]:
    """Runs that were begun and gave no result; the failed ones first."""
    found = [(arm, cell) for arm in answer.arms for cell in arm.cells if cell.status not in ("ok", "missing")]
    return sorted(found, key=lambda pair: pair[1].status != "failed")


def shown_classes(answer: Answer) -> tuple[list[ClassDifference], int]:
    """The classes with the largest changes, best first, and how many are left out."""
    largest = sorted(answer.classes, key=lambda entry: (-abs(entry.mean), entry.name))[:MAX_CLASSES]
    return sorted(largest, key=lambda entry: (-entry.mean, entry.name)), len(answer.classes) - len(largest)


def chosen_arm(answer: Answer) -> Arm | None:
    """The arm that val chooses."""
    chosen = answer.choice.arm if answer.choice else None
    return next((arm for arm in answer.arms if arm.id == chosen), None)


def total_time(answer: Answer) -> str:
    """Device time of all runs together."""
    return duration(sum(arm.device_seconds for arm in answer.arms))


def finished_runs(answer: Answer) -> str:
    """ "19 of 20 runs"."""
    cells = [cell for arm in answer.arms for cell in arm.cells]
    return f"{sum(cell.status == 'ok' for cell in cells)} of {len(cells)} runs"


def explanation(answer: Answer) -> list[tuple[str, str]]:
    """What the columns mean, for readers who are no statisticians: (term, text)."""
    metric = answer.metric
    against = [arm.comparison for arm in answer.arms if arm.comparison]
    better = "above zero is better" if metric.maximize else "below zero is better"
    point = " A point is one hundredth: from 97 % to 98 % is one point." if metric.percent else ""
    examples = max((comparison.test_examples or 0 for comparison in against), default=0)
    stands = f" It stands on {examples:,} different test examples." if examples else ""
    reach = min((comparison.smallest_p for comparison in against), default=1.0)
    least = f" The smallest that this study can reach for its best arm is {p_value(reach)}." if against else ""
    effect = magnitude(answer.min_effect, metric) if answer.min_effect else "the number named"
    return [
        (
            "Difference",
            "The arm minus its baseline, on test, seed by seed. Two runs of one seed share the split of the data, the "
            "first weights and the order of the examples, so that only what is compared differs. "
            f"Here {better}.{point}",
        ),
        (
            "Interval for retraining",
            "Train again with other seeds, test on the very same examples, and the mean difference comes out a little "
            "different. This interval allows for that luck alone. Of 100 intervals that are made in this way, about "
            "95 hold the true value.",
        ),
        (
            "Interval for new data",
            "It allows for the luck of training and for the luck of which examples happen to be in the test set. "
            f"Look at this one if the model is to work on data that nobody has tested it on.{stands}",
        ),
        (
            "p after Holm",
            "If the arm made no difference at all, each seed would come out ahead or behind as a coin falls. p is how "
            "often coins alone give a mean difference as large as the one seen. Who tries many arms will find one that "
            "looks good by luck; Holm's correction raises p to make up for that. Few seeds cannot give a small p, "
            f"whatever they show.{least}",
        ),
        (
            "Helps, hurts",
            "Both for other trainings and for other data, p after Holm is at most 0.05. "
            "These words and their rules were fixed before any run.",
        ),
        (
            "Helps (hurts) on this test set",
            "p is at most 0.05 for other trainings on these test examples. For other examples that is not shown.",
        ),
        (
            "No difference larger than …",
            f"Whatever the difference is, gain or loss, it is shown to be smaller than {effect}, "
            "the least that was to count as a difference.",
        ),
        (
            "Cannot tell",
            "These runs fit with a gain and with none. That is not the same as no difference. "
            "Where more seeds would probably settle it, the table says about how many.",
        ),
        (
            "Trials",
            "How many configurations were tried with mixing and how many without. "
            "The side that was tried more often had more chances to look good.",
        ),
    ]


# Other forms -------------------------------------------------------------------------------------------------------


def csv_rows(answer: Answer) -> str:
    """One line a run: arm, name, seed, status, axes, metric, difference to the baseline of its seed, path, scalars."""
    fixed = ("arm", "name", "seed", "status")
    numbers = ("val", "test", "best_test", "difference", "path")
    scalars = sorted({tag for arm in answer.arms for cell in arm.cells for tag in cell.scalars})
    taken = {*fixed, *numbers, *scalars}
    axes = [f"setting:{axis}" if axis in taken else axis for axis in answer.axes]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*fixed, *axes, *numbers, *scalars])
    tests = {(arm.id, cell.seed): cell.test for arm in answer.arms for cell in arm.cells}
    for arm in answer.arms:
        chosen = [_cell_of(arm.settings.get(axis)) for axis in answer.axes]
        for cell in arm.cells:
            base = tests.get((arm.baseline, cell.seed)) if arm.baseline else None
            gain = None if base is None or cell.test is None else cell.test - base
            values = [cell.val, cell.test, cell.best_test, gain, cell.path]
            writer.writerow(
                [arm.id, arm.name, cell.seed, cell.status, *chosen, *values, *map(cell.scalars.get, scalars)]
            )
    return visible(out.getvalue())


def _cell_of(x: Any) -> str:
    return "" if x is None else setting(x)


def as_json(answer: Answer) -> str:
    """The whole answer; NaN and infinity are null, keys are sorted."""
    return json.dumps(_plain(answer), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(x: Any) -> Any:
    if is_dataclass(x):
        return {field.name: _plain(getattr(x, field.name)) for field in fields(x)}
    if isinstance(x, dict):
        return {str(key): _plain(inner) for key, inner in x.items()}
    if isinstance(x, list | tuple):
        return [_plain(inner) for inner in x]
    if isinstance(x, float):
        return float(x) if math.isfinite(x) else None
    return x if x is None or isinstance(x, bool | int) else visible(str(x))


def terminal_table(answer: Answer) -> Table:
    """A compact table for 80 columns: the whole story is on the page."""
    unit = "\n(points)" if answer.metric.percent else ""
    # A long name is broken between settings, not within one.
    names = {arm.id: arm.name.replace(",", ",\n") if len(arm.name) > 20 else arm.name for arm in answer.arms}
    longest = max((len(line) for name in names.values() for line in name.split("\n")), default=0)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="bold")
    # Only the words of the verdict give way where room is short.
    table.add_column("arm", overflow="fold", width=max(3, min(longest, 22)))
    table.add_column("seeds", justify="right", no_wrap=True)
    table.add_column(Text(f"test\n{_typewriter(answer.metric.name)}"), justify="right", no_wrap=True)
    table.add_column(f"difference{unit}", justify="right", no_wrap=True)
    table.add_column("95 % interval,\nnew data", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for block in rows(answer):
        for row in block:
            test = value(row.arm.test.mean, answer.metric)
            cells = (names[row.arm.id], row.seeds, test, row.difference, row.new_data)
            # Text, not str: a name may hold what rich takes for markup.
            table.add_row(
                *(Text(_typewriter(cell)) for cell in cells),
                Text(_typewriter(_short(row)), style=_VERDICT_STYLES.get(row.code, "")),
            )
        table.add_section()
    return table


def _short(row: Row) -> str:
    """The verdict without its reasons, which the sentences below the table give."""
    head = re.split("[:,]", row.verdict, maxsplit=1)[0]
    more = row.arm.comparison.more_seeds if row.arm.comparison else None
    return f"{head} (+{more} seeds)" if more else head


def _typewriter(text: str) -> str:
    """Our signs in ASCII, so that a terminal without UTF-8 shows them and `grep` finds them."""
    return visible(text).replace(MINUS, "-").replace(DASH, "-")
