"""Runs of other trainers, from tables with a row for each run: its arm, its seed, and a column for each metric."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mixup_lab.files.table import TextFile
from mixup_lab.files.values import as_number
from mixup_lab.study.metric_names import is_percent, tag
from mixup_lab.types import UserError

TEXTS = (".csv", ".tsv")
TABLES = (*TEXTS, ".jsonl")
MISSING = ("", "nan", "none", "null", "na", "n/a", "-")
PREFIX = re.compile(r"^(params|config|hparams|tags|hyperparameters)[./]")  # of settings, in the tables of others
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(e[-+]?\d+)?", re.IGNORECASE)
BIGGEST = 1e100  # the squares of larger numbers cannot be computed with
SHOWN = 6  # columns in a sentence


class Row(NamedTuple):
    """A row of a table."""

    line: int
    cells: dict[str, str]  # without the missing ones


@dataclass
class TableRun:
    """The numbers of one arm and seed."""

    arm: str
    seed: int
    line: int
    scalars: dict[str, float] = field(default_factory=dict)
    # tag -> the score of each group, in a table with a column "group"; the metric is their mean.
    groups: dict[str, dict[str, float]] = field(default_factory=dict)


def table_runs(path: Path, arm: str | None = None, seed: str | None = None) -> tuple[list[TableRun], list[str]]:
    """The runs of a table, in its order, and a sentence on each thing that was left out or converted.

    A value that is missing or not finite is left out: its run has no result in this metric. Columns of texts, dates
    or truth values are left out. Percentages, as in 97.1 for an accuracy, become fractions.

    Args:
        path: CSV with commas, semicolons or tabs and a header, UTF-8; or JSON lines, an object for each run.
        arm: the column that names the arm; None: "arm", also as "params.arm" or "config/arm".
        seed: likewise.

    Raises:
        UserError: for a missing column, a value that is not a number among numbers, fractions and percentages in one
            column, or an arm and seed that come twice.
    """
    rows = list(_rows(path))
    if not rows:
        raise UserError(f"{path} has no rows")
    columns = list(dict.fromkeys(column for row in rows for column in row.cells))
    arm_column, seed_column = _column(path, columns, "arm", arm), _column(path, columns, "seed", seed)
    group_column = next((column for column in columns if column.lower() == "group"), None)
    fixed = {arm_column, seed_column, group_column}
    numbers, notes = _numbers(path, rows, [column for column in columns if column not in fixed])
    runs: dict[tuple[str, int], TableRun] = {}
    for row in rows:
        where = f"{path}, line {row.line}"
        for column in (arm_column, seed_column):
            if column not in row.cells:
                raise UserError(f"{where}: {column} is missing")
        name, number = row.cells[arm_column], _whole(row.cells[seed_column], where, seed_column)
        group = row.cells.get(group_column) if group_column else None
        run = runs.setdefault((name, number), TableRun(name, number, row.line))
        if group is None and run.line != row.line:
            raise UserError(f"{where}: arm {name} has seed {number} twice")
        for column, values in numbers.items():
            if row.line not in values:
                continue
            if group is None:
                run.scalars[tag(column)] = values[row.line]
            else:
                scores = run.groups.setdefault(tag(column), {})
                if group in scores:
                    raise UserError(f"{where}: arm {name} has group {group} with seed {number} twice")
                scores[group] = values[row.line]
    for run in runs.values():
        run.scalars |= {key: math.fsum(scores.values()) / len(scores) for key, scores in run.groups.items()}
    return list(runs.values()), notes


def _rows(path: Path) -> Iterator[Row]:
    lines = _objects(path) if path.suffix.lower() not in TEXTS else _records(path)
    for line, cells in lines:
        texts = {column: str(value).strip() for column, value in cells if value is not None}
        yield Row(line, {column: text for column, text in texts.items() if text.lower() not in MISSING})


def _records(path: Path) -> Iterator[tuple[int, Iterator[tuple[str, str]]]]:
    file = TextFile(path, None, header=True, hints=False)
    lines = file.lines()
    for piece in file.pieces(skip=False):
        for record in zip(*piece.columns, strict=True):
            yield next(lines), zip(file.names, record, strict=True)


def _objects(path: Path) -> Iterator[tuple[int, Iterator[tuple[str, object]]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: not JSON ({str(error).splitlines()[0]})") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: must be an object with arm, seed and metrics")
        yield number, iter(row.items())


def _column(path: Path, columns: Sequence[str], what: str, wanted: str | None) -> str:
    """The column that holds the arm or the seed."""
    if wanted is not None:
        if wanted not in columns:
            raise UserError(f"{what}={wanted} is not a column of {path}; its columns are: {', '.join(columns)}")
        return wanted
    matching = [column for column in columns if PREFIX.sub("", column.lower()) == what]
    if len(matching) == 1 or what in matching:
        return what if what in matching else matching[0]
    problem = f"has several columns for it ({', '.join(matching)})" if matching else f"has no column '{what}'"
    raise UserError(f"{path} {problem}; {what}=COLUMN chooses one of: {', '.join(columns)}")


def _numbers(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> tuple[dict[str, dict[int, float]], list[str]]:
    """The columns of numbers: line -> value, the finite ones; and sentences on all others."""
    numbers: dict[str, dict[int, float]] = {}
    left_out, notes = [], []
    tags: dict[str, str] = {}
    for column in columns:
        texts = {row.line: row.cells[column] for row in rows if column in row.cells}
        values = {line: number for line, text in texts.items() if (number := _number(text)) is not None}
        if len(values) * 2 < len(texts):
            left_out.append(column)
            continue
        for line, text in texts.items():
            if line not in values:
                raise UserError(
                    f"{path}, line {line}: {column} must be a number, got {text!r}; leave the cell empty for a run"
                    " without a result"
                )
        values = {line: value for line, value in values.items() if math.isfinite(value)}
        for line, value in values.items():
            if abs(value) > BIGGEST:
                raise UserError(f"{path}, line {line}: {column} must be a number of at most {BIGGEST:g}, got {value:g}")
        other = tags.setdefault(tag(column), column)
        if other != column:
            raise UserError(f"{path}: columns {other} and {column} both hold {tag(column)}; remove one of them")
        if _are_percentages(path, column, values):
            values = {line: value / 100 for line, value in values.items()}
            notes.append(f"{column} is in percent: its values are divided by 100")
        numbers[column] = values
    if not numbers:
        raise UserError(
            f"{path} has no column of numbers for a metric; its columns are: {', '.join(columns) or 'none'}"
        )
    if left_out:
        shown = ", ".join(left_out[:SHOWN]) + (f" and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else "")
        notes.insert(0, f"columns that do not hold numbers are left out: {shown}")
    return numbers, notes


def _are_percentages(path: Path, column: str, values: dict[int, float]) -> bool:
    """Whether a metric that is a fraction is written in percent throughout."""
    name = tag(column).rpartition("/")[2]
    # A calibration error of 0.8 may be 80 % or 0.8 %.
    if not is_percent(name) or name.lower() == "ece" or not all(0 <= value <= 100 for value in values.values()):
        return False
    percentages = [line for line, value in values.items() if value > 1]
    fractions = [line for line, value in values.items() if value <= 1]
    if percentages and fractions:
        raise UserError(
            f"{path}: {column} holds fractions (line {fractions[0]}: {values[fractions[0]]:g}) and percentages"
            f" (line {percentages[0]}: {values[percentages[0]]:g}); write all of them in the same way"
        )
    return bool(percentages)


def _number(text: str) -> float | None:
    """The number that a cell holds, with a decimal comma or a percent sign if it has one; None for other texts."""
    plain = text.removesuffix("%").rstrip()
    if DECIMAL_COMMA.fullmatch(plain):
        plain = plain.replace(",", ".")
    number = as_number(plain)
    return number / 100 if number is not None and text.endswith("%") else number


def _whole(text: str, where: str, column: str) -> int:
    number = _number(text)
    if number is None or not number.is_integer() or abs(number) > 2**53:
        raise UserError(f"{where}: {column} must be a whole number, got {text!r}")
    return int(number)
