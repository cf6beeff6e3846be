"""The gap, classes and groups against scikit-learn and loops."""

import numpy as np
import pytest
from helpers.finished_runs import finished_run
from sklearn.metrics import confusion_matrix, mean_absolute_error, recall_score

from mixup_lab.evaluation.gap import Gap
from mixup_lab.evaluation.lens import Unsuited
from mixup_lab.sources.table import Table
from mixup_lab.types import UserError

NAMES = ("cat", "dog", "cow", "elk")
SCALARS = {
    "train_clean/accuracy": 0.99, "val/accuracy": 0.9, "test/accuracy": 0.85,
    "train_clean/loss": 0.05, "val/loss": 0.3, "test/loss": 0.45,
    "train_clean/rmse": 1.0, "val/rmse": 1.5, "test/rmse": 3.0,
}  # fmt: skip


def classes_of(target, answer, **more):
    logits = np.eye(4, dtype=np.float32)[answer]
    return {"test_logits": logits, "test_target": target, "test_id": np.arange(len(target)), **more}


def run_of(folder, arrays, **options):
    return finished_run(folder, arrays=arrays, scalars=SCALARS, names=NAMES, **options)


def measured(run, *others, **settings):
    return Gap(**settings).measure(run, others)


def values(found):
    return {name: score.value for name, score in found.scores.items()}


def test_new_data_are_worse_by_so_much(tmp_path):
    found = measured(run_of(tmp_path, None))
    assert values(found) == pytest.approx({"gap": 0.14, "gap_val": 0.09, "loss_gap": 0.4, "loss_gap_val": 0.25})
    assert next(iter(found.scores)) == "gap"
    assert found.scores["gap"].percent
    assert not found.scores["loss_gap"].percent
    assert "predictions.npz" in found.notes[0]
    numbers = measured(run_of(tmp_path / "numbers", None, kind="numbers", primary=("rmse", False)))
    assert values(numbers) == pytest.approx({"gap": 2, "gap_val": 0.5, "loss_gap": 0.4, "loss_gap_val": 0.25})
    assert not numbers.scores["gap"].percent


def test_recalls_of_classes(tmp_path):
    rng = np.random.default_rng(0)
    target = np.concatenate([rng.integers(0, 3, 200), [3, 3]])  # two elks are too few to be the worst class
    answer = np.where(rng.random(202) < 0.7, target, rng.integers(0, 3, 202))
    answer[-2:] = 0
    found = measured(run_of(tmp_path, classes_of(target, answer)))
    recall = recall_score(target, answer, average=None, labels=range(4))
    assert found.scores["mean_recall"].value == pytest.approx(recall.mean())
    assert found.scores["worst_recall"].value == pytest.approx(recall[:3].min())
    assert found.lines[0].y == pytest.approx(recall)
    assert found.lines[0].x_label == "class (0 cat, 1 dog, 2 cow, 3 elk)"
    digits = run_of(tmp_path / "digits", classes_of(target, answer))
    digits.start["data"]["class_names"] = ["0", "1", "2", "3"]
    assert measured(digits).lines[0].x_label == "class"
    assert measured(run_of(tmp_path / "2", classes_of(target, answer)), least=2).scores["worst_recall"].value == 0


def test_who_gains_and_who_loses_against_the_baseline(tmp_path):
    target = np.repeat([0, 1, 2], 10)
    base = target.copy()
    base[:6] = 1  # 6 cats taken for dogs
    own = target.copy()
    own[:1] = 1  # 1 cat
    own[10:12] = 2  # 2 dogs taken for cows
    run = run_of(tmp_path, classes_of(target, own), arm="mixup")
    other_seed = run_of(tmp_path, classes_of(target, own), seed=5)
    partner = run_of(tmp_path, classes_of(target, base))
    found = measured(run, other_seed, partner)
    assert Gap().companions(run, [other_seed, partner]) == [partner]
    assert found.lines[1].y[:3] == pytest.approx((0.5, -0.2, 0.0))
    assert np.isnan(found.lines[1].y[3])
    gains, confusions = found.notes
    assert "gains for cat +50.0; losses for dog -20.0." in gains
    shift = confusion_matrix(target, own) - confusion_matrix(target, base)
    assert shift[0, 1] == -5
    assert "cat taken for dog: 1 (-5); dog taken for cow: 2 (+2)." in confusions
    assert len(measured(partner, run, other_seed).lines) == 1
    assert len(measured(run, other_seed).lines) == 1


def test_other_test_examples_are_not_compared(tmp_path):
    target = np.repeat([0, 1], 10)
    run = run_of(tmp_path, classes_of(target, target), arm="mixup")
    partner = run_of(tmp_path, classes_of(target, target) | {"test_id": np.arange(20) + 1})
    assert len(measured(run, partner).lines) == 1


def test_tags_and_masks_have_recalls_too(tmp_path):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1, (50, 4)).astype(np.float32)
    target = (rng.random((50, 4)) < 0.4).astype(np.float32)
    tags = measured(
        run_of(tmp_path, {"test_logits": logits, "test_target": target, "test_id": np.arange(50)}, kind="tags")
    )
    np.testing.assert_allclose(tags.lines[0].y, recall_score(target, logits > 0, average=None))

    truth, answer = rng.integers(0, 3, (8, 5, 5)), rng.integers(0, 3, (8, 5, 5))
    confusion = np.stack(
        [confusion_matrix(t.ravel(), a.ravel(), labels=range(4)) for t, a in zip(truth, answer, strict=True)]
    )
    arrays = {"test_confusion": confusion, "test_id": np.arange(8), "test_group": np.array([0] * 5 + [1] * 3)}
    masks = measured(run_of(tmp_path / "masks", arrays, kind="masks"), least=3)
    assert masks.lines[0].y[:3] == pytest.approx(recall_score(truth.ravel(), answer.ravel(), average=None))
    assert masks.scores["mean_recall"].value == pytest.approx(
        recall_score(truth.ravel(), answer.ravel(), average="macro")
    )
    shares = [(truth[rows] == answer[rows]).mean() for rows in (slice(0, 5), slice(5, 8))]
    assert masks.scores["worst_group"].value == pytest.approx(min(shares))


def test_the_worst_group(tmp_path):
    rng = np.random.default_rng(2)
    groups = np.repeat([3, 8, 9], [20, 30, 2])  # two examples are too few
    target, answer = rng.integers(0, 4, 52), rng.integers(0, 4, 52)
    answer[30:50] = target[30:50]
    found = measured(run_of(tmp_path, classes_of(target, answer, test_group=groups)))
    shares = [(target == answer)[groups == g].mean() for g in (3, 8)]
    assert found.scores["worst_group"].value == pytest.approx(min(shares))
    assert "2 groups" in found.scores["worst_group"].about
    truth, prediction = rng.normal(size=(52, 2)), rng.normal(size=(52, 2))
    arrays = {"test_target": truth, "test_prediction": prediction, "test_id": np.arange(52), "test_group": groups}
    numbers = measured(run_of(tmp_path / "n", arrays, kind="numbers", primary=("rmse", False)))
    errors = [mean_absolute_error(truth[groups == g], prediction[groups == g]) for g in (3, 8)]
    assert numbers.scores["worst_group"].value == pytest.approx(max(errors))
    assert numbers.scores["worst_group"].maximize is False
    few = measured(run_of(tmp_path / "few", classes_of(target, answer, test_group=np.arange(52))))
    assert "worst_group" not in few.scores
    assert "No group has 5 test examples" in few.notes[-1]


def test_bad_input_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"lens\.gap\.least must be"):
        Gap(least=0)
    run = finished_run(tmp_path, scalars={"test/accuracy": 1.0})
    with pytest.raises(Unsuited, match="no accuracy of train and test"):
        measured(run)


def test_groups_are_the_values_of_a_column_of_the_table(tmp_path):
    """Rows of 200 people, of whom the old and those of unknown sex are often predicted wrongly."""
    rng = np.random.default_rng(0)
    sex, age = rng.choice(["f", "m", ""], 200), rng.integers(18, 90, 200)
    target, ids = rng.integers(0, 2, 200), rng.permutation(200)[:80]
    lines = [f"{s},{a},{'pq'[t]}" for s, a, t in zip(sex, age, target, strict=True)]
    (tmp_path / "people.csv").write_text("\n".join(["sex,age,y", *lines]) + "\n")
    source = Table(root=str(tmp_path / "people.csv"), target="y", drop=["sex"], cache=False)
    assert source.load().kind.names == ("p", "q")
    runs, right = {}, {}
    for arm, share in (("baseline", 0.9), ("mixup", 0.6)):
        wrong = rng.random(80) < np.where((age[ids] > 60) | (sex[ids] == ""), share, 0.1)
        answer = np.where(wrong, 1 - target[ids], target[ids])
        arrays = {"test_logits": np.eye(2)[answer], "test_target": target[ids], "test_id": ids}
        runs[arm] = finished_run(tmp_path, arm=arm, arrays=arrays, scalars=SCALARS, names=("p", "q"), load=source.load)
        right[arm] = answer == target[ids]
    found = measured(runs["mixup"], runs["baseline"], column="sex")
    right, before = right["mixup"], right["baseline"]
    shares = {name: right[sex[ids] == name].mean() for name in ("", "f", "m")}
    assert found.scores["worst_group"].value == pytest.approx(min(shares.values()))
    (line,) = [line for line in found.lines if "sex" in line.name]
    assert (line.y, line.x_label) == (pytest.approx(tuple(shares.values())), "sex (0 missing, 1 f, 2 m)")
    women = sex[ids] == "f"
    change = 100 * (right[women].mean() - before[women].mean())
    said = f"f {100 * shares['f']:.1f} % ({women.sum()} examples, {change:+.1f} points against the baseline)"
    assert said in found.notes[-1]
    # Many numbers are cut into quarters.
    found = measured(runs["mixup"], column="age")
    edges = np.quantile(age[ids], [0, 0.25, 0.5, 0.75, 1])
    place = np.digitize(age[ids], edges[1:-1])
    (line,) = [line for line in found.lines if "age" in line.name]
    assert line.y == pytest.approx([right[place == k].mean() for k in range(4)])
    assert f"0 {edges[0]:g} to {edges[1]:g}" in line.x_label
    with pytest.raises(UserError, match=r"people.csv has no column weight; its columns are sex, age, y"):
        measured(runs["mixup"], column="weight")
    (tmp_path / "people.csv").write_text("\n".join(["sex,age,y", *lines[1:], lines[0]]) + "\n")
    with pytest.raises(UserError, match="rows or targets in"):
        measured(runs["mixup"], column="sex")
