import numpy as np
import pytest
from helpers.finished_runs import finished_run

from mixup_lab.evaluation.cost import Cost
from mixup_lab.evaluation.lens import Unsuited


def run_of(folder, vals, seconds, metric="accuracy", maximize=True, **options):
    """A run with these val scores (None: not evaluated) and times of its epochs."""
    times = np.cumsum(seconds)
    epochs = tuple(
        {"seconds": total, "scalars": {"time/epoch_seconds": s} | ({} if val is None else {f"val/{metric}": val})}
        for val, s, total in zip(vals, seconds, times, strict=True)
    )
    scalars = {f"val/{metric}": vals[-1]}
    return finished_run(folder, epochs=epochs, scalars=scalars, primary=(metric, maximize), **options)


def values(found):
    return {name: score.value for name, score in found.scores.items()}


def test_time_of_an_epoch_and_until_as_good_as_the_baseline(tmp_path):
    base = run_of(tmp_path, [0.5, 0.8, 0.9, 0.8], [9.0, 1.0, 1.0, 2.0])
    run = run_of(tmp_path, [0.4, None, 0.7, 0.8, 0.9], [3.0, 2.0, 2.5, 3.5, 2.5], arm="mixup")
    other = run_of(tmp_path, [0.1, 0.1], [1.0, 1.0], seed=1)
    found = Cost().measure(run, [other, base])
    assert values(found) == {"seconds_per_epoch": 2.5, "epochs_to_baseline": 4, "seconds_to_baseline": 11}
    assert [score.maximize for score in found.scores.values()] == [False] * 3
    assert next(iter(found.scores)) == "seconds_per_epoch"
    # The baseline reaches its own last score before the end.
    alone = Cost().measure(base, [run, other])
    assert values(alone) == {"seconds_per_epoch": 1.5, "epochs_to_baseline": 2, "seconds_to_baseline": 10}
    assert Cost().companions(run, [other, base]) == [base]
    assert Cost().companions(base, [other, run]) == []


def test_a_smaller_error_is_better(tmp_path):
    base = run_of(tmp_path, [3.0, 2.0], [1.0, 1.0], "rmse", False)
    run = run_of(tmp_path, [9.0, 2.5, 1.9, 1.0], [1.0] * 4, "rmse", False, arm="mixup")
    assert values(Cost().measure(run, [base]))["epochs_to_baseline"] == 3


def test_what_is_never_reached_has_no_time(tmp_path):
    base = run_of(tmp_path, [0.9], [1.0])
    run = run_of(tmp_path, [0.8, "nan", 0.85], [1.0, 1.0, 1.0], arm="mixup")
    found = Cost().measure(run, [base])
    assert list(found.scores) == ["seconds_per_epoch"]
    assert "never reaches the last val accuracy of its baseline, 0.9." in found.notes[0]
    found = Cost().measure(run, [])
    assert list(found.scores) == ["seconds_per_epoch"]
    assert "no baseline of this seed" in found.notes[0]


def test_memory_is_a_score_where_it_was_recorded(tmp_path):
    run = run_of(tmp_path, [0.9], [1.0])
    run.scalars["memory/peak_gib"] = 1.5
    assert values(Cost().measure(run, []))["peak_gib"] == 1.5


def test_other_devices_are_a_note(tmp_path):
    base, run = run_of(tmp_path, [0.9], [1.0]), run_of(tmp_path, [0.9], [1.0], arm="mixup")
    base.start["device"] = "cuda (H100)"
    assert "on cpu, its baseline on cuda (H100)" in Cost().measure(run, [base]).notes[0]


def test_a_record_without_times_is_one_sentence(tmp_path):
    with pytest.raises(Unsuited, match="no times"):
        Cost().measure(finished_run(tmp_path), [])
