"""Statistics against scipy and against sums by hand; and, in simulated studies, how often they are wrong."""

import importlib.util
import itertools
import math
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from helpers.cases import each
from helpers.processes import CHECKOUT
from scipy import stats

from mixup_lab.study.statistics import (
    Paired,
    PValues,
    by_group,
    compare_arms,
    crossed_interval,
    equivalence_p,
    example_variance,
    holm,
    honest_estimate,
    look_level,
    look_number,
    optimism_of_choosing,
    plain,
    seed_interval,
    seeds_needed,
    seeds_to_settle,
    sign_flip_p,
    smallest_p,
    verdict,
)
from mixup_lab.study.statistics.intervals import Crossed
from mixup_lab.study.statistics.looks import is_open, planned_looks

CLOSE = {"rel": 1e-12, "abs": 1e-14}


@pytest.fixture(scope="module")
def simulation():
    spec = importlib.util.spec_from_file_location(
        "simulate_statistics", CHECKOUT / "scripts" / "simulate_statistics.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def table(n, m, seed=0, examples=1.0):
    """Gaussian differences (n, m)."""
    rng = np.random.default_rng(seed)
    effects = 0.2 * rng.normal(size=(n, 1)) + examples * rng.normal(size=m)
    return 0.1 + effects + rng.normal(size=(n, m))


def same(rows):
    return [(np.arange(len(row)), row) for row in rows]


def anova(rows):
    """Two-way without repetition, by its sums of squares: mean squares of seeds, examples, rest."""
    n, m = rows.shape
    by_seed, by_example = rows.mean(1, keepdims=True), rows.mean(0, keepdims=True)
    rest = rows - by_seed - by_example + rows.mean()
    return (
        m * ((by_seed - rows.mean()) ** 2).sum() / (n - 1),
        n * ((by_example - rows.mean()) ** 2).sum() / (m - 1),
        (rest**2).sum() / ((n - 1) * (m - 1)),
    )


# Intervals


@each("n", [2, 3, 8, 30])
@each("confidence", [0.8, 0.95])
def test_the_interval_over_seeds_is_the_t_interval(n, confidence):
    values = np.random.default_rng(n).normal(0.1, 1, n)
    expected = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert seed_interval(values, confidence) == pytest.approx(tuple(expected), **CLOSE)


def test_one_seed_or_none_has_no_interval():
    assert seed_interval([]) is None
    assert seed_interval([0.3]) is None
    assert crossed_interval([]) is None
    assert crossed_interval(same(table(1, 20))) is None
    with pytest.raises(ValueError, match="two seeds, got 1"):
        example_variance(same(table(1, 20)))


def test_tied_differences_are_known_to_the_rounding_only():
    assert seed_interval([0.25] * 4) == (0.25, 0.25)
    half = stats.t.ppf(0.975, 3) * math.sqrt(0.01**2 / 12 / 4)
    assert seed_interval([0.25] * 4, resolution=0.01) == pytest.approx((0.25 - half, 0.25 + half), **CLOSE)


@each("n", [2, 3, 5, 8, 20])
@each("examples", [0.0, 0.5, 2.0])
def test_new_data_are_never_less_of_a_risk_than_the_same(n, examples):
    rows = table(n, 40, seed=n, examples=examples)
    found, alone = crossed_interval(same(rows)), seed_interval(rows.mean(1))
    assert found.low <= alone[0] + 1e-12
    assert found.high >= alone[1] - 1e-12
    assert found.p_new_data >= stats.ttest_1samp(rows.mean(1), 0).pvalue - 1e-12


@each("examples", [0.0, 0.5, 2.0])
@each("n, m", [(2, 2), (3, 40), (8, 300)])
def test_full_crossing_is_the_analysis_of_variance(n, m, examples):
    rows = table(n, m, seed=n, examples=examples)
    of_seeds, of_examples, rest = anova(rows)
    c = (of_examples - rest) / (n * m)
    assert example_variance(same(rows)) == pytest.approx(c, **CLOSE)
    found = crossed_interval(same(rows))
    assert found.seed_variance == pytest.approx(of_seeds / (n * m), **CLOSE)
    assert found.example_variance == pytest.approx(max(c, 0), **CLOSE)
    if c > 0:
        assert found.se**2 == pytest.approx((of_seeds + of_examples - rest) / (n * m), **CLOSE)
    v, c = of_seeds / (n * m), max(c, 0)
    df = (v + c) ** 2 / (v**2 / (n - 1) + c**2 / (m - 1))
    assert found.df == pytest.approx(df, **CLOSE)
    half = max(stats.t.ppf(0.975, df) * math.sqrt(v + c), stats.t.ppf(0.975, n - 1) * math.sqrt(v))
    assert (found.low, found.high) == pytest.approx((rows.mean() - half, rows.mean() + half), rel=1e-10)
    assert found.p_new_data == pytest.approx(2 * stats.t.sf(abs(rows.mean()) / math.sqrt(v + c), df), rel=1e-10)
    assert (found.mean, found.seeds, found.examples) == (pytest.approx(rows.mean(), **CLOSE), n, m)


def test_negative_covariance_counts_as_none():
    rows = np.array([[1.0, -1.0, 0.5, 0.1], [-1.0, 1.0, 0.3, 0.2]])
    assert example_variance(same(rows)) < 0
    found = crossed_interval(same(rows))
    assert found.example_variance == 0
    assert (found.low, found.high) == pytest.approx(seed_interval(rows.mean(1)), **CLOSE)


def slow_covariance(seeds):
    total, n = 0.0, len(seeds)
    for (ids, one), (others, other) in itertools.permutations(seeds, 2):
        both = sorted(set(ids) & set(others))
        if len(both) >= 2:
            x = [one[list(ids).index(i)] for i in both]
            y = [other[list(others).index(i)] for i in both]
            total += np.cov(x, y)[0, 1] * len(both) / (len(ids) * len(others))
    return total / (n * (n - 1))


@pytest.mark.parametrize("pool", [30, 45, 400])  # one test set in any order, dense overlap, sparse overlap
def test_any_overlap_is_the_mean_over_pairs(pool):
    rng = np.random.default_rng(pool)
    effect = rng.normal(size=pool)
    seeds = []
    for size in [30, 30, 25, 30, 30] if pool > 30 else [30] * 5:
        ids = rng.choice(pool, size, replace=False)
        seeds.append((10**12 + 7 * ids, 3 + effect[ids] + rng.normal(size=size)))
    assert example_variance(seeds) == pytest.approx(slow_covariance(seeds), rel=1e-11)
    found = crossed_interval(seeds)
    assert found.examples == len({int(i) for ids, _ in seeds for i in ids})
    assert found.mean == pytest.approx(np.mean([values.mean() for _, values in seeds]), **CLOSE)


def test_a_large_common_difference_does_not_drown_the_covariance():
    rng = np.random.default_rng(0)
    effect = rng.normal(size=45)
    drawn = [rng.choice(45, 30, replace=False) for _ in range(5)]
    near = [(ids, effect[ids] + rng.normal(size=30)) for ids in drawn]
    far = [(ids, values + 2.0**24) for ids, values in near]
    assert example_variance(far) == pytest.approx(example_variance(near), rel=1e-6)


def test_disjoint_test_sets_leave_the_chance_of_seeds():
    rows = table(6, 50)
    seeds = [(np.arange(50) + 50 * s, row) for s, row in enumerate(rows)]
    found = crossed_interval(seeds)
    assert (found.example_variance, found.df, found.examples) == (0, 5, 300)
    assert (found.low, found.high) == pytest.approx(seed_interval(rows.mean(1)), **CLOSE)


def test_fewer_than_two_shared_examples_show_no_covariance():
    seeds = [([0, 1, 2], [0.1, 0.5, 0.2]), ([2, 3, 4], [0.3, 0.2, 0.9])]
    assert example_variance(seeds) == 0
    assert example_variance([([7], [1.5]), ([7], [2.5])]) == 0
    assert crossed_interval([([7], [1.5]), ([7], [2.5])]).se == pytest.approx(0.5)


def test_ties_of_whole_scores_are_known_to_the_rounding_only():
    row = np.repeat([1, -1, 0], [12, 8, 80])
    found = crossed_interval(same(np.stack([row, row, row, np.roll(row, 5)])))
    assert found.seed_variance == pytest.approx(0.01**2 / 12 / 4, **CLOSE)
    assert crossed_interval(same([row * 0.5] * 4)).seed_variance == 0


def test_where_no_example_differs_the_bound_is_the_rule_of_three():
    found = crossed_interval(same(np.zeros((40, 500), int)))
    bounds = [0.99 * 3 / 500, 1.01 * 3 / 500]
    assert [equivalence_p(found.mean, found.se, found.df, x) <= 0.05 for x in bounds] == [False, True]
    assert found.p_new_data == 1
    few, many = (np.tile(np.repeat([1, 0], [k, 500 - k]), (8, 1)) for k in (9, 10))
    extra = (3 / stats.norm.ppf(0.95) / 500) ** 2
    assert crossed_interval(same(few)).example_variance == pytest.approx(few[0].var(ddof=1) / 500 + extra, rel=1e-9)
    assert crossed_interval(same(many)).example_variance == pytest.approx(many[0].var(ddof=1) / 500, rel=1e-9)


@pytest.mark.parametrize("pool", [10_000, 12_000, 60_000])
def test_forty_seeds_of_ten_thousand_examples_are_quick(pool):
    rng = np.random.default_rng(0)
    seeds = [(rng.choice(pool, 10_000, replace=False), rng.integers(-1, 2, 10_000)) for _ in range(40)]
    taken = []
    for _ in range(3):
        begun = time.process_time()
        crossed_interval(seeds)
        taken.append(time.process_time() - begun)
    assert min(taken) < 1  # 0.03 to 0.2 s on a quiet core


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ([([0, 1], [1.0, np.nan]), ([0, 1], [1.0, 0.0])], "must be finite"),
        ([([0, 1, 0], [1.0, 0.0, 1.0]), ([0, 1], [1.0, 0.0])], "must differ"),
        ([([0, 1, 2], [1.0, 0.0]), ([0, 1], [1.0, 0.0])], "as many whole-number ids"),
        ([([0.5, 1.0], [1.0, 0.0]), ([0, 1], [1.0, 0.0])], "as many whole-number ids"),
        ([([], []), ([0, 1], [1.0, 0.0])], "at least one"),
    ],
)
def test_bad_examples_are_named(seeds, words):
    with pytest.raises(ValueError, match=words):
        crossed_interval(seeds)
    with pytest.raises(ValueError, match=words):
        crossed_interval(seeds[:1])


# Tests


@pytest.mark.parametrize("n", [1, 2, 5, 9, 12])
def test_sign_flips_agree_with_scipy(n):
    rng = np.random.default_rng(n)
    for values in (rng.normal(0.4, 1, n), rng.integers(-3, 5, n) / 100):
        expected = 1.0
        if n > 1:
            expected = stats.permutation_test(
                (values,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
            ).pvalue
        assert sign_flip_p(values) == pytest.approx(expected, **CLOSE)


def test_equal_sums_are_ties_whatever_their_rounding():
    values = [0.1, 0.2, 0.3, -0.3, 0.7]  # in tenths the sum is 10; in floats some 10s are a little less
    tenths = [round(10 * value) for value in values]
    sums = [
        abs(sum(s * v for s, v in zip(signs, tenths, strict=True))) for signs in itertools.product([1, -1], repeat=5)
    ]
    assert sign_flip_p(values) == np.mean(np.array(sums) >= 10)
    assert sum(
        abs(np.dot(signs, values)) >= abs(np.sum(values)) for signs in itertools.product([1, -1], repeat=5)
    ) < sum(s >= 10 for s in sums), "this example does not show the rounding"


def test_nothing_is_no_evidence():
    assert sign_flip_p([0.0] * 8) == 1
    assert sign_flip_p([0.0] * 25) == 1
    assert sign_flip_p([0.5]) == 1
    with pytest.raises(ValueError, match="at least one difference"):
        sign_flip_p([])
    with pytest.raises(ValueError, match="must be finite"):
        sign_flip_p([0.1, float("nan")])
    with pytest.raises(ValueError, match="one-dimensional"):
        sign_flip_p([[0.1, 0.2]])


def test_twenty_seeds_are_enumerated_and_more_are_drawn():
    values = np.random.default_rng(3).normal(0.45, 1, 20)
    exact = sign_flip_p(values)
    assert exact * 2**20 == int(exact * 2**20)
    assert sign_flip_p([1.0] * 20) == smallest_p(20)
    more = np.append(values, [1e-9])  # changes no p, but is one too many
    drawn = sign_flip_p(more)
    assert drawn == sign_flip_p(more)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact / 100_000))
    assert sign_flip_p([1.0] * 60) == 1 / 100_001


def test_the_smallest_p():
    assert smallest_p(6) == 2 / 64
    assert smallest_p(8, comparisons=4) == 8 / 256
    assert smallest_p(2, comparisons=4) == 1
    assert sign_flip_p([0.1, 0.2, 0.1, 0.4, 0.3, 0.1]) == smallest_p(6)
    with pytest.raises(ValueError, match="comparisons >= 1"):
        smallest_p(4, 0)


def test_holm_by_hand():
    # statsmodels.stats.multitest.multipletests(p, method="holm"): step down, running maximum, at most 1
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], **CLOSE)
    assert holm([0.5, 0.9, 0.02]) == pytest.approx([1, 1, 0.06], **CLOSE)
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04], **CLOSE)
    assert holm([None, 0.02, float("nan"), 0.03]) == pytest.approx([np.nan, 0.04, np.nan, 0.04], nan_ok=True, **CLOSE)
    assert np.isnan(holm([None])).all()
    assert holm([]).shape == (0,)
    for p in ([-0.1], [1.1]):
        with pytest.raises(ValueError, match="between 0 and 1"):
            holm(p)


def test_equivalence_is_two_one_sided_tests():
    mean, se, df, bound = -0.3, 0.2, 7.5, 0.5
    worst = max(stats.t.sf((mean + bound) / se, df), stats.t.cdf((mean - bound) / se, df))
    assert equivalence_p(mean, se, df, bound) == pytest.approx(worst, rel=1e-10)
    assert equivalence_p([0.1, 0.1], 0.0, 3, 0.1).tolist() == [1, 1]
    assert equivalence_p(0.1, 0.0, 3, 0.11) == 0
    for bad in ((0, -1, 3), (0, 1, 0), (0, float("nan"), 3)):
        with pytest.raises(ValueError, match="se >= 0"):
            equivalence_p(*bad, 0.1)


def test_levels_of_looks_sum_to_five_percent():
    levels = [look_level(k) for k in range(1, 40)]
    assert levels[:4] == pytest.approx([0.04, 0.005, 0.0025, 0.00125])
    assert sum(levels) == pytest.approx(0.05)
    assert [look_number(n, [8, 16, 8]) for n in (6, 8, 12, 16, 20)] == [1, 1, 2, 2, 3]
    with pytest.raises(ValueError, match="counted from 1"):
        look_level(0)


def test_the_seeds_that_a_level_needs():
    assert [seeds_needed(k, 0.04) for k in (1, 4, 5, 6)] == [6, 8, 8, 9]
    for arms, level in ((1, 0.05), (4, 0.005), (9, 0.04)):
        n = seeds_needed(arms, level)
        assert smallest_p(n, arms) <= level < smallest_p(n - 1, arms)


# Verdicts


def test_seeds_to_settle_by_hand():
    # C = 0, one comparison: power of the t test by normal approximation, at the level that signs can reach
    mean, v, n = 0.01, 0.0001, 6
    for k in range(n + 1, 100):
        level = math.floor(0.05 * 2 ** (k - 1)) / 2 ** (k - 1)
        if stats.norm.cdf(mean / math.sqrt(v * n / k) - stats.t.ppf(1 - level / 2, k - 1)) >= 0.8:
            break
    assert seeds_to_settle(n, mean, v, 0.0) == seeds_to_settle(n, mean, v, None) == k - n
    assert seeds_to_settle(n, -mean, v, 0.0) == k - n


def test_seeds_to_settle_is_sane():
    assert seeds_to_settle(3, 1.0, 1e-9, 0.0) == 3  # six seeds for p <= 0.05, whatever the effect
    assert seeds_to_settle(3, 1.0, 1e-9, 0.0, comparisons=4) == 5
    assert seeds_to_settle(8, 0.0, 1e-6, 0.0, min_effect=0.0) is None
    assert seeds_to_settle(8, 0.0, 1e-6, None, min_effect=0.01) is None  # equivalence needs the examples
    few = seeds_to_settle(8, 0.0, 1e-4, 1e-9, examples=1000, min_effect=0.01)
    assert 8 < few < 100
    assert seeds_to_settle(8, 0.0, 1e-4, 1e-9, examples=1000, min_effect=0.005) > 2 * few
    assert seeds_to_settle(8, 0.002, 1e-4, 1e-4, examples=1000, min_effect=0.001) is None  # test set too small
    with pytest.raises(ValueError, match="n >= 2"):
        seeds_to_settle(1, 0.1, 0.1, 0.1)


SHOWS = {"maximize": True, "show": plain(True)}


def crossed(mean=0.02, se=0.004, df=20.0, v=8e-6, c=8e-6):
    half = se * stats.t.ppf(0.975, df)
    p = 2 * stats.t.sf(abs(mean) / se, df)
    return Crossed(mean - half, mean + half, mean, se, df, v, c, 8, 1000, p)


def test_the_rules_of_the_verdict():
    up = [0.02] * 8

    def of(values=up, found=None, p=0.01, p_new=0.01, p_equal=1.0, **more):
        return verdict(values, found or crossed(), PValues(p, p_new, p_equal), **{**SHOWS, **more})

    assert of() == ("helps", "helps", None)
    assert of(maximize=False) == ("hurts", "hurts", None)
    assert of([-0.02] * 8, crossed(-0.02)) == ("hurts", "hurts", None)
    assert of(p=0.05, p_new=0.05).code == "helps"
    assert of(p=0.05, level=0.04).code == "cannot_tell"
    here = "on this test set, which is too small to tell for new data"
    assert of(p_new=0.0501) == ("helps_here", f"helps {here}", None)
    assert of(p_new=0.06, maximize=False) == ("hurts_here", f"hurts {here}", None)
    assert of(p_new=0.06, carved=True).words == "helps on these data, which are too small to tell for new data"
    assert of(p=0.0501).code == "cannot_tell"
    assert of(min_effect=0.03, p_equal=0.05) == ("no_difference", "no difference larger than 3 points", None)
    assert of(min_effect=0.03, p_equal=0.0501).code == "helps"


UNKNOWN = PValues(np.nan, np.nan, np.nan)
SHOWN = "if the true difference is what these seeds show"


def test_words_where_nothing_can_be_told():
    one = verdict([0.1], None, PValues(1.0, np.nan, np.nan))
    assert one == ("cannot_tell", "cannot tell: one seed", None)
    assert verdict([], None, UNKNOWN) == ("cannot_tell", "cannot tell: no complete pair", None)
    few = verdict([0.02, 0.021, 0.019, 0.02], crossed(v=1e-7, c=1e-7), PValues(0.125, 0.001, 1), **SHOWS)
    assert few == ("cannot_tell", "cannot tell: probably helps, but 4 seeds cannot show it; 6 can", 2)
    flat = verdict([0.02, -0.021, 0.019, -0.02], crossed(0.0), PValues(0.9, 0.9, 1), level=0.04, **SHOWS)
    assert flat.words == "cannot tell: 4 seeds cannot reach p <= 0.04; 6 can"
    # Too few seeds forbid "no difference" too.
    assert verdict([0.0] * 3, crossed(0.0), PValues(1.0, 1.0, 0.0), min_effect=1.0).code == "cannot_tell"
    values = [0.02, -0.01, 0.03, 0.0, 0.01, -0.02, 0.04, 0.01]
    v = float(np.var(values, ddof=1)) / 8
    unclear = crossed(0.01, v=v, c=1e-8, se=0.008)
    more = verdict(values, unclear, PValues(0.3, 0.3, 1), **SHOWS)
    assert more.words == f"cannot tell: about {more.more_seeds} more seeds, {SHOWN}"
    later = verdict(values, unclear, PValues(0.3, 0.3, 1), next_level=0.005, **SHOWS)
    assert later.more_seeds > more.more_seeds  # a later look needs more
    small = crossed(0.01, v=v, c=1e-3, se=0.03)
    found = verdict(values, small, PValues(0.3, 0.3, 1), min_effect=0.001, **SHOWS)
    assert found == ("cannot_tell", "cannot tell: the test set is too small for 0.1 points", None)
    found = verdict(values, small, PValues(0.3, 0.3, 1), min_effect=0.001, carved=True, **SHOWS)
    assert found.words == "cannot tell: the data set is too small for 0.1 points"
    values = [value - 0.00999 for value in values]
    many = verdict(values, crossed(1e-5, v=v, c=0.0, se=0.01), PValues(0.9, 0.9, 1), **SHOWS)
    assert many == ("cannot_tell", "cannot tell: it would take more than 1000 seeds", None)


def test_an_interval_clear_of_zero_without_a_verdict_is_explained():
    clear = crossed(0.02, v=8e-6, c=8e-6)
    found = verdict([0.02, 0.03] * 4, clear, PValues(0.06, 0.0002, 1), comparisons=4, level=0.04, **SHOWS)
    assert found.words.startswith("cannot tell: probably helps, but p must be at most 0.04 and is 0.06; about")
    found = verdict([-0.02, -0.03] * 4, crossed(-0.02), PValues(0.06, 0.0002, 1), level=0.04, maximize=True)
    assert found.words.startswith("cannot tell: probably hurts, but p must")


def test_without_predictions_nothing_is_said_of_new_data():
    up = [0.02, 0.021, 0.022, 0.02, 0.019, 0.02, 0.02, 0.018]
    found = verdict(up, None, PValues(0.01, np.nan, np.nan), min_effect=1.0)
    assert found.words == (
        "helps on this test set; without predictions of single test examples, nothing is known about new data"
    )
    flat = [0.01, -0.01] * 4
    assert verdict(flat, None, PValues(1.0, np.nan, np.nan), min_effect=1.0).words == (
        "cannot tell: more seeds would not settle it without predictions of single test examples"
    )


def test_a_later_arm_in_holm_may_get_below_the_least_p():
    # Six seeds after Holm over two arms reach 0.0625 at best; behind an arm with more seeds, 0.03125.
    up = np.array([0.010, 0.011, 0.012, 0.013, 0.014, 0.015])
    first, second = compare_arms([Paired(range(12), np.tile(up, 2)), Paired(range(6), up)], 0.001)
    assert first.p_holm == 4 / 2**12
    # The second is judged as it was when it stopped: then both had six seeds.
    assert (second.p_holm, second.smallest_p, second.code) == (1 / 16, 1 / 16, "cannot_tell")
    first, second = compare_arms([Paired(range(-6, 6), np.tile(up, 2)), Paired(range(6), up)], 0.001)
    assert (second.p_holm, second.smallest_p, second.code) == (1 / 32, 1 / 32, "helps_here")


def test_bad_questions_are_named():
    with pytest.raises(ValueError, match="leave out missing pairs"):
        verdict([0.1, float("nan")], None, UNKNOWN)
    for bad in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="min_effect"):
            verdict([0.1, 0.2], None, UNKNOWN, min_effect=bad)
    with pytest.raises(ValueError, match="confidence"):
        seed_interval([0.1, 0.2], confidence=95)


def binary_arm(n, m, gain, seed=0, pool=None):
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(1, 1, pool or m)
    examples = []
    for _ in range(n):
        ids = rng.choice(pool, m, replace=False) if pool else np.arange(m)
        one, other = (difficulty[ids] + shift + 0.5 * rng.normal(size=m) > 0 for shift in (gain, 0))
        examples.append((ids, one.astype(int) - other.astype(int)))
    return Paired(list(range(n)), [values.mean() for _, values in examples], examples)


def test_a_study_as_a_whole():
    better, worse = binary_arm(8, 1000, 0.3, 1), binary_arm(6, 800, -0.4, 2, pool=2000)
    one, none = Paired(better[0][:1], better[1][:1], better[2][:1]), Paired([], [], [])
    blind = Paired(better[0], better[1])
    found = compare_arms([better, worse, one, none, blind], 0.001, percent=True)
    p = [sign_flip_p(arm[1]) if arm[1] else None for arm in (better, worse, one, none, blind)]
    assert [c.p for c in found] == p
    assert [found[k].p_holm for k in (0, 4)] == [holm(p)[k] for k in (0, 4)]
    assert found[0].code == "helps"
    assert found[1].code == "cannot_tell"  # 4 arms, 6 seeds
    assert found[1].p_holm >= 4 * 2 / 2**6  # as at its last seed, when no arm had more
    assert found[1].mean < 0
    assert found[2].words == "cannot tell: one seed"
    assert (found[2].sd, found[2].retraining, found[2].new_data, found[2].p) == (None, None, None, 1)
    assert (found[3].words, found[3].mean, found[3].p, found[3].p_holm, found[3].smallest_p) == (
        "cannot tell: no complete pair", None, None, None, 1
    )  # fmt: skip
    assert (found[4].code, found[4].new_data) == ("helps_here", None)
    expected = crossed_interval(worse[2])
    assert found[1].new_data == (expected.low, expected.high)
    assert found[1].test_examples == expected.examples > 800
    assert found[0].retraining == pytest.approx(seed_interval(better[1]), **CLOSE)
    assert found[0].sd == pytest.approx(np.std(better[1], ddof=1), **CLOSE)
    assert compare_arms([worse], 0.001)[0].code == "hurts"
    assert compare_arms([worse], 0.001, maximize=False)[0].code == "helps"
    assert compare_arms([], 0.001) == []


def test_the_order_of_seeds_and_of_arms_does_not_matter():
    seeds, values, examples, *_ = binary_arm(8, 300, 0.1)
    other = binary_arm(7, 200, 0.5, seed=4)
    a, b = compare_arms([Paired(seeds, values, examples), other], 0.001)
    d, c = compare_arms([other, Paired(seeds[::-1], values[::-1], examples[::-1])], 0.001)
    assert (a, b) == (c, d)
    assert a.seeds == tuple(range(8))


def test_arms_without_a_pair_do_not_count():
    values, none = [0.01, -0.01] * 4, Paired([], [])
    found = compare_arms([none, Paired(range(8), values), none], 0.001)
    assert found[1].smallest_p == smallest_p(8)


def test_identical_arms():
    zero = [(np.arange(m), np.zeros(m, int)) for m in [300] * 8]
    (small,) = compare_arms([Paired(range(8), [0.0] * 8, zero)], 0.001, percent=True)
    assert small.words == "cannot tell: the test set is too small for 0.1 points"
    large = [(np.arange(5000), np.zeros(5000, int))] * 8
    (found,) = compare_arms([Paired(range(8), [0.0] * 8, large)], 0.001, percent=True)
    assert found.words == "no difference larger than 0.1 points"
    assert found.p == 1
    assert compare_arms([Paired(range(8), [0.0] * 8)], 0.001)[0].code == "cannot_tell"


def test_how_differences_are_written():
    assert plain(True)(0.001) == "0.1 points"
    assert plain(True)(0.07) == "7 points"
    assert plain(False)(0.005) == "0.005"


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        (([0, 1], [0.5], None), "each seed once"),
        (([0, 0], [0.5, 0.1], None), "each seed once"),
        (([0, 1], [0.5, 0.5], [([0, 1], [1, 0])]), "1 sets of examples"),
        (([0, 1], [0.5, float("nan")], None), "finite"),
        (([0, 1], [0.5, 0.4], [([0, 1], [1, 0])] * 2), "mean of its per-example"),
    ],
)
def test_bad_arms_are_named(arm, words):
    with pytest.raises(ValueError, match=words):
        compare_arms([Paired(*arm)], 0.001)


# Choice


def test_optimism_by_hand():
    val = [[0.9, 0.5, 0.5], [0.6, 0.6, 0.6], [0.1, 0.2, 0.1]]
    found = optimism_of_choosing(val)
    # Without seed 0 the second arm is chosen (0.6 there), else the first (0.5 and 0.5).
    assert (found.chosen, found.apparent) == (0, pytest.approx(1.9 / 3))
    assert found.honest == pytest.approx((0.6 + 0.5 + 0.5) / 3)
    assert found.bias == pytest.approx(0.3 / 3)


def test_optimism_with_missing_runs():
    nan = np.nan
    found = optimism_of_choosing([[0.9, nan, 0.7], [0.6, 0.6, 0.6], [nan, nan, nan]])
    assert (found.chosen, found.apparent) == (0, pytest.approx(0.8))
    assert found.honest == pytest.approx((0.9 + 0.6 + 0.7) / 3)  # seed 1 has the second arm alone
    single = optimism_of_choosing([[0.9], [0.8]])
    assert (single.chosen, single.honest, single.bias) == (0, None, None)
    for bad in ([[nan, nan]], [[np.inf, 0.1]], [], [0.1, 0.2], np.empty((0, 3))):
        with pytest.raises(ValueError, match="val"):
            optimism_of_choosing(bad)


def test_optimism_is_that_of_the_best_of_equal_arms():
    rng = np.random.default_rng(0)
    found = [optimism_of_choosing(rng.normal(size=(5, 6))) for _ in range(2000)]
    honest = np.array([one.honest for one in found])
    assert abs(honest.mean()) < 4 * honest.std() / math.sqrt(2000)
    expected = 1.16296 / math.sqrt(6)  # the largest of five normal means
    assert np.mean([one.apparent for one in found]) == pytest.approx(expected, rel=0.05)


# Groups


def test_groups_by_hand():
    # Two groups of 3 and 1 examples; their sums are 2 and -1, the mean is 1 / 4.
    codes, values = by_group([7, 7, 2, 7], [1, 1, -1, 0])
    assert codes.tolist() == [2, 7]
    assert values == pytest.approx([0.25 + 2 * (-1 - 0.25) / 4, 0.25 + 2 * (2 - 0.75) / 4], **CLOSE)
    assert values.mean() == pytest.approx(0.25, **CLOSE)
    with pytest.raises(ValueError, match="each example needs a group"):
        by_group([1, 2], [0.5])


def test_groups_of_one_example_change_nothing():
    seeds, values, examples, *_ = binary_arm(8, 300, 0.1)
    grouped = [by_group(ids, scores) for ids, scores in examples]
    (one,), (other,) = (compare_arms([Paired(seeds, values, e)], 0.001) for e in (examples, grouped))
    assert (one.new_data, one.p_holm) == (pytest.approx(other.new_data, **CLOSE), other.p_holm)


def test_the_variance_of_a_ratio_is_that_of_the_groups():
    """One seed pair many times: the spread of means over new groups against the estimate from one set of groups."""
    rng = np.random.default_rng(0)
    sizes, estimates, means = rng.integers(1, 20, 30), [], []
    for _ in range(3000):
        group = np.repeat(np.arange(30), rng.permutation(sizes))
        values = 0.3 + rng.normal(0, 1, 30)[group] + 0.5 * rng.normal(size=len(group))
        _, units = by_group(group, values)
        estimates.append(units.var(ddof=1) / 30)
        means.append(values.mean())
    assert np.mean(estimates) == pytest.approx(np.var(means), rel=0.1)


# An arm that stopped earlier


def test_an_arm_that_stopped_keeps_the_verdict_that_it_had():
    rng = np.random.default_rng(4)
    table = rng.normal(0.9, 1.0, (3, 16))
    early = compare_arms([Paired(range(8), row[:8]) for row in table], 0.0)
    later = compare_arms([Paired(range(n), row[:n]) for n, row in zip((8, 16, 16), table, strict=True)], 0.0, looks=[8])
    assert (later[0].p_holm, later[0].code, later[0].level) == (early[0].p_holm, early[0].code, 0.04)
    assert [one.level for one in later[1:]] == [0.005, 0.005]
    alone = compare_arms([Paired(range(8), table[0, :8]), *(Paired(range(16), row) for row in table[1:])], 0.0)
    assert alone[1].p_holm == later[1].p_holm


def test_a_look_that_cannot_find_anything_does_not_count():
    few = compare_arms([Paired(range(5), [0.1, 0.2, 0.1, 0.2, 0.3])], 0.0)[0]
    assert (few.counts, few.look) == (False, 1)
    assert compare_arms([Paired(range(6), [0.1, 0.2, 0.1, 0.2, 0.3, 0.1])], 0.0)[0].counts


def test_looks_begin_with_enough_seeds_and_end_with_the_most():
    assert planned_looks(1, 24) == planned_looks(4, 24) == [8, 12, 16, 24]
    assert planned_looks(6, 24) == [9, 12, 16, 24]  # six arms cannot reach 0.04 with eight seeds
    assert planned_looks(1, 8) == [8]
    assert planned_looks(40, 10)[-1] == 10


@pytest.mark.parametrize(
    ("code", "seeds", "counts", "more", "expected"),
    [
        ("cannot_tell", 8, True, 10, True), ("cannot_tell", 8, True, 40, True), ("cannot_tell", 8, True, 60, False),
        ("cannot_tell", 8, True, None, False), ("cannot_tell", 5, False, None, True),
        ("cannot_tell", 24, True, 3, False),
        ("helps", 8, True, None, False), ("no_difference", 8, True, None, False), ("no_verdict", 8, False, None, False),
    ],
)  # fmt: skip
def test_arms_that_are_worth_more_seeds(code, seeds, counts, more, expected):
    (one,) = compare_arms([Paired(range(seeds), np.linspace(0.1, 0.2, seeds))], 0.0)
    assert is_open(replace(one, code=code, counts=counts, more_seeds=more), 24) == expected


# The chosen arm


def test_the_honest_estimate_by_hand():
    val = [[0.9, 0.5, 0.5], [0.6, 0.6, 0.6]]
    arms = [Paired([0, 1, 2], [0.1, 0.2, 0.3]), Paired([0, 1, 2], [0.4, 0.5, 0.6])]
    found = honest_estimate(val, [0, 1, 2], arms)
    # Without seed 0 the second arm is chosen; without seed 1 or 2 the first one.
    u = np.array([0.4, 0.2, 0.3])
    assert found.mean == pytest.approx(u.mean())
    own = np.mean([0.1, 0.2, 0.3])  # of the chosen arm, which is the first
    half = stats.t.ppf(0.975, 2) * math.sqrt(u.var(ddof=1) / 3 + (own - u.mean()) ** 2)
    assert found.retraining == pytest.approx((u.mean() - half, u.mean() + half))
    assert found.new_data is None
    assert honest_estimate(val[:1], [0, 1, 2], arms[:1]) is None
    assert honest_estimate(val, [0, 1, 2], [arms[0]._replace(seeds=[5, 6, 7])] * 2) is None


# In simulated studies


def test_simulated_studies_are_judged_as_users_are(simulation):
    for law, shift in ((simulation.NULLS["example effects"], 0.0), (simulation.Law(), 0.15)):
        found = simulation.studies(law, 100, 8, 300, shift=shift, min_effect=0.02)
        for differences, codes in zip(found.differences[:40], found.codes[-100:], strict=False):
            arms = [Paired(range(8), arm.mean(1), same(arm)) for arm in differences]
            assert [c.code for c in compare_arms(arms, 0.02, percent=True)] == list(codes)
        assert len(set(found.codes.ravel())) > 1


@pytest.mark.parametrize("n", [8, 12])
@pytest.mark.parametrize(
    "null", ["no example effects", "example effects", "strong example effects, little luck", "luck of runs dominates"]
)
def test_without_an_effect_few_studies_say_that_there_is_one(simulation, null, n):
    codes = simulation.studies(simulation.NULLS[null], 2000, n, 300, arms=4, seed=1).codes
    assert simulation.any_of(codes, "helps", "hurts").any(1).mean() <= 0.05
    if null in ("no example effects", "luck of runs dominates"):  # then it is false on this test set too
        assert (codes != "cannot_tell").any(1).mean() <= 0.05


@pytest.mark.parametrize("n", [8, 12])
def test_a_difference_of_the_least_size_of_interest_is_seldom_denied(simulation, n):
    law, shift = simulation.NULLS["example effects"], 0.2
    effect = law.accuracy(shift) - law.accuracy()
    codes = simulation.studies(law, 2000, n, 1000, arms=1, shift=shift, seed=2, min_effect=effect).codes
    assert simulation.any_of(codes, "no_difference").mean() <= 0.065


def assert_holds(found):
    assert 0.93 <= found.retraining <= 0.97
    assert 0.93 <= found.new_data <= 0.97


@pytest.mark.parametrize("n", [8, 12])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("parts", ["seeds", "examples", "mixed"])
def test_intervals_hold_the_truth_on_one_test_set(simulation, parts, binary, n):
    assert_holds(simulation.crossed_coverage(parts, binary, 2000, n, 300))


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("parts", ["seeds", "examples", "mixed"])
def test_intervals_hold_the_truth_on_a_large_test_set(simulation, parts, binary):
    assert_holds(simulation.crossed_coverage(parts, binary, 1000, 8, 2000))


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("parts", ["seeds", "examples", "mixed"])
def test_intervals_hold_the_truth_on_test_sets_that_overlap(simulation, parts, binary):
    assert_holds(simulation.carved_coverage(parts, binary, 1000, 8, 300, 900))


def test_a_bootstrap_of_eight_seeds_does_not(simulation):
    found = simulation.crossed_coverage("mixed", False, 1000, 8, 300, bootstraps=True)
    assert found.percentile < 0.93
    assert found.bca < 0.93


def test_an_effect_of_one_standard_deviation_is_found_with_twelve_seeds(simulation):
    assert simulation.power(simulation.NULLS["no example effects"], 500, 12, 1000, 1).helps > 0.8
    assert simulation.power(simulation.NULLS["no example effects"], 500, 12, 1000, 4).helps > 0.7
    assert simulation.power(simulation.NULLS["example effects"], 500, 12, 1000, 4).helps > 0.4


def at_most(share: float, studies: int) -> float:
    """What a share measured on so many studies stays below, but for four standard errors."""
    return share + 4 * math.sqrt(share * (1 - share) / studies)


@pytest.mark.parametrize(("groups", "share"), [(10, 0.0), (10, 0.5), (50, 0.5)])
def test_with_groups_as_units_few_studies_are_wrong(simulation, groups, share):
    found = simulation.grouped(groups, share, 300, m=200)
    assert found.false_groups <= at_most(0.05, 300)
    assert found.coverage_groups >= 1 - at_most(0.05, 300)
    if share:
        assert found.false_examples > 0.1, "here the examples as units are wrong"


def test_looking_again_does_not_find_more_than_it_may(simulation):
    for arms in (1, 4):
        found = simulation.looking(arms, 0.0, 150, most=12)
        assert max(found.once, found.advised, found.every) <= at_most(0.05, 150)
    assert simulation.looking(1, 0.0, 150, most=14).every_naive > 0.08


def test_until_decided_is_rarely_wrong_and_saves_runs(simulation):
    assert simulation.until_decided(1, 0.0, 200).verdict <= at_most(0.05, 200)
    found = simulation.until_decided(1, 1.0, 60)
    assert found.saved >= 0.35
    assert found.helps > 0.7


def test_the_honest_estimate_is_not_flattered(simulation):
    for arms, spread in ((4, 0.0), (10, 2.0)):
        found = simulation.chosen(arms, 8, 1500, spread=spread)
        assert abs(found.honest_bias) <= 0.05 + 4 * 1.25 / math.sqrt(1500)
        assert 0.93 - 0.02 <= found.honest_coverage <= 0.97 + 0.02
        assert found.bias > 0.3


def test_equivalence_is_corrected_for_the_number_of_arms(simulation):
    assert simulation.equivalence(4, 400, 400) <= at_most(0.05, 400)
