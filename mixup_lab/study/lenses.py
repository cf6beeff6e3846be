"""What lenses found in the runs of a study: arms are compared by their scores as they are by the metric that decides.

A lens is not another look at the question of the study, so nothing is noted in `study.json`, and the level is that of a
first look.
"""

import json
import statistics as stats
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mixup_lab.runs.findings import FOLDER, Finding, Line, Score, read_finding
from mixup_lab.study.analysis import moments, without_verdict
from mixup_lab.study.formats import finite
from mixup_lab.study.metric import least_effect, of
from mixup_lab.study.pairs import Pairs
from mixup_lab.study.reading import Run, Scores, agree
from mixup_lab.study.results import Answer, Arm, LensCurve, LensMap, LensScore, LensSection, Metric, Moments
from mixup_lab.study.sentences import say_by_score
from mixup_lab.study.statistics import MISSING, compare_arms, seed_interval

MOST_NOTES = 12  # about single runs, in a section
FEW = 3  # runs that a note names; more are counted


@dataclass(frozen=True)
class _Looked:
    """A run that a lens has looked at."""

    run: Run
    finding: Finding
    examples: dict[str, np.ndarray] | None  # `id` and `group` of the test examples


def with_lenses(answer: Answer, runs: Sequence[Run]) -> Answer:
    """The answer with a section for each lens that has looked at its runs, by the names of the lenses."""
    by_path = {str(run.path): run for run in runs if run.path is not None}
    finished = {
        arm.id: [by_path[cell.path] for cell in arm.cells if cell.status == "ok" and cell.path in by_path]
        for arm in answer.arms
    }
    paths = [run.path for members in finished.values() for run in members if run.path is not None]
    names = sorted({file.stem for path in paths for file in (path / FOLDER).glob("*.json")})
    found = (_section(answer, name, finished) for name in names)
    return replace(answer, lenses=tuple(section for section in found if section is not None))


def by_score(answer: Answer, score: LensScore) -> Answer:
    """The answer of the study with the arms compared by a score of a lens, for the views that draw an answer."""
    nothing = Moments(0, None, None)
    arms = tuple(
        replace(arm, test=score.means.get(arm.id, nothing), comparison=score.comparisons.get(arm.id))
        for arm in answer.arms
    )
    # How much choosing flatters an arm is known for the metric of the study alone.
    choices = tuple(replace(choice, best_epoch=None, best_of_arms=None, honest=None) for choice in answer.choices)
    return replace(answer, metric=score.metric, min_effect=score.min_effect, arms=arms, choices=choices)


def _section(answer: Answer, name: str, finished: Mapping[str, Sequence[Run]]) -> LensSection | None:
    """None where no finding can be read, or all are of other runs than these."""
    looked, missing = _looked(name, finished)
    if not looked:
        return None
    # Findings with other settings measure something else.
    settings = Counter(_text(one.finding) for one in looked).most_common(1)[0][0]
    kept = {arm: [one for one in looked if one.run.arm == arm and _text(one.finding) == settings] for arm in finished}
    others = [one.run for one in looked if _text(one.finding) != settings]
    first = next(one.finding for members in kept.values() for one in members)
    total = sum(map(len, finished.values()))
    notes = []
    if missing:
        notes.append(f"{len(missing)} of {total} runs were not looked at: {_places(answer, missing)}.")
    if others:
        notes.append(
            f"{len(others)} of {total} runs were looked at with other settings, and are left out:"
            f" {_places(answer, others)}."
        )
    scores = []
    for score_name, score in _scores(kept).items():
        measured, lacking = _compared(answer, score_name, score, kept)
        scores.append(measured)
        notes += [lacking] * bool(lacking)
    return LensSection(
        lens=name,
        title=first.title,
        about=first.about,
        settings=first.settings,
        sentence=say_by_score(by_score(answer, scores[0])) if scores else "",
        scores=tuple(scores),
        curves=tuple(_curves(kept)),
        notes=(*notes, *_own_notes(answer, kept)),
        maps=tuple(_maps(kept)),
    )


def _looked(name: str, finished: Mapping[str, Sequence[Run]]) -> tuple[list[_Looked], list[Run]]:
    """The runs that the lens has looked at, and the others. A finding of a run that was trained anew does not count."""
    looked, missing = [], []
    for run in (run for members in finished.values() for run in members):
        finding = read_finding(run.path or Path(), name)
        if finding is None or finding.fingerprint != run.start.get("fingerprint"):
            missing.append(run)
        else:
            looked.append(_Looked(run, finding, run.test_examples() if finding.examples else None))
    return looked, missing


def _text(finding: Finding) -> str:
    return json.dumps(finding.settings, sort_keys=True)


def _scores(kept: Mapping[str, Sequence[_Looked]]) -> dict[str, Score]:
    scores: dict[str, Score] = {}
    for one in (one for members in kept.values() for one in members):
        for name, score in one.finding.scores.items():
            scores.setdefault(name, score)
    return scores


def _compared(answer: Answer, name: str, score: Score, kept: Mapping[str, Sequence[_Looked]]) -> tuple[LensScore, str]:
    """All arms by one score, and a sentence if only some runs have its terms for single test examples."""
    metric = Metric(name, score.maximize, score.percent, split="")
    runs = {arm: [run for one in members if (run := _as_run(one, name))] for arm, members in kept.items()}
    values = {arm: [value for run in members if (value := of(run, name, "test")) is not None]
              for arm, members in runs.items()}  # fmt: skip
    terms = [bool(run.given) for members in runs.values() for run in members]
    pairs = Pairs(metric)
    compared = [arm for arm in answer.arms if arm.baseline is not None]
    paired = [pairs.of(runs[arm.id], runs[arm.baseline or ""], arm.name) for arm in compared]
    min_effect = 0.0 if metric.maximize is None else least_effect(metric, None, values[answer.arms[0].id])[0]
    comparisons = compare_arms(
        paired, min_effect, maximize=bool(metric.maximize), percent=metric.percent, counted=metric.percent,
        carved=pairs.carved, missing=MISSING if any(terms) else f"since {name} has no score of single examples",
    )  # fmt: skip
    lacking = ""
    if any(terms) and not all(terms):
        lacking = (
            f"{terms.count(False)} of {len(terms)} runs lack the terms of {name} for single test examples: their arms"
            " have no interval for new data."
        )
    return LensScore(
        metric=metric,
        about=score.about,
        min_effect=min_effect,
        means={arm: moments(numbers) for arm, numbers in values.items() if numbers},
        comparisons={
            arm.id: comparison if _can_be_judged(answer, arm, metric) else without_verdict(comparison)
            for arm, comparison in zip(compared, comparisons, strict=True)
        },
    ), lacking


def _can_be_judged(answer: Answer, arm: Arm, metric: Metric) -> bool:
    return metric.maximize is not None and arm.baseline not in answer.obstacles


def _as_run(looked: _Looked, name: str) -> Run | None:
    """The run with a score of a lens as its only test score; None if the lens did not measure it there."""
    score = looked.finding.scores.get(name)
    value = finite(score.value) if score is not None else None
    if value is None:
        return None
    values, examples = looked.finding.examples.get(name), looked.examples
    given = {}
    # Files that were changed by hand, or copied from another run, must not be taken for the terms of this score.
    if values is not None and examples is not None and values.dtype.kind in "biuf":
        values = values.astype(np.float64)
        if values.shape == examples["id"].shape:
            seen = ~np.isnan(values)  # the lens may have looked at some examples only
            values, kept = values[seen], {key: array[seen] for key, array in examples.items()}
            if len(values) and np.isfinite(values).all() and agree(values, value):
                given = {f"test/{name}": Scores(kept["id"], values, kept.get("group"))}
    return replace(looked.run, path=None, scalars={f"test/{name}": value}, epochs=(), given=given)


# ---- curves, maps and notes -----------------------------------------------------------------------------------------


def _curves(kept: Mapping[str, Sequence[_Looked]]) -> Iterator[LensCurve]:
    for arm, members in kept.items():
        lines: dict[str, list[Line]] = {}
        for line in (line for one in members for line in one.finding.lines):
            lines.setdefault(line.name, []).append(line)
        for own in lines.values():
            yield from _averaged(arm, own)


def _averaged(arm: str, lines: Sequence[Line]) -> Iterator[LensCurve]:
    """The mean of the lines of an arm where most of them have the same x; each by itself where they do not."""
    points: dict[float, list[float]] = {}
    for line in lines:
        for x, y in _points(line):
            points.setdefault(x, []).append(y)
    shared = {x: ys for x, ys in sorted(points.items()) if 2 * len(ys) > len(lines)}
    curves = [shared] if shared else [{x: [y] for x, y in sorted(_points(line))} for line in lines]
    for curve in filter(None, curves):
        means = [stats.fmean(ys) for ys in curve.values()]
        bands = [seed_interval(ys) or (mean, mean) for ys, mean in zip(curve.values(), means, strict=True)]
        lows, highs = zip(*bands, strict=True)
        first = lines[0]
        yield LensCurve(arm, first.name, first.x_label, first.y_label, tuple(curve), tuple(means), lows, highs)


def _points(line: Line) -> Iterable[tuple[float, float]]:
    pairs = zip(map(finite, line.x), map(finite, line.y), strict=False)
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def _maps(kept: Mapping[str, Sequence[_Looked]]) -> Iterator[LensMap]:
    """Of the seed that most arms have, then the means over the seeds where their grids have equally many points."""
    surfaces = {
        arm: {one.run.seed: one.finding.surface for one in members if one.finding.surface is not None}
        for arm, members in kept.items()
    }
    counts = Counter(seed for own in surfaces.values() for seed in own)
    shown = min(counts, key=lambda seed: (-counts[seed], seed), default=None)
    for arm, own in surfaces.items():
        if shown in own:
            yield LensMap(arm, shown, own[shown])
    for arm, own in surfaces.items():
        several = [surface.probabilities.astype(np.float64) for surface in own.values()]
        if len(several) > 1 and len({p.shape for p in several}) == 1:
            first = next(iter(own.values()))
            nobody = {"points": first.points[:0], "classes": first.classes[:0]}
            yield LensMap(arm, None, replace(first, probabilities=np.mean(several, 0), **nobody))


def _own_notes(answer: Answer, kept: Mapping[str, Sequence[_Looked]]) -> Iterator[str]:
    """What the lens said about runs; what it said about several, once."""
    looked = [one for members in kept.values() for one in members]
    notes: dict[str, list[Run]] = {}
    for one in looked:
        for note in dict.fromkeys(one.finding.notes):
            notes.setdefault(note.rstrip("."), []).append(one.run)
    for note, runs in list(notes.items())[:MOST_NOTES]:
        where = _places(answer, runs) if len(runs) <= FEW else f"{len(runs)} of {len(looked)} runs"
        yield f"{note}." if len(runs) == len(looked) else f"{note} ({where})."
    if len(notes) > MOST_NOTES:
        yield f"{len(notes) - MOST_NOTES} more notes are in {FOLDER}/ of the runs."


def _places(answer: Answer, runs: Sequence[Run]) -> str:
    """ "baseline seed 1; mixup-a0.4 seed 0, 3"."""
    names = {arm.id: arm.name for arm in answer.arms}
    seeds: dict[str, list[int]] = {}
    for run in runs:
        seeds.setdefault(names[run.arm], []).append(run.seed)
    return "; ".join(f"{name} seed {', '.join(map(str, own))}" for name, own in seeds.items())
