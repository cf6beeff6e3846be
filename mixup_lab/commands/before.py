"""What can be known of a study before its first run: impossible arms, no baseline, too few seeds, its time."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from mixup_lab.commands.line import Line
from mixup_lab.commands.plan import Plan
from mixup_lab.config.nearest import hint
from mixup_lab.runs import store
from mixup_lab.runs.record import read_events, read_result
from mixup_lab.study.statistics import look_level, look_number, seeds_needed, smallest_p
from mixup_lab.types import UserError

OPTIMIZER = "mixup_lab.training.optimizers.make_optimizer"  # takes any model; one of the user's own may not
MADE = ("scheduler", "transform", "aug", "mix_schedule")  # components that need neither data nor a model


def arms_of(study: Path) -> dict[str, tuple[str, bool]]:
    """The arms that a study has runs of: id -> name, and whether it mixes."""
    manifest = store.read_manifest(study) if store.begun(study) else None
    arms = {}
    for arm, name in manifest["arms"].items() if manifest else ():
        starts = (next(read_events(path.parent, "start"), None) for path in _records(study / name))
        start = next((start for start in starts if start), None)
        if start is not None:
            arms[arm] = name, bool(start["mixes"])
    return arms


def check_arms(plan: Plan, line: Line, known: Collection[str]) -> None:
    """Make the components of every new arm that the line has settings of, and compare the types of others.

    Only those that differ between arms, and the mixing: a mistake that all runs share is said by the first of them.

    Raises:
        UserError: for an argument that a run would refuse after others have been trained in vain.
    """
    from mixup_lab.config.build import build, check_types

    own_options = any(flag.startswith(("--config-dir", "-cd")) for flag in line.flags)
    keys = [word.lstrip("+") for word in line.typed]
    new = [config for arm, config in plan.configs.items() if arm not in known]
    for group in (*MADE, "model", "optimizer", "dataset"):
        components = [(config.source if group == "dataset" else getattr(config, group), config.trust) for config in new]
        distinct = list({repr(component): component for component in components}.values())
        typed = own_options or any(key.startswith(f"{group}.") for key in keys)
        if not typed or (len(distinct) < 2 and group != "aug"):
            continue
        for component, trust in distinct:
            if group in MADE:
                build(group, component, trust=trust)
            else:
                check_types(group, component, trust=trust)
            if group == "optimizer" and component["_target_"] == OPTIMIZER:
                from torch import nn

                build(group, component, trust=trust, model=nn.Linear(1, 1))


def check_baseline(plan: Plan, line: Line, there: dict[str, tuple[str, bool]]) -> None:
    """Raise UserError unless an arm of the line or of the study can be compared with."""
    names = [*plan.names.values(), *(name for name, _ in there.values())]
    chosen = line.own.get("baseline")
    if chosen is not None and chosen not in names:
        raise UserError(f"baseline={chosen} is not an arm of this study{hint(chosen, dict.fromkeys(names))}")
    if chosen is None and set(plan.names) <= plan.mixing and all(mixes for _, mixes in there.values()):
        raise UserError(
            "no arm is a baseline to compare with; add aug=none or an arm with aug.alpha=0, or choose one with"
            f" baseline=NAME: {', '.join(dict.fromkeys(names))}"
        )


def too_few_seeds(plan: Plan, study: Path, there: dict[str, tuple[str, bool]], confirm: int) -> list[str]:
    """A sentence for each number of seeds with which no arm can get a verdict, whatever the runs show.

    Args:
        plan: of the line.
        study: where runs of further seeds may be.
        there: the arms of the study.
        confirm: number of fresh seeds; 0: no confirmation.
    """
    mixing = {*plan.mixing, *(arm for arm, (_, mixes) in there.items() if mixes)}
    records = [path for name, _ in there.values() for path in _records(study / name)]
    seeds = {*(seed for _, seed in plan.cells), *(int(path.parent.name.removeprefix(store.SEED)) for path in records)}
    blocks = max(1, len(set(plan.names) - plan.mixing))
    looks = [(len(seeds), len(mixing), "")] + [(confirm, blocks, "confirm")] * (confirm > 0)
    sentences = []
    for n, arms, where in looks:
        level = look_level(look_number(n, store.read_looks(study / where)))
        if arms and smallest_p(n, arms) > level:
            shown = f"{n} seed{'s' * (n != 1)} cannot reach p <= {level:g} with {arms} arm{'s' * (arms != 1)}"
            sentences.append(f"{where}{': ' * bool(where)}{shown}; {seeds_needed(arms, level)} can")
    return sentences


def about_folds(plan: Plan) -> list[str]:
    """A sentence for each number of folds of the line."""
    seeds = sorted({seed for _, seed in plan.cells})
    sentences = []
    for folds in dict.fromkeys(config.data.folds for config in plan.configs.values() if config.data.folds):
        tested = Counter(seed // folds for seed in seeds)
        part = "" if all(count == folds for count in tested.values()) else "; not all folds are tested equally often"
        sentences.append(
            f"dataset.folds={folds}: seed s tests fold s mod {folds}, so {folds} seeds test every example once{part}"
        )
    return sentences


def seconds_needed(study: Path, missing: int) -> float | None:
    """How long so many runs take, by the time in which the finished runs of a study were made; None without any.

    Runs side by side share that time, so it does not matter how many there were.
    """
    spans = sorted(span for path in study.glob(f"*/{store.SEED}*/record.jsonl") for span in _span(path.parent))
    passed, until = 0.0, 0.0
    for start, end in spans:
        passed += max(0.0, end - max(start, until))
        until = max(until, end)
    return missing * passed / len(spans) if spans else None


def _span(run_dir: Path) -> Iterable[tuple[float, float]]:
    """Start and end of a run that was finished in one go."""
    if read_result(run_dir) is None:
        return []
    times: dict[str, list[float]] = {"start": [], "end": []}
    for event in read_events(run_dir):
        if event["event"] in times and "time" in event:
            times[event["event"]].append(float(event["time"]))
    return zip(times["start"], times["end"], strict=True) if [*map(len, times.values())] == [1, 1] else []


def _records(arm: Path) -> Sequence[Path]:
    found = sorted(arm.glob(f"{store.SEED}*/record.jsonl"))
    return [path for path in found if path.parent.name.removeprefix(store.SEED).isdecimal()]
