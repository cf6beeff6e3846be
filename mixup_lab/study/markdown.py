"""The report as Markdown, for a pull request or a README: the page without its pictures."""

import re
from collections.abc import Iterable, Iterator, Sequence

from mixup_lab.study import formats, shown
from mixup_lab.study.glossary import explanation
from mixup_lab.study.results import Answer, LensSection
from mixup_lab.visible import visible


def markdown(answer: Answer) -> str:
    """The whole report as GitHub's Markdown, with names and messages escaped."""
    return "\n".join(_lines(answer)) + "\n"


def _lines(answer: Answer) -> Iterator[str]:
    lead = answer.confirmed or answer
    yield f"# {text(lead.sentence)}"
    yield f"\nmixup-lab, study {text(answer.study)}: {shown.finished_runs(answer)} finished."
    yield from _bullets(lead.details)
    if answer.confirmed:
        yield "\n## The confirmation"
        chosen = "the arms" if len(answer.choices) > 1 else "the arm"
        yield f"\nThese seeds had no part in choosing {chosen}, so the choice does not make these results look better."
        yield from _arms(answer.confirmed)
        yield from _bullets(answer.confirmed.problems)
        yield f"\n## The study that chose {chosen}: {text(answer.sentence)}"
        yield from _bullets(answer.details)
    yield from _trend(answer)
    yield "\n## Arm by arm"
    yield from _arms(answer)
    yield from _classes(answer)
    for section in answer.lenses:
        yield from _lens(answer, section)
    yield from _costs(answer)
    yield from _problems(answer)
    yield from _configuration(answer)
    yield from _facts(answer)
    yield "\n## How to read this"
    yield from (f"\n**{text(term)}.** {text(words)}" for term, words in explanation(answer).items())


def _trend(answer: Answer) -> Iterator[str]:
    if answer.trend is None:
        return
    yield f"\n## The answer by {text(answer.trend.axis)}"
    yield from _bullets(answer.trend.sentences)
    for rows in shown.trend_tables(answer):
        unit = formats.difference_heading(answer.metric)
        names = [f"{name}{unit}" for name, _ in rows[0].cells]
        body = [[row.value, row.baseline, *(_trend_cell(cell) for _, cell in row.cells)] for row in rows]
        yield from _table(
            [answer.trend.axis, f"baseline, test {answer.metric.name}", *names], body, "r" * (2 + len(names))
        )


def _trend_cell(row: shown.Row | None) -> str:
    if row is None:
        return ""
    return f"{shown.SIGNS[row.code]} {row.difference} ({row.interval}): {shown.short_verdict(row.verdict)}"


def _arms(answer: Answer) -> Iterator[str]:
    unit = formats.difference_heading(answer.metric)
    name = answer.metric.name
    head = [
        "arm", "seeds", f"val {name}, mean ± sd", f"test {name}, mean ± sd", f"difference{unit}", "95 % retraining",
        "95 % new data", "p after Holm", "verdict", "more seeds", "trials",
    ]  # fmt: skip
    body = [
        [
            row.arm.name + (" (best on val)" if row.chosen else ""), row.seeds, row.val, row.test, row.difference,
            row.retraining, row.new_data, row.p, row.verdict, row.more_seeds, str(row.arm.trials),
        ]
        for block in shown.rows(answer) for row in block
    ]  # fmt: skip
    body += [
        [reference.name, "", "", formats.spread(reference.test, answer.metric), *[""] * 7]
        for block in shown.rows(answer) for reference in shown.references(answer, block)
    ]  # fmt: skip
    yield from _table(head, body, "lrrrrrrrlrr")


def _classes(answer: Answer) -> Iterator[str]:
    if answer.classes:
        yield "\n## Class by class"
    for arm, part in shown.class_parts(answer):
        classes, left_out = shown.shown_classes(part)
        yield f"\nRecall on test: {text(arm.name)} against its baseline."
        if left_out:
            yield f"The {shown.MAX_CLASSES} largest changes; {left_out} more classes are left out."
        body = [
            [
                entry.name,
                f"{entry.support:.0f}",
                formats.difference(entry.mean, shown.RECALL, unit=False),
                formats.interval(entry.interval, shown.RECALL),
            ]
            for entry in classes
        ]
        yield from _table(["class", "test examples", "difference (points)", "95 % over seeds"], body, "lrrr")


def _lens(answer: Answer, section: LensSection) -> Iterator[str]:
    yield f"\n## {text(section.title)}"
    yield from (f"\n{text(words)}" for words in (section.sentence, section.about) if words)
    yield from _bullets(section.notes)
    for blocks in shown.lens_tables(answer, section):
        heads = [cell.heading for cell in blocks[0][0]]
        body = [[cells[0].arm.name, *map(_lens_cell, cells)] for block in blocks for cells in block]
        yield from _table(["arm", *heads], body, "l" + "r" * len(heads))
    if section.scores:
        yield f"\n{text(shown.HOLM_OF_LENSES)}"
    body = [
        [cell.arm.name, cell.heading, cell.difference, cell.retraining, cell.new_data, cell.p, cell.verdict]
        for rows in shown.lens_rows(answer, section) for cell in rows
    ]  # fmt: skip
    if body:
        head = ["arm", "score", "difference", "95 % retraining", "95 % new data", "p after Holm", "verdict"]
        yield from _table(head, body, "llrrrrl")
    yield from _bullets(f"{score.metric.name}: {score.about}" for score in section.scores if score.about)
    yield from _bullets(f"lens.{section.lens}.{key}={_setting(value)}" for key, value in section.settings.items())


def _lens_cell(cell: shown.LensCell) -> str:
    if not cell.difference:
        return cell.mean
    sign = shown.SIGNS[cell.code] if cell.verdict else ""
    return f"{cell.mean}; {sign} {cell.difference} ({cell.interval})".replace("  ", " ")


def _costs(answer: Answer) -> Iterator[str]:
    yield f"\n## What it cost\n\n{shown.total_time(answer)} of device time in all."
    body = [
        [
            arm.name,
            formats.duration(arm.seconds_per_epoch),
            "" if arm.baseline is None else formats.ratio(arm.cost_ratio),
            formats.duration(arm.device_seconds),
        ]
        for arm in answer.arms
    ]
    yield from _table(["arm", "time per epoch", "to the baseline", "device time, all seeds"], body, "lrrr")


def _problems(answer: Answer) -> Iterator[str]:
    yield "\n## Failures and missing pairs"
    if not answer.problems:
        yield "\nNone."
    yield from _bullets(answer.problems)
    body = [
        [arm.name, str(cell.seed), cell.status, cell.error or formats.DASH, cell.log or formats.DASH]
        for arm, cell in shown.unfinished(answer)
    ]
    if body:
        yield from _table(["arm", "seed", "status", "error", "log"], body, "lrlll")


def _configuration(answer: Answer) -> Iterator[str]:
    yield "\n## What was compared"
    if answer.axes:
        body = [[arm.name, *(_setting(arm.settings.get(axis)) for axis in answer.axes)] for arm in answer.arms]
        yield from _table(["arm", *answer.axes], body, "l" * (1 + len(answer.axes)))
    else:
        yield "\nAll arms have the same settings."
    if answer.settings:
        body = [[key, formats.setting(value)] for key, value in answer.settings.items()]
        yield f"\n<details><summary>{len(body)} settings that all arms share</summary>"
        yield from _table(["key", "value"], body, "ll")
        yield "\n</details>"


def _facts(answer: Answer) -> Iterator[str]:
    yield "\n## Data, versions and commands"
    yield from _bullets(f"{key}: {fact}" for key, fact in answer.facts.items())
    for line in answer.commands.values():
        # A fence is longer than any run of backticks inside it.
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", line)), default=0))
        yield f"\n{fence}sh\n{visible(line)}\n{fence}"


def _setting(value: object) -> str:
    return formats.DASH if value is None else formats.setting(value)


def _bullets(lines: Iterable[str]) -> Iterator[str]:
    for k, line in enumerate(lines):
        yield f"{'' if k else chr(10)}- {text(line)}"


def _table(head: Sequence[str], body: Iterable[Sequence[str]], sides: str) -> Iterator[str]:
    yield "\n" + _row(head)
    yield "|" + "|".join("---:" if side == "r" else "---" for side in sides) + "|"
    for cells in body:
        yield _row(cells)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(text, cells))} |"


def text(words: str) -> str:
    """Words on one line, escaped: Markdown, HTML and the ends of table cells are shown as text."""
    line = " ".join(visible(words).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*\[\]|~$])", r"\\\1", line)
    # An underscore within a word is not markup, and names have many.
    line = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", line)
    line = re.sub(r"^([#+-])(?=\s|$)", r"\\\1", line)
    return re.sub(r"^(\d+)([.)])(?=\s)", r"\1\\\2", line)
