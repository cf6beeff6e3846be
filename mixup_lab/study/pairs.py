"""Differences between the runs of an arm and those of its baseline with the same seed."""

import statistics as stats
from collections.abc import Sequence

import numpy as np

from mixup_lab.study.metric import of
from mixup_lab.study.reading import Run, Scores
from mixup_lab.study.results import ClassDifference, Metric
from mixup_lab.study.statistics import MISSING, Folds, Paired, by_group, seed_interval


class Pairs:
    """The complete pairs of the arms of a study."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.problems: list[str] = []
        self.missing = MISSING  # why an arm has no scores of single examples
        self.carved = False  # whether seeds have different test examples
        self._ids: np.ndarray | None = None  # of the test examples of the first run
        self._baselines: dict[int, Scores | None] = {}  # read once, for all arms that are compared with them

    def of(self, members: Sequence[Run], baseline: Sequence[Run], name: str) -> Paired:
        """The pairs of an arm."""
        partners = {run.seed: run for run in baseline}
        seeds: list[int] = []
        tested: list[dict[str, int]] = []  # folds of a cross-validation
        differences: list[float] = []
        examples: list[Scores] | None = []
        for run in members:
            partner = partners.get(run.seed)
            own = of(run, self.metric.name, "test")
            other = of(partner, self.metric.name, "test") if partner else None
            if partner is None or own is None or other is None:
                continue
            if len({one.start.get("data", {}).get("digest") for one in (run, partner)}) > 1:
                self.problems.append(f"{name} seed {run.seed} has other data than its baseline: the pair is left out")
                continue
            self.carved |= "test" in run.start.get("data", {}).get("carved", ())
            seeds.append(run.seed)
            if "fold" in run.start.get("data", {}):
                tested.append(run.start["data"]["fold"])
            differences.append(own - other)
            if examples is not None:
                scores = self._differences(run, partner, name)
                examples = None if scores is None else [*examples, scores]
        folds = None
        if tested and len(tested) == len(seeds):
            folds = Folds(tested[0]["of"], [(one["partition"], one["number"]) for one in tested])
        if not examples:
            return Paired(seeds, differences, folds=folds)
        size = len(np.unique(np.concatenate([one.ids for one in examples])))
        groups = [by_group(one.groups, one.values) for one in examples if one.groups is not None]
        if len(groups) < len(examples):
            return Paired(seeds, differences, [(one.ids, one.values) for one in examples], size, folds=folds)
        count = len(np.unique(np.concatenate([codes for codes, _ in groups])))
        return Paired(seeds, differences, groups, size, count, folds)

    def _differences(self, run: Run, base: Run, name: str) -> Scores | None:
        """Differences of the scores of single test examples; None, and a problem, where these are not known."""
        own = run.scores(self.metric.name)
        if id(base) not in self._baselines:
            self._baselines[id(base)] = base.scores(self.metric.name)
        other = self._baselines[id(base)]
        if own is not None and other is not None and np.array_equal(own.ids, other.ids):
            self._ids = own.ids if self._ids is None else self._ids
            self.carved |= not np.array_equal(self._ids, own.ids)
            return Scores(own.ids, own.values - other.values, own.groups)
        if "fold" in run.start.get("data", {}):  # a cross-validation needs no scores of single examples
            return None
        if own is None and other is None and run.predictions() is not None and base.predictions() is not None:
            self.missing = f"since {self.metric.name} has no score of single examples"
            self.problems.append(
                f"{self.metric.name} has no score of single test examples: intervals are over seeds alone, for other"
                " trainings on the same test set, and there is none for new data"
            )
        else:
            self.missing = MISSING
            self.problems.append(f"{name}: without the test predictions of every run there is no interval for new data")
        return None


def class_differences(members: Sequence[Run], baseline: Sequence[Run]) -> tuple[ClassDifference, ...]:
    """Differences of the recall of each class on test, over seeds; () where the targets are not classes."""
    partners = {run.seed: run for run in baseline if run.status == "ok"}
    differences: dict[int, list[float]] = {}
    supports: dict[int, list[int]] = {}
    for run in members:
        if run.status != "ok" or run.seed not in partners:
            continue
        own, other = run.recalls(), partners[run.seed].recalls()
        if own is None or other is None or not np.array_equal(own[0], other[0]):
            return ()
        count = np.bincount(own[0])
        change = np.bincount(own[0], own[1] - other[1])
        for k in np.flatnonzero(count).tolist():
            differences.setdefault(k, []).append(float(change[k] / count[k]))
            supports.setdefault(k, []).append(int(count[k]))
    names = next((run.start["data"].get("class_names") for run in members if "data" in run.start), None)
    return tuple(
        ClassDifference(
            members[0].arm,
            names[k] if names and k < len(names) else f"class {k}",
            stats.fmean(values),
            seed_interval(values),
            stats.fmean(supports[k]),
        )
        for k, values in sorted(differences.items())
    )
