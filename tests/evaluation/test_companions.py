"""A finding is kept until one of the runs changes that it depends on."""

import json

import numpy as np
from helpers.finished_runs import finished_run

from mixup_lab.commands.evaluate import _measured
from mixup_lab.evaluation.lens import Found, Lens
from mixup_lab.runs.findings import Score, read_finding


class Count(Lens):
    title, about = "Count", "The number of looks, for the test."
    looks = 0

    def companions(self, run, others):
        return [other for other in others if other.seed < 9]

    def measure(self, run, others):
        Count.looks += 1
        return Found({"looks": Score(Count.looks, maximize=None)}, examples={"looks": np.ones(2)})


def test_a_lens_looks_again_when_its_companions_change(tmp_path):
    run, *others = (finished_run(tmp_path, seed=seed) for seed in (0, 1, 2, 9))

    def looks(*companions):
        finding = _measured("count", Count(), run, [run, *companions], False, {})
        assert finding is not None
        kept = read_finding(run.run_dir, "count")
        assert kept is not None
        assert kept.companions == finding.companions
        return finding.scores["looks"].value

    one, two, nine = others
    assert looks(one) == looks(one, nine) == 1
    assert looks(one, two) == looks(two, one) == 2
    assert json.loads((run.run_dir / "lens" / "count.json").read_text())["companions"] == ["baseline 1", "baseline 2"]
    assert looks() == 3
