"""`hydra/sweeper=optuna`: real searches with short runs."""

import fcntl
import json
import subprocess
import sys
from unittest.mock import ANY

import pytest
from helpers.command_line import in_this_process
from helpers.processes import fresh, without_time

optuna = pytest.importorskip("optuna")

from helpers.trainings import Training  # noqa: E402
from hydra_plugins.mixup_lab_optuna._search import Search  # noqa: E402
from hydra_plugins.mixup_lab_optuna._settings import Settings  # noqa: E402
from optuna.trial import TrialState  # noqa: E402

from mixup_lab.training.stop import Pruned, ask_to_stop  # noqa: E402

FAKE = ("dataset=fake", "dataset.shape=[1,8,8]", "model=mlp", "model.hidden=[16]", "trainer.batch_size=32",
        "trainer.device=cpu", "trainer.threads=1", "trainer.progress=none", "trainer.malloc=default")  # fmt: skip
SEARCH = ("train", "-m", "hydra/sweeper=optuna", "hydra.sweep.dir=search")


class Searches:
    """Searches in one folder, and what they leave there."""

    def __init__(self, line, folder):
        self.line, self.folder = line, folder / "search"

    def __call__(self, *words, epochs=1):
        code, out, err = self.line(*SEARCH, *FAKE, f"trainer.epochs={epochs}", *words)
        return code, out, err

    def ok(self, *words, epochs=1, err=""):
        code, out, said = self(*words, epochs=epochs)
        assert (code, said) == (0, err)
        return out

    @property
    def study(self):
        backend = optuna.storages.journal.JournalFileBackend(str(self.folder / "optuna.journal"))
        return optuna.load_study(study_name="mixup-lab", storage=optuna.storages.JournalStorage(backend))

    @property
    def trials(self):
        return self.study.trials

    def run_dirs(self):
        return sorted(path.parent for path in self.folder.rglob("record.jsonl"))

    def summary(self, run_dir):
        return json.loads((run_dir / "summary.json").read_text())


@pytest.fixture
def search(monkeypatch, capsys, tmp_path):
    return Searches(in_this_process(monkeypatch, capsys, tmp_path), tmp_path)


def test_choices_intervals_and_whole_numbers(search):
    words = ("aug=none,mixup", "optimizer.lr=tag(log,interval(1e-4,1e-1))", "dataset.val_fraction=interval(0.1,0.3)",
             "model.hidden=[16],[8,8]", "seed=3", "trainer.accumulate=range(1,3)")  # fmt: skip
    out = search.ok("hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=2", *words)
    trials = search.trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 6
    assert len(search.run_dirs()) == 6
    for trial, run_dir in zip(trials, search.run_dirs(), strict=True):
        assert run_dir.parent.name.startswith(f"trial={trial.number:03},aug=")
        assert run_dir.name == "seed=3"
        summary = search.summary(run_dir)
        assert trial.value == summary["scalars"]["val/accuracy"], "never test"
        start = json.loads((run_dir / "record.jsonl").read_text().splitlines()[0])
        assert set(trial.user_attrs["words"]) <= set(start["overrides"])
        assert 1e-4 <= trial.params["optimizer.lr"] <= 1e-1
        assert trial.params["trainer.accumulate"] in (1, 2)
        assert trial.intermediate_values == {1: trial.value}
    distributions = trials[0].distributions
    assert distributions["optimizer.lr"].log
    assert not distributions["dataset.val_fraction"].log
    assert distributions["model.hidden"].choices == ("[16]", "[8,8]")
    assert sum(trial.params["optimizer.lr"] < 3e-3 for trial in trials) > 0, "as often below as above on a log scale"
    best = max(trials, key=lambda trial: trial.value)
    assert f"best of 6 trials: trial {search.study.best_trial.number}, {best.value:.4f} on val" in out
    (told,) = (line for line in out.splitlines() if line.startswith("  mixup-lab compare"))
    assert told.startswith("  mixup-lab compare dataset=fake 'dataset.shape=[1,8,8]' ")
    assert out.splitlines()[-1] == "report  mixup-lab report search"
    assert "seed=" not in told
    assert all(
        word in told.replace("'", "") for word in search.study.best_trial.user_attrs["words"] if "aug" not in word
    )


def test_a_grid_has_every_combination_once_and_goes_on(search):
    words = ("hydra.sweeper.sampler=grid", "optimizer.lr=0.1,0.01", "aug=none,mixup")
    search.ok(*words, "hydra.sweeper.n_trials=3")
    first = {path: path.stat().st_mtime_ns for path in search.folder.rglob("summary.json")}
    assert len(first) == 3
    out = search.ok(*words)
    assert "best of 4 trials" in out
    assert [tuple(trial.params.values()) for trial in search.trials] == [
        ("0.1", "none"), ("0.1", "mixup"), ("0.01", "none"), ("0.01", "mixup")
    ]  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert len(search.run_dirs()) == 4
    assert search.ok(*words).splitlines()[-1].startswith("  mixup-lab compare")
    assert len(search.trials) == 4


def test_a_search_that_was_killed_tries_that_trial_again_and_adds_what_is_missing(search):
    words = ("aug=mixup", "aug.alpha=interval(0,1)")
    search.ok(*words, "hydra.sweeper.n_trials=2")
    left = search.study.ask(search.trials[0].distributions)  # as a process that is killed now leaves it
    left.set_user_attr("words", [f"aug.alpha={left.params['aug.alpha']:.6g}"])
    search.ok(*words, "hydra.sweeper.n_trials=4")
    trials = search.trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert trials[3].params == trials[2].params
    assert len({trial.params["aug.alpha"] for trial in trials}) == 4, "other suggestions than in the first part"
    assert len(search.run_dirs()) == 4


def test_settings_that_were_tried_are_not_trained_again(search):
    out = search.ok("hydra.sweeper.sampler=random", "aug=none,mixup", "hydra.sweeper.n_trials=6")
    assert len(search.run_dirs()) == 2
    assert out.count("is the same as trial") == 4
    assert len({(trial.params["aug"], trial.value) for trial in search.trials}) == 2


def test_a_failed_trial_does_not_stop_the_others(search):
    code, out, err = search("hydra.sweeper.sampler=grid", "optimizer.lr=1e30,0.1", epochs=2)
    assert code == 0
    assert [trial.state for trial in search.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert "the loss is" in err
    assert "best of 2 trials (1 failed): trial 1" in out


def test_a_line_with_which_every_trial_fails_is_given_up(search):
    code, out, err = search("aug=mixup", "aug.alpha=interval(-2,-1)")
    assert code == 2
    assert [trial.state for trial in search.trials] == [TrialState.FAIL] * 3
    assert "aug.alpha" in err
    assert out == ""


def test_a_hopeless_run_is_ended_early(search):
    words = ("hydra.sweeper.sampler=grid", "hydra.sweeper.pruner=median", "hydra.sweeper.pruner_startup_trials=2",
             "optimizer.lr=0.2,0.1,1e-9", "dataset.train_size=64")  # fmt: skip
    code, out, err = search(*words, epochs=150)
    assert code == 0
    assert [trial.state.name for trial in search.trials] == ["COMPLETE", "COMPLETE", "PRUNED"]
    *_, hopeless = search.run_dirs()
    epochs = [json.loads(line) for line in (hopeless / "record.jsonl").read_text().splitlines()]
    done = sum(event["event"] == "epoch" for event in epochs)
    assert 1 <= done < 150
    summary = search.summary(hopeless)
    assert summary["status"] == "pruned"
    assert f"ended after epoch {done} of 150: pruned" in summary["error"]
    assert not any(name.startswith("test/") for name in summary["scalars"])
    assert not (hopeless / "stop").exists()
    assert (hopeless / "checkpoint.pt").exists()
    assert max(search.trials[2].intermediate_values) == done
    assert "best of 3 trials (1 pruned)" in out
    assert "pruned, since half of the trials were better" in err


@pytest.mark.slow
def test_runs_in_other_processes_are_ended_early_too(search):
    words = ("hydra/launcher=slots", "hydra.launcher.slots=2", "hydra.sweeper.n_jobs=2", "hydra.sweeper.sampler=grid",
             "hydra.sweeper.pruner=median", "hydra.sweeper.pruner_startup_trials=2", "optimizer.lr=0.2,0.1,1e-9",
             "dataset.train_size=64")  # fmt: skip
    search.ok(*words, epochs=150, err=ANY)
    assert [trial.state.name for trial in search.trials] == ["COMPLETE", "COMPLETE", "PRUNED"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("aug=mixup",), "has nothing to search over"),
        (("seed=0,1",), "the best of several seeds is luck"),
        (("hydra.sweeper.sampler=grid", "optimizer.lr=interval(0,1)"), "grid needs values, but optimizer.lr is an int"),
        (("optimizer.lr=tag(log,interval(0,1))",), "on a log scale begins above 0"),
        (("optimizer.lr=interval(1,0)",), "ends before it begins"),
        (("hydra.sweeper.pruner=hyperband", "optimizer.lr=interval(0,1)"), "pruner must be one of none, median"),
        (("hydra.sweeper.n_trials=0", "optimizer.lr=interval(0,1)"), "n_trials must be 1 or more"),
        (("optimizer.lrr=interval(0,1)",), "unknown key 'optimizer.lrr'"),
        (("aug=mixup,mixdown",), "aug has no option 'mixdown'"),
    ],
)
def test_mistakes_leave_nothing_behind(search, words, sentence):
    code, out, err = search(*words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
    assert not search.folder.exists()


def test_another_search_in_the_same_place(search):
    search.ok("optimizer.lr=interval(0.01,0.1)", "hydra.sweeper.n_trials=1")
    for words in (("optimizer.lr=interval(0.01,0.2)",), ("optimizer.lr=interval(0.01,0.1)", "aug=mixup")):
        code, _, err = search(*words)
        assert code == 2
        assert "a search over other settings" in err
    code, _, err = search("optimizer.lr=interval(0.01,0.1)", "hydra.sweeper.direction=minimize")
    assert code == 2
    assert "direction=minimize, but the search began with the other one" in err
    with (search.folder / "optuna.journal").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, _, err = search("optimizer.lr=interval(0.01,0.1)")
    assert code == 2
    assert "another process is searching with it" in err


def test_minimize(search):
    search.ok("hydra.sweeper.direction=minimize", "hydra.sweeper.sampler=grid", "optimizer.lr=0.2,1e-9", epochs=5)
    assert search.study.best_trial.params == {"optimizer.lr": "1e-09"}


def test_the_direction_is_what_the_runs_say_of_their_task(tmp_path):
    """No task of ours is better when it is smaller, so the record of one is written here."""
    search = Search.__new__(Search)
    search.settings = Settings(sampler="random", study_name="study")
    search.study = search._create(optuna.storages.InMemoryStorage(), "maximize")
    search.study.set_user_attr("line", "as it was")
    for _ in range(3):
        trial = search.study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        search.study.tell(trial, trial.params["x"])
    values = [trial.value for trial in search.study.trials]
    for maximize, best in ((True, max(values)), (False, min(values)), (False, min(values))):
        start = {"event": "start", "primary": "error", "maximize": maximize}
        (tmp_path / "record.jsonl").write_text(json.dumps(start) + "\n")
        search._turn([tmp_path / "missing", tmp_path])
        assert search.study.best_value == best
    assert [trial.value for trial in search.study.trials] == values
    assert search.study.user_attrs == {"line": "as it was"}


class AskedAfterTwoEpochs(Training):
    def run(self):
        epoch = self.log.epoch

        def asking(number, *args, **kwargs):
            epoch(number, *args, **kwargs)
            if number == 2:
                ask_to_stop(self.run_dir, "enough")

        self.log.epoch = asking
        return super().run()


def test_a_run_that_is_asked_to_stop_can_go_on(train, tmp_path):
    asked = AskedAfterTwoEpochs(tmp_path / "asked")
    ask_to_stop(asked.run_dir, "meant for an earlier run")
    with pytest.raises(Pruned, match="ended after epoch 2 of 4: enough"):
        asked.run()
    assert not (asked.run_dir / "stop").exists()
    again = Training(asked.run_dir, resume=True)
    assert again.fit.state.epoch == 2
    assert without_time(again.run()) == without_time(train().scalars)


def test_without_optuna_there_is_a_sentence(tmp_path):
    script = "import sys; sys.modules['optuna'] = None\nfrom mixup_lab.cli import main\nsys.exit(main())"
    done = fresh(*SEARCH, *FAKE, "optimizer.lr=interval(0,1)", cwd=tmp_path, script=script)
    assert done.returncode == 2
    assert done.stderr == ("mixup-lab train: hydra/sweeper=optuna needs an extra: pip install 'mixup-lab[optuna]'\n")
    assert not any(tmp_path.iterdir())


def test_what_does_not_search_imports_no_optuna(tmp_path):
    script = (
        "import sys\nfrom mixup_lab.cli import main\ncode = main()\n"
        "assert not {'torch', 'optuna'} & set(sys.modules)\nsys.exit(code)"
    )
    done = fresh("train", "hydra/sweeper=optuna", "--cfg", "all", cwd=tmp_path, script=script)
    assert (done.returncode, done.stderr) == (0, "")
    assert "n_trials: 20" in done.stdout
    assert subprocess.run(
        [sys.executable, "-c", script, "train", "--help"], cwd=tmp_path, check=True, capture_output=True
    )
