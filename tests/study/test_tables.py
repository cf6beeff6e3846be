"""Tables of other trainers: what is read, what is left out, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from mixup_lab.commands.report import answer_of
from mixup_lab.study.analysis import Options
from mixup_lab.study.metric_names import more_is_better, tag
from mixup_lab.study.reading import read_table
from mixup_lab.types import UserError


def analysed(path, arm=None, seed=None, **options):
    return answer_of([path], Options(**options), arm, seed)


def arms(answer):
    return {arm.name: arm for arm in answer.arms}


def write(path, head, row, seeds=range(8), names=("erm", "mixup")):
    """A table with a row for each arm and seed."""
    path.write_text("\n".join([head, *(row(name, seed) for name in names for seed in seeds)]) + "\n")
    return path


def score(name, seed):
    return 0.9 + 0.001 * (seed * 7 % 5) + 0.02 * (name == "mixup")


def test_csv_and_jsonl_give_the_same_answer(tmp_path):
    rows = [
        {"arm": arm, "seed": s, "rmse": round(rmse + s / 10, 3)}
        for arm, rmse in (("a", 3), ("b", 2))
        for s in (0, 1, 2)
    ]
    lines = tmp_path / "t.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = [analysed(lines, baseline="a")]
    for ending, delimiter, start in ((".csv", ",", ""), (".csv", ";", "\ufeff"), (".tsv", "\t", "")):
        table = (tmp_path / "t").with_suffix(ending)
        texts = ["arm,seed,rmse", *(f"{r['arm']},{r['seed']}.0,{r['rmse']}" for r in rows)]
        table.write_text(start + "\n".join(texts).replace(",", delimiter), encoding="utf-8")
        answers.append(analysed(table, baseline="a"))
    assert all(answer.arms == answers[0].arms for answer in answers)
    metric = answers[0].metric
    assert (metric.name, metric.maximize, metric.percent) == ("rmse", False, False)
    np.testing.assert_allclose(arms(answers[0])["b"].comparison.differences, [-1, -1, -1])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("arm,seed\n", "has no rows"),
        ("name,seed,acc\na,0,1\n", "has no column 'arm'; arm=COLUMN chooses one of: name, seed, acc"),
        ("arm,acc,x\na,0,1\n", "has no column 'seed'; seed=COLUMN"),
        ("arm,seed,acc\na,x,1\n", "line 2: seed must be a whole number, got 'x'"),
        ("arm,seed,acc\na,0.5,1\n", "line 2: seed must be a whole number, got '0.5'"),
        ("arm,seed,acc\na,1,1\n,0,1\n", "line 3: arm is missing"),
        ("arm,seed,acc\na,0,1\nb,0,good\n", "line 3: acc must be a number, got 'good'"),
        ("arm,seed,acc\na,0,1\na,0,1\n", "line 3: arm a has seed 0 twice"),
        ("arm,seed,acc\na,0,1,2\n", "line 2: 4 values instead of 3$"),
        ("arm,seed,acc,test_acc,test/accuracy\na,0,1,1,1\n", "columns test_acc and test/accuracy both hold"),
        ("arm,seed,acc\na,0,0.91\nb,0,92\n", r"fractions \(line 2: 0.91\) and percentages \(line 3: 92\)"),
        ("one\nx\n", "seems to have only one column$"),
        ("arm,seed,note\na,0,good\n", "has no column of numbers for a metric; its columns are: note"),
    ],
)
def test_tables_that_are_wrong(tmp_path, text, sentence):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_table(path)


def test_a_value_that_is_missing_costs_its_own_metric_alone(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("arm,seed,accuracy,extra\nerm,0,0.5,1\nerm,1,0.6,nan\nmix,0,nan,2\nmix,1,0.7,\n")
    answer = analysed(path)
    assert arms(answer)["mix"].comparison.seeds == (1,)
    assert answer.problems[0] == "failed: mix seed 0: test accuracy is missing or not a finite number"
    assert arms(analysed(path, metric="extra", maximize=True))["mix"].comparison.seeds == (0,)


def test_columns_of_texts_dates_and_truth_values_are_left_out_with_one_line(tmp_path):
    def row(name, seed):
        return f"run-{seed},finished,2024-03-31T10:00:00,true,{name},{seed},{score(name, seed)}"

    answer = analysed(write(tmp_path / "t.csv", "Name,State,Created,Tuned,arm,seed,accuracy", row), baseline="erm")
    assert [line for line in answer.problems if "left out" in line] == [
        "columns that do not hold numbers are left out: Name, State, Created, Tuned"
    ]
    assert arms(answer)["mixup"].comparison.code == "helps_here"


@pytest.mark.parametrize("spelling", ["accuracy", "acc", "test/accuracy", "test_acc", "metrics.test_acc", "acc/test"])
def test_without_val_scores_the_comparison_stands(tmp_path, spelling):
    path = write(tmp_path / "t.csv", f"arm,seed,{spelling}", lambda name, seed: f"{name},{seed},{score(name, seed)}")
    answer = analysed(path)
    assert (answer.metric.name, answer.metric.percent, answer.choices) == ("accuracy", True, ())
    assert answer.sentence.startswith("mixup helps")
    assert answer.details[0].startswith("test accuracy +2.00 points against the baseline")


def test_without_val_scores_every_arm_has_its_sentence(tmp_path):
    def row(name, seed):
        return f"{name},{seed},{score(name, seed) - (name == 'cutmix') * 0.1 * (1 + seed % 2)}"

    answer = analysed(write(tmp_path / "t.csv", "arm,seed,accuracy", row, names=("erm", "mixup", "cutmix")))
    assert answer.sentence == "mixup helps; cutmix hurts."
    assert [detail.split(" ")[0] for detail in answer.details] == ["mixup", "cutmix", "There"]


def test_percentages_become_fractions_and_a_val_column_makes_a_choice(tmp_path):
    def row(name, seed):
        return f"{name},{seed},{100 * score(name, seed)},{90 + (name == 'mixup')}"

    answer = analysed(write(tmp_path / "t.csv", "arm,seed,test_acc,val_acc", row))
    assert arms(answer)["mixup"].comparison.mean == pytest.approx(0.02)
    assert (answer.metric.percent, len(answer.choices)) == (True, 1)
    assert "test_acc is in percent: its values are divided by 100" in answer.problems


def test_other_columns_for_arm_and_seed(tmp_path):
    row = "{0},{1},{2}".format
    path = write(tmp_path / "t.csv", "params.alpha,params.seed,accuracy", lambda a, s: row(a, s, score("", s) + a / 99),
                 names=(0, 0.4))  # fmt: skip
    answer = analysed(path, arm="params.alpha")
    assert [(arm.name, arm.baseline) for arm in answer.arms] == [("0", None), ("0.4", "0")]
    with pytest.raises(UserError, match=r"arm=alpha is not a column of .*; its columns are: params\.alpha"):
        read_table(path, arm="alpha")


def test_a_column_group_gives_an_interval_for_new_groups(tmp_path):
    rng = np.random.default_rng(0)
    own = {g: rng.normal(0, 0.02) for g in "abcdefghij"}
    lines = [
        f"{name},{seed},{g},{0.8 + (name == 'mix') * (0.03 + own[g]) + rng.normal(0, 0.005)}"
        for name in ("erm", "mix") for seed in range(8) for g in own
    ]  # fmt: skip
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["arm,seed,group,accuracy", *lines]))
    comparison = arms(analysed(path))["mix"].comparison
    values = np.array([float(line.rpartition(",")[2]) for line in lines]).reshape(2, 8, 10)
    np.testing.assert_allclose(comparison.differences, (values[1] - values[0]).mean(1))
    assert comparison.test_examples == 10
    # Crossed random effects by the mean squares of a two-way analysis of variance.
    table = values[1] - values[0]
    ms_seed, ms_group = 10 * table.mean(1).var(ddof=1), 8 * table.mean(0).var(ddof=1)
    rest = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    ms_rest = (rest**2).sum() / (7 * 9)
    half = (comparison.new_data[1] - comparison.new_data[0]) / 2
    assert 2.0 < half / np.sqrt((ms_seed + ms_group - ms_rest) / 80) < 2.4  # t of about 10 degrees of freedom
    path.write_text("\n".join(["arm,seed,group,accuracy", *lines, lines[0]]))
    with pytest.raises(UserError, match="arm erm has group a with seed 0 twice"):
        read_table(path)


@pytest.mark.parametrize(
    ("better", "names"),
    [
        (True, "accuracy acc top1 AUROC mAP mIoU f1 macro_f1 R2 bleu4 PSNR ssim dice balanced_accuracy map50 MCC"),
        (
            False,
            "loss val_loss logloss mlogloss cross_entropy rmse RMSLE sMAPE mae FID eer HD95 hausdorff_distance "
            "perplexity ppl WER error_rate Top1Error brier_score ece dice_loss nll word_distance",
        ),
        (None, "gizmo neg_mean_squared_error negative_log_likelihood n_steps"),
    ],
)
def test_directions(better, names):
    assert {name: more_is_better(name) for name in names.split()} == dict.fromkeys(names.split(), better)


def test_a_direction_that_is_not_known_is_asked_for(tmp_path):
    path = write(tmp_path / "t.csv", "arm,seed,gizmo", lambda name, seed: f"{name},{seed},{score(name, seed)}")
    with pytest.raises(UserError, match=r"is a higher gizmo better, or a lower one.*maximize=true or maximize=false"):
        analysed(path)
    assert arms(analysed(path, maximize=False))["mixup"].comparison.code.startswith("hurts")


def test_tags():
    names = {
        "metrics.test_acc": "test/accuracy", "val_loss": "val/loss", "valid.top_1": "val/top_1", "eval_f1": "val/f1",
        "test/loss/dataloader_idx_0": "test/loss", "train_loss_epoch": "train/loss", "accuracy": "accuracy",
        "Test Accuracy": "test/Accuracy",
        "accented": "accented", "testing": "testing", "accuracy_test": "test/accuracy",
    }  # fmt: skip
    assert {name: tag(name) for name in names} == names


@pytest.mark.parametrize(
    ("name", "arm", "seeds", "gain"),
    [("mlflow", "mixup", 6, 0.0100), ("lightning", "mixup", 6, 0.0100), ("tensorboard", "mixup-a0.4", 3, 0.0130)],
)
def test_exports_of_other_programs(name, arm, seeds, gain):
    """`mlflow.search_runs().to_csv()`, the last rows of Lightning's metrics.csv, and TensorBoard's HPARAMS as CSV."""
    answer = analysed(Path(__file__).parent / "tables" / f"{name}.csv")
    assert (answer.metric.name, answer.metric.percent) == ("accuracy", True)
    (choice,) = answer.choices
    comparison = arms(answer)[arm].comparison
    assert (choice.arm, comparison.seeds) == (arm, tuple(range(seeds)))
    assert comparison.mean == pytest.approx(gain, abs=0.001)


def test_decimal_commas_and_percent_signs(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("arm;seed;accuracy;loss\na;0;91,5%;0,25\nb;0;92,5 %;1,5e-3\n")
    first, second = read_table(path)
    assert first.scalars == {"accuracy": pytest.approx(0.915), "loss": 0.25}
    assert second.scalars == {"accuracy": pytest.approx(0.925), "loss": 0.0015}


def test_scores_on_val_alone_are_no_answer(tmp_path):
    path = write(tmp_path / "t.csv", "arm,seed,val_acc", lambda name, seed: f"{name},{seed},{score(name, seed)}")
    with pytest.raises(UserError, match=r"^no run has a score on test, which decides; there are: val/accuracy$"):
        analysed(path)
