"""What TensorBoard shows of a study: means over seeds with their bands, the dose-response, a row for each arm."""

import dataclasses
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from helpers.processes import CHECKOUT, board_of, board_scalars, environment, files_of
from helpers.studies import manifest, write_study
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from mixup_lab.commands import report
from mixup_lab.study.analysis import Options
from mixup_lab.study.results import Answer, Arm, Cell, Comparison, Curve, Metric, Moments
from mixup_lab.study.tensorboard import write_aggregate
from mixup_lab.types import UserError

EPOCHS = (1, 2, 3)
TAGS = ("train_clean/accuracy", "val/accuracy", "train_clean/loss", "val/loss", "train/loss")


def comparison(mean, low, high):
    return Comparison(
        seeds=(0, 1), differences=(mean, mean), mean=mean, sd=0.01, retraining=(low, high), new_data=None,
        test_examples=100, p=0.5, p_holm=1.0, smallest_p=0.5, code="cannot_tell", words="cannot tell", more_seeds=6,
    )  # fmt: skip


def arm(name, alpha, test, *, aug="mixup", seeds=2, baseline="id-baseline", difference=0.0, **settings):
    cells = tuple(
        Cell(f"id-{name}", seed, "ok", test, test, test, f"{name}/seed={seed}", None, None, {}) for seed in range(seeds)
    )
    compared = None if baseline is None else comparison(difference, difference - 0.02, difference + 0.02)
    sd = 0.01 if seeds > 1 else None
    return Arm(
        id=f"id-{name}", name=name, baseline=baseline, alpha=alpha,
        settings={"aug": aug, "aug.alpha": alpha, **settings}, cells=cells,
        val=Moments(seeds, test - 0.01, sd), test=Moments(seeds, test, sd), comparison=compared,
        seconds_per_epoch=1.0, cost_ratio=1.0, device_seconds=6.0, trials=1,
    )  # fmt: skip


def curves(arm_id, end, epochs=EPOCHS):
    for tag in TAGS:
        mean = tuple(end - 0.3 / epoch + (0.05 if tag.startswith("train_clean") else 0.0) for epoch in epochs)
        low, high = (tuple(value + shift for value in mean) for shift in (-0.02, 0.02))
        yield Curve(arm_id, tag, tuple(epochs), mean, low, high)


def answer_of(*arms, epochs=EPOCHS):
    return Answer(
        study="study", metric=Metric("accuracy", True, True), min_effect=0.005, sentence="", details=(), arms=arms,
        axes={"aug.alpha": (0.0, 0.4)}, choices=(), confirmed=None,
        curves=tuple(curve for a in arms for curve in curves(a.id, a.test.mean, epochs)), classes=(), problems=(),
        settings={"trainer.epochs": 3, "trainer.batch_size": 32, "optimizer.lr": 0.1}, facts={}, commands={},
    )  # fmt: skip


BASELINE = arm("baseline", 0.0, 0.8, aug="none", baseline=None)
MIXUP = arm("mixup-a0.4", 0.4, 0.82, difference=0.02)
ANSWER = answer_of(BASELINE, MIXUP)


@pytest.fixture
def study(tmp_path):
    write_aggregate(ANSWER, tmp_path)
    return tmp_path / "_aggregate"


def record(run_dir: Path, steps: int) -> None:
    run_dir.mkdir(parents=True)
    events = [
        {"event": "start", "time": 1.7e9, "choices": {"dataset": "digits", "aug": "mixup", "experiment": None}},
        *({"event": "epoch", "epoch": e, "step": steps * e, "scalars": {}} for e in EPOCHS),
    ]
    (run_dir / "record.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


def hparams(run_dir):
    content = board_of(run_dir).PluginTagToContent("hparams")
    return {tag: plugin_data_pb2.HParamsPluginData.FromString(data) for tag, data in content.items()}


def charts(run_dir):
    (event,) = board_of(run_dir).Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    return [chart for category in layout.category for chart in category.chart]


def bands(curve):
    return {curve.tag: curve.mean, f"low/{curve.tag}": curve.low, f"high/{curve.tag}": curve.high}


def test_curves_have_the_tags_of_the_runs_and_both_ends_of_the_band(study):
    for one in ANSWER.arms:
        shown = board_scalars(study / one.name)
        for curve in (c for c in ANSWER.curves if c.arm == one.id):
            for tag, values in bands(curve).items():
                assert shown[tag] == [(e, float(np.float32(v))) for e, v in zip(curve.epochs, values, strict=True)]


def test_the_generalisation_gap_is_the_difference_of_the_means(study):
    shown = board_scalars(study / "mixup-a0.4")
    assert [value for _, value in shown["gap/accuracy"]] == pytest.approx([0.05] * 3)
    assert "low/gap/accuracy" not in shown


def test_what_the_study_found_at_the_end(study):
    shown = board_scalars(study / "mixup-a0.4")
    assert shown["test/accuracy"] == [(3, pytest.approx(0.82))]
    assert shown["mean/val_accuracy"] == [(3, pytest.approx(0.81))]
    assert shown["mean/difference"] == [(3, pytest.approx(0.02))]
    # t of one degree of freedom at 97.5 %
    assert shown["high/test/accuracy"] == [(3, pytest.approx(0.82 + 12.7062 * 0.01 / 2**0.5, rel=1e-5))]
    assert shown["low/mean/difference"] == [(3, pytest.approx(0.0, abs=1e-7))]


def test_the_dose_response_has_alpha_as_its_step(study):
    shown = board_scalars(study / "dose_response")
    assert shown["dose_response/test_accuracy"] == [(0, pytest.approx(0.8)), (400, pytest.approx(0.82))]
    assert shown["dose_response/difference"] == [(0, 0.0), (400, pytest.approx(0.02))]
    assert [step for step, _ in shown["high/dose_response/difference"]] == [0, 400]
    about = board_of(study / "dose_response").SummaryMetadata("dose_response/difference").summary_description
    assert "alpha times 1000" in about


def test_every_family_and_size_has_a_dose_response_of_its_own(tmp_path):
    wide = arm("baseline,wide", 0.0, 0.85, aug="none", baseline=None, model="wide")
    arms = [BASELINE, wide, MIXUP, arm("cutmix-a1", 1.0, 0.83, aug="cutmix"), arm("manifold", None, 0.8, aug="other")]
    arms.append(arm("mixup-a0.4,wide", 0.4, 0.86, baseline="id-baseline,wide", model="wide"))
    write_aggregate(answer_of(*arms), tmp_path)
    names = sorted(path.name for path in (tmp_path / "_aggregate").iterdir() if path.name.startswith("dose"))
    assert names == ["dose_response aug=cutmix", "dose_response aug=mixup", "dose_response aug=mixup,model=wide"]
    shown = board_scalars(tmp_path / "_aggregate" / names[2])
    assert shown["dose_response/test_accuracy"] == [(0, pytest.approx(0.85)), (400, pytest.approx(0.86))]


def test_the_charts_are_margins_of_scalars_that_there_are(study):
    found = charts(study / "baseline")
    shown = {name: board_scalars(study / name) for name in ("baseline", "mixup-a0.4")}
    margins = [series for chart in found for series in chart.margin.series]
    assert [series.value for series in margins] == ["mean/val/loss", "mean/val/accuracy"]
    for series in margins:  # TensorBoard calls a run incomplete that has the middle without both ends
        for one in shown.values():
            assert {series.value, series.lower, series.upper} <= set(one)
            assert one[series.value] == one[series.value.removeprefix("mean/")]
        assert series.value not in TAGS, "no run has it"
    assert {tag.removesuffix("$") for chart in found for tag in chart.multiline.tag} == {"gap/accuracy", "gap/loss"}


def test_the_band_of_a_loss_ends_at_0(tmp_path):
    low = dataclasses.replace(next(c for c in ANSWER.curves if c.tag == "val/loss"), low=(-0.3, -0.2, 0.1))
    others = tuple(c for c in ANSWER.curves if (c.tag, c.arm) != (low.tag, low.arm))
    write_aggregate(dataclasses.replace(ANSWER, curves=(*others, low)), tmp_path)
    shown = board_scalars(tmp_path / "_aggregate" / "baseline")
    assert [value for _, value in shown["low/val/loss"]] == [0, 0, pytest.approx(0.1)]


def test_the_table_has_the_columns_in_which_arms_differ(tmp_path):
    wide = arm("mixup-a0.4,wide", 0.4, 0.86, width=2)
    write_aggregate(answer_of(BASELINE, MIXUP, wide), tmp_path)
    (experiment,) = [hparams(tmp_path / "_aggregate" / "baseline")["_hparams_/experiment"].experiment]
    assert [info.name for info in experiment.hparam_infos] == ["arm", "alpha", "aug", "width", "seed"]


def test_one_seed_and_no_finished_run(tmp_path):
    nothing = Moments(0, None, None)
    cut = dataclasses.replace(arm("cut", 1.0, 0.5), test=nothing, val=nothing, comparison=None)
    answer = dataclasses.replace(ANSWER, arms=(arm("one", 0.0, 0.8, baseline=None, seeds=1), cut), curves=())
    write_aggregate(answer, tmp_path)
    shown = board_scalars(tmp_path / "_aggregate" / "one")
    assert shown["low/test/accuracy"] == shown["test/accuracy"] == [(0, pytest.approx(0.8))]
    assert board_scalars(tmp_path / "_aggregate" / "cut") == {}
    write_aggregate(dataclasses.replace(answer, arms=(), curves=()), tmp_path)
    assert not files_of(tmp_path / "_aggregate")


def test_means_lie_at_the_steps_of_the_runs(tmp_path):
    record(tmp_path / "mixup-a0.4" / "seed=1", steps=7)
    write_aggregate(ANSWER, tmp_path)
    folder = tmp_path / "_aggregate"
    assert [step for step, _ in board_scalars(folder / "mixup-a0.4")["val/accuracy"]] == [7, 14, 21]
    events = [event for path in folder.rglob("*tfevents*") for event in EventFileLoader(str(path)).Load()]
    assert {event.wall_time for event in events} == {1.7e9 - 1}
    row = hparams(folder / "mixup-a0.4")["_hparams_/session_start_info"].session_start_info.hparams
    assert (row["dataset"].string_value, row["aug"].string_value) == ("digits", "mixup")
    assert (row["alpha"].number_value, row["epochs"].number_value, row["lr"].number_value) == (0.4, 3, 0.1)
    assert "experiment" not in row


def test_the_same_answer_leaves_the_files_alone_and_another_one_replaces_them(study, tmp_path):
    first = files_of(study)
    assert len(first) == 3
    when = {path: path.stat().st_mtime_ns for path in study.rglob("*tfevents*")}
    write_aggregate(ANSWER, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in study.rglob("*tfevents*")} == when
    better = arm("mixup-a0.4", 0.4, 0.9, difference=0.1)
    write_aggregate(answer_of(BASELINE, better), tmp_path)
    second = {name: content for name, content in files_of(study).items() if content}
    assert set(first) & set(second) == {name for name in first if name.startswith("baseline")}
    assert max(second) > max(first), "the new file sorts behind the old one"
    write_aggregate(answer_of(BASELINE, arm("mixup-a0.4", 0.4, 0.91)), tmp_path)
    assert len(files_of(study)) == 5, "one file for each run, and one emptied for those that changed"
    write_aggregate(answer_of(BASELINE, better), tmp_path)
    assert board_scalars(study / "mixup-a0.4")["test/accuracy"] == [(3, pytest.approx(0.9))]
    write_aggregate(ANSWER, tmp_path / "other")
    assert sorted(files_of(tmp_path / "other" / "_aggregate").values()) == sorted(first.values())
    write_aggregate(answer_of(BASELINE), tmp_path)
    assert sorted(path.name for path in study.iterdir()) == ["baseline"]


def test_a_board_that_is_running_shows_the_new_values_once(study, tmp_path):
    # As the server without its faster half reads: the loader looks at one file after the other.
    board = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    assert [e.step for e in board.GetAccumulator("_aggregate/mixup-a0.4").Tensors("val/accuracy")] == [1, 2, 3]
    longer = answer_of(BASELINE, arm("mixup-a0.4", 0.4, 0.9, difference=0.1), epochs=(1, 2, 3, 4))
    write_aggregate(longer, tmp_path)
    board.AddRunsFromDirectory(str(tmp_path)).Reload()
    shown = board.GetAccumulator("_aggregate/mixup-a0.4").Tensors("val/accuracy")
    expected = next(c.mean for c in longer.curves if c.tag == "val/accuracy" and c.arm == "id-mixup-a0.4")
    assert [(e.step, e.tensor_proto.float_val[0]) for e in shown] == [
        (step, pytest.approx(value)) for step, value in enumerate(expected, 1)
    ]


@pytest.mark.slow
def test_the_table_of_arms_over_http(study, tmp_path):
    line = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path), "--port", "0", "--host", "127.0.0.1",
            "--load_fast", "false"]  # fmt: skip
    with subprocess.Popen(
        line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment()
    ) as server:
        try:
            root = next(word for text in server.stderr for word in text.split() if word.startswith("http://"))
            deadline = time.monotonic() + 20
            while len(_get(f"{root}data/runs")) < 3 and time.monotonic() < deadline:
                time.sleep(0.2)
            request = {"startIndex": 0, "sliceSize": 10, "allowedStatuses": ["STATUS_SUCCESS"], "colParams": [],
                       "includeMetrics": True}  # fmt: skip
            groups = _get(f"{root}data/plugin/hparams/session_groups", request)["sessionGroups"]
        finally:
            server.kill()  # at SIGTERM it may wait for its own threads for ever
    rows = {group["hparams"]["arm"]: {m["name"]["tag"]: m["value"] for m in group["metricValues"]} for group in groups}
    assert rows["mixup-a0.4"]["test/accuracy"] == pytest.approx(0.82)
    assert rows["mixup-a0.4"]["mean/difference"] == pytest.approx(0.02)
    assert rows["baseline"]["mean/difference"] == 0.0
    assert sorted(group["name"] for group in groups) == ["MEAN baseline", "MEAN mixup-a0.4"]
    assert groups[0]["sessions"][0]["name"].startswith("_aggregate/")


def _get(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as reply:
        return json.loads(reply.read())


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "_aggregate").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        write_aggregate(ANSWER, tmp_path)


def test_no_torch_is_imported(tmp_path):
    script = (
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, 'tests')\n"
        "from mixup_lab.study import tensorboard as t\n"
        "import dataclasses\nfrom mixup_lab.study.results import *\n"
        "arm = Arm('a', 'a', None, 0.0, {}, (), Moments(2, 0.5, 0.1), Moments(2, 0.5, 0.1), None, None, None, 0.0, 1)\n"
        "answer = Answer('s', Metric('accuracy', True, True), 0.0, '', (), (arm,), {}, None, None, (), (), (),"
        " {}, {}, {})\n"
        "t.write_aggregate(answer, Path(sys.argv[1]))\nassert 'torch' not in sys.modules\n"
    )
    line = [sys.executable, "-c", script, str(tmp_path)]
    subprocess.run(line, cwd=CHECKOUT, env=environment(), check=True, timeout=60)
    assert (tmp_path / "_aggregate" / "a").is_dir()


def test_a_large_study_is_looked_at_by_its_means(tmp_path):
    """TensorBoard selects no run by itself where there are more than 40."""
    hits = np.ones((19, 4), dtype=bool)
    write_study(tmp_path / "s", {0: hits, 0.4: hits})  # 38 runs and 2 means
    assert report.answer_of([tmp_path / "s"], Options()).commands["look"] == f"tensorboard --logdir {tmp_path}/s"
    write_study(tmp_path / "s", {1: hits[:1]})
    assert report.answer_of([tmp_path / "s"], Options()).commands["look"] == f"tensorboard --logdir {tmp_path}/s"
    (tmp_path / "s" / "study.json").write_text(manifest())
    answer = report.answer_of([tmp_path / "s"], Options())
    assert answer.commands["look"] == f"tensorboard --logdir {tmp_path}/s/_aggregate"
    report.write(answer, tmp_path / "s", aggregate=True)
    assert len(list((tmp_path / "s" / "_aggregate").glob("*/events*"))) == 4  # three arms and the dose-response
