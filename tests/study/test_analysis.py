"""From run directories and tables to an answer: who is paired with whom, and that nothing is dropped in silence."""

import json
import shutil
import statistics
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from helpers.studies import config_of, manifest, write_run, write_study

from mixup_lab.commands import report
from mixup_lab.runs.record import SCHEMA
from mixup_lab.runs.settings import MACHINE_KEYS
from mixup_lab.study.analysis import Options, analyse
from mixup_lab.study.formats import interval
from mixup_lab.study.page import page
from mixup_lab.study.reading import read, read_run
from mixup_lab.study.statistics import crossed_interval
from mixup_lab.types import UserError

RNG = np.random.default_rng(0)


def hits(rate: float, seeds: int = 4, examples: int = 50) -> np.ndarray:
    return RNG.random((seeds, examples)) < rate


def answer_of(*places: Path, **options):
    return analyse(read(places), "study", Options(**options), {})


def by_name(answer):
    return {arm.name: arm for arm in answer.arms}


def test_numbers_agree_with_scipy(tmp_path):
    rows = {0.0: hits(0.7), 0.4: hits(0.9), 1.0: hits(0.6)}
    write_study(tmp_path, rows)
    answer = answer_of(tmp_path)
    assert [arm.name for arm in answer.arms] == ["baseline", "mixup-a0.4", "mixup-a1"]
    assert (answer.metric.name, answer.metric.maximize, answer.metric.percent) == ("accuracy", True, True)
    for alpha in (0.4, 1.0):
        arm = by_name(answer)[f"mixup-a{alpha:g}"]
        expected = rows[alpha].mean(1) - rows[0.0].mean(1)
        comparison = arm.comparison
        assert comparison.seeds == (0, 1, 2, 3)
        np.testing.assert_allclose(comparison.differences, expected, atol=1e-12)
        test = scipy.stats.ttest_1samp(expected, 0).confidence_interval(0.95)
        np.testing.assert_allclose(comparison.retraining, (test.low, test.high), atol=1e-12)
        assert arm.test.mean == pytest.approx(rows[alpha].mean(), abs=1e-12)
        assert arm.test.sd == pytest.approx(statistics.stdev(rows[alpha].mean(1)), abs=1e-12)
        assert comparison.test_examples == 50
    assert answer.axes == {"aug.alpha": (0.0, 0.4, 1.0)}
    assert by_name(answer)["mixup-a1"].cost_ratio == 1.5
    (choice,) = answer.choices
    assert (choice.arm, choice.baseline, choice.block) == ("id1", "id0", "")  # val grows with alpha here
    assert choice.best_epoch == pytest.approx(0.01)
    assert {curve.tag for curve in answer.curves} == {
        "train_clean/accuracy", "train_clean/loss", "val/accuracy", "val/loss",
    }  # fmt: skip


def test_the_choice_never_looks_at_test(tmp_path):
    write_study(
        tmp_path, {0.0: hits(0.7), 0.4: hits(1.0), 1.0: hits(0.1)}, {0: [0.5] * 4, 0.4: [0.4] * 4, 1: [0.6] * 4}
    )
    assert [choice.arm for choice in answer_of(tmp_path).choices] == ["id1"]


def test_missing_pairs_and_failures_are_listed_and_never_imputed(tmp_path):
    rows = {0.0: hits(0.7), 0.4: hits(0.8)}
    write_study(tmp_path, rows)
    shutil.rmtree(tmp_path / "baseline" / "seed=1")
    summary = tmp_path / "mixup-a0.4" / "seed=2" / "summary.json"
    summary.write_text(summary.read_text().replace('"ok"', '"failed"').replace("{", '{"error": "boom",', 1))
    (tmp_path / "mixup-a0.4" / "seed=3" / "summary.json").unlink()
    answer = answer_of(tmp_path)
    arm = by_name(answer)["mixup-a0.4"]
    assert arm.comparison.seeds == (0,)
    assert [cell.status for cell in arm.cells] == ["ok", "ok", "failed", "interrupted"]
    assert [cell.status for cell in by_name(answer)["baseline"].cells] == ["ok", "missing", "ok", "ok"]
    first, *others = answer.problems
    assert first == "failed: mixup-a0.4 seed 2: boom"
    assert "baseline: no result for seed 1: baseline of others" in others
    assert "mixup-a0.4: no result for seed 2, 3 (not finished: 3): no pair" in others
    assert arm.comparison.code == "cannot_tell"


def test_another_axis_gives_each_block_its_own_baseline(tmp_path):
    for decay in (1e-4, 5e-4):
        for alpha in (0.0, 0.4):
            name = "baseline" if alpha == 0 else "mixup-a0.4"
            for seed in (0, 1):
                write_run(
                    tmp_path / f"{name},{decay}" / f"seed={seed}", arm=f"{alpha}-{decay}", name=f"{name},{decay}",
                    seed=seed, config=config_of(alpha, weight_decay=decay),
                    choices={"aug": "mixup" if alpha else "none"}, hits=hits(0.5)[0],
                )  # fmt: skip
    answer = answer_of(tmp_path)
    assert answer.axes == {"optimizer.weight_decay": (1e-4, 5e-4), "aug.alpha": (0.0, 0.4)}
    assert {arm.id: arm.baseline for arm in answer.arms} == {
        "0.0-0.0001": None, "0.0-0.0005": None, "0.4-0.0001": "0.0-0.0001", "0.4-0.0005": "0.0-0.0005",
    }  # fmt: skip
    assert [arm.trials for arm in answer.arms] == [2, 2, 2, 2]
    forced = answer_of(tmp_path, baseline="baseline,0.0005")
    assert {arm.baseline for arm in forced.arms} == {None, "0.0-0.0005"}


def write_blocks(study: Path, blocks: dict[float, dict[float, np.ndarray]], *, best: dict[float, float], twice=False):
    """Blocks by weight decay of arms by alpha with `hits` (seeds, m); `best` on val of each block is this alpha.
    `twice`: arms of two blocks share a name, as in a sweep by hand."""
    for decay, rows in blocks.items():
        for alpha, hit in rows.items():
            mixing = "baseline" if alpha == 0 else f"mixup-a{alpha:g}"
            name = f"{mixing},weight_decay={decay:g}"
            for seed, row in enumerate(hit):
                write_run(
                    study / name / f"seed={seed}", arm=f"{alpha:g}-{decay:g}", name=mixing if twice else name,
                    seed=seed, config=config_of(alpha, weight_decay=decay), choices={}, hits=row,
                    val=(0.9 if alpha == best[decay] else 0.6) + 100 * decay,
                )  # fmt: skip


def of_rate(rate: float, seeds: int = 8, examples: int = 300) -> np.ndarray:
    """Another share of hits in each seed, on average this one."""
    return np.arange(examples) < np.round(examples * (rate + 0.002 * np.arange(seeds)))[:, None]


@pytest.mark.parametrize("twice", [False, True])
def test_every_block_has_an_answer_of_its_own(tmp_path, twice):
    blocks = {
        1e-4: {0.0: of_rate(0.5), 0.4: of_rate(0.9), 1.0: of_rate(0.7)},
        5e-4: {0.0: of_rate(0.9), 0.4: of_rate(0.92), 1.0: of_rate(0.5)},
    }
    write_blocks(tmp_path, blocks, best={1e-4: 0.4, 5e-4: 1.0}, twice=twice)
    answer = answer_of(tmp_path)
    assert [(choice.arm, choice.baseline, choice.block, choice.candidates) for choice in answer.choices] == [
        ("0.4-0.0001", "0-0.0001", "optimizer.weight_decay=0.0001", 2),
        ("1-0.0005", "0-0.0005", "optimizer.weight_decay=0.0005", 2),
    ]
    assert answer.sentence == (
        "With optimizer.weight_decay=0.0001: mixup-a0.4 (best on val of 2 arms) helps."
        " With optimizer.weight_decay=0.0005: mixup-a1 hurts."
    )
    arms = {arm.id: arm for arm in answer.arms}
    for detail, choice, gain in zip(answer.details, answer.choices, ("+40.00", "−40.00"), strict=False):
        new_data = interval(arms[choice.arm].comparison.new_data, answer.metric)
        assert detail == (
            f"With {choice.block}: test accuracy {gain} points against the baseline, paired over 8 seeds;"
            f" 95 % interval for new data {new_data} points."
        )
    assert answer.trend.sentences[1] == "mixup-a1 hurts at weight_decay 0.0005; below it, it helps."
    assert "Without mixing, optimizer.weight_decay=0.0005 is best on val of 2 settings, with accuracy 65.00 %." in (
        answer.details
    )
    assert not any(" by about 0.00" in detail or " by 0.00" in detail for detail in answer.details)
    assert {entry.arm for entry in answer.classes} == {"0.4-0.0001", "1-0.0005"}
    assert [entry.mean for entry in answer.classes] == [pytest.approx(0.4), pytest.approx(-0.4)]
    confirming = analyse(read([tmp_path]), "study", Options(confirm=True), {})
    assert confirming.sentence == answer.sentence.replace("best on val of 2 arms", "the arm to confirm")
    assert not any("on val" in detail or "tried" in detail for detail in confirming.details)
    others = [name for name in by_name(answer) if name.startswith("mixup-a1") and "0.0001" in name]
    assert f"{others[0]}: helps." in confirming.details, "what val did not choose"


@pytest.mark.parametrize("key", sorted(MACHINE_KEYS))
def test_runs_that_differ_in_a_machine_setting_are_compared(tmp_path, key):
    group, _, name = key.rpartition(".")
    for alpha in (0.0, 0.4):
        for seed, row in enumerate(of_rate(0.5, 2)):
            config = config_of(alpha)
            node = config.setdefault(group, {}) if group else config
            node[name] = f"machine {alpha} {seed}"
            write_run(
                tmp_path / str(alpha) / f"seed={seed}", arm=f"id{alpha}", name=f"arm{alpha}", seed=seed, config=config,
                hits=row, choices={"aug": "mixup" if alpha else "none"},
            )  # fmt: skip
    answer = answer_of(tmp_path)
    assert answer.axes == {"aug.alpha": (0.0, 0.4)}
    assert [(arm.name, arm.baseline, len(arm.cells)) for arm in answer.arms] == [
        ("arm0.0", None, 2), ("arm0.4", "id0.0", 2)
    ]  # fmt: skip


def test_a_baseline_is_what_does_not_mix_whatever_its_name(tmp_path):
    """A method of one's own may be called `baseline`; the record of a run says whether it mixes."""
    own = config_of(0.4) | {"aug": {"_target_": "mine.Baseline"}}
    for arm, name, config, aug in (
        ("mixing", "baseline", own, "baseline"),
        ("plain", "plain", config_of(0), "none"),
    ):
        for seed, row in enumerate(of_rate(0.5, 2)):
            write_run(
                tmp_path / arm / f"seed={seed}", arm=arm, name=name, seed=seed, config=config, hits=row,
                choices={"aug": aug},
            )  # fmt: skip
    shutil.rmtree(tmp_path / "mixing" / "seed=1")
    (tmp_path / "mixing" / "seed=1").mkdir()  # a run that failed before it began has no record
    (tmp_path / "mixing" / "seed=1" / "error.log").write_text("no memory\n")
    assert {arm.id: arm.baseline for arm in answer_of(tmp_path).arms if arm.id != "baseline"}["mixing"] == "plain"


def test_a_module_that_moved_makes_no_difference(tmp_path):
    for alpha, module in ((0.0, "old.place"), (0.4, "new")):
        for seed, row in enumerate(of_rate(0.5, 2)):
            config = config_of(alpha) | {"model": {"_target_": f"{module}.Mlp"}}
            name = "mixup-a0.4" if alpha else "baseline"
            write_run(
                tmp_path / name / f"seed={seed}", arm=name, name=name, seed=seed, config=config, hits=row,
                choices={"aug": "mixup" if alpha else "none"},
            )  # fmt: skip
    assert answer_of(tmp_path).axes == {"aug.alpha": (0.0, 0.4)}


def test_how_to_mix_makes_no_block(tmp_path):
    for schedule in (None, "constant", "linear"):
        name = f"mixup-a1,mix_schedule={schedule}" if schedule else "baseline"
        config = config_of(1.0 if schedule else 0.0) | {
            "mix_schedule": {"_target_": f"x.{schedule}", "scales": "alpha"}
        }
        for seed, row in enumerate(of_rate(0.5, 2)):
            write_run(
                tmp_path / name / f"seed={seed}", arm=name, name=name, seed=seed, config=config, hits=row,
                choices={"aug": "mixup" if schedule else "none", "mix_schedule": schedule or "constant"},
            )  # fmt: skip
    answer = answer_of(tmp_path)
    assert answer.axes == {"mix_schedule": (None, "constant", "linear"), "aug.alpha": (0.0, 1.0)}
    assert [arm.baseline for arm in answer.arms] == [None, "baseline", "baseline"]
    assert [choice.candidates for choice in answer.choices] == [2]


def test_many_blocks_are_counted_and_told_one_by_one_below(tmp_path):
    up, down = {0.0: of_rate(0.5), 0.4: of_rate(0.9)}, {0.0: of_rate(0.9), 0.4: of_rate(0.5)}
    same, few = {0.0: of_rate(0.5), 0.4: of_rate(0.5)}, {0.0: of_rate(0.5, 3), 0.4: of_rate(0.6, 3)}
    blocks = {1e-4: up, 2e-4: up, 3e-4: down, 4e-4: same, 5e-4: few, 6e-4: same}
    write_blocks(tmp_path, blocks, best=dict.fromkeys(blocks, 0.4))
    for path in (tmp_path / "mixup-a0.4,weight_decay=0.0006").rglob("summary.json"):
        path.unlink()
    answer = answer_of(tmp_path, min_effect=5)
    assert answer.sentence == (
        "Of 6 settings, mixing helps in 2, hurts in 1, makes no difference larger than 5 points in 1;"
        " cannot tell in 1; no answer yet in 1."
    )
    told = [detail for detail in answer.details if detail.startswith("With optimizer.weight_decay=0.000")]
    assert [detail.partition(": ")[2].partition(";")[0] for detail in told] == [
        "mixup-a0.4 (the only arm) helps", "mixup-a0.4 helps", "mixup-a0.4 hurts",
        "mixup-a0.4 makes no difference larger than 5 points",
        "cannot tell whether mixup-a0.4 helps: it probably helps, but 3 seeds cannot show it",
        "no arm besides the baseline has finished a run.",
    ]  # fmt: skip
    assert "; test accuracy +40.00 points against the baseline, paired over 8 seeds; 95 % interval" in told[0]
    assert len(answer.choices) == 5


def test_several_places_at_once_are_one_study(tmp_path):
    rows = {0.0: hits(0.7), 0.4: hits(0.8)}
    write_study(tmp_path / "whole", rows)
    write_study(tmp_path / "a", {0.0: rows[0.0]})
    write_study(tmp_path / "b", {0.4: rows[0.4]})
    apart = answer_of(tmp_path / "a", tmp_path / "b")
    assert by_name(apart)["mixup-a0.4"].comparison == by_name(answer_of(tmp_path / "whole"))["mixup-a0.4"].comparison
    assert len(read([tmp_path / "a", tmp_path / "a"])) == 4  # a run counts once


def test_arms_that_saw_other_data_are_no_pair(tmp_path):
    write_study(tmp_path, {0.0: hits(0.7), 0.4: hits(0.8)})
    record = tmp_path / "mixup-a0.4" / "seed=1" / "record.jsonl"
    record.write_text(record.read_text().replace("data-1", "other"))
    answer = answer_of(tmp_path)
    assert by_name(answer)["mixup-a0.4"].comparison.seeds == (0, 2, 3)
    assert "mixup-a0.4 seed 1 has other data than its baseline: the pair is left out" in answer.problems


def test_a_note_of_many_runs_comes_once(tmp_path):
    write_study(tmp_path, {0.0: hits(0.7), 0.4: hits(0.8)})
    for seed, note in ((0, "two are left out"), (1, "two are left out"), (2, "one alone")):
        with (tmp_path / "baseline" / f"seed={seed}" / "record.jsonl").open("a") as record:
            record.write(json.dumps({"event": "note", "text": note}) + "\n")
    notes = [problem for problem in answer_of(tmp_path).problems if "left out" in problem or "alone" in problem]
    assert notes == ["two are left out (2 runs)", "one alone"]


@pytest.mark.parametrize("what", ["gone", "cut"])
def test_without_predictions_there_is_no_interval_for_new_data(tmp_path, what):
    write_study(tmp_path, {0.0: hits(0.7), 0.4: hits(0.8)})
    path = tmp_path / "baseline" / "seed=0" / "predictions.npz"
    path.unlink() if what == "gone" else path.write_bytes(path.read_bytes()[:300])
    answer = answer_of(tmp_path)
    comparison = by_name(answer)["mixup-a0.4"].comparison
    assert comparison.new_data is None
    assert comparison.retraining is not None
    assert comparison.code not in ("helps", "hurts")
    assert any("no interval for new data" in problem for problem in answer.problems)


def test_recall_differences_by_hand(tmp_path):
    target = np.array([0] * 10 + [1] * 30)
    for alpha, right in ((0.0, 5), (0.4, 8)):
        row = np.arange(40) % 10 < right
        name = "baseline" if alpha == 0 else "mixup-a0.4"
        for seed in (0, 1):
            write_run(
                tmp_path / name / f"seed={seed}", arm=name, name=name, seed=seed, config=config_of(alpha), choices={},
                hits=row, target=target,
            )  # fmt: skip
    found = {one.name: one for one in answer_of(tmp_path).classes}
    assert found["cat"].mean == pytest.approx(0.3)
    assert found["dog"].mean == pytest.approx(0.3)
    assert (found["cat"].support, found["dog"].support) == (10, 30)


# ---- bad ground ---------------------------------------------------------------------------------------------------


def test_a_record_cut_short_is_read_as_far_as_it_goes(tmp_path):
    write_study(tmp_path, {0.0: hits(0.7, 1)})
    run = tmp_path / "baseline" / "seed=0"
    whole = (run / "record.jsonl").read_text()
    (run / "summary.json").unlink()
    (run / "record.jsonl").write_text(whole[: whole.rindex('{"event": "end"') - 40])
    found = read_run(run)
    assert (found.status, len(found.epochs)) == ("interrupted", 2)
    (run / "record.jsonl").write_text(whole[:20])
    assert read_run(run) is None


def test_records_of_another_schema(tmp_path):
    write_study(tmp_path, {0.0: hits(0.7, 1)})
    record = tmp_path / "baseline" / "seed=0" / "record.jsonl"
    record.write_text(record.read_text().replace(f'"schema": {SCHEMA}', '"schema": 1'))
    with pytest.raises(
        UserError, match=rf"written by another version of mixup-lab \(record schema 1, this version reads {SCHEMA}\)"
    ):
        read([tmp_path])


@pytest.mark.parametrize("line", ['{"event": "start"}', '{"event": "start", "arm": "a", "name": "b", "seed": "x"}'])
def test_a_foreign_record(tmp_path, line):
    (tmp_path / "record.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=r"is not a run of mixup-lab|no readable start"):
        read([tmp_path])


def test_places_without_runs(tmp_path):
    (tmp_path / "x.txt").write_text("")
    for place, sentence in (
        (tmp_path / "no", "does not exist"),
        (tmp_path, "has no runs"),
        (tmp_path / "x.txt", "neither"),
    ):
        with pytest.raises(UserError, match=sentence):
            read([place])


def test_no_baseline_and_unknown_names(tmp_path):
    write_study(tmp_path, {0.4: hits(0.7), 1.0: hits(0.7)})
    with pytest.raises(UserError, match="no arm is a baseline"):
        answer_of(tmp_path)
    assert by_name(answer_of(tmp_path, baseline="mixup-a1"))["mixup-a0.4"].baseline == "id1"
    with pytest.raises(UserError, match=r"baseline=x is not an arm of this study; its arms are: mixup-a0.4, mixup-a1"):
        answer_of(tmp_path, baseline="x")
    with pytest.raises(UserError, match="metric=f1 is not in any finished run"):
        answer_of(tmp_path, baseline="mixup-a1", metric="f1")


def test_one_seed_gives_no_verdict(tmp_path):
    write_study(tmp_path, {0.0: hits(0.2, 1), 0.4: hits(1.0, 1)})
    answer = answer_of(tmp_path)
    assert by_name(answer)["mixup-a0.4"].comparison.code == "cannot_tell"
    assert answer.sentence == "Cannot tell whether mixup-a0.4 (the only arm) helps: one seed."


def test_nothing_finished(tmp_path):
    write_study(tmp_path, {0.0: hits(0.2, 1), 0.4: hits(1.0, 1)})
    for path in tmp_path.rglob("summary.json"):
        path.unlink()
    answer = answer_of(tmp_path)
    assert answer.choices == ()
    assert "no answer yet" in answer.sentence


# ---- looking again ------------------------------------------------------------------------------------------------


def looked_at(root, seeds):
    """A study with so many seeds, at which a report is written."""
    rng = np.random.default_rng(0)
    arms = {0.0: rng.random((24, 200)) < 0.8, 0.4: rng.random((24, 200)) < 0.86}
    for folder in root.glob("*/"):
        shutil.rmtree(folder)
    write_study(root, {alpha: hits[:seeds] for alpha, hits in arms.items()})
    if not (root / "study.json").exists():
        (root / "study.json").write_text(manifest())
    answer = report.answer_of([root], Options())
    return answer, json.loads((root / "study.json").read_text()).get("looks")


def test_each_new_number_of_seeds_is_a_look_and_spends_a_part_of_the_level(tmp_path):
    answer, looks = looked_at(tmp_path, 5)
    assert (looks, answer.arms[1].comparison.counts) == (None, False), "five seeds cannot show anything"
    for seeds, expected, level in ((8, [8], 0.04), (8, [8], 0.04), (12, [8, 12], 0.005), (20, [8, 12, 20], 0.0025)):
        answer, looks = looked_at(tmp_path, seeds)
        assert (looks, answer.arms[1].comparison.level) == (expected, level)
    assert any(line.startswith("This is the third look at this study: p must be at most 0.0025") for line in
               answer.details)  # fmt: skip
    again = report.answer_of([tmp_path, tmp_path], Options())  # several places at once are nobody's study
    assert again.arms[1].comparison.level == 0.04


# ---- groups, splits, and seeds that lie far out ---------------------------------------------------------------------


def rewrite_predictions(root, change):
    """Apply `change(seed, arrays)` to the predictions of every run."""
    for path in root.rglob("predictions.npz"):
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **change(int(path.parent.name.removeprefix("seed=")), arrays))


def test_groups_are_the_units_where_runs_have_them(tmp_path):
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(10), 20)
    easy = rng.random(10)[group] < 0.5  # examples of one group are right or wrong together
    hits = {0.0: np.tile(easy, (8, 1)), 0.4: np.tile(easy, (8, 1)) | (rng.random((8, 200)) < 0.1)}
    write_study(tmp_path, hits)
    plain = by_name(answer_of(tmp_path))["mixup-a0.4"].comparison
    rewrite_predictions(tmp_path, lambda seed, arrays: arrays | {"test_group": group})
    answer = answer_of(tmp_path)
    grouped = by_name(answer)["mixup-a0.4"].comparison
    assert (plain.test_examples, plain.test_groups) == (200, None)
    assert (grouped.test_examples, grouped.test_groups) == (200, 10)
    table = np.array([(hits[0.4][s].astype(int) - hits[0.0][s]).reshape(10, 20).mean(1) for s in range(8)])
    expected = crossed_interval([(np.arange(10), row) for row in table])  # groups of one size: their means
    assert grouped.new_data == pytest.approx((expected.low, expected.high))
    assert grouped.new_data[1] - grouped.new_data[0] > 1.5 * (plain.new_data[1] - plain.new_data[0])
    assert "200 test examples in 10 groups" in page(answer)


def test_the_words_fit_splits_that_each_seed_carves(tmp_path):
    rng = np.random.default_rng(0)
    write_study(tmp_path, {0.0: rng.random((8, 60)) < 0.8, 0.4: rng.random((8, 60)) < 0.85})
    assert not answer_of(tmp_path).carved
    rewrite_predictions(tmp_path, lambda seed, arrays: arrays | {"test_id": arrays["test_id"] + 30 * seed})
    answer = answer_of(tmp_path, min_effect=0.5)
    assert answer.carved
    assert by_name(answer)["mixup-a0.4"].comparison.test_examples == 60 + 7 * 30
    text = page(answer)
    assert "other splits of these data" in text
    for words in ("very same examples", "same test examples", "this test set"):
        assert words not in text


def test_a_small_training_set_that_all_runs_share_is_named(tmp_path):
    write_study(tmp_path, {0.0: of_rate(0.8), 0.4: of_rate(0.9)})
    sentence = "all runs share one small training set (100 examples)"
    for carved, named in ((["val", "test"], False), (["val"], True), ([], True)):
        for path in tmp_path.rglob("record.jsonl"):
            first, _, rest = path.read_text().partition("\n")
            start = json.loads(first)
            start["data"]["carved"] = carved
            path.write_text(f"{json.dumps(start)}\n{rest}")
        assert any(line.startswith(sentence) for line in answer_of(tmp_path).problems) == named


def test_a_seed_that_lies_far_out_is_named(tmp_path):
    rng = np.random.default_rng(1)
    base, mixed = rng.random((8, 400)) < 0.8, rng.random((8, 400)) < 0.82
    write_study(tmp_path / "a", {0.0: base, 0.4: mixed})
    assert not any("lies far" in line for line in answer_of(tmp_path / "a").details)
    mixed[3] = rng.random(400) < 0.1  # this training collapsed
    write_study(tmp_path / "b", {0.0: base, 0.4: mixed})
    (line,) = [line for line in answer_of(tmp_path / "b").details if "lies far" in line]
    assert line.startswith("mixup-a0.4: seed 3 (−")
    assert "8 seeds often miss a collapse" in line


def test_a_confirmation_has_looks_of_its_own(tmp_path):
    """Runs with the seeds 0 to 5 chose; those with 6 to 13 confirm."""
    rng = np.random.default_rng(0)
    hits = {0.0: rng.random((14, 300)) < 0.8, 0.4: rng.random((14, 300)) < 0.9}
    write_study(tmp_path / "s", hits)
    for arm in ("baseline", "mixup-a0.4"):
        for seed in range(6, 14):
            moved = tmp_path / "s" / "confirm" / arm / f"seed={seed}"
            moved.parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "s" / arm / f"seed={seed}").rename(moved)
    for folder in ("s", "s/confirm"):
        (tmp_path / folder / "study.json").write_text(manifest())
    answer = report.answer_of([tmp_path / "s"], Options())
    looks = [json.loads((tmp_path / folder / "study.json").read_text())["looks"] for folder in ("s", "s/confirm")]
    assert looks == [[6], [8]]
    assert answer.confirmed.arms[1].comparison.level == 0.04


def test_a_study_that_cannot_be_written_to_is_read_all_the_same(tmp_path):
    answer, _ = looked_at(tmp_path, 8)
    (tmp_path / ".lock").unlink(missing_ok=True)
    (tmp_path / ".lock").mkdir()  # nobody can open it for writing
    (tmp_path / "study.json").write_text(manifest())
    assert report.answer_of([tmp_path], Options()).arms == answer.arms
