"""Scores of single test examples: against leaving out one after the other, scikit-learn, and the task's own metrics."""

import math
import time

import numpy as np
import pytest
import torch
from helpers.cases import each
from helpers.studies import config_of, write_run
from scipy.special import expit, softmax
from sklearn import metrics as sk

from mixup_lab.study.analysis import Options, analyse
from mixup_lab.study.markdown import markdown
from mixup_lab.study.metric import least_effect, more_is_better
from mixup_lab.study.page import page
from mixup_lab.study.reading import read
from mixup_lab.study.results import Metric
from mixup_lab.study.scores import scores
from mixup_lab.study.statistics import crossed_interval
from mixup_lab.study.terminal import terminal_table
from mixup_lab.targets.classes import Classification
from mixup_lab.targets.numbers import Regression
from mixup_lab.targets.pixels import Segmentation
from mixup_lab.targets.tags import MultiLabel
from mixup_lab.types import UserError

RNG = np.random.default_rng(3)


# ---- what a run keeps, by kind --------------------------------------------------------------------------------------


def classes(n=40, c=3, rng=RNG):
    target = np.r_[np.zeros(n // 2), np.arange(n - n // 2) % c].astype(np.int64)  # not balanced
    logits = rng.normal(size=(n, c)) + 1.3 * np.eye(c)[target]
    return {"logits": np.round(logits, 1).astype(np.float32), "target": target}  # rounded: some are tied


def tags(n=40, t=3, rng=RNG):
    target = (rng.random((n, t)) < [0.5, 0.3, 0.1][:t]).astype(np.float32)
    target[0] = 1
    logits = rng.normal(size=(n, t)) + 2 * target - 0.7
    return {"logits": np.round(logits, 1).astype(np.float32), "target": target}


def numbers(n=40, t=2, rng=RNG):
    target = rng.normal(size=(n, t)) * [3, 50][:t] + 7
    prediction = target + rng.standard_t(4, size=(n, t)) * [1, 20][:t]
    return {"prediction": prediction.astype(np.float32), "target": target.astype(np.float32)}


def masks(n=12, c=3, side=6, rng=RNG):
    truth = rng.integers(0, c, (n, side, side))
    said = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, c, truth.shape))
    truth[:9], said[:9] = np.minimum(truth[:9], c - 2), np.minimum(said[:9], c - 2)  # the last class is rare
    confusion = np.zeros((n, c, c), np.int64)
    np.add.at(confusion, (np.arange(n).repeat(side * side), truth.reshape(-1), said.reshape(-1)), 1)
    return {"confusion": confusion}, truth, said


# ---- the metrics, by scikit-learn -----------------------------------------------------------------------------------


def _log_loss(a):
    return sk.log_loss(a["target"], softmax(a["logits"].astype(float), 1), labels=range(a["logits"].shape[1]))


def _auroc(a):
    probabilities, found = softmax(a["logits"].astype(float), 1), []
    columns = range(1, 2) if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    for k in columns:
        own = a["target"] == k
        if own.any() and not own.all():
            found.append(sk.roc_auc_score(own, probabilities[:, k]))
    return np.mean(found)


def _ece(a):
    probabilities = softmax(a["logits"].astype(float), 1)
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == a["target"]
    total = 0.0
    for k in range(15):
        inside = (confidence >= k / 15) & (confidence < (k + 1) / 15)
        total += abs((hit[inside] - confidence[inside]).sum())
    return total / len(hit)


def _per_tag(score):
    def mean(a):
        return np.mean([score(y, x) for y, x in zip(a["target"].T, a["logits"].T, strict=True) if y.any()])

    return mean


REFERENCES = {
    "classes": {
        "accuracy": lambda a: sk.accuracy_score(a["target"], a["logits"].argmax(1)),
        "loss": _log_loss,
        "macro_recall": lambda a: sk.recall_score(
            a["target"], a["logits"].argmax(1), average="macro", labels=np.unique(a["target"])
        ),
        "macro_f1": lambda a: sk.f1_score(
            a["target"], a["logits"].argmax(1), average="macro", labels=np.unique(a["target"]), zero_division=0
        ),
        "auroc": _auroc,
        "ece": _ece,
    },
    "tags": {
        "loss": lambda a: sk.log_loss(a["target"].reshape(-1), expit(a["logits"].astype(float)).reshape(-1)),
        "map": _per_tag(lambda y, x: sk.average_precision_score(y, expit(x.astype(float)))),
        "micro_f1": lambda a: sk.f1_score(a["target"].reshape(-1), a["logits"].reshape(-1) > 0),
        "macro_f1": _per_tag(lambda y, x: sk.f1_score(y, x > 0, zero_division=0)),
        "subset_accuracy": lambda a: sk.accuracy_score(a["target"], a["logits"] > 0),
    },
    "numbers": {
        "rmse": lambda a: sk.root_mean_squared_error(a["target"].astype(float), a["prediction"].astype(float)),
        "mae": lambda a: sk.mean_absolute_error(a["target"].astype(float), a["prediction"].astype(float)),
        "r2": lambda a: sk.r2_score(a["target"].astype(float), a["prediction"].astype(float)),
    },
}
MADE = {"classes": classes, "tags": tags, "numbers": numbers}
CASES = [(kind, metric) for kind, found in REFERENCES.items() for metric in found]
BASICS = ("accuracy", "loss", "subset_accuracy", "mae")  # means over examples: the scores are the terms


def without(arrays, i):
    return {name: np.delete(values, i, 0) for name, values in arrays.items()}


def by_hand(arrays, reference):
    """Pseudo-values by n evaluations of the metric, with the same mean as the metric."""
    n = len(next(iter(arrays.values())))
    theta = reference(arrays)
    values = np.array([n * theta - (n - 1) * reference(without(arrays, i)) for i in range(n)])
    return values - values.mean() + theta


@each("kind, metric", CASES)
@each("seed", [0, 1])
def test_scores_are_those_of_leaving_out_one_example_after_the_other(kind, metric, seed):
    arrays, reference = MADE[kind](rng=np.random.default_rng(seed)), REFERENCES[kind][metric]
    found = scores(kind, metric, arrays)
    assert found.shape == (40,)
    assert found.dtype == np.float64
    assert found.mean() == pytest.approx(reference(arrays), abs=1e-6)
    np.testing.assert_allclose(found, by_hand(arrays, reference), rtol=1e-6, atol=1e-6)


def test_two_classes_and_one_tag():
    for arrays, metric in ((classes(c=2), "auroc"), (classes(c=2), "macro_recall"), (tags(t=1), "map")):
        kind = "classes" if metric != "map" else "tags"
        reference = REFERENCES[kind][metric]
        np.testing.assert_allclose(scores(kind, metric, arrays), by_hand(arrays, reference), atol=1e-9)


@pytest.mark.parametrize(("metric", "factor"), [("miou", 1), ("dice", 2)])
def test_masks_against_leaving_out_pictures(metric, factor):
    arrays, truth, said = masks()

    def reference(rows):
        iou = sk.jaccard_score(truth[rows].reshape(-1), said[rows].reshape(-1), average=None)
        return np.mean(factor * iou / (1 + (factor - 1) * iou))

    everything = np.arange(len(truth))
    theta = reference(everything)
    expected = np.array([12 * theta - 11 * reference(np.delete(everything, i)) for i in everything])
    found = scores("masks", metric, arrays)
    assert found.mean() == pytest.approx(theta, abs=1e-12)
    np.testing.assert_allclose(found, expected - expected.mean() + theta, atol=1e-9)
    hits = (truth == said).reshape(12, -1).mean(1)  # all pictures are of one size
    np.testing.assert_allclose(scores("masks", "pixel_accuracy", arrays), hits, atol=1e-9)


def test_masks_with_void_pixels_weigh_pictures_by_what_counts():
    confusion = np.array([[[8, 0], [0, 0]], [[1, 1], [1, 1]], [[0, 2], [0, 2]]])
    found = scores("masks", "pixel_accuracy", {"confusion": confusion})
    assert found.mean() == pytest.approx((8 + 2 + 2) / (8 + 4 + 4))
    left = np.array([4 / 8, 10 / 12, 10 / 12])
    expected = 3 * 12 / 16 - 2 * left
    np.testing.assert_allclose(found, expected - expected.mean() + 12 / 16)


@each("kind, metric", CASES)
def test_the_mean_is_what_the_task_records(kind, metric):
    arrays = MADE[kind](n=300)
    kept = {name: torch.from_numpy(values) for name, values in arrays.items()}
    if kind == "numbers":
        task = Regression(kept["target"].mean(0), kept["target"].std(0))
    else:
        task = Classification(3) if kind == "classes" else MultiLabel(("a", "b", "c"))
    assert scores(kind, metric, arrays).mean() == pytest.approx(task.metrics(kept)[metric], abs=1e-6, rel=1e-6)


def test_the_loss_of_masks_and_of_boxes():
    rng = np.random.default_rng(0)
    arrays = {"confusion": rng.integers(0, 9, (12, 3, 3)), "loss_sum": rng.random(12)}
    pixels, losses = arrays["confusion"].sum((1, 2)), arrays["loss_sum"]
    found, theta = scores("masks", "loss", arrays), losses.sum() / pixels.sum()
    expected = 12 * theta - 11 * np.array([np.delete(losses, i).sum() / np.delete(pixels, i).sum() for i in range(12)])
    assert found.mean() == pytest.approx(theta)
    np.testing.assert_allclose(found, expected - expected.mean() + theta)
    kept = Segmentation(3).metrics({name: torch.from_numpy(values) for name, values in arrays.items()})
    for metric, value in kept.items():
        assert scores("masks", metric, arrays).mean() == pytest.approx(value, abs=1e-6)
    boxes = {"each_loss": losses, "target": np.zeros((12, 4, 5))}
    np.testing.assert_array_equal(scores("boxes", "loss", boxes), losses)
    assert scores("boxes", "map", boxes) is None


def test_every_metric_of_a_task_has_scores_but_the_loss_of_numbers():
    """That one is in standard deviations of train, which no prediction tells."""
    for kind, task in (
        ("classes", Classification(3)),
        ("tags", MultiLabel(("a", "b", "c"))),
        ("numbers", Regression(torch.zeros(2), torch.ones(2))),
    ):
        arrays = MADE[kind]()
        for metric in task.metrics({name: torch.from_numpy(values) for name, values in arrays.items()}):
            assert (scores(kind, metric, arrays) is None) == ((kind, metric) == ("numbers", "loss")), (kind, metric)


def test_a_class_with_one_example_moves_the_mean_over_classes():
    arrays = classes()
    arrays["target"] = np.r_[np.zeros(20), np.ones(19), 2].astype(np.int64)
    for metric in ("macro_recall", "macro_f1", "auroc"):
        expected = by_hand(arrays, REFERENCES["classes"][metric])
        np.testing.assert_allclose(scores("classes", metric, arrays), expected, atol=1e-9)
    arrays = tags()
    arrays["target"][:, 2] = np.arange(40) == 7
    for metric in ("map", "macro_f1"):
        np.testing.assert_allclose(
            scores("tags", metric, arrays), by_hand(arrays, REFERENCES["tags"][metric]), atol=1e-9
        )


def test_saturated_and_equal_outputs():
    target = np.arange(30) % 2
    logits = np.where(target[:, None] == [0, 1], 200.0, -200.0).astype(np.float32)
    logits[::3] = 0
    for metric in ("auroc", "loss", "ece"):
        arrays = {"logits": logits, "target": target}
        found = scores("classes", metric, arrays)
        expected = Classification(2).metrics({name: torch.from_numpy(x) for name, x in arrays.items()})[metric]
        assert found.mean() == pytest.approx(expected, abs=1e-6)
    same = {
        "logits": np.zeros((20, 2), np.float32),
        "target": (np.arange(40) % 3 == 0).reshape(20, 2).astype(np.float32),
    }
    np.testing.assert_allclose(scores("tags", "map", same), by_hand(same, REFERENCES["tags"]["map"]), atol=1e-12)


@each(
    "kind, metric, arrays",
    [
        ("classes", "auroc", {"logits": np.zeros((5, 2)), "target": np.array([0, 0, 0, 0, 1])}),  # none without the one
        ("classes", "auroc", {"logits": np.zeros((5, 2)), "target": np.zeros(5, np.int64)}),
        ("classes", "map50", classes()),
        (
            "boxes",
            "map",
            {"boxes": np.zeros((5, 3, 6)), "target": np.zeros((5, 3, 5))},
        ),  # of detections: another metric
        ("classes", "map", classes()),
        ("tags", "accuracy", tags()),
        ("numbers", "loss", numbers()),
        ("classes", "accuracy", {}),
        ("ordinal", "accuracy", classes()),  # a kind of the user's own
        ("", "accuracy", classes()),
    ],
)
def test_what_has_no_scores(kind, metric, arrays):
    assert scores(kind, metric, arrays) is None


# ---- what they are good for -----------------------------------------------------------------------------------------


def test_their_variance_is_that_of_delong():
    """With m positives and n negatives: S10 / m + S01 / n (DeLong et al., 1988), and the covariance of two models."""
    rng = np.random.default_rng(0)
    target = (rng.random(400) < 0.3).astype(np.int64)
    models = [rng.normal(size=400) + shift * target for shift in (1.0, 1.2)]
    models[1] += models[0]
    placements, found = [], []
    for values in models:
        up = np.array(
            [np.mean((x > values[target == 0]) + 0.5 * (x == values[target == 0])) for x in values[target == 1]]
        )
        down = np.array(
            [np.mean((x < values[target == 1]) + 0.5 * (x == values[target == 1])) for x in values[target == 0]]
        )
        placements.append((up, down))
        found.append(scores("classes", "auroc", {"logits": np.stack([0 * values, values], 1), "target": target}))
    m, n = int(target.sum()), int((1 - target).sum())
    s10, s01 = (np.cov(placements[0][k], placements[1][k]) for k in (0, 1))
    delong = s10 / m + s01 / n
    jackknife = np.cov(found[0], found[1]) / (m + n)
    np.testing.assert_allclose(jackknife, delong, rtol=0.01)
    # Exactly: the jackknife divides by one less.
    exact = (m + n - 1) / (m + n) * (s10 / (m - 1) + s01 / (n - 1))
    np.testing.assert_allclose(jackknife, exact, rtol=1e-9)


@pytest.mark.parametrize(
    ("kind", "metric"),
    [("classes", "auroc"), ("classes", "macro_recall"), ("tags", "map"), ("tags", "micro_f1"), ("numbers", "rmse"),
     ("numbers", "r2")],
)  # fmt: skip
def test_their_variance_is_that_of_other_test_sets(kind, metric):
    """Test sets drawn again and again: how the metric scatters is what one of them says of itself."""
    rng = np.random.default_rng(5)
    drawn = [scores(kind, metric, MADE[kind](n=300, rng=rng)) for _ in range(300)]
    scatter = np.var([one.mean() for one in drawn], ddof=1)
    said = np.mean([np.var(one, ddof=1) / len(one) for one in drawn])
    # The scatter of 300 values has an error of 8 %; classes are stratified here, so that they scatter a little less.
    assert 0.8 < said / scatter < 1.35


def test_whole_scores_stay_whole():
    """Hits and misses keep the cautions that are for counts."""
    for kind, metric, arrays in (("classes", "accuracy", classes()), ("tags", "subset_accuracy", tags())):
        assert set(np.unique(scores(kind, metric, arrays))) == {0.0, 1.0}


def test_equal_arms_of_a_metric_in_a_unit_have_no_rule_of_three():
    seeds = [(np.arange(50), np.zeros(50))] * 4
    assert crossed_interval(seeds, counted=True).high > 0.01
    assert crossed_interval(seeds, counted=False).high == 0


# ---- whole studies --------------------------------------------------------------------------------------------------


def write_rmse_study(study, gain, seeds=8, examples=300, unit=20.0, keep=True, same=False):
    """A baseline and an arm whose errors are smaller by this share; `same`: the arms differ in nothing else."""
    rng = np.random.default_rng(1)
    target = 150 + 50 * rng.normal(size=(examples, 1))
    hard = rng.normal(size=(examples, 1))  # what all models find hard
    for alpha in (0.0, 0.4):
        name = "mixup-a0.4" if alpha else "baseline"
        for seed in range(seeds):
            chance = np.random.default_rng([seed, int(10 * alpha) * (not same)])
            error = unit * (1 - gain * (alpha > 0)) * (hard + 0.3 * chance.normal(size=(examples, 1)))
            error *= 1 + 0.01 * chance.normal()
            arrays = {"prediction": (target + error).astype(np.float32), "target": target.astype(np.float32)}
            test = float(scores("numbers", "rmse", arrays).mean())
            kept = {f"test_{key}": values for key, values in arrays.items()} | {"test_id": np.arange(examples)}
            write_run(
                study / name / f"seed={seed}", arm=name, name=name, seed=seed, config=config_of(alpha),
                choices={"aug": "mixup" if alpha else "none"}, hits=None, primary=("rmse", False), test=test,
                kind="numbers", val=test, arrays=kept if keep else {"test_id": np.arange(examples)},
            )  # fmt: skip
    return study


def answer_of(study, **options):
    return analyse(read([study]), study.name, Options(**options), {})


def test_a_lower_rmse_helps(tmp_path):
    answer = answer_of(write_rmse_study(tmp_path / "s", gain=0.1))
    assert (answer.metric.name, answer.metric.maximize, answer.metric.percent) == ("rmse", False, False)
    baseline, arm = answer.arms
    assert arm.comparison.code == "helps"
    assert arm.comparison.mean < 0
    low, high = arm.comparison.new_data
    assert high < 0
    assert high - low > arm.comparison.retraining[1] - arm.comparison.retraining[0], (
        "other data are a risk of their own"
    )
    assert arm.comparison.test_examples == 300
    assert answer.sentence == "mixup-a0.4 (the only arm) helps."
    assert "(lower is better)" in answer.details[0]
    assert answer.details[0].startswith("test rmse −")
    # 1 % of the baseline's mean, to two digits.
    assert answer.min_effect == float(f"{baseline.test.mean / 100:.2g}")
    explained = (
        f"The least difference of interest is {answer.min_effect:g}, about 1 % of the baseline's test rmse;"
        " min_effect=X sets another."
    )
    assert explained in answer.details
    assert explained in markdown(answer)
    assert "lower is better" in page(answer)
    assert "points" not in page(answer).replace("data points", "")
    assert terminal_table(answer).row_count == 2


def test_a_higher_rmse_hurts_and_an_equal_one_is_told(tmp_path):
    assert answer_of(write_rmse_study(tmp_path / "a", gain=-0.1)).arms[1].comparison.code == "hurts"
    equal = write_rmse_study(tmp_path / "b", gain=0.0)
    said = answer_of(equal, min_effect=2).arms[1].comparison
    assert (said.code, said.words) == ("no_difference", "no difference larger than 2")
    assert "The least difference" not in " ".join(answer_of(equal, min_effect=2).details)
    turned = answer_of(write_rmse_study(tmp_path / "c", gain=0.1), maximize=True)
    assert turned.arms[1].comparison.code == "hurts", "the user's word counts"


def test_arms_that_say_the_same(tmp_path):
    """Nothing is counted in units of the target: no caution that is for hits and misses widens the interval."""
    comparison = answer_of(write_rmse_study(tmp_path / "s", gain=0.0, unit=1e-3, same=True)).arms[1].comparison
    assert comparison.new_data == (0, 0)
    assert comparison.code == "no_difference"


def test_the_least_effect():
    percent, unit = Metric("auroc", True, True), Metric("rmse", False, False)
    assert least_effect(percent, None, [0.9]) == (0.001, "")
    assert least_effect(percent, 0.5, [0.9]) == (0.005, "")
    assert least_effect(unit, 0.5, [20.0]) == (0.5, "")
    assert least_effect(unit, None, [-53.1, -54.7])[0] == 0.54
    assert least_effect(unit, None, [2.344e-7])[0] == pytest.approx(2.3e-9)
    assert least_effect(unit, None, [0.0])[0] > 0


def test_the_unit_of_the_target_changes_no_verdict(tmp_path):
    codes = {
        unit: answer_of(write_rmse_study(tmp_path / str(unit), gain=0.002, unit=unit)).arms[1].comparison.code
        for unit in (2e-6, 20.0, 2e7)
    }
    assert len(set(codes.values())) == 1


def test_a_metric_without_scores_says_that_seeds_alone_count(tmp_path):
    answer = answer_of(write_rmse_study(tmp_path / "s", gain=0.1, keep=False))
    comparison = answer.arms[1].comparison
    assert comparison.retraining is not None
    assert comparison.new_data is None
    assert comparison.words == (
        "helps on this test set; since rmse has no score of single examples, nothing is known about new data"
    )
    sentence = (
        "rmse has no score of single test examples: intervals are over seeds alone, for other trainings on the same"
        " test set, and there is none for new data"
    )
    assert answer.problems == (sentence,)
    assert sentence in markdown(answer)
    assert "95 % interval over seeds" in answer.details[0]


def test_predictions_of_another_metric_of_the_same_name_are_no_scores(tmp_path):
    study = write_rmse_study(tmp_path / "s", gain=0.1, seeds=2)
    for summary in study.rglob("summary.json"):
        text = summary.read_text()
        value = text.partition('"test/rmse": ')[2].partition(",")[0]
        summary.write_text(text.replace(f'"test/rmse": {value}', f'"test/rmse": {float(value) * 1.01}'))
    assert answer_of(study).arms[1].comparison.new_data is None


@each(
    "name, more",
    [("accuracy", True), ("map", True), ("map50", True), ("miou", True), ("dice", True), ("r2", True), ("auroc", True),
     ("micro_f1", True), ("subset_accuracy", True), ("macro_recall", True), ("rmse", False), ("mae", False),
     ("loss", False), ("ece", False), ("log_loss", False), ("error-rate", False), ("WER", False)],
)  # fmt: skip
def test_the_direction_of_a_metric_by_its_name(name, more):
    assert more_is_better(name) is more


def test_a_metric_that_the_user_names_has_a_direction_and_a_unit_of_its_own(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("arm,seed,rmse,map,ece\n" + "".join(f"{a},{s},{3 + s},0.5,0.1\n" for a in "ab" for s in (0, 1)))
    for metric, maximize, percent in (("rmse", False, False), ("map", True, True), ("ece", False, True)):
        found = answer_of(table, baseline="a", metric=f"test/{metric}").metric
        assert (found.name, found.maximize, found.percent) == (metric, maximize, percent)


def test_runs_that_are_judged_by_different_metrics(tmp_path):
    write_rmse_study(tmp_path / "s", gain=0.1, seeds=2)
    write_run(
        tmp_path / "s" / "x" / "seed=0", arm="x", name="x", seed=0, config=config_of(1.0), choices={},
        hits=np.ones(5, bool),
    )  # fmt: skip
    with pytest.raises(UserError, match=r"judged by different metrics \(rmse, accuracy\); choose one with metric=NAME"):
        answer_of(tmp_path / "s")


def test_a_hundred_runs_are_scored_in_little_time():
    """100 runs of 2,000 examples each; a report has two seconds for everything."""
    made = {"classes": classes(2000, 10), "tags": tags(2000), "numbers": numbers(2000)}
    for kind, metric in CASES:
        if metric in BASICS:
            continue
        started = time.process_time()
        for _ in range(10):
            scores(kind, metric, made[kind])
        assert 10 * (time.process_time() - started) < 2.0, (kind, metric)
    assert math.isfinite(scores("classes", "auroc", made["classes"]).sum())
