"""`mixup-lab compare`: real studies that are skipped, resumed, extended, refused, cut and killed."""

import html
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.cases import each
from helpers.command_line import in_this_process
from helpers.data_examples import small_folder
from helpers.processes import Started, begin, files_of, lines_of, mixup_lab, summary_of, without_time
from helpers.studies import write_study
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import HydraException
from omegaconf import OmegaConf

from mixup_lab.commands import before
from mixup_lab.commands.compare import _answer, _enough_seeds
from mixup_lab.commands.line import complete
from mixup_lab.commands.plan import jobs_of, make_plan
from mixup_lab.config import identity
from mixup_lab.config.schema import COMPARE_KEYS, parse
from mixup_lab.config.words import config_dir
from mixup_lab.runs import store
from mixup_lab.runs.record import Record
from mixup_lab.study.analysis import Options
from mixup_lab.types import UserError

TINY = ("dataset=fake", "dataset.shape=[1,8,8]", "model=mlp", "model.hidden=[16]", "trainer.batch_size=32",
        "trainer.device=cpu", "trainer.threads=1", "trainer.epochs=2", "study=s")  # fmt: skip
FEW = "7 steps an epoch, 14 in all: lower trainer.batch_size or raise trainer.epochs"


@pytest.fixture
def line(monkeypatch, capsys, tmp_path):
    return in_this_process(monkeypatch, capsys, tmp_path)


def runs_of(study: Path) -> dict[str, dict]:
    """Each finished run by its folder: final scalars but those of time."""
    return {
        str(path.parent.relative_to(study)): without_time(json.loads(path.read_text())["scalars"])
        for path in sorted(study.rglob("summary.json"))
    }


# ---- words --------------------------------------------------------------------------------------------------------


@each(
    "words, hydra, study",
    [
        ([], ["seed=range(8)", "aug=mixup", "aug.alpha=0,0.1,0.2,0.4,1"], "digits-mlp"),
        (["aug.alpha=0.2,1", "seed=range(3)"], ["seed=range(3)", "aug=mixup", "aug.alpha=0,0.2,1"], "digits-mlp"),
        (["aug.alpha=0.0,1"], ["seed=range(8)", "aug=mixup", "aug.alpha=0.0,1"], "digits-mlp"),
        (["aug=none,mixup"], ["seed=range(8)", "aug=none,mixup"], "digits-mlp"),
        (["aug=none", "model=mlp,small_cnn"], ["seed=range(8)", "aug=none", "model=mlp,small_cnn"], "digits-model"),
        (["aug=cutmix"], ["seed=range(8)", "aug.alpha=0,0.1,0.2,0.4,1", "aug=cutmix"], "digits-mlp"),
        # Methods without alpha: the share that is mixed, or the method and none.
        (["aug=resizemix"], ["seed=range(8)", "aug.prob=0,0.25,0.5,1", "aug=resizemix"], "digits-mlp"),
        (["aug=resizemix", "aug.prob=1"], ["seed=range(8)", "aug=resizemix", "aug.prob=0,1"], "digits-mlp"),
        (["aug=noise"], ["seed=range(8)", "aug=none,noise"], "digits-mlp"),
        (["variant=none,cutout"], ["seed=range(8)", "variant=none,cutout"], "digits-mlp"),
        (
            ["experiment=regularizers", "seed=0"],
            ["seed=0", "variant=none,dropout,weight_decay,label_smoothing,early_stopping,cutout", "aug.alpha=0,0.4",
             "experiment=regularizers"],
            "digits-small_cnn-regularizers",
        ),
        (
            ["experiment=regularizers", "seed=0", "variant=none,dropout", "aug.alpha=0,1"],
            ["seed=0", "experiment=regularizers", "variant=none,dropout", "aug.alpha=0,1"],
            "digits-small_cnn-regularizers",
        ),
        (["study=x", "confirm=3", "seed=0"], ["seed=0", "aug=mixup", "aug.alpha=0,0.1,0.2,0.4,1"], "x"),
        (
            ["dataset=image_folder", "dataset.root=/data/My cats"],
            ["seed=range(8)", "aug=mixup", "aug.alpha=0,0.1,0.2,0.4,1", "dataset=image_folder",
             "dataset.root=/data/My cats"],
            "My-cats-mlp",
        ),
        (
            ["dataset=fashion_mnist", "dataset.root=/data/sets", "seed=0", "aug.alpha=1"],
            ["seed=0", "aug=mixup", "dataset=fashion_mnist", "dataset.root=/data/sets", "aug.alpha=0,1"],
            "fashion_mnist-mlp",
        ),
        (
            ["experiment=table_regression", "dataset.root=/data/airfoil", "seed=0", "aug.alpha=1"],
            ["seed=0", "aug=mixup", "experiment=table_regression", "dataset.root=/data/airfoil", "aug.alpha=0,1"],
            "airfoil-mlp-table_regression",
        ),
    ],
)  # fmt: skip
def test_a_line_is_completed(words, hydra, study):
    line = complete(words)
    assert line.overrides == hydra
    assert line.own["study"] == study


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["study=../x"], "study must be a name"),
        (["study="], "study must be a name"),
        (["fail_fast=yes"], "fail_fast must be true or false"),
        (["confirm=-1"], "confirm must be a number of seeds, 0 or more, got -1"),
        (["until=now"], "until must be decided, got now"),
        (["resume=outputs/s/baseline/seed=0"], "resume continues one run; a study goes on by the same line again"),
        (["dataset.fold=1"], "dataset.fold needs dataset.folds=K, and both are whole numbers"),
        (["dataset.folds=5", "dataset.fold=0,5"], "dataset.fold must be 0..4 with dataset.folds=5, got 5"),
        (["dataset.folds=5", "dataset.fold=-1"], "dataset.fold needs dataset.folds=K, and both are whole numbers"),
        (["max_seeds=12"], "max_seeds is for until=decided"),
        (["until=decided", "max_seeds=4"], "max_seeds must be a number of seeds, 8 or more, got 4"),
        (["until=decided", "seed=range(9)"], "until=decided adds seeds by itself; leave out seed="),
    ],
)
def test_a_line_that_is_wrong(words, sentence):
    with pytest.raises(UserError, match=sentence):
        complete(words)


@pytest.mark.parametrize(
    ("words", "seeds"),
    [
        (["dataset.folds=5"], "seed=range(10)"),
        (["dataset.folds=3"], "seed=range(9)"),
        (["dataset.folds=10"], "seed=range(10)"),
        (["dataset.folds=5", "seed=range(5)"], "seed=range(5)"),
        (["dataset.folds=5", "dataset.fold=range(5)"], "seed=0,1,2,3,4"),
        (["dataset.fold=1,4", "dataset.folds=5", "seed=range(2)"], "seed=1,4,6,9"),
        (["dataset.folds=5", "dataset.fold=2"], "seed=2"),
    ],
)
def test_seeds_test_the_folds_in_turn(words, seeds):
    line = complete(["aug=none", *words])
    assert line.overrides == [seeds, "aug=none", "dataset.folds=5" if "dataset.folds=5" in words else words[0]]
    assert not any(word.startswith("dataset.fold=") for word in line.typed)


def test_folds_are_said_before_the_first_run():
    sentence = "dataset.folds=5: seed s tests fold s mod 5, so 5 seeds test every example once"
    words = ["dataset.folds=5", "aug=none"]
    assert before.about_folds(make_plan(["seed=range(10)", *words])) == [sentence]
    uneven = [f"{sentence}; not all folds are tested equally often"]
    assert before.about_folds(make_plan(["seed=range(8)", *words])) == uneven
    assert before.about_folds(make_plan(["seed=range(8)", "aug=none"])) == []


def test_a_plan_names_every_arm_by_what_differs():
    plan = make_plan(["seed=0,1", "aug=mixup", "aug.alpha=0,0.4", "optimizer.weight_decay=0,5e-4", "trainer.epochs=7"])
    assert sorted(plan.names.values()) == [
        "baseline,weight_decay=0", "baseline,weight_decay=0.0005", "mixup-a0.4,weight_decay=0",
        "mixup-a0.4,weight_decay=0.0005",
    ]  # fmt: skip
    assert sorted(plan.cells) == sorted((arm, seed) for arm in plan.names for seed in (0, 1))
    assert plan.axes == ["seed", "aug.alpha", "optimizer.weight_decay"]
    scheduled = make_plan(["seed=0", "aug=mixup", "aug.alpha=0,0.4", "mix_schedule=constant,linear"])
    assert sorted(scheduled.names.values()) == [
        "baseline", "mixup-a0.4,mix_schedule=constant", "mixup-a0.4,mix_schedule=linear",
    ]  # fmt: skip
    assert len(make_plan(["seed=range(3)", "aug=mixup,none", "++aug.alpha=0"]).names) == 1  # the same training


def test_a_value_set_in_a_plan_is_what_hydra_would_compose():
    varied = ["aug=mixup,cutmix", "aug.alpha=0,0.4", "model.hidden=[8],[16,4]", "trainer.clip_grad_norm=null,1.5"]
    overrides = [*varied, "seed=3"]
    plan = make_plan(overrides)
    jobs, _ = jobs_of(overrides)
    assert len(jobs) == 16
    assert len(plan.settings) == 12  # each method with alpha 0 is the baseline
    for words in jobs:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            cfg = compose("compare", overrides=words, return_hydra_config=True)
        choices = dict(cfg.hydra.runtime.choices)
        whole = OmegaConf.create(
            {k: v for k, v in OmegaConf.to_container(cfg).items() if k not in (*COMPARE_KEYS, "hydra")}
        )
        config = parse(whole)
        assert plan.settings[identity.arm(config.resolved, choices)] == identity.settings(config.resolved, choices)
    for word, sentence in (("model.hiden=1,2", "hiden"), ("trainer.epochs.x=1,2", "epochs.x")):
        with pytest.raises(HydraException, match=sentence):
            make_plan([word, "seed=0"])


def test_seeds_and_values_cost_no_compositions_before_the_first_run(line, monkeypatch):
    composed = []
    compositions = ConfigLoaderImpl.load_configuration
    monkeypatch.setattr(
        ConfigLoaderImpl, "load_configuration", lambda *a, **k: (composed.append(1), compositions(*a, **k))[1]
    )
    counts = []
    for seeds, alphas in ((2, "1"), (50, "0.1,0.2,0.3,0.4,1")):
        composed.clear()
        words = ("hydra/launcher=basic", "trainer.batch_size=100000", f"aug.alpha={alphas}", f"seed=range({seeds})")
        code, out, err = line("compare", *TINY, *words)  # the first run fails
        assert (code, err.count("larger than the training split")) == (2, 1)
        assert f" {seeds} seeds, {seeds * (alphas.count(',') + 2)} runs" in out
        counts.append(len(composed))
    assert counts[0] == counts[1] <= 4
    composed.clear()
    words = [word for word in (*TINY, "trainer.batch_size=100000") if not word.startswith("study=")]
    line("train", "-m", *words, "aug=none,mixup", "seed=range(9)", "hydra.sweep.dir=sweep")
    assert len(composed) == 2 + 2 + 18  # Hydra's own, one for each arm, and each run's own


# ---- a study ------------------------------------------------------------------------------------------------------


def test_a_study_from_nothing_to_its_extension(line, tmp_path):
    study = tmp_path / "outputs" / "s"
    code, out, err = line("compare", *TINY, "aug.alpha=0.4", "seed=0,1")
    assert (code, err) == (0, "")
    assert out.startswith("study outputs/s: 2 arms x 2 seeds, 4 runs\n")
    assert len(re.findall(r"^  \d/4  (baseline|mixup-a0.4) seed=[01]  val accuracy [01]\.\d{4}  test", out, re.M)) == 4
    first = runs_of(study)
    assert list(first) == [f"{arm}/seed={seed}" for arm in ("baseline", "mixup-a0.4") for seed in (0, 1)]
    assert {path.name for path in study.iterdir() if path.is_file()} >= {
        "study.json", "report.html", "report.md", "results.csv", "report.json",
    }  # fmt: skip

    # The same line again trains nothing and says the same.
    before = {name: data for name, data in files_of(study).items() if "seed=" in name}
    code, again, _ = line("compare", *TINY, "aug.alpha=0.4", "seed=0,1")
    assert code == 0
    assert again.startswith("study outputs/s: 2 arms x 2 seeds, 4 runs, 4 finished before\n")
    assert again.splitlines()[1:] == [
        text for text in out.splitlines()[1:] if not re.match(r"  \d/4", text) and text != FEW
    ]
    assert out.splitlines().count(FEW) == 1
    assert {name: data for name, data in files_of(study).items() if "seed=" in name} == before

    # More seeds, alphas and a new axis: only what is missing is trained, and arms keep their folders.
    code, out, _ = line("compare", *TINY, "aug.alpha=0.4,1", "seed=0,1,2", "optimizer.lr=0.1,0.01")
    assert code == 0
    assert "6 arms x 3 seeds, 18 runs, 4 finished before" in out
    assert {name: scalars for name, scalars in runs_of(study).items() if name in first} == first
    assert len(runs_of(study)) == 18
    answer = json.loads((study / "report.json").read_text())
    assert answer["axes"] == {"optimizer.lr": [0.1, 0.01], "aug.alpha": [0.0, 0.4, 1.0]}
    blocks = {arm["name"]: arm for arm in answer["arms"]}
    ids = {arm["id"]: arm["name"] for arm in answer["arms"]}
    assert ids[blocks["mixup-a1,lr=0.01"]["baseline"]] == "baseline,lr=0.01"
    assert ids[blocks["mixup-a0.4"]["baseline"]] == "baseline"

    # The same study with another setting is refused, with the difference; nothing is touched.
    before = files_of(study)
    code, out, err = line("compare", *TINY, "seed=0", "trainer.epochs=3", "model.hidden=[8]")
    assert (code, out) == (2, "")
    assert "model.hidden: [16] there, [8] now; trainer.epochs: 2 there, 3 now" in err
    assert err.count("\n") == 1
    assert files_of(study) == before


def test_a_study_equals_runs_by_hand(line, tmp_path):
    assert line("compare", *TINY, "aug.alpha=0.4", "seed=3")[0] == 0
    words = [word for word in TINY if not word.startswith("study")]
    assert line("train", *words, "aug=mixup", "aug.alpha=0.4", "seed=3", "hydra.run.dir=by_hand")[0] == 0
    study, by_hand = summary_of(tmp_path / "outputs/s/mixup-a0.4/seed=3"), summary_of(tmp_path / "by_hand")
    assert without_time(study["scalars"]) == without_time(by_hand["scalars"])
    for key in ("arm", "fingerprint", "seed"):
        assert study[key] == by_hand[key]


def test_a_failed_run_does_not_stop_the_others_and_is_tried_again(line, tmp_path):
    words = [*TINY, "aug.alpha=0.4", "seed=0,1", "optimizer.lr=0.1,1e30", "scheduler=constant"]
    code, out, err = line("compare", *words)
    assert (code, err) == (1, "")
    failed = tmp_path / "outputs/s/mixup-a0.4,lr=1e+30/seed=1"
    assert "failed: 4 runs: the loss is " in out or out.count("failed: the loss is ") >= 4
    assert str(Path("outputs/s/baseline,lr=1e+30/seed=0/error.log")) in out
    assert "the loss is " in (failed / "error.log").read_text().splitlines()[-1]
    assert (
        sum(run["status"] == "ok" for run in map(summary_of, (p.parent for p in tmp_path.rglob("summary.json")))) == 4
    )

    before = len(lines_of(failed))
    code, out, _ = line("compare", *words)
    assert code == 1
    assert "8 runs, 4 finished before" in out
    assert len(lines_of(failed)) > before  # tried again, and what was recorded is still there
    assert (failed / "error.old.log").exists()


def test_fail_fast_stops_at_the_first_failure(line, tmp_path):
    words = [*TINY, "aug.alpha=0.4", "seed=0,1", "optimizer.lr=1e30,0.1", "scheduler=constant", "fail_fast=true"]
    code, _, err = line("compare", *words)
    assert code == 1
    assert "the loss is " in err
    assert len(list(tmp_path.rglob("config.yaml"))) <= 3  # of 8: what ran next to it may have begun
    for record in tmp_path.rglob("record.jsonl"):
        assert not any("fail_fast" in word for word in json.loads(record.read_text().splitlines()[0])["overrides"])


def test_a_mistake_that_all_runs_share_is_said_once(line, tmp_path):
    code, _, err = line("compare", *TINY, "trainer.batch_size=100000")
    assert code == 2
    assert err.count("\n") == 1
    assert "trainer.batch_size=100000 is larger than the training split" in err
    assert not list(tmp_path.rglob("record.jsonl"))
    assert line("compare", *TINY, "aug.alpha=1", "seed=0")[0] == 0  # the mistake does not bind the study


def test_cfg_shows_and_runs_nothing(line, tmp_path):
    code, out, _ = line("compare", "--cfg", "job", "aug.alpha=0.4", "seed=0")
    assert code == 0
    assert "alpha" in out
    assert not any(tmp_path.iterdir())


def test_confirm_uses_fresh_seeds_alone(line, tmp_path):
    code, out, _ = line("compare", *TINY, "aug.alpha=0.4,1", "seed=0,1", "confirm=3")
    assert code == 0
    answer = json.loads((tmp_path / "outputs/s/report.json").read_text())
    (choice,) = answer["choices"]
    winner = next(arm["name"] for arm in answer["arms"] if arm["id"] == choice["arm"])
    assert [arm["name"] for arm in answer["confirmed"]["arms"]] == ["baseline", winner]
    assert answer["confirmed"]["arms"][1]["comparison"]["seeds"] == [2, 3, 4]
    assert "On fresh seeds alone: " in out
    assert len(runs_of(tmp_path / "outputs/s/confirm")) == 6
    again = line("compare", *TINY, "aug.alpha=0.4,1", "seed=0,1", "confirm=3")[1]
    assert again.count("3 finished before") == 2


@pytest.mark.slow
def test_every_block_is_answered_and_confirmed(line, tmp_path):
    study = tmp_path / "outputs/s"
    words = [*TINY, "aug.alpha=0.4,1", "seed=0,1", "dataset.train_size=64,128", "trainer.epochs=1"]
    code, out, _ = line("compare", *words, "confirm=2")
    assert code == 0
    answer = json.loads((study / "report.json").read_text())
    names = {arm["id"]: arm["name"] for arm in answer["arms"]}
    assert [choice["block"] for choice in answer["choices"]] == ["dataset.train_size=64", "dataset.train_size=128"]
    chosen = [(names[choice["baseline"]], names[choice["arm"]]) for choice in answer["choices"]]
    assert [base for base, _ in chosen] == ["baseline,train_size=64", "baseline,train_size=128"]
    assert [name.partition(",")[2] for _, name in chosen] == ["train_size=64", "train_size=128"]

    confirmed = answer["confirmed"]
    assert {arm["name"] for arm in confirmed["arms"]} == {name for pair in chosen for name in pair}
    assert [choice["block"] for choice in confirmed["choices"]] == ["dataset.train_size=64", "dataset.train_size=128"]
    assert [arm["comparison"]["seeds"] for arm in confirmed["arms"] if arm["comparison"]] == [[2, 3], [2, 3]]
    assert set(runs_of(study / "confirm")) == {
        f"{name}/seed={seed}" for pair in chosen for name in pair for seed in (2, 3)
    }
    both = r"With dataset\.train_size=64: .*\. With dataset\.train_size=128: "
    assert re.search(rf"^On fresh seeds alone: {both}", out, re.M)
    assert re.search(rf"^{both}", out, re.M)
    for text in (answer["sentence"], confirmed["sentence"]):
        for name in ("report.md", "report.html"):
            assert text in html.unescape((study / name).read_text()).replace("\xa0", " ")
    assert {path.name for path in (study / "_aggregate").iterdir()} >= set(names.values())

    again = line("compare", *words, "confirm=2")[1]
    assert again.count("2 runs, 2 finished before") == 4
    assert (study / "report.json").read_text() == json.dumps(
        answer, indent=1, sort_keys=True, ensure_ascii=False
    ) + "\n"

    # A block whose winner has no fresh runs, since more arms or seeds moved the choice, is named.
    shutil.rmtree(study / "confirm" / chosen[1][1])
    assert line("report", str(study))[0] == 0
    confirmed = json.loads((study / "report.json").read_text())["confirmed"]
    assert len(confirmed["choices"]) == 1
    waiting = f"With dataset.train_size=128: {chosen[1][1]} and its baseline have no run on fresh seeds"
    assert waiting in confirmed["problems"]


@pytest.mark.slow
def test_variants_are_compared_with_none_of_them(line, tmp_path):
    """Bundles of settings of any group are arms of one study, and may be added to it later."""
    words = ("compare", "dataset=fake", "model=mlp", "trainer.epochs=1", "trainer.batch_size=32", "trainer.threads=1",
             "study=v", "seed=0,1", "hydra/launcher=basic")  # fmt: skip
    assert line(*words, "variant=none,weight_decay,mixup")[0] == 0
    assert line(*words, "variant=none,dropout", "aug=mixup", "aug.alpha=0,0.4")[0] == 0
    answer = json.loads((tmp_path / "outputs" / "v" / "report.json").read_text())
    arms = {arm["name"]: arm for arm in answer["arms"]}
    names = ["baseline", "baseline,dropout", "baseline,weight_decay", "mixup-a0.4", "mixup-a0.4,dropout"]
    assert sorted(arms) == sorted([*names, "mixup-a1,mixup"])
    base = arms.pop("baseline")
    assert base["baseline"] is None
    assert {arm["baseline"] for arm in arms.values()} == {base["id"]}
    assert set(answer["axes"]) == {"variant", "aug.alpha"}
    assert [choice["block"] for choice in answer["choices"]] == [""]


def test_more_blocks_are_confirmed_with_enough_seeds():
    assert [_enough_seeds(blocks) for blocks in (1, 5, 6, 100)] == [8, 8, 9, 13]


# ---- the data -----------------------------------------------------------------------------------------------------

PICTURES = ("dataset=image_folder", "dataset.workers=0", "dataset.cache=false", "model=mlp", "model.hidden=[4]",
            "trainer.batch_size=4", "trainer.device=cpu", "trainer.threads=1", "trainer.epochs=1", "study=s",
            "aug.alpha=1", "seed=0")  # fmt: skip


@pytest.mark.slow
def test_other_data_under_the_name_of_a_study_is_refused(line, tmp_path):
    study = tmp_path / "outputs/s"
    cats, dogs = (small_folder(tmp_path / name, ("train", "val", "test")) for name in ("cats", "dogs"))
    assert line("compare", *PICTURES, f"dataset.root={cats}")[0] == 0
    assert json.loads((study / "study.json").read_text())["roots"] == {"image_folder": str(cats)}
    assert "2 finished before" in line("compare", *PICTURES, "dataset.root=./cats")[1]
    before = files_of(study)
    code, out, err = line("compare", *PICTURES, f"dataset.root={dogs}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"outputs/s holds a study of the data in {cats}, and dataset.root is {dogs} now" in err
    assert "study=NAME" in err
    assert "change roots in outputs/s/study.json" in err
    assert files_of(study) == before

    # The way out that the sentence names; what a confirmation trains is read from the new place too.
    cats.rename(tmp_path / "moved")
    assert line("compare", *PICTURES, "dataset.root=moved")[0] == 2
    path = study / "study.json"
    path.write_text(path.read_text().replace(str(cats), str(tmp_path / "moved")))
    code, out, _ = line("compare", *PICTURES, "dataset.root=moved", "confirm=1")
    assert code == 0
    assert "2 finished before" in out
    assert len(runs_of(study / "confirm")) == 2

    # A study of an earlier version, whose arms have other identities, is left as it is.
    path.write_text(path.read_text().replace(f'"schema": {store.SCHEMA}', '"schema": 1'))
    before = files_of(study)
    code, out, err = line("compare", *PICTURES, "dataset.root=moved")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "study.json was written by another version of mixup-lab" in err
    assert files_of(study) == before


def test_the_folder_of_the_data_is_no_axis(line, tmp_path):
    code, out, err = line("compare", *PICTURES, "dataset.root=cats,dogs")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"dataset.root must have one value in a study, got {tmp_path}/cats and {tmp_path}/dogs" in err
    assert not any(tmp_path.iterdir())


def test_data_sets_that_are_compared_may_lie_apart(tmp_path):
    def enter(roots, axes=("seed",)):
        names = store.enter(tmp_path, {"id": "baseline"}, {"id": {}}, axes, roots)
        store.run_dir(tmp_path, names["id"], 0).mkdir(parents=True, exist_ok=True)
        (store.run_dir(tmp_path, names["id"], 0) / "config.yaml").touch()
        return json.loads((tmp_path / "study.json").read_text())["roots"]

    assert enter({"digits": None}) == {"digits": None}
    with pytest.raises(UserError, match=r"study of the data in no folder, and dataset\.root is /cats now"):
        enter({"cats": "/cats"})
    assert enter({"cats": "/cats"}, ["seed", "dataset"]) == {"digits": None, "cats": "/cats"}
    with pytest.raises(UserError, match=r"study of the data in /cats, and dataset\.root is /dogs now"):
        enter({"digits": None, "cats": "/dogs"}, ["seed", "dataset"])


# ---- cut short ----------------------------------------------------------------------------------------------------

LONG = [*TINY, "dataset.train=4000", "dataset.test=64", "dataset.noise=4", "aug.alpha=0.4", "seed=0,1"]


def compare(folder: Path, *words: str) -> Started:
    return begin("compare", *words, cwd=folder, session=True)


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.mark.slow
def test_an_interrupted_study_goes_on_with_the_same_line(tmp_path):
    words = [*LONG, "trainer.epochs=200", "trainer.checkpoint_seconds=0"]
    run = tmp_path / "outputs/s/baseline/seed=0"
    process = compare(tmp_path, *words)
    wait_for(lambda: (run / "checkpoint.pt").exists())
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "baseline seed=0 stopped in epoch" in err
    assert "resume=" not in err
    assert summary_of(run)["status"] == "interrupted"
    done = lines_of(run)[-1]
    process = compare(tmp_path, *words)
    wait_for(lambda: sum(event["event"] == "start" for event in lines_of(run)) == 2)
    start = [event for event in lines_of(run) if event["event"] == "start"][-1]
    assert start["resumed"] is True
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert done["status"] == "interrupted"


@pytest.mark.slow
def test_two_processes_share_one_study(tmp_path):
    words = [*LONG, "trainer.epochs=15", "seed=0,1,2"]
    both = [compare(tmp_path, *words) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [err for _, err in outputs] == ["", ""]
    mixup_lab("compare", *words, cwd=tmp_path)
    study = tmp_path / "outputs" / "s"
    runs = runs_of(study)
    assert len(runs) == 6
    for name in runs:  # every epoch of every run was trained once, by one of the two
        events = lines_of(study / name)
        assert [event["epoch"] for event in events if event["event"] == "epoch"] == list(range(1, 16))
        assert sum(event["event"] == "start" for event in events) == 1


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_if_nothing_had_been(tmp_path):
    words = [*LONG, "trainer.epochs=40", "trainer.checkpoint_seconds=0"]
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    assert mixup_lab("compare", *words, cwd=tmp_path / "whole").returncode == 0
    chance = random.Random(0)
    study = tmp_path / "cut" / "outputs" / "s"
    finished: set[str] = set()
    for kill in range(8):
        # Side by side in processes of their own, which begin after some seconds, and one after the other.
        launcher, longest = ("slots", 5.0) if kill % 3 == 0 else ("basic", 2.0)
        process = compare(tmp_path / "cut", *words, f"hydra/launcher={launcher}")
        time.sleep(chance.uniform(0.1, longest))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        now = set(runs_of(study)) if study.exists() else set()
        assert finished <= now
        finished = now
    end = mixup_lab("compare", *words, cwd=tmp_path / "cut")
    assert (end.returncode, end.stderr) == (0, "")
    assert runs_of(study) == runs_of(tmp_path / "whole" / "outputs" / "s")
    for name in runs_of(study):
        epochs = [event["epoch"] for event in lines_of(study / name) if event["event"] == "epoch"]
        starts = sum(event["event"] == "start" for event in lines_of(study / name))
        assert sorted(set(epochs)) == list(range(1, 41))
        assert len(epochs) - 40 <= starts - 1  # a kill costs the running epoch, and at most a recorded one


# ---- on disk ------------------------------------------------------------------------------------------------------


def test_a_damaged_or_foreign_study_file_is_refused(line, tmp_path):
    study = tmp_path / "outputs" / "s"
    assert line("compare", *TINY, "aug.alpha=1", "seed=0")[0] == 0
    for text, sentence in (("{", "is damaged: it is not JSON"), ('{"schema": 99}', "another version of mixup-lab")):
        (study / "study.json").write_text(text)
        code, _, err = line("compare", *TINY, "aug.alpha=1", "seed=0")
        assert (code, err.count("\n")) == (2, 1)
        assert sentence in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_study_that_cannot_be_written(line, tmp_path):
    (tmp_path / "outputs").mkdir(mode=0o500)
    code, _, err = line("compare", *TINY)
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot write outputs/s/.lock" in err


def test_names_are_safe_for_folders():
    assert store.safe_name("a/b c*:d") == "a-b-c-d"
    assert len(store.safe_name("x" * 500)) == 120


@pytest.mark.slow
def test_seeds_are_added_until_every_arm_is_decided(line, tmp_path):
    words = ("until=decided", "max_seeds=16", "dataset=digits", "dataset.train_size=150", "trainer.epochs=12",
             "trainer.batch_size=16", "aug.alpha=0,0.001,1", "min_effect=1", "study=s")  # fmt: skip
    code, out, err = line("compare", *words)
    assert code == 0, err
    study = tmp_path / "outputs" / "s"
    counts = [len(list((study / arm).glob("seed=*/summary.json"))) for arm in ("mixup-a0.001", "mixup-a1", "baseline")]
    looks = json.loads((study / "study.json").read_text())["looks"]
    assert counts == [8, looks[-1], looks[-1]]
    assert looks in ([8, 12], [8, 12, 16])
    assert "after 8 seeds: mixup-a0.001: no difference; more seeds for mixup-a1\n" in out
    assert f": {sum(counts)} runs instead of 48, {1 - sum(counts) / 48:.0%} saved" in out
    level = {2: 0.005, 3: 0.0025}[len(looks)]
    assert f"look at this study: p must be at most {level}, since" in out
    answer = json.loads((study / "report.json").read_text())
    levels = {arm["name"]: arm["comparison"]["level"] for arm in answer["arms"] if arm["comparison"]}
    assert levels == {"mixup-a0.001": 0.04, "mixup-a1": level}
    assert line("compare", *words)[0] == 0
    assert json.loads((study / "study.json").read_text())["looks"] == looks, "nothing new was looked at"


@pytest.mark.slow
def test_the_runs_of_another_process_are_waited_for_and_those_that_it_leaves_are_trained(tmp_path):
    words = (*TINY, "aug.alpha=0,1", "seed=0", "hydra/launcher=basic")
    run_dir = tmp_path / "outputs" / "s" / "mixup-a1" / "seed=0"
    other = Record(run_dir)  # as another process has it: locked, and not begun
    started = begin("compare", *words, cwd=tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        started.wait(timeout=15)
    assert not (tmp_path / "outputs" / "s" / "report.html").exists()
    other.close()
    out, err = started.communicate(timeout=60)
    assert (started.returncode, err) == (0, "")
    assert "1 run is being trained by another process, and waited for" in out.splitlines()
    assert summary_of(run_dir)["status"] == "ok"
    assert "no result for" not in out


def test_more_seeds_are_proposed_with_their_time(tmp_path, monkeypatch):
    """Runs of 7.5 s each, as their records have it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    write_study(tmp_path / "s", {0: rng.random((4, 200)) < 0.5, 0.4: rng.random((4, 200)) < 0.52})
    answer = _answer(complete(["study=s", "aug.alpha=0,0.4", "seed=range(4)"]), tmp_path / "s", Options())
    seeds = int(re.search(r"seed=range\((\d+)\)", answer.commands["extend"])[1]) - 4
    runs = 2 * seeds
    minutes = runs * 7.5 / 60
    said = f"{seeds} more seeds are {runs} runs: about {minutes:.0f} min, one run after the other."
    assert said in answer.details
