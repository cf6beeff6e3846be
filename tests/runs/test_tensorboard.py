"""What TensorBoard shows of a sweep: the same as the records, and every run once."""

import numpy as np
import pytest
from helpers.processes import (
    FAKE,
    assert_board_agrees_with_record,
    board_of,
    board_pictures,
    events_with,
    files_of,
    mixup_lab,
    summary_of,
)
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

ARMS = ("baseline", "mixup-a0.4")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two alphas, two seeds."""
    folder = tmp_path_factory.mktemp("sweep")
    words = [*FAKE, "aug.alpha=0,0.4", "seed=0,1", "trainer.epochs=3", "hydra.sweep.dir=study"]
    done = mixup_lab("train", "-m", *words, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "study"


@pytest.fixture(scope="module")
def runs(study):
    return sorted(path.parent for path in study.rglob("summary.json"))


@pytest.fixture(scope="module")
def mixed(runs):
    return next(path for path in runs if path.parent.name.startswith("mixup-a0.4") and path.name == "seed=1")


def _hparams(run_dir):
    content = board_of(run_dir).PluginTagToContent("hparams")
    return {tag: plugin_data_pb2.HParamsPluginData.FromString(data) for tag, data in content.items()}


def test_a_directory_holds_what_the_design_says_and_no_more(runs):
    assert len(runs) == 4
    for run_dir in runs:
        names = sorted(name if "tfevents" not in name else "events" for name in files_of(run_dir))
        assert names == ["checkpoint.pt", "config.yaml", "events", "predictions.npz", "record.jsonl", "summary.json"]


def test_scalars_are_those_of_the_record_at_the_same_steps(runs):
    for run_dir in runs:
        assert_board_agrees_with_record(run_dir)
        assert board_of(run_dir).Scalars("test/accuracy")[-1].step == 3 * 7


def test_runs_are_listed_once_by_arm_and_seed(study, runs):
    shown = EventMultiplexer().AddRunsFromDirectory(str(study)).Reload().Runs()
    assert sorted(shown) == sorted(str(path.relative_to(study)) for path in runs)
    assert sorted((name.split(",")[0], name.split("/")[1]) for name in shown) == [
        (arm, f"seed={seed}") for arm in ARMS for seed in (0, 1)
    ]


def test_hparams_have_one_finished_session_for_each_run(runs):
    for run_dir in runs:
        found = _hparams(run_dir)
        assert set(found) == {f"_hparams_/{part}" for part in ("experiment", "session_start_info", "session_end_info")}
        assert all(events_with(run_dir, tag) == 1 for tag in found)
        assert found["_hparams_/session_end_info"].session_end_info.status == api_pb2.STATUS_SUCCESS
        start = found["_hparams_/session_start_info"].session_start_info.hparams
        assert start["arm"].string_value == summary_of(run_dir)["name"]
        assert start["alpha"].number_value == (0.4 if "mixup" in run_dir.parent.name else 0.0)
        assert start["seed"].number_value == int(run_dir.name[-1])
        group = found["_hparams_/session_start_info"].session_start_info.group_name
        assert group.startswith(f"{run_dir.parent.name} {run_dir.name}")
        metrics = {m.name.tag for m in found["_hparams_/experiment"].experiment.metric_infos}
        assert metrics <= set(board_of(run_dir).Tags()["scalars"])
        columns = [info.name for info in found["_hparams_/experiment"].experiment.hparam_infos]
        assert columns == ["arm", "dataset", "model", "transform", "aug", "alpha", "epochs", "batch_size", "seed"]


def test_the_chosen_charts_are_of_scalars_that_there_are(mixed):
    (event,) = board_of(mixed).Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    tags = [tag for category in layout.category for chart in category.chart for tag in chart.multiline.tag]
    assert tags[0] == "val/accuracy"
    assert set(tags) <= set(board_of(mixed).Tags()["scalars"])


def test_all_runs_have_the_same_hparams(runs):
    keys = {frozenset(_hparams(path)["_hparams_/session_start_info"].session_start_info.hparams) for path in runs}
    assert len(keys) == 1


def test_the_histogram_of_lam_counts_every_example_of_every_epoch(mixed):
    events = board_of(mixed).Histograms("mix/lam")
    lam_means = board_of(mixed).Scalars("mix/lam_mean")
    assert [event.step for event in events] == [7, 14, 21]
    for event, lam_mean in zip(events, lam_means, strict=True):
        values = event.histogram_value
        assert values.num == sum(values.bucket) == 7 * 32
        assert (values.min, values.max) == (0, 1)
        np.testing.assert_allclose(values.bucket_limit, np.arange(1, 21) / 20, rtol=1e-6)
        assert all(count % 32 == 0 for count in values.bucket), "one lam for each batch"
        middle = np.average(np.arange(20) / 20 + 0.025, weights=values.bucket)
        assert middle == pytest.approx(lam_mean.value, abs=0.025)


def test_the_baseline_has_lam_one(runs):
    (event, *_) = board_of(runs[0]).Histograms("mix/lam")
    assert "baseline" in str(runs[0])
    assert event.histogram_value.bucket[-1] == 7 * 32


def test_the_bars_of_label_mass_have_one_bar_for_each_class(mixed):
    for event in board_of(mixed).Histograms("mix/label_mass"):
        values = event.histogram_value
        assert (values.min, values.bucket_limit) == (0, [1, 2, 3, 4])
        assert sum(values.bucket) == pytest.approx(values.num) == pytest.approx(1)


def test_the_picture_of_a_mixed_batch(mixed):
    (sheet,) = board_pictures(mixed, "mix/batch")
    assert sheet.format == "PNG"
    assert sheet.mode == "RGB"
    assert 300 < sheet.width < 1000
    assert 300 < sheet.height < 1000
    assert len(np.unique(np.asarray(sheet)[20:180, 20:180])) > 10, "the first picture shows something"


def test_the_configuration_is_shown_as_text(mixed):
    (event,) = board_of(mixed).Tensors("config/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    config = (mixed / "config.yaml").read_text()
    assert "aug=mixup" in text.splitlines()[0]
    assert [line.removeprefix("    ") for line in text.splitlines()[2:]] == config.splitlines()
