"""Models that have not learnt enough: made-up curves, and real trainings that are too short or long enough."""

import json

import numpy as np
import pytest
from helpers.command_line import in_this_process
from helpers.studies import write_study

from mixup_lab.commands.report import answer_of
from mixup_lab.study.analysis import Options
from mixup_lab.study.learning import obstacle, still_improving
from mixup_lab.study.reading import Run


def saturating(epochs, scale, end=0.9, start=0.1, noise=0.0, seed=0):
    """A curve that comes nearer to its end by a factor of e every `scale` epochs."""
    curve = end - (end - start) * np.exp(-np.arange(1, epochs + 1) / scale)
    return list(curve + noise * np.random.default_rng(seed).normal(size=epochs))


@pytest.mark.parametrize(
    ("epochs", "scale", "expected"),
    [(20, 2, False), (20, 4, False), (20, 10, True), (20, 40, True), (100, 20, False), (100, 60, True), (3, 0.2, False),
     (3, 2, True), (2, 2, True), (1, 5, False)],
)  # fmt: skip
def test_curves_without_noise(epochs, scale, expected):
    assert still_improving(saturating(epochs, scale), 0.1) == expected


def test_a_line_is_still_improving_and_a_plateau_is_not():
    assert still_improving(list(np.linspace(0.2, 0.6, 20)), 0.1)
    assert not still_improving([0.5] * 20, 0.1)
    assert not still_improving(list(np.linspace(0.9, 0.7, 20)), 0.1), "it gets worse"
    steps = [0.5] * 8 + [0.8] * 4  # as after a step of the learning rate
    assert not still_improving(steps, 0.1)


def test_noise_seldom_looks_like_learning():
    """A val set of 200 examples: the standard error of an accuracy of 0.9 is 0.02."""
    found = [still_improving(saturating(20, 2, noise=0.02, seed=s), 0.1) for s in range(400)]
    assert np.mean(found) < 0.2  # in more than half of 8 runs: less than one study in 100


def study(root, curve, *, trivial=0.5, linear=None, test=0.9, metric="accuracy"):
    """A study of 8 seeds and one arm that is better by 0.05, each run with this curve on val."""
    rng = np.random.default_rng(0)
    write_study(root, {0.0: rng.random((8, 200)) < test, 0.4: rng.random((8, 200)) < test + 0.05})
    for path in root.rglob("record.jsonl"):
        events = [json.loads(line) for line in path.read_text().splitlines()]
        start = [event for event in events if event["event"] == "start"]
        end = [event for event in events if event["event"] not in ("start", "epoch")]
        epochs = [
            {"event": "epoch", "epoch": k + 1, "step": k + 1, "seconds": 1.0, "scalars": {f"val/{metric}": value}}
            for k, value in enumerate(curve)
        ]
        path.write_text("".join(json.dumps(event) + "\n" for event in [*start, *epochs, *end]))
    for path in root.rglob("summary.json"):
        summary = json.loads(path.read_text())
        summary["scalars"] |= {f"trivial/{metric}": trivial} | ({f"linear/{metric}": linear} if linear else {})
        path.write_text(json.dumps(summary))
    return answer_of([root], Options())


def test_a_study_that_has_learnt_has_a_verdict(tmp_path):
    answer = study(tmp_path, saturating(20, 2))
    assert answer.obstacles == {}
    assert answer.sentence.startswith("mixup-a0.4 (the only arm) helps")
    (trivial,) = answer.references
    assert (trivial.key, trivial.name, trivial.test.mean) == ("trivial", "always the largest class", 0.5)


def test_curves_that_still_rise_give_no_verdict(tmp_path):
    answer = study(tmp_path, saturating(20, 20))
    assert answer.sentence == (
        "No verdict: val accuracy was still rising when training ended, in 16 of 16 runs; train longer"
        " (trainer.epochs=40 instead of 20)."
    )
    comparison = answer.arms[1].comparison
    assert (comparison.code, comparison.words, comparison.more_seeds) == ("no_verdict", "no verdict", None)
    assert comparison.mean == pytest.approx(0.05, abs=0.02), "the numbers stay"
    assert not any(word in answer.sentence + " ".join(answer.details) for word in ("helps", "hurts", "more seeds"))


def test_a_baseline_that_is_no_better_than_the_largest_class_gives_no_verdict(tmp_path):
    answer = study(tmp_path, saturating(20, 2), trivial=0.92)
    assert answer.sentence.startswith("No verdict: the baseline (accuracy 8")
    assert "is not better than answering always the largest class (92.00 %); train longer" in answer.sentence


def test_a_baseline_whose_seeds_differ_too_much_is_not_clearly_better(tmp_path):
    answer = study(tmp_path, saturating(20, 2), trivial=0.92)
    runs = [Run("a", "a", seed, "ok", {"test/accuracy": score, "trivial/accuracy": 0.1}, False)
            for seed, score in enumerate((0.47, 0.87))]  # fmt: skip
    said = obstacle(runs, [], answer.metric)
    assert said is not None
    assert said.startswith("the baseline (accuracy 67.00 %) is not clearly better than an answer that ignores")


def test_without_val_scores_there_is_no_verdict_either(tmp_path):
    study(tmp_path, saturating(20, 2), trivial=0.92)
    for path in tmp_path.rglob("summary.json"):
        summary = json.loads(path.read_text())
        del summary["scalars"]["val/accuracy"]
        path.write_text(json.dumps(summary))
    answer = answer_of([tmp_path], Options())
    assert answer.choices == ()
    assert answer.sentence.startswith("No verdict: the baseline (accuracy 8")


def test_a_linear_model_that_is_better_is_named(tmp_path):
    answer = study(tmp_path / "a", saturating(20, 2), linear=0.97)
    assert answer.obstacles == {}
    assert any("A linear model is better than the baseline (test accuracy 97.00 %)" in line for line in answer.details)
    assert [reference.name for reference in answer.references] == ["always the largest class", "linear model"]
    worse = study(tmp_path / "b", saturating(20, 2), linear=0.8)
    assert not any("linear" in line for line in worse.details)


@pytest.mark.parametrize(("epochs", "enough"), [(3, False), (40, True)])
def test_real_trainings(monkeypatch, capsys, tmp_path, epochs, enough):
    line = in_this_process(monkeypatch, capsys, tmp_path)
    code, _, err = line("compare", "dataset=digits", "dataset.train_size=150", "trainer.batch_size=16", "seed=0,1",
                        f"trainer.epochs={epochs}", "aug.alpha=0,1", "study=s", "hydra/launcher=basic")  # fmt: skip
    assert code == 0, err
    answer = json.loads((tmp_path / "outputs" / "s" / "report.json").read_text())
    assert (answer["obstacles"] == {}) == enough
    assert answer["sentence"].startswith("No verdict: val accuracy was still rising") != enough
