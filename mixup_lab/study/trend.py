"""The answer over a numeric setting that is not about mixing: from which value on, or up to which, does mixing help?

The verdicts are those of the arms, each against the baseline with the same value, so Holm has counted them all.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from mixup_lab.study.arms import unmixed_axes
from mixup_lab.study.formats import setting
from mixup_lab.study.results import Answer, Arm, Trend, TrendLine
from mixup_lab.study.sentences import effects, name_in_block

_OPEN = {"cannot_tell": ("the study cannot tell", " whether {} helps"), "no_verdict": ("there is no verdict", " on {}")}


def trend_of(answer: Answer) -> Trend | None:
    """The trend of a study whose blocks differ in one numeric setting alone; None for other studies.

    None too if `baseline=NAME` compares arms with a baseline of another value.
    """
    axes = unmixed_axes(answer.axes)
    if len(axes) != 1 or not all(map(_is_number, answer.axes[axes[0]])):
        return None
    axis, arms = axes[0], {arm.id: arm for arm in answer.arms}
    lines: dict[str, dict[float, Arm]] = {}
    for arm in answer.arms:
        value = arm.settings[axis]
        rest = {other: chosen for other, chosen in arm.settings.items() if other != axis}
        line = lines.setdefault("baseline" if arm.baseline is None else repr(sorted(rest.items())), {})
        if value in line or arms[arm.baseline or arm.id].settings[axis] != value:
            return None
        line[value] = arm
    if len(lines) < 2:
        return None
    values = tuple(sorted(answer.axes[axis]))
    named = {name_in_block(next(iter(line.values())), answer): line for line in lines.values()}
    if len(named) < len(lines):
        named = {next(iter(line.values())).name: line for line in lines.values()}
    return Trend(
        axis=axis,
        values=values,
        lines=tuple(
            TrendLine(name, tuple(line[value].id if value in line else None for value in values))
            for name, line in named.items()
        ),
        sentences=tuple(
            _sentence(name, axis.rpartition(".")[2], codes, effects(answer))
            for name, line in named.items()
            if (codes := {v: one.code for v in values if v in line and (one := line[v].comparison) is not None})
        ),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _sentence(name: str, key: str, codes: Mapping[float, str], words: Mapping[str, str]) -> str:
    """Where a line helps, by its verdicts: "mixup-a4 helps from label_noise 0.5 on; below it, the study cannot tell."

    Args:
        name: of the line.
        key: of the setting, without its group.
        codes: of the verdicts, by ascending values.
        words: phrase by code, for verdicts that name an effect.
    """
    parts = [(code, list(values)) for code, values in groupby(codes, key=lambda value: codes[value])]
    if len(parts) > 2:  # not one change of the verdict: the values of each verdict, one by one
        parts = [(code, [v for v in codes if codes[v] == code]) for code in dict.fromkeys(codes.values())]
        parts.sort(key=lambda part: _rank(part[0]))
        (first, at), *others = parts
        clauses = [f"{_clause(first, name, words)} at {key} {_listed(at)}"]
        clauses += [f"at {_listed(values)}, {_clause(code, '', words)}" for code, values in others]
    elif len(parts) == 1:
        (code, values), = parts  # fmt: skip
        every = "every" if code in words else "any"
        clauses = [f"{_clause(code, name, words)} at {every} {key} of the study ({_listed(values)})"]
    else:
        (low, below), (high, above) = parts
        if _rank(high) <= _rank(low):
            place = f"from {key} {setting(above[0])} on" if len(above) > 1 else f"at {key} {setting(above[0])}"
            clauses = [f"{_clause(high, name, words)} {place}", f"below it, {_clause(low, '', words)}"]
        else:
            place = f"up to {key} {setting(below[-1])}" if len(below) > 1 else f"at {key} {setting(below[0])}"
            clauses = [f"{_clause(low, name, words)} {place}", f"above it, {_clause(high, '', words)}"]
    # The name of an arm keeps its first letter.
    text = "; ".join(clauses)
    return f"{text if text.startswith(name) else text[0].upper() + text[1:]}."


def _rank(code: str) -> int:
    """Gains and losses come first in a sentence, open questions last."""
    return 2 if code in _OPEN else int(code == "no_difference")


def _clause(code: str, name: str, words: Mapping[str, str]) -> str:
    """A verdict with its subject; without a name, as the second clause of a sentence."""
    if code in words:
        return f"{name or 'it'} {words[code]}"
    verdict, subject = _OPEN[code]
    return verdict + (subject.format(name) if name else "")


def _listed(values: Sequence[float]) -> str:
    *first, last = map(setting, values)
    return f"{', '.join(first)} and {last}" if first else last
