"""`mixup-lab evaluate` and `compare lenses=[...]`: who is looked at, what is written, what is refused before a run."""

import json
from pathlib import Path

import pytest
from helpers.cases import each
from helpers.command_line import in_this_process
from omegaconf import OmegaConf

from mixup_lab.commands.look_job import look_at_one
from mixup_lab.config.completion import complete

STUDY = ("compare", "dataset=iris", "model=mlp", "model.hidden=[8]", "trainer.batch_size=32", "trainer.epochs=2",
         "trainer.device=cpu", "trainer.threads=1", "aug.alpha=0,0.4", "seed=0,1", "study=s",
         "hydra/launcher=basic")  # fmt: skip


@pytest.fixture
def line(monkeypatch, capsys, tmp_path):
    return in_this_process(monkeypatch, capsys, tmp_path)


def sections(study: Path) -> dict[str, dict]:
    return {section["lens"]: section for section in json.loads((study / "report.json").read_text())["lenses"]}


def found(study: Path) -> dict[str, dict]:
    return {
        str(path.parent.parent.relative_to(study)): json.loads(path.read_text())
        for path in sorted(study.rglob("lens/calibration.json"))
    }


RUNS = [f"{arm}/seed={seed}" for arm in ("baseline", "mixup-a0.4") for seed in (0, 1)]


def test_a_study_is_looked_at_in_the_end_and_again_later(line):
    study = Path("outputs/s")  # below the folder of the test
    code, out, err = line(*STUDY, "lenses=[calibration]", "lens.calibration.bins=3")
    assert code == 0, err
    assert list(found(study)) == RUNS
    assert {one["settings"]["bins"] for one in found(study).values()} == {3}
    section = sections(study)["calibration"]
    assert out.splitlines().count(f"Calibration: {section['sentence']}") == 1
    assert section["title"] in (study / "report.html").read_text()
    assert "'lenses=[calibration]'" in json.loads((study / "report.json").read_text())["commands"]["repeat"]
    results = (study / "results.csv").read_bytes()
    looks = json.loads((study / "study.json").read_text()).get("looks")

    # As a job of a launcher, which looks at one run.
    own, other = (study / run / "lens/calibration.json" for run in RUNS[1:3])
    before = own.read_bytes()
    own.unlink()
    other.unlink()
    words = [str(study), "lens=[calibration,intrusion]", "lens.calibration.bins=3", "trainer.device=cuda"]
    look_at_one(
        OmegaConf.create({"run": str(study / RUNS[1]), "words": json.dumps(words), "trainer": {"device": "cpu"}})
    )
    assert own.read_bytes() == before
    assert own.with_name("intrusion.json").is_file(), "the model is on the device of the job"
    assert not other.exists()

    code, out, err = line("evaluate", str(study), "lens=[calibration]", "min_effect=5")
    assert code == 0, err
    assert {one["settings"]["bins"] for one in found(study).values()} == {15}, "other settings: looked at again"
    again = json.loads((study / "report.json").read_text())
    assert again["min_effect"] == pytest.approx(0.05)
    assert again["lenses"][0]["settings"] == {"bins": 15}
    assert out.splitlines()[-1] == f"Report: {study / 'report.html'}"
    assert f"Calibration: {again['lenses'][0]['sentence']}" in out.splitlines()
    assert (study / "results.csv").read_bytes() == results
    assert json.loads((study / "study.json").read_text()).get("looks") == looks

    (study / RUNS[0] / "predictions.npz").unlink()
    (study / RUNS[0] / "lens" / "calibration.json").unlink()
    before = (study / "report.html").read_bytes()
    for places in ([study / RUNS[1]], [study, study / RUNS[1]]):
        code, out, err = line("evaluate", *map(str, places), "lens=[calibration]")
        assert code == len(places) - 1, "a run that could not be looked at"
        assert "Report" not in out
        assert "baseline" in out
    assert (study / "report.html").read_bytes() == before
    code, out, err = line("evaluate", str(study), "lens=[calibration]")
    assert code == 1
    assert f"no readable predictions.npz; train with trainer.save_predictions=true ({study / RUNS[0]})" in err
    notes = sections(study)["calibration"]["notes"]
    assert notes[0] == "1 of 4 runs were not looked at: baseline seed 0."


@pytest.mark.slow
def test_a_launcher_looks_at_each_run_in_a_job_and_finds_the_same(line):
    study = Path("outputs/s")
    slots = "hydra/launcher=slots", "hydra.launcher.slots=1"
    lens = "lenses=[calibration,corruptions]", "lens.corruptions.examples=10"
    code, _, err = line(*STUDY[:-1], *slots, *lens)
    assert code == 0, err
    assert "looking at 4 runs in jobs ..." in err
    assert list(found(study)) == RUNS
    files = {path: path.read_bytes() for path in study.rglob("lens/*.json")}
    assert len(files) == 8
    evaluate = "evaluate", str(study), "lens=[calibration,corruptions]", "lens.corruptions.examples=10", "again=true"
    for words in ((), slots[1:]):
        times = {path: path.stat().st_mtime_ns for path in files}
        code, _, err = line(*evaluate, *words)
        assert code == 0, err
        assert ("in jobs" in err) == bool(words)
        assert {path: path.read_bytes() for path in files} == files
        assert all(path.stat().st_mtime_ns > before for path, before in times.items())
    assert not list(study.glob(".evaluate-*"))
    code, _, err = line(*evaluate, "hydra.launcher.slot=1")
    assert (code, err.splitlines()[-1]) == (
        2, "mixup-lab evaluate: unknown key 'hydra.launcher.slot'; did you mean 'hydra.launcher.slots'?"
    )  # fmt: skip


@each(
    "words, sentence",
    [
        (["lenses=[calibraton]"], "lens=calibraton does not exist; did you mean 'calibration'?"),
        (["lenses=[]"], "lenses must name some, such as lenses=["),
        (["lens.calibration.bins=3"], "lens.calibration.bins=3 sets a lens, but this study has none; add lenses=["),
        (["lenses=[calibration]", "lens.calibration.bin=3"], "did you mean 'lens.calibration.bins'?"),
        (["lenses=[calibration]", "lens.calibration.bins=many"], "lens.calibration.bins must be a whole number"),
        (["lenses=[calibration]", "lens.calibration.bins=[3"], "lens.calibration.bins=[3: [3 is not a value"),
    ],
)
def test_a_mistake_about_lenses_costs_no_training(line, tmp_path, words, sentence):
    code, _, err = line(*STUDY, *words)
    assert code == 2
    assert sentence in err
    assert err.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_help_and_completion_know_the_lenses(line):
    _, out, _ = line("compare", "--help")
    assert "lenses=" in out
    assert "lens.NAME.KEY=" in out
    assert "\n  +lens" not in out, "runs have no lens"
    _, out, _ = line("evaluate", "--help")
    assert "usage: mixup-lab evaluate RUN_OR_STUDY..." in out
    assert "lens.calibration.bins=15" in out
    assert " dataset=" not in out, "it has no data of its own"

    def texts(typed: str) -> set[str]:
        return {word.text for word in complete(f"mixup-lab {typed}")}

    assert texts("compare lense") == {"lenses="}
    assert texts("compare lenses=[cal") == {"lenses=[calibration"}
    assert texts("compare lenses=[gap,cal") == {"lenses=[gap,calibration"}
    assert texts("compare lens.calibration.b") == {"lens.calibration.bins="}
    assert texts("compare stu") == {"study="}
    assert texts("evaluate lens=cal") == {"lens=calibration"}
    assert texts("evaluate lens=[cal") == {"lens=[calibration"}
    assert "lens=" not in texts("train l")
    assert texts("report min") == {"min_effect="}


def test_what_is_true_of_the_data_is_said_once(line, tmp_path):
    rows = [f"{k / 7:.3f},{k % 3},{k % 2}" for k in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    words = ("dataset=table", "dataset.root=rows.csv", "dataset.target=y", "model=mlp", "trainer.epochs=1")
    assert line("train", "-m", *words, "trainer.device=cpu", "seed=0,1", "hydra.sweep.dir=runs")[0] == 0
    err = line("evaluate", "runs", "lens=[boundary]")[2]
    assert err.count("dataset.target=y: whole numbers, 2 different") == 1
    assert err.count("rows.csv: 60 rows: ") == 1
