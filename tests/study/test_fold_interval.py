"""The interval of a cross-validation against scipy, its law, and simulated cross-validations."""

import importlib.util
import json
import sys

import numpy as np
import pytest
from helpers.processes import CHECKOUT
from helpers.studies import write_study
from scipy import stats

from mixup_lab.commands import report
from mixup_lab.study.analysis import Options
from mixup_lab.study.glossary import explanation
from mixup_lab.study.statistics import Folds, Paired, compare_arms, fold_interval, honest_estimate, seed_interval

TWICE = Folds(5, [(seed // 5, seed % 5) for seed in range(10)])


def test_the_formula_of_nadeau_and_bengio():
    values = np.random.default_rng(0).normal(0.1, 1.0, 10)
    found = fold_interval(values, TWICE)
    # Two partitions of 100 examples: each test has 20, each training 80.
    spread = np.sqrt((1 / 10 + 20 / 80) * values.var(ddof=1))
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 9, values.mean(), spread), rel=1e-12)
    assert found.p_new_data == pytest.approx(2 * stats.t.sf(abs(values.mean()) / spread, 9), rel=1e-12)
    assert found.seed_variance + found.example_variance == pytest.approx(spread**2)
    assert fold_interval(values[:1], Folds(5, [(0, 0)])) is None
    with pytest.raises(ValueError, match="a test for each difference; got 5 folds, 10 tests and 3 differences"):
        fold_interval(values[:3], TWICE)


def test_seeds_that_share_a_test_count_once():
    values = np.random.default_rng(1).normal(size=10)
    shared = fold_interval(values, Folds(5, [(0, seed % 5) for seed in range(10)]))
    alone = fold_interval(values.reshape(2, 5).mean(0), Folds(5, [(0, fold) for fold in range(5)]))
    assert (shared.low, shared.high, shared.df) == pytest.approx((alone.low, alone.high, 4))
    assert fold_interval(values, Folds(5, [(0, 0)] * 10)) is None


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_differences_with_the_correlation_of_overlapping_folds(folds):
    """With the correlation 1/k the corrected interval is exact, and how often the naive one covers is known."""
    rng, rho = np.random.default_rng(folds), 1 / folds
    rows = rho**0.5 * rng.normal(size=(2000, 1)) + (1 - rho) ** 0.5 * rng.normal(size=(2000, folds))
    tested = Folds(folds, [(0, fold) for fold in range(folds)])
    corrected = [one.low <= 0 <= one.high for one in (fold_interval(row, tested) for row in rows)]
    naive = [low <= 0 <= high for low, high in map(seed_interval, rows)]
    limit = stats.t.ppf(0.975, folds - 1) / np.sqrt(1 + folds / (folds - 1))
    assert np.mean(corrected) == pytest.approx(0.95, abs=0.015)
    assert np.mean(naive) == pytest.approx(2 * stats.t.cdf(limit, folds - 1) - 1, abs=0.03)


def test_two_ridge_classifiers_that_are_equally_good():
    spec = importlib.util.spec_from_file_location("simulated_folds", CHECKOUT / "scripts" / "simulate_statistics.py")
    simulation = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = simulation
    spec.loader.exec_module(simulation)
    shares = simulation.folded(60, 5, 2, 300)
    assert shares.naive < 0.87
    assert shares.new_data > 0.94
    assert shares.these_data > 0.94
    assert shares.found < 0.06


def test_arms_are_judged_with_the_interval_of_folds():
    rng = np.random.default_rng(2)
    rows = rng.normal(0.5, 0.3, (2, 10))
    arms = [Paired(range(10), row, folds=TWICE) for row in rows]
    found = compare_arms(arms, 0.001)
    for one, row in zip(found, rows, strict=True):
        interval = fold_interval(row, TWICE)
        assert one.new_data == (interval.low, interval.high)
        assert (one.folds, one.test_examples, one.retraining) == (5, None, seed_interval(row))
    assert [one.code for one in found] == ["helps", "helps"]
    assert [one.code for one in compare_arms([Paired(range(10), row) for row in rows], 0.001)] == ["helps_here"] * 2
    backwards = [Paired(range(9, -1, -1), row[::-1], folds=Folds(5, TWICE.tested[::-1])) for row in rows]
    assert compare_arms(backwards, 0.001) == found
    stopped = compare_arms([arms[0], Paired(range(8), rows[1, :8], folds=Folds(5, TWICE.tested[:8]))], 0.001)
    eight = fold_interval(rows[1, :8], Folds(5, TWICE.tested[:8]))
    assert stopped[1].new_data == (eight.low, eight.high)
    honest = honest_estimate(np.array([[1.0] * 10, [0.0] * 10]), range(10), arms)
    assert honest.new_data == pytest.approx(found[0].new_data)


def test_few_examples_that_differ_prove_nothing():
    same = [(np.arange(20) + 20 * fold, np.zeros(20, int)) for fold in range(5)]
    tested = Folds(5, [(0, fold) for fold in range(5)])
    (found,) = compare_arms([Paired(range(5), [0.0] * 5, same, folds=tested)], 0.001, percent=True)
    assert found.new_data[1] > 0.03  # the rule of three for 100 examples
    assert found.test_examples == 100


def test_a_report_on_a_cross_validation(tmp_path):
    rng = np.random.default_rng(0)
    write_study(tmp_path, {0.0: rng.random((10, 20)) < 0.6, 0.4: rng.random((10, 20)) < 0.8})
    for path in tmp_path.rglob("record.jsonl"):
        first, _, rest = path.read_text().partition("\n")
        start = json.loads(first)
        start["data"]["fold"] = {"number": start["seed"] % 5, "of": 5, "partition": start["seed"] // 5}
        start["data"]["carved"] = ["val", "test"]
        path.write_text(f"{json.dumps(start)}\n{rest}")
    answer = report.answer_of([tmp_path], Options())
    comparison = next(arm.comparison for arm in answer.arms if arm.comparison)
    expected = fold_interval(comparison.differences, TWICE)
    assert comparison.new_data == pytest.approx((expected.low, expected.high))
    sentence = "Cross-validation with 5 folds: the training sets of the folds overlap, so the interval for new data is"
    assert sum(line.startswith(sentence) for line in answer.details) == 1
    assert "trained on overlapping data" in explanation(answer)["Interval for new data"]
