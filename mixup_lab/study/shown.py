"""The parts of an answer that all views share: the table of arms, classes, unfinished runs, sums over runs."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mixup_lab.study.formats import (
    DASH,
    difference,
    difference_heading,
    duration,
    interval,
    p_value,
    setting,
    spread,
    value,
)
from mixup_lab.study.results import Answer, Arm, Cell, ClassDifference, LensScore, LensSection, Metric, Reference

RECALL = Metric("recall", maximize=True, percent=True)  # of a class, for any metric of the study
MAX_CLASSES = 30  # more cannot be read in one picture
SIGNS = {
    "helps": "▲", "helps_here": "△", "hurts": "▼", "hurts_here": "▽", "no_difference": "=", "cannot_tell": "?",
    "no_verdict": "–",
}  # fmt: skip
MAX_COLUMNS = 6  # scores of a lens, or lines of a trend, next to each other
HOLM_OF_LENSES = (
    "p and verdicts are corrected (Holm) for the number of arms within one score, not for the number of scores and"
    " lenses looked at: among many, some are clear of zero by luck."
)


@dataclass(frozen=True)
class Row:
    """A line of the table of arms, formatted."""

    arm: Arm
    chosen: bool  # by val, from several
    seeds: str  # "5", or "4 of 5"
    val: str
    test: str
    difference: str  # without its unit, which is in the heading
    retraining: str
    new_data: str
    p: str  # after Holm
    code: str  # "baseline" for a baseline
    verdict: str
    more_seeds: str

    @property
    def interval(self) -> str:
        """That for new data, or for retraining where it is not known."""
        return self.new_data if self.new_data != DASH else self.retraining


def blocks(answer: Answer) -> list[list[Arm]]:
    """Each baseline with the arms that are compared with it."""
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
        chosen=any(choice.arm == arm.id and choice.candidates > 1 for choice in answer.choices),
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
    )


@dataclass(frozen=True)
class LensCell:
    """An arm by one score of a lens, formatted."""

    arm: Arm
    score: LensScore
    heading: str  # "nll (lower is better)"
    mean: str  # over seeds
    difference: str  # to the baseline, without its unit; "" for a baseline, and without a pair
    interval: str  # for new data, or for retraining where that is not known
    retraining: str
    new_data: str
    p: str  # after Holm
    code: str  # "baseline" for a baseline
    verdict: str  # "" where neither more nor less is better


def lens_tables(answer: Answer, section: LensSection) -> list[list[list[list[LensCell]]]]:
    """The tables of a lens, each with so many scores that it can be read: blocks of rows, arms, of cells, scores."""
    return [[[[_lens_cell(arm, score) for score in part] for arm in block] for block in blocks(answer)]
            for part in _parts(section.scores)]  # fmt: skip


def _parts(columns: Sequence[Any]) -> list[Sequence[Any]]:
    """The columns in equal parts that can be read."""
    n = len(columns)
    wide = math.ceil(n / max(1, math.ceil(n / MAX_COLUMNS)))
    return [columns[k : k + wide] for k in range(0, n, max(1, wide))]


@dataclass(frozen=True)
class TrendRow:
    """A value of a trend with the baseline there and some lines, formatted."""

    value: str
    baseline: str  # test, over seeds
    cells: list[tuple[str, Row | None]]  # name of the line, and its arm; None where the study has no such arm


def trend_tables(answer: Answer) -> list[list[TrendRow]]:
    """The tables of the trend, each with so many lines that it can be read, by ascending values."""
    if answer.trend is None:
        return []
    by_id = {row.arm.id: row for block in rows(answer) for row in block}
    base, *lines = answer.trend.lines
    return [
        [
            TrendRow(
                setting(value),
                by_id[base.arms[k] or ""].test,
                [(line.name, by_id[arm] if (arm := line.arms[k]) is not None else None) for line in part],
            )
            for k, value in enumerate(answer.trend.values)
        ]
        for part in _parts(lines)
    ]


def short_verdict(words: str) -> str:
    """A verdict without its reasons."""
    return re.split("[:,;]", words, maxsplit=1)[0]


def lens_rows(answer: Answer, section: LensSection) -> list[list[LensCell]]:
    """Every score of every arm that is compared, with both intervals, score by score."""
    compared = [arm for block in blocks(answer) for arm in block if arm.baseline is not None]
    return [[_lens_cell(arm, score) for arm in compared] for score in section.scores]


def _lens_cell(arm: Arm, score: LensScore) -> LensCell:
    metric, against = score.metric, score.comparisons.get(arm.id)
    known = against if against and against.mean is not None else None
    mean = score.means[arm.id].mean if arm.id in score.means else None
    judged = against is not None and metric.maximize is not None
    return LensCell(
        arm=arm,
        score=score,
        heading=f"{metric.name}{difference_heading(metric)}",
        mean=value(mean, metric),
        difference=difference(known.mean, metric, unit=False) if known else "",
        interval=interval(known.new_data or known.retraining, metric) if known else "",
        retraining=interval(known.retraining, metric) if known else "",
        new_data=interval(known.new_data, metric) if known else "",
        p=p_value(known.p_holm) if known else "",
        code=against.code if against else "baseline",
        verdict=against.words if against and judged else "",
    )


def references(answer: Answer, block: list[Row]) -> list[Reference]:
    """The answers that need no network, of the block that begins with its baseline."""
    return [reference for reference in answer.references if reference.baseline == block[0].arm.id]


def unfinished(answer: Answer) -> list[tuple[Arm, Cell]]:
    """Runs that began and have no result; the failed ones first."""
    pairs = [(arm, cell) for arm in answer.arms for cell in arm.cells if cell.status not in ("ok", "missing")]
    return sorted(pairs, key=lambda pair: pair[1].status != "failed")


def shown_classes(answer: Answer) -> tuple[list[ClassDifference], int]:
    """The classes with the largest changes, best first, and how many are left out."""
    largest = sorted(answer.classes, key=lambda entry: (-abs(entry.mean), entry.name))[:MAX_CLASSES]
    return sorted(largest, key=lambda entry: (-entry.mean, entry.name)), len(answer.classes) - len(largest)


def knows_new_data(answer: Answer) -> bool:
    """Whether any arm has an interval for new data: it needs a score for every test example."""
    return any(arm.comparison is not None and arm.comparison.new_data is not None for arm in answer.arms)


def class_parts(answer: Answer) -> list[tuple[Arm, Answer]]:
    """Each arm with known recalls of classes, and the answer with the classes of this arm alone."""
    arms = {arm.id: arm for arm in answer.arms}
    return [
        (arms[arm], replace(answer, classes=tuple(entry for entry in answer.classes if entry.arm == arm)))
        for arm in dict.fromkeys(entry.arm for entry in answer.classes)
    ]


def basis(answer: Answer) -> str:
    """What the interval for new data rests on: "1,512 test examples in 12 groups"; "" without one."""
    comparisons = [arm.comparison for arm in answer.arms if arm.comparison and arm.comparison.test_examples]
    if not comparisons:
        return ""
    widest = max(comparisons, key=lambda one: one.test_examples or 0)
    groups = f" in {widest.test_groups:,} groups" if widest.test_groups else ""
    return f"{widest.test_examples:,} {'different ' if answer.carved else ''}test examples{groups}"


def total_time(answer: Answer) -> str:
    """Device time of all runs."""
    return duration(sum(arm.device_seconds for arm in answer.arms))


def finished_runs(answer: Answer) -> str:
    """ "19 of 20 runs"."""
    cells = [cell for arm in answer.arms for cell in arm.cells]
    return f"{sum(cell.status == 'ok' for cell in cells)} of {len(cells)} runs"
