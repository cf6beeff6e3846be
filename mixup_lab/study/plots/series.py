"""Arms that differ in alpha alone, as one line with its own colour, marker and style."""

from dataclasses import dataclass
from typing import Any

from mixup_lab.look import COLOURS, LINES, MARKERS
from mixup_lab.study.formats import setting
from mixup_lab.study.results import Arm


@dataclass(frozen=True)
class Series:
    """Arms that differ in alpha alone, after the baseline of their block."""

    name: str
    arms: tuple[Arm, ...]
    colour: str
    marker: str
    style: Any


def series_of(arms: list[Arm]) -> list[Series]:
    """The series of these arms; a baseline without other arms is a series by itself."""
    groups: dict[str, list[Arm]] = {}
    baselines = {arm.id: arm for arm in arms if arm.baseline is None}
    for arm in arms:
        if arm.baseline is not None:
            rest = {axis: value for axis, value in arm.settings.items() if axis != "aug.alpha"}
            groups.setdefault(repr((arm.baseline, sorted(rest.items(), key=str))), []).append(arm)
    lines = []
    for line in groups.values():
        base = baselines.get(line[0].baseline or "")
        # An arm with the alpha of the baseline is not a further step of its line.
        lines.append([base, *line] if base and all(arm.alpha != base.alpha for arm in line) else line)
    placed = {arm.id for line in lines for arm in line}
    lines += [[arm] for arm in baselines.values() if arm.id not in placed]
    others = [{axis: value for axis, value in line[-1].settings.items() if axis != "aug.alpha"} for line in lines]
    # Names hold only the axes that differ between the series.
    differing = [axis for axis in dict.fromkeys(axis for other in others for axis in other)
               if len({repr(other.get(axis)) for other in others}) > 1]  # fmt: skip
    return [
        Series(
            ", ".join(f"{axis}={setting(other[axis])}" for axis in differing if axis in other) or line[-1].name,
            tuple(sorted(line, key=lambda arm: arm.alpha or 0.0)),
            COLOURS[k % len(COLOURS)],
            MARKERS[k % len(MARKERS)],
            LINES[k % len(LINES)],
        )
        for k, (line, other) in enumerate(zip(lines, others, strict=True))
    ]
