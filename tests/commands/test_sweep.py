"""The end of `mixup-lab train -m`: a row for each arm, and the line that makes the report."""

import json

import pytest
from helpers.command_line import in_this_process

from mixup_lab.commands.sweep import show

QUIET = ("trainer.epochs=1", "trainer.device=cpu", "trainer.progress=none", "trainer.malloc=default")


def finished(run_dir, val, test, status="ok"):
    run_dir.mkdir(parents=True)
    start = {"event": "start", "arm": "a", "name": "a", "seed": 0, "fingerprint": "f", "primary": "accuracy"}
    (run_dir / "record.jsonl").write_text(json.dumps(start) + "\n")
    summary = {**start, "status": status, "scalars": {"val/accuracy": val, "test/accuracy": test}}
    (run_dir / "summary.json").write_text(json.dumps(summary))
    return run_dir


def test_seeds_of_one_folder_are_one_row_with_their_means(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    top = tmp_path / "outputs" / "a sweep"
    folders = [finished(top / f"{arm}/seed={seed}", 0.5 + seed / 4, 0.25) for arm in "xy" for seed in (0, 1)]
    folders.append(finished(top / "y/seed=2", 1.0, 1.0, status="failed"))
    show(folders)
    *table, last = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in table if line.strip()]
    assert rows[0] == ["run", "seeds", "val", "accuracy", "test", "accuracy"]
    assert rows[2:] == [["x", "2", "0.6250", "0.2500"], ["y", "2", "0.6250", "0.2500"]]
    assert last == "report  mixup-lab report 'outputs/a sweep'"


@pytest.mark.parametrize("count", [0, 1])
def test_a_single_run_has_no_table(tmp_path, capsys, count):
    show([finished(tmp_path / f"x/seed={k}", 0.5, 0.5) for k in range(count)])
    assert capsys.readouterr().out == ""


def test_a_sweep_ends_with_them(tmp_path, monkeypatch, capsys):
    line = in_this_process(monkeypatch, capsys, tmp_path)
    code, out, _ = line("train", "-m", "dataset=iris", *QUIET, "seed=0,1", "hydra.sweep.dir=outputs/s")
    assert code == 0
    assert out.splitlines()[-1] == "report  mixup-lab report outputs/s/baseline,dataset=iris,epochs=1"
    assert "val accuracy" in out.splitlines()[-5]
    code, out, _ = line("train", "dataset=iris", *QUIET, "hydra.run.dir=outputs/one")
    assert (code, "report" in out) == (0, False)
