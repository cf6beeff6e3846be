"""The table of arms for a terminal of 80 columns."""

import textwrap

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from mixup_lab.study.formats import DASH, MINUS, difference_heading, value
from mixup_lab.study.results import Answer
from mixup_lab.study.shown import Row, references, rows, short_verdict
from mixup_lab.visible import visible

_VERDICT_STYLES = {"helps": "green", "helps_here": "green", "hurts": "red", "hurts_here": "red", "cannot_tell": "dim"}


def terminal_table(answer: Answer) -> Table:
    """A compact table for 80 columns; the page has all columns."""
    unit = difference_heading(answer.metric).replace("; ", ";\n").replace(" (", "\n(")
    # A long name breaks between settings, not within one.
    names = {arm.id: arm.name.replace(",", ",\n") if len(arm.name) > 20 else arm.name for arm in answer.arms}
    lines = [line for name in names.values() for line in name.split("\n")]
    # References have long names too; a second line leaves room for the verdicts.
    lines += [line for reference in answer.references for line in textwrap.wrap(reference.name, 14)]
    longest = max(map(len, lines), default=0)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="bold")
    # Only the verdict is wrapped where room is short.
    table.add_column("arm", overflow="fold", width=max(3, min(longest, 24)))
    table.add_column("seeds", justify="right", no_wrap=True)
    table.add_column(Text(f"test\n{_typewriter(answer.metric.name)}"), justify="right", no_wrap=True)
    table.add_column(f"difference{unit}", justify="right", no_wrap=True)
    table.add_column("95 % interval,\nnew data", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for block in rows(answer):
        for row in block:
            test = value(row.arm.test.mean, answer.metric)
            cells = (names[row.arm.id], row.seeds, test, row.difference, row.new_data)
            # Text, not str: rich would read brackets in a name as markup.
            table.add_row(
                *(Text(_typewriter(cell)) for cell in cells),
                Text(_typewriter(_short(row)), style=_VERDICT_STYLES.get(row.code, "")),
            )
        for reference in references(answer, block):
            score = _typewriter(value(reference.test.mean, answer.metric))
            table.add_row(Text(reference.name, style="dim"), "", Text(score, style="dim"))
        table.add_section()
    return table


def _short(row: Row) -> str:
    """The verdict without its reasons; the sentences below the table have them."""
    head = short_verdict(row.verdict)
    more = row.arm.comparison.more_seeds if row.arm.comparison else None
    return f"{head} (+{more} seeds)" if more else head


def _typewriter(text: str) -> str:
    """Our signs in ASCII, so that a terminal without UTF-8 shows them and `grep` finds them."""
    return visible(text).replace(MINUS, "-").replace(DASH, "-")
