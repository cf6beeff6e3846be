"""What limits an answer, and the facts that a reader needs to judge or repeat it."""

from collections import Counter
from collections.abc import Sequence

from mixup_lab.study.arms import Grouping
from mixup_lab.study.reading import Run

FEW_TRAINING = 2000  # examples; of more the luck of the training set is small beside that of a test set


def problems_of(runs: Sequence[Run], groups: Grouping, seeds: Sequence[int]) -> list[str]:
    """Failures first, then missing pairs, then notes and differences between the runs."""
    return _failures(groups) + _missing_pairs(groups, seeds) + _differences(runs) + _scope(runs)


def _failures(groups: Grouping) -> list[str]:
    """One line for each kind of failure, with the log of its first run."""
    kinds: dict[str, list[Run]] = {}
    for run in (run for members in groups.runs.values() for run in members):
        if run.status == "failed":
            kinds.setdefault(run.error or "failed", []).append(run)
    lines = []
    for error, (first, *others) in kinds.items():
        which = f"{1 + len(others)} runs" if others else f"{first.name} seed {first.seed}"
        lines.append(f"failed: {which}: {error}" + (f" (log: {first.log})" if first.log else ""))
    return lines


def _missing_pairs(groups: Grouping, seeds: Sequence[int]) -> list[str]:
    lines = []
    for arm, members in groups.runs.items():
        status = {run.seed: run.status for run in members}
        missing = [seed for seed in seeds if status.get(seed) != "ok"]
        if missing:
            cut = [seed for seed in seeds if status.get(seed) == "interrupted"]
            note = f" (not finished: {_list(cut)})" if cut else ""
            kind = "baseline of others" if groups.baselines[arm] is None else "no pair"
            lines.append(f"{members[0].name}: no result for seed {_list(missing)}{note}: {kind}")
    return lines


def _differences(runs: Sequence[Run]) -> list[str]:
    """Notes of the runs, and what is not the same in all of them."""
    # Each note once, however many runs have it.
    notes = Counter(note for run in runs for note in dict.fromkeys(run.notes))
    lines = [f"{note} ({count} runs)" if count > 1 else note for note, count in notes.items()]
    devices = sorted({str(run.start["device"]) for run in runs if "device" in run.start})
    if len(devices) > 1:
        lines.append(f"runs were trained on different devices: {', '.join(devices)}")
    if len({str(run.start["versions"]) for run in runs if "versions" in run.start}) > 1:
        lines.append("runs were trained with different versions of the software")
    dropped = max((run.start.get("data", {}).get("dropped") or 0 for run in runs), default=0)
    if dropped:
        lines.append(f"{dropped} examples could not be read and were left out")
    return lines


def _scope(runs: Sequence[Run]) -> list[str]:
    """A small training set that all runs share: its luck is in no interval."""
    sizes = {run.start["data"]["train"] for run in runs if "train" in run.start.get("data", {})}
    carved = [run.start["data"]["carved"] for run in runs if "carved" in run.start.get("data", {})]
    if not carved or any("test" in splits for splits in carved) or not sizes or max(sizes) > FEW_TRAINING:
        return []
    return [
        f"all runs share one small training set ({max(sizes):,} examples): the answer is for this training set, and"
        " another one of this size may give another answer"
    ]


def facts(runs: Sequence[Run], seeds: Sequence[int]) -> dict[str, str]:
    """Data, versions and machine, from the first run that has a record."""
    done = {"seeds": _list(seeds), "runs": f"{sum(run.status == 'ok' for run in runs)} finished of {len(runs)}"}
    start = next((run.start for run in runs if run.start), None)
    if start is None:
        return done
    data = start.get("data", {})
    sizes = ", ".join(f"{data[split]:,} {split}" for split in ("train", "val", "test") if split in data)
    return done | {
        "data": f"{sizes} ({data.get('storage')})",
        "device": f"{start.get('device')}, {start.get('threads')} threads",
        "parameters": f"{start.get('parameters', 0):,}",
        "versions": ", ".join(f"{name} {version}" for name, version in start.get("versions", {}).items()),
        "git": str(start.get("git") or "not in a repository"),
    }


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
