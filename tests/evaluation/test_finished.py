import pytest
from helpers.finished_runs import finished_run

from mixup_lab.evaluation.finished import baseline
from mixup_lab.types import UserError


def test_the_baseline_has_the_same_seed_data_and_settings(tmp_path):
    slow, fast = {"optimizer": {"lr": 0.01}}, {"optimizer": {"lr": 0.1}, "dataset": {"root": "/elsewhere"}}
    run = finished_run(tmp_path, arm="mixup", seed=1, settings={"optimizer": {"lr": 0.1}, "mix_schedule": {"prob": 2}})
    right = finished_run(tmp_path, arm="baseline", seed=1, settings=fast)
    others = [
        finished_run(tmp_path, arm="baseline-other-data", seed=1, settings=fast, digest="other"),
        finished_run(tmp_path, arm="baseline", seed=2, settings=fast),
        finished_run(tmp_path, arm="baseline-slow", seed=1, settings=slow),
        finished_run(tmp_path, arm="cutmix", seed=1, settings=fast),
    ]
    assert baseline(run, [*others, right]) is right
    assert baseline(run, others) is None  # a learning rate of its own has no baseline
    assert baseline(right, [run, *others]) is None


def test_a_variant_may_differ_in_more_than_the_mixing(tmp_path):
    plain = finished_run(tmp_path, arm="baseline", settings={"model": {"dropout": 0.0}}, variant="none")
    mixed = finished_run(tmp_path, arm="mixup", settings={"model": {"dropout": 0.0}}, variant="mixup")
    dropout = finished_run(tmp_path, arm="baseline-dropout", settings={"model": {"dropout": 0.3}}, variant="dropout")
    assert baseline(dropout, [mixed, plain]) is plain
    assert baseline(mixed, [dropout, plain]) is plain
    assert baseline(plain, [dropout, mixed]) is None


def test_a_configuration_that_cannot_be_read_is_one_sentence(tmp_path):
    run, other = finished_run(tmp_path, arm="mixup"), finished_run(tmp_path)
    (other.run_dir / "config.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"config\.yaml cannot be read"):
        baseline(run, [other])
