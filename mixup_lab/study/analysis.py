"""From runs to an answer: which arm is compared with which, paired by seed, and what that says in words."""

from __future__ import annotations

import math
import statistics as stats
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mixup_lab.runs.settings import MACHINE_KEYS
from mixup_lab.runs.store import MIXING
from mixup_lab.study.metric import choose, least_effect, of
from mixup_lab.study.reading import Run
from mixup_lab.study.results import Answer, Arm, Cell, Choice, ClassDifference, Curve, Metric, Moments
from mixup_lab.study.sentences import say
from mixup_lab.study.statistics import MISSING, compare_arms, optimism_of_choosing, seed_interval
from mixup_lab.study.tables import setting
from mixup_lab.types import UserError

GROUPS = ("variant", "dataset", "model", "optimizer", "scheduler", "transform", *MIXING, "trainer", "experiment")
CURVES = ("train_clean/{}", "val/{}", "train_clean/loss", "val/loss")


@dataclass(frozen=True)
class Options:
    """What a user may say about an analysis; None is worked out from the runs."""

    metric: str | None = None  # without the split: "accuracy"
    maximize: bool | None = None
    baseline: str | None = None  # name of the arm that all others are compared with
    min_effect: float | None = None  # points for metrics in percent, else in the metric's own unit
    confirm: bool = False  # these are the fresh runs of a confirmation


def analyse(runs: Sequence[Run], study: str, options: Options, commands: Mapping[str, str]) -> Answer:
    """Everything that the report shows.

    Args:
        runs: of one study, in the order in which arms are to be shown.
        study: its name.
        options: the user's.
        commands: what for -> command line, to be shown at the end.

    Raises:
        UserError: where the runs do not belong together, no arm is a baseline, or the metric is unknown.
    """
    if not runs:
        raise UserError(f"{study} has no runs")
    metric = choose(runs, options.metric, options.maximize)
    groups = _grouped(runs)
    settings = {arm: _settings(members) for arm, members in groups.items()}
    axes = _axes(groups, settings)
    baselines = _baselines(groups, axes, options)
    order = sorted(groups, key=lambda arm: (baselines[arm] is not None, _alpha(groups[arm], settings[arm]) or 0))
    seeds = sorted({run.seed for run in runs})
    problems = _failures(groups) + _pair_problems(groups, baselines, seeds) + _data_problems(runs)

    cells = {arm: _cells(arm, groups[arm], seeds, metric) for arm in order}
    names = _unique_names(groups)
    compared = [arm for arm in order if baselines[arm] is not None]
    scores = _Scores(metric.name)
    pairs = [_pairs(groups[arm], groups[str(baselines[arm])], metric, scores, problems, names[arm]) for arm in compared]
    first = next(arm for arm in order if baselines[arm] is None)
    min_effect, explained = least_effect(
        metric, options.min_effect, [cell.test for cell in cells[first] if cell.test is not None]
    )
    found = compare_arms(
        pairs, min_effect, metric.maximize, metric.percent, scores.missing or MISSING, counted=metric.percent
    )
    comparisons = dict(zip(compared, found, strict=True))

    unmixed = {arm: not _mixes(groups[arm]) or baselines[arm] is None for arm in order}
    costs = {arm: _seconds_per_epoch(groups[arm]) for arm in order}
    arms = tuple(
        Arm(
            id=arm,
            name=names[arm],
            baseline=baselines[arm],
            alpha=_alpha(groups[arm], settings[arm]),
            settings={axis: values[arm] for axis, values in axes.items()},
            cells=cells[arm],
            val=_moments([cell.val for cell in cells[arm]]),
            test=_moments([cell.test for cell in cells[arm]]),
            comparison=comparisons.get(arm),
            seconds_per_epoch=costs[arm],
            cost_ratio=_ratio(costs[arm], costs[baselines[arm] or arm]),
            device_seconds=sum(_device_seconds(run) for run in groups[arm]),
            trials=sum(unmixed[other] == unmixed[arm] for other in order),
        )
        for arm in order
    )
    blocks = _block_names(order, baselines, axes)
    choices = _choices(arms, blocks, metric)
    answer = Answer(
        study=study,
        metric=metric,
        min_effect=min_effect,
        sentence="",
        details=(),
        arms=arms,
        axes={axis: tuple(dict.fromkeys(values[arm] for arm in order)) for axis, values in axes.items()},
        choices=choices,
        confirmed=None,
        curves=tuple(_curves(groups, order, metric)),
        classes=tuple(entry for choice in choices for entry in _classes(groups, choice)),
        problems=tuple(dict.fromkeys(problems)),
        settings=_common(settings),
        facts=_facts(runs, arms),
        commands=dict(commands),
    )
    sentence, details = say(answer, blocks, options.confirm)
    if explained and details and not options.confirm:
        details = (*details, explained)
    return replace(answer, sentence=sentence, details=details)


# ---- what is compared with what -------------------------------------------------------------------------------------


def _grouped(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs of each arm, one for each seed: of two with the same seed a finished one counts."""
    groups: dict[str, dict[int, Run]] = {}
    for run in runs:
        members = groups.setdefault(run.arm, {})
        if run.seed not in members or (run.status == "ok" and members[run.seed].status != "ok"):
            members[run.seed] = run
    return {arm: [members[seed] for seed in sorted(members)] for arm, members in groups.items()}


def _settings(members: Sequence[Run]) -> dict[str, Any]:
    """The flat configuration of an arm, with the choices of its groups."""
    run = _begun(members)
    flat = {key: setting for key, setting in run.settings().items() if key not in ("seed", "resume", "trust")}
    choices = {group: choice for group, choice in run.start.get("choices", {}).items() if choice is not None}
    # Choices first: a key whose value follows from the choice of its group is no axis of its own.
    return {group: choices[group] for group in GROUPS if group in choices} | flat


def _axes(groups: Mapping[str, Sequence[Run]], settings: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What differs between arms: axis -> value of each arm. Where the choice of a group differs, its keys follow."""
    axes: dict[str, dict[str, Any]] = {}
    for key in dict.fromkeys(key for flat in settings.values() for key in flat):
        group = key.partition(".")[0]
        if key in MACHINE_KEYS or key in ("aug", "aug.alpha", "aug._target_"):
            continue
        values = {arm: _hashable(flat.get(key)) for arm, flat in settings.items()}
        if key != "variant" and "variant" in axes and _follows(axes["variant"], values):
            continue  # a variant is a bundle of settings
        if group in MIXING:  # what mixing does without alpha says nothing of the baseline
            mixed = {arm: v for arm, v in values.items() if _mixes(groups[arm])}
            follows = key != group and group in axes and _follows(axes[group], mixed)
            if len(set(mixed.values())) > 1 and not follows:
                axes[key] = {arm: mixed.get(arm) for arm in values}
        elif key != group and f"{group}" in axes and _follows(axes[group], values):
            continue
        elif len(set(values.values())) > 1:
            axes[key] = values
    augs = {arm: flat.get("aug") if _mixes(groups[arm]) else "none" for arm, flat in settings.items()}
    alphas = {arm: _alpha(groups[arm], flat) for arm, flat in settings.items()}
    bundled = axes.get("variant")
    if len({aug for aug in augs.values() if aug != "none"}) > 1 and not (bundled and _follows(bundled, augs)):
        axes["aug"] = augs
    if len(set(alphas.values())) > 1 and not (bundled and _follows(bundled, alphas)):
        axes["aug.alpha"] = alphas
    if not axes and len(groups) > 1:  # a table of another trainer
        axes["arm"] = {arm: members[0].name for arm, members in groups.items()}
    return axes


def _follows(choice: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether a key has one value for each choice of its group."""
    seen: dict[Any, Any] = {}
    return all(seen.setdefault(choice[arm], v) == v for arm, v in values.items())


def _hashable(setting: Any) -> Any:
    return tuple(setting) if isinstance(setting, list) else setting


def _mixes(members: Sequence[Run]) -> bool:
    return _begun(members).mixes


def _begun(members: Sequence[Run]) -> Run:
    """A run of an arm that has a record, if there is one."""
    return next((run for run in members if run.start), members[0])


def _alpha(members: Sequence[Run], flat: Mapping[str, Any]) -> float | None:
    if not flat:
        return None
    if not _mixes(members):
        return 0.0
    alpha = flat.get("aug.alpha")
    return float(alpha) if isinstance(alpha, (int, float)) else None


def _baselines(
    groups: Mapping[str, Sequence[Run]], axes: Mapping[str, Mapping[str, Any]], options: Options
) -> dict[str, str | None]:
    """The arm that each arm is compared with: the unmixed one that is equal in everything but the mixing."""
    names = {members[0].name: arm for arm, members in groups.items()}
    if options.baseline is not None:
        if options.baseline not in names:
            raise UserError(f"baseline={options.baseline}: there is no such arm; there are: {', '.join(names)}")
        chosen = names[options.baseline]
        return {arm: None if arm == chosen else chosen for arm in groups}
    variant = axes.get("variant", {})
    unmixed = [arm for arm, members in groups.items() if not _mixes(members)]
    unmixed.sort(key=lambda arm: variant.get(arm, "none") != "none")
    if not unmixed:
        raise UserError(f"no arm is a baseline (alpha 0); name one with baseline=NAME: {', '.join(names)}")
    if len(unmixed) == len(groups):  # nothing is mixed: the first arm is what the others are compared with
        return {arm: None if arm == unmixed[0] else unmixed[0] for arm in groups}
    others = _unmixed_axes(axes)
    block = {arm: tuple(axes[axis][arm] for axis in others) for arm in groups}
    found: dict[str, str | None] = {}
    for arm in groups:
        partner = next((base for base in unmixed if block[base] == block[arm]), None)
        if partner is None:
            where = _block_name(arm, axes)
            raise UserError(f"arm {groups[arm][0].name} has no baseline with {where}; name one with baseline=NAME")
        found[arm] = None if partner == arm else partner
    return found


def _unmixed_axes(axes: Iterable[str]) -> list[str]:
    """What makes a block: the axes that are not about the mixing. Variants are compared with none of them."""
    return [axis for axis in axes if axis.partition(".")[0] not in (*MIXING, "arm", "variant")]


def _block_names(
    order: Sequence[str], baselines: Mapping[str, str | None], axes: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Each baseline with the name of its block, "dataset.train_size=200"; "" where there is one block alone."""
    bases = [arm for arm in order if baselines[arm] is None]
    if len(bases) == 1:
        return {bases[0]: ""}
    return {base: _block_name(base, axes) for base in bases}


def _block_name(arm: str, axes: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{axis}={setting(axes[axis][arm])}" for axis in _unmixed_axes(axes))


def _unique_names(groups: Mapping[str, Sequence[Run]]) -> dict[str, str]:
    """Folders of hand-made sweeps may name two arms alike; then the folder tells them apart."""
    names = {arm: members[0].name for arm, members in groups.items()}
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    for arm, name in names.items():
        if name in twice:
            path = groups[arm][0].path
            names[arm] = f"{name} ({path.parent.name if path and path.parent.name != name else arm[:6]})"
    if len(set(names.values())) < len(names):
        names = {arm: f"{name} {arm[:6]}" for arm, name in names.items()}
    return names


# ---- numbers of the runs --------------------------------------------------------------------------------------------


def _cells(arm: str, members: Sequence[Run], seeds: Sequence[int], metric: Metric) -> tuple[Cell, ...]:
    by_seed = {run.seed: run for run in members}
    cells = []
    for seed in seeds:
        run = by_seed.get(seed)
        if run is None:
            cells.append(Cell(arm, seed, "missing", None, None, None, None, None, None, {}))
            continue
        best = run.scalars.get(f"val_best/test_{metric.name}")
        path, log = (str(place) if place else None for place in (run.path, run.log))
        val, test = of(run, metric.name, "val"), of(run, metric.name, "test")
        cells.append(Cell(arm, seed, run.status, val, test, best, path, run.error, log, run.scalars))
    return tuple(cells)


def _moments(values: Sequence[float | None]) -> Moments:
    known = [v for v in values if v is not None]
    return Moments(len(known), stats.fmean(known) if known else None, stats.stdev(known) if len(known) > 1 else None)


class _Scores:
    """The scores of the test examples of each run; those of a baseline are asked for by every arm."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.missing = ""  # why an arm has no scores, if one has none: as the end of a verdict
        self.unknown = False  # whether there are none of this metric, whatever is kept of the examples
        self._baselines: dict[int, tuple[np.ndarray, np.ndarray] | None] = {}

    def differences(self, run: Run, base: Run) -> tuple[np.ndarray, np.ndarray] | None:
        """Ids of the test examples and the difference of each; None where they are not known."""
        mine = run.scores(self.metric)
        if id(base) not in self._baselines:
            self._baselines[id(base)] = base.scores(self.metric)
        its = self._baselines[id(base)]
        if mine is not None and its is not None and np.array_equal(mine[0], its[0]):
            return mine[0], mine[1] - its[1]
        kept = run.predictions() is not None and base.predictions() is not None
        self.unknown = kept and mine is None and its is None
        self.missing = f"{self.metric} has no score of single examples" if self.unknown else MISSING
        return None


def _pairs(
    members: Sequence[Run], base: Sequence[Run], metric: Metric, scores: _Scores, problems: list[str], name: str
) -> tuple[list[int], list[float], list[tuple[np.ndarray, np.ndarray]] | None]:
    """Seeds, differences on test, and differences of single test examples, of the complete pairs."""
    partners = {run.seed: run for run in base}
    seeds: list[int] = []
    differences: list[float] = []
    examples: list[tuple[np.ndarray, np.ndarray]] | None = []
    for run in members:
        other = partners.get(run.seed)
        ours, theirs = of(run, metric.name, "test"), of(other, metric.name, "test") if other else None
        if ours is None or theirs is None or other is None:
            continue
        if _digest(run) != _digest(other):
            problems.append(f"{name} seed {run.seed} saw other data than its baseline: the pair is left out")
            continue
        seeds.append(run.seed)
        differences.append(ours - theirs)
        if examples is not None:
            found = scores.differences(run, other)
            if found is None:
                examples = None
                problems.append(
                    f"{metric.name} has no score of single test examples: intervals are over seeds alone, for other"
                    " trainings on the same test set, and there is none for new data"
                    if scores.unknown
                    else f"{name}: without the test predictions of every run there is no interval for new data"
                )
            else:
                examples.append(found)
    return seeds, differences, examples if seeds else None


def _digest(run: Run) -> Any:
    return run.start.get("data", {}).get("digest")


def _seconds_per_epoch(members: Sequence[Run]) -> float | None:
    seconds = [
        float(event["scalars"]["time/epoch_seconds"])
        for run in members
        for event in run.epochs
        if "time/epoch_seconds" in event.get("scalars", {})
    ]
    return stats.median(seconds) if seconds else None


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a is not None and b else None


def _device_seconds(run: Run) -> float:
    return float(run.epochs[-1]["seconds"]) if run.epochs else 0.0


def _curves(groups: Mapping[str, Sequence[Run]], order: Sequence[str], metric: Metric) -> Iterable[Curve]:
    for arm in order:
        finished = [run for run in groups[arm] if run.status == "ok"]
        for tag in (tag.format(metric.name) for tag in CURVES):
            points: dict[int, list[float]] = {}
            for run in finished:
                for event in run.epochs:
                    if tag in event["scalars"]:
                        points.setdefault(int(event["epoch"]), []).append(float(event["scalars"][tag]))
            if not points:
                continue
            bands = [(stats.fmean(v), seed_interval(v)) for _, v in sorted(points.items())]
            yield Curve(
                arm,
                tag,
                tuple(sorted(points)),
                tuple(mean for mean, _ in bands),
                tuple(band[0] if band else mean for mean, band in bands),
                tuple(band[1] if band else mean for mean, band in bands),
            )


def _classes(groups: Mapping[str, Sequence[Run]], choice: Choice) -> tuple[ClassDifference, ...]:
    """Recall of each class, chosen arm minus baseline."""
    partners = {run.seed: run for run in groups[choice.baseline]}
    differences: dict[int, list[float]] = {}
    supports: dict[int, list[int]] = {}
    for run in groups[choice.arm]:
        other = partners.get(run.seed)
        if run.status != "ok" or other is None or other.status != "ok":
            continue
        mine, its = run.recalls(), other.recalls()
        if mine is None or its is None or not np.array_equal(mine[0], its[0]):
            return ()
        count = np.bincount(mine[0])
        change = np.bincount(mine[0], mine[1] - its[1])
        for k in np.flatnonzero(count).tolist():
            differences.setdefault(k, []).append(float(change[k] / count[k]))
            supports.setdefault(k, []).append(int(count[k]))
    names = next((run.start["data"].get("class_names") for run in groups[choice.arm] if "data" in run.start), None)
    return tuple(
        ClassDifference(
            choice.arm,
            names[k] if names and k < len(names) else f"class {k}",
            stats.fmean(values),
            seed_interval(values),
            stats.fmean(supports[k]),
        )
        for k, values in sorted(differences.items())
    )


def _choices(arms: Sequence[Arm], blocks: Mapping[str, str], metric: Metric) -> tuple[Choice, ...]:
    """The choice in each block that has something to choose from."""
    found = [
        _choice([arm for arm in arms if arm.baseline == base], base, name, metric) for base, name in blocks.items()
    ]
    return tuple(choice for choice in found if choice is not None)


def _choice(arms: Sequence[Arm], base: str, block: str, metric: Metric) -> Choice | None:
    """The arm that is best on val, of those that are compared with one baseline."""
    candidates = [arm for arm in arms if arm.val.mean is not None]
    if not candidates:
        return None
    sign = 1 if metric.maximize else -1
    val = np.array([[math.nan if c.val is None else sign * c.val for c in arm.cells] for arm in candidates])
    optimism = optimism_of_choosing(val)
    chosen = candidates[optimism.chosen]
    epochs = [
        sign * (cell.best_test - cell.test)
        for cell in chosen.cells
        if cell.best_test is not None and cell.test is not None
    ]
    best_epoch = stats.fmean(epochs) if epochs else None
    return Choice(chosen.id, base, block, len(candidates), best_epoch, optimism.bias if len(candidates) > 1 else 0.0)


# ---- what limits the answer -----------------------------------------------------------------------------------------


def _failures(groups: Mapping[str, Sequence[Run]]) -> list[str]:
    """One line for each kind of failure, with an example's log."""
    kinds: dict[str, list[Run]] = {}
    for members in groups.values():
        for run in members:
            if run.status == "failed":
                kinds.setdefault(run.error or "failed", []).append(run)
    lines = []
    for error, failed in kinds.items():
        first = failed[0]
        which = f"{first.name} seed {first.seed}" if len(failed) == 1 else f"{len(failed)} runs"
        log = f" (log: {first.log})" if first.log else ""
        lines.append(f"failed: {which}: {error}{log}")
    return lines


def _pair_problems(
    groups: Mapping[str, Sequence[Run]], baselines: Mapping[str, str | None], seeds: Sequence[int]
) -> list[str]:
    done = {arm: {run.seed for run in members if run.status == "ok"} for arm, members in groups.items()}
    lines = []
    for arm, members in groups.items():
        missing = [seed for seed in seeds if seed not in done[arm]]
        if missing:
            cut = {run.seed for run in members if run.status == "interrupted"}
            note = f" (not finished: {_list(sorted(cut))})" if cut else ""
            kind = "baseline of others" if baselines[arm] is None else "no pair"
            lines.append(f"{members[0].name}: no result for seed {_list(missing)}{note}: {kind}")
    return lines


def _data_problems(runs: Sequence[Run]) -> list[str]:
    lines = [f"note of {run.name} seed {run.seed}: {note}" for run in runs for note in dict.fromkeys(run.notes)]
    merged: dict[str, int] = {}
    for line in lines:
        text = line.partition(": ")[2]
        merged[text] = merged.get(text, 0) + 1
    found = [f"{text} ({count} runs)" if count > 1 else text for text, count in merged.items()]
    devices = {str(run.start.get("device")) for run in runs if "device" in run.start}
    if len(devices) > 1:
        found.append(f"runs were trained on different devices: {', '.join(sorted(devices))}")
    versions = {str(run.start.get("versions")) for run in runs if "versions" in run.start}
    if len(versions) > 1:
        found.append("runs were trained with different versions of the software")
    dropped = {run.start["data"]["dropped"] for run in runs if run.start.get("data", {}).get("dropped")}
    if dropped:
        found.append(f"{max(dropped)} examples could not be read and were left out")
    return found


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


# ---- what all have in common -----------------------------------------------------------------------------------------


def _common(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Settings that all arms share."""
    flats = [flat for flat in settings.values() if flat]
    if not flats:
        return {}
    first = flats[0]
    return {key: first[key] for key in sorted(first) if all(flat.get(key) == first[key] for flat in flats)}


def _facts(runs: Sequence[Run], arms: Sequence[Arm]) -> dict[str, str]:
    start = next((run.start for run in runs if run.start), None)
    seeds = sorted({run.seed for run in runs})
    facts = {"seeds": _list(seeds), "runs": f"{sum(run.status == 'ok' for run in runs)} finished of {len(runs)}"}
    if start is None:
        return facts
    data = start.get("data", {})
    sizes = ", ".join(f"{data[split]:,} {split}" for split in ("train", "val", "test") if split in data)
    versions = start.get("versions", {})
    return facts | {
        "data": f"{sizes} ({data.get('storage')})",
        "device": f"{start.get('device')}, {start.get('threads')} threads",
        "parameters": f"{start.get('parameters', 0):,}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "git": str(start.get("git") or "not in a repository"),
    }
