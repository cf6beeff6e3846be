"""The scripts of the checkout: what they do on a fresh machine, and what they say when Python is too old."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.processes import environment

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture
def copy(tmp_path):
    """A checkout without an environment, reached through a path with a space."""
    root = tmp_path / "check out"
    root.mkdir()
    shutil.copytree(CHECKOUT / "scripts", root / "scripts")
    shutil.copy(CHECKOUT / "pyproject.toml", root)
    return root


def test_an_old_python_gets_one_sentence(copy, tmp_path):
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    env = {**os.environ, "PYTHON": str(old)}
    done = subprocess.run([str(copy / "scripts" / "test")], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"scripts/test: PYTHON={old} is not a Python of version 3.11 or newer\n"


@pytest.mark.slow
def test_an_environment_that_is_up_to_date_is_left_alone(copy, tmp_path):
    # The environment is a link to the one of the tests; the stamp says what it was installed for.
    programs = copy / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python").chmod(0o755)
    checksum = subprocess.run(["cksum"], input=(copy / "pyproject.toml").read_bytes(), capture_output=True, check=True)
    (copy / ".venv" / ".installed-for").write_text(f"{copy} test {checksum.stdout.decode()}")
    (copy / "tests").mkdir()
    (copy / "tests" / "test_one.py").write_text("def test_one():\n    pass\n")
    line = [str(copy / "scripts" / "test"), "-q"]
    done = subprocess.run(line, cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Installing" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 passed")


@pytest.mark.parametrize(
    "name", ["scripts/demo", "scripts/test", "scripts/bench", "scripts/check_gpu", "scripts/torture", ".ci/run"]
)
def test_scripts_are_executable_and_strict(name):
    path = CHECKOUT / name
    if not path.exists():
        pytest.skip(f"{name} is not part of the sdist")
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in path.read_text()
    subprocess.run(["bash", "-n", str(path)], check=True)


def script(name, *words, root=CHECKOUT, **options):
    line = [sys.executable, str(root / "scripts" / name), *map(str, words)]
    return subprocess.run(line, env=environment(), capture_output=True, text=True, check=False, timeout=280, **options)


def cells_of(text):
    """The cells of a Markdown table by part, row and column."""
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")]
                      for line in text.splitlines() if line.startswith("|")]  # fmt: skip
    return {(row[0], row[1], column): cell for row in rows for column, cell in zip(head[2:], row[2:], strict=True)}


@pytest.mark.slow
def test_the_benchmark_is_complete_and_its_table_follows_from_its_rounds(tmp_path):
    done = script("bench.py", "--quick", "--device", "cpu", "--threads", 1, "--out", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "bench.json").read_text())
    assert {"name", "cores", "threads", "torch", "commit", "date", "command"} < set(result["machine"])
    entries, left_out = result["measured"], result["left_out"]
    assert {entry["part"] for entry in entries} == {"step", "loop", "start", "kinds", "mixing", "malloc"}
    shown = cells_of(done.stdout)
    for entry in entries:
        assert len(entry["rounds"]) == 2
        assert all(value > 0 for found in entry["rounds"] for name, value in found.items() if name != "first steps")
        for cell in entry["cells"]:
            text = shown[entry["part"], cell["row"], f"CPU, {cell['column']}"]
            if entry["part"] == "start":
                means = {name: sum(found[name] for found in entry["rounds"]) / 2 for name in entry["rounds"][0]}
                assert cell["seconds"] == pytest.approx(means)  # of two values, the median is the mean
                assert text == " + ".join(f"{value:.1f}" for value in means.values()) + " s"
                continue
            pairs = [(found[cell["top"]], found[cell["bottom"]]) for found in entry["rounds"]]
            ratio, top, bottom = (sum(values) / 2 for values in zip(*((a / b, a, b) for a, b in pairs), strict=True))
            assert (cell["ratio"], cell["top_ms"] / 1e3, cell["bottom_ms"] / 1e3) == pytest.approx((ratio, top, bottom))
            numbers = [
                float(word.strip("(),").replace(",", "")) for word in text.replace("ms)", "").split() if word != "/"
            ]
            assert numbers == pytest.approx([ratio, 1e3 * top, 1e3 * bottom], rel=0.006, abs=0.006)
    # What is not there is said, and why.
    assert {(item["part"], item["side"]) for item in left_out} >= {("step", "compile"), ("kinds", "compile")}
    assert all(item["why"] in done.stdout for item in left_out)
    assert all(text == "not measured yet" or text == "–" for (*_, column), text in shown.items() if "GPU" in column)
    again = script("bench.py", "--table", tmp_path / "bench.json", cwd=tmp_path)
    assert again.stdout == done.stdout
    # The figures of a GPU come from a second file.
    result["machine"] |= {"device": "cuda", "name": "a card"}
    (tmp_path / "gpu.json").write_text(json.dumps(result))
    both = cells_of(script("bench.py", "--table", tmp_path / "bench.json", tmp_path / "gpu.json", cwd=tmp_path).stdout)
    key = "kinds", "table, mlp: ours / bare step"
    assert both[*key, "GPU, none"] == both[*key, "CPU, none"] == shown[*key, "CPU, none"]


@pytest.mark.slow
def test_the_benchmark_keeps_to_its_minutes(tmp_path):
    words = ["--only", "step", "--device", "cpu", "--threads", 1, "--minutes", 0.4, "--out", tmp_path]
    done = script("bench.py", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "bench.json").read_text())
    assert result["machine"]["seconds"] < 24 + 10
    assert any("no time left" in item["why"] for item in result["left_out"])


@pytest.mark.slow
def test_a_little_torture_holds(tmp_path):
    words = ["--kills", 1, "--lines", 2, "--attacks", 2, "--damaged", 1, "--minutes", 5]
    done = script("torture.py", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bad lines: 2 held, 0 did not" in done.stdout.splitlines()


@pytest.mark.slow
def test_the_check_of_a_gpu_rehearses_on_a_cpu(tmp_path, monkeypatch):
    done = script("check_gpu.py", "--device", "cpu", "--quick", "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [
        line for line in done.stdout.partition("commit")[2].splitlines() if line.startswith(("ok", "FAIL", "not run"))
    ]
    assert [row[:8].strip() for row in rows] == ["ok"] * 7 + ["not run"] * 2
    assert "3 like on the CPU" in rows[0]
    # A loss that is 1 % off in one epoch of one method is named.
    monkeypatch.syspath_prepend(str(CHECKOUT / "scripts"))
    check_gpu = importlib.import_module("check_gpu")
    ours, twin = tmp_path / "out" / "methods-fp32", tmp_path / "out" / "methods-cpu"
    assert check_gpu.alike(ours, twin, 2e-3).startswith("3 like")
    record = next(path for path in ours.rglob("record.jsonl") if '"aug": "cutmix"' in path.read_text())
    *lines, last, end = record.read_text().splitlines()
    loss = json.loads(last)["scalars"]["train/loss"]
    record.write_text("\n".join([*lines, last.replace(str(loss), str(1.01 * loss), 1), end]))
    with pytest.raises(
        check_gpu.Failed, match=r"^fake/small_cnn/none/cutmix: the losses are \S+ apart, allowed 2e-03$"
    ):
        check_gpu.alike(ours, twin, 2e-3)
    record.unlink()
    with pytest.raises(check_gpu.Failed, match=r"^fake/small_cnn/none/cutmix did not finish$"):
        check_gpu.alike(ours, twin, 2e-3)


@pytest.mark.slow
def test_the_check_of_a_gpu_finds_a_fault(tmp_path):
    for name in ("scripts", "mixup_lab", "conf"):
        shutil.copytree(CHECKOUT / name, tmp_path / name)
    fit = tmp_path / "mixup_lab" / "training" / "fit.py"
    right, wrong = "self.state = self.checkpoint.load(", "self.checkpoint.load("  # the run begins anew
    assert right in fit.read_text()
    fit.write_text(fit.read_text().replace(right, wrong))
    done = script("check_gpu.py", "--device", "cpu", "--only", "resume", "--out", tmp_path / "out", root=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAIL     cut by SIGTERM and resumed" in done.stdout.splitlines()[-3]
    assert "1 of 1 checks failed" in done.stdout
