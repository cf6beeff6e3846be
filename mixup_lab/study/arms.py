"""Runs grouped into arms: what differs between arms, and which arm each one is compared with."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mixup_lab.runs.settings import MACHINE_KEYS
from mixup_lab.runs.shapes import Damaged
from mixup_lab.runs.store import MIXING
from mixup_lab.study.formats import setting
from mixup_lab.study.reading import Run
from mixup_lab.types import UserError

GROUPS = ("variant", "dataset", "model", "optimizer", "scheduler", "transform", *MIXING, "trainer", "experiment")


@dataclass(frozen=True)
class Grouping:
    """The arms of a study by their ids. A block is a baseline and the arms that are compared with it."""

    runs: dict[str, list[Run]]  # of each arm, by ascending seed
    order: list[str]  # baselines first, then by alpha
    names: dict[str, str]  # unique
    alphas: dict[str, float | None]  # 0 without mixing; None where no alpha is recorded
    unmixed: dict[str, bool]  # whether it does not mix, or counts as a baseline
    axes: dict[str, dict[str, Any]]  # what differs between arms -> its value in each
    shared: dict[str, Any]  # flat settings that are equal in all arms
    baselines: dict[str, str | None]  # the arm that each is compared with; None for a baseline
    blocks: dict[str, str]  # each baseline with the name of its block, "dataset.train_size=200"; "" for a single block


def group_arms(runs: Iterable[Run], baseline: str | None) -> Grouping:
    """The arms of all runs; `baseline` is the name of the one that all others are compared with, None: work it out.

    Raises:
        UserError: where no arm is a baseline, or an arm has none that is equal in everything but the mixing.
    """
    groups = _grouped(runs)
    settings = {arm: _settings(members) for arm, members in groups.items()}
    alphas = {arm: _alpha(members, settings[arm]) for arm, members in groups.items()}
    axes = _axes(groups, settings, alphas)
    baselines = _baselines(groups, axes, baseline)
    order = sorted(groups, key=lambda arm: (baselines[arm] is not None, alphas[arm] or 0))
    bases = [arm for arm in order if baselines[arm] is None]
    flats = [flat for flat in settings.values() if flat]
    first = flats[0] if flats else {}
    return Grouping(
        runs=groups,
        order=order,
        names=_unique_names(groups),
        alphas=alphas,
        unmixed={arm: not _mixes(members) or baselines[arm] is None for arm, members in groups.items()},
        axes=axes,
        shared={key: first[key] for key in sorted(first) if all(flat.get(key) == first[key] for flat in flats)},
        baselines=baselines,
        blocks={base: _block_name(base, axes) if len(bases) > 1 else "" for base in bases},
    )


def _grouped(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The runs of each arm, one for each seed; of two with the same seed a finished one counts."""
    groups: dict[str, dict[int, Run]] = {}
    for run in runs:
        members = groups.setdefault(run.arm, {})
        if run.seed not in members or (run.status == "ok" and members[run.seed].status != "ok"):
            members[run.seed] = run
    return {arm: [members[seed] for seed in sorted(members)] for arm, members in groups.items()}


def _settings(members: Sequence[Run]) -> dict[str, Any]:
    """The flat configuration of an arm, with the choices of its groups."""
    run = _begun(members)
    flat = {key: setting for key, setting in _configured(members).items() if key not in ("seed", "resume", "trust")}
    choices = {group: choice for group, choice in run.start.get("choices", {}).items() if choice is not None}
    # Choices first: a key with a value that follows from the choice of its group is not an axis.
    return {group: choices[group] for group in GROUPS if group in choices} | flat


def _configured(members: Sequence[Run]) -> dict[str, Any]:
    """The first configuration that can be read: runs of one arm have the same."""
    begun = [run for run in members if run.start] or list(members)
    for run in begun[:-1]:
        with suppress(Damaged):
            return run.settings()
    return begun[-1].settings()


def _axes(
    groups: Mapping[str, Sequence[Run]], settings: Mapping[str, dict[str, Any]], alphas: dict[str, float | None]
) -> dict[str, dict[str, Any]]:
    """What differs between arms: axis -> value in each. Keys that follow from the choice of a group are not axes."""
    axes: dict[str, dict[str, Any]] = {}
    for key in dict.fromkeys(key for flat in settings.values() for key in flat):
        group = key.partition(".")[0]
        if key in MACHINE_KEYS or key in ("aug", "aug.alpha", "aug._target_"):
            continue
        chosen = {arm: flat.get(key) for arm, flat in settings.items()}
        values = {arm: _fixed(v) for arm, v in chosen.items()}
        if key != "variant" and "variant" in axes and _follows(axes["variant"], values):
            continue  # a variant bundles settings
        if group in MIXING:  # a baseline mixes nothing, whatever its settings of mixing are
            mixed = {arm: v for arm, v in values.items() if _mixes(groups[arm])}
            follows = key != group and group in axes and _follows(axes[group], mixed)
            if len(set(mixed.values())) > 1 and not follows:
                axes[key] = {arm: mixed.get(arm) for arm in values}
        elif key != group and f"{group}" in axes and _follows(axes[group], values):
            continue
        elif len(set(values.values())) > 1:
            axes[key] = values
    augs = {arm: flat.get("aug") if _mixes(groups[arm]) else "none" for arm, flat in settings.items()}
    bundled = axes.get("variant")
    if len({aug for aug in augs.values() if aug != "none"}) > 1 and not (bundled and _follows(bundled, augs)):
        axes["aug"] = augs
    if len(set(alphas.values())) > 1 and not (bundled and _follows(bundled, alphas)):
        axes["aug.alpha"] = alphas
    if not axes and len(groups) > 1:  # as in a table of another trainer
        axes["arm"] = {arm: members[0].name for arm, members in groups.items()}
    return axes


def _fixed(value: Any) -> Any:
    """A list as a tuple, its lists too, so that it can be an element of a set."""
    return tuple(map(_fixed, value)) if isinstance(value, list) else value


def _follows(choice: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether the values are a function of the choice."""
    seen: dict[Any, Any] = {}
    return all(seen.setdefault(choice[arm], v) == v for arm, v in values.items())


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
    groups: Mapping[str, Sequence[Run]], axes: Mapping[str, Mapping[str, Any]], baseline: str | None
) -> dict[str, str | None]:
    """The arm that each arm is compared with: the unmixed one that is equal in everything but the mixing."""
    names = {members[0].name: arm for arm, members in groups.items()}
    if baseline is not None:
        if baseline not in names:
            raise UserError(f"baseline={baseline} is not an arm of this study; its arms are: {', '.join(names)}")
        chosen = names[baseline]
        return {arm: None if arm == chosen else chosen for arm in groups}
    variant = axes.get("variant", {})
    unmixed = [arm for arm, members in groups.items() if not _mixes(members)]
    unmixed.sort(key=lambda arm: variant.get(arm, "none") != "none")
    if not unmixed:
        raise UserError(f"no arm is a baseline (alpha 0); choose one with baseline=NAME: {', '.join(names)}")
    if len(unmixed) == len(groups):  # no arm mixes: the first one is the baseline
        return {arm: None if arm == unmixed[0] else unmixed[0] for arm in groups}
    others = unmixed_axes(axes)
    block = {arm: tuple(axes[axis][arm] for axis in others) for arm in groups}
    baselines: dict[str, str | None] = {}
    for arm in groups:
        partner = next((base for base in unmixed if block[base] == block[arm]), None)
        if partner is None:
            where = _block_name(arm, axes)
            raise UserError(f"arm {groups[arm][0].name} has no baseline with {where}; choose one with baseline=NAME")
        baselines[arm] = None if partner == arm else partner
    return baselines


def unmixed_axes(axes: Iterable[str]) -> list[str]:
    """The axes that make a block: those that are not about mixing. A variant does not make a block."""
    return [axis for axis in axes if axis.partition(".")[0] not in (*MIXING, "arm", "variant")]


def _block_name(arm: str, axes: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{axis}={setting(axes[axis][arm])}" for axis in unmixed_axes(axes))


def _unique_names(groups: Mapping[str, Sequence[Run]]) -> dict[str, str]:
    """The names of arms; if two are alike, as in a hand-made sweep, with the folder added."""
    names = {arm: members[0].name for arm, members in groups.items()}
    repeated = {name for name in names.values() if list(names.values()).count(name) > 1}
    for arm, name in names.items():
        if name in repeated:
            path = groups[arm][0].path
            names[arm] = f"{name} ({path.parent.name if path and path.parent.name != name else arm[:6]})"
    if len(set(names.values())) < len(names):
        names = {arm: f"{name} {arm[:6]}" for arm, name in names.items()}
    return names
