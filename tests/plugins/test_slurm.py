"""A real Slurm of one node: a sweep to its end, and a run that is preempted, requeued and gone on with."""

import json
import os
import shutil
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers.processes import CHECKOUT, FAKE, START, environment, lines_of, summary_of, without_time

# A run of a study goes on by itself when it is started again; one of `train` has to be asked with resume=.
COMMAND = "compare"
SCRIPT = CHECKOUT / "scripts" / "slurm_local.sh"


def _missing() -> str | None:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root can start Slurm's daemons"
    for program in ("munged", "slurmctld", "slurmd", "scancel"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    try:
        found = find_spec("hydra_plugins.hydra_submitit_launcher") is not None
    except ModuleNotFoundError:
        found = False
    return None if found else "the extra submitit is not installed"


pytestmark = [pytest.mark.slow, pytest.mark.skipif(_missing() is not None, reason=str(_missing()))]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment of a line that uses the daemons."""
    folder = tmp_path_factory.mktemp("slurm")
    env = environment(SLURM_LOCAL_DIR=str(folder / "state"))
    folder.chmod(0o755)
    for parent in folder.parents[:2]:  # Munge's user has to reach its files
        parent.chmod(0o755)
    subprocess.run([SCRIPT, "start"], env=env, check=True, timeout=60)
    yield {**env, "SLURM_CONF": str(folder / "state" / "slurm.conf")}
    subprocess.run([SCRIPT, "stop"], env=env, check=True, timeout=60)


def line(command: str, *words: str, epochs: int) -> list[str]:
    launcher = ("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=10",
                "hydra.launcher.max_num_timeout=3")  # fmt: skip
    return [*START, command, *words, *launcher, *FAKE, f"trainer.epochs={epochs}"]


def test_a_sweep_ends_as_in_one_process(slurm, tmp_path):
    words = ["-m", "aug.alpha=0.4,-1", "seed=0,1", "hydra.sweep.dir=slurm"]
    done = subprocess.run(
        line("train", *words, epochs=2), cwd=tmp_path, env=slurm, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].endswith("alpha must be a finite number >= 0, got -1")
    plain = [word for word in line("train", *words, epochs=2) if not word.startswith("hydra")]
    subprocess.run([*plain, "hydra.sweep.dir=plain"], cwd=tmp_path, env=slurm, capture_output=True, timeout=300)
    results = [
        {path.parent.name: without_time(summary_of(path.parent)["scalars"]) for path in folder.rglob("summary.json")}
        for folder in (tmp_path / "slurm", tmp_path / "plain")
    ]
    assert results[0].keys() == {"seed=0", "seed=1"}
    assert results[0] == results[1]


@pytest.mark.skipif(COMMAND != "compare", reason=f"a run of {COMMAND} does not go on by itself")
def test_a_preempted_run_is_requeued_and_goes_on(slurm, tmp_path):
    words = ["study=requeued", "aug.alpha=0", "seed=0"]
    with (tmp_path / "log").open("w") as log:
        started = subprocess.Popen(
            line(COMMAND, *words, epochs=1500), cwd=tmp_path, env=slurm, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait(started, lambda: _epochs(tmp_path) >= 3)
            job = subprocess.check_output(["squeue", "--noheader", "--format=%i"], env=slurm, text=True).split()[0]
            subprocess.run(["scancel", "--signal=USR2", job], env=slurm, check=True)
            code = started.wait(timeout=240)
        finally:
            started.kill()
            started.wait()
    assert code == 0, (tmp_path / "log").read_text()
    events = lines_of(_run(tmp_path))
    begun = [place for place, event in enumerate(events) if event["event"] == "start"]
    assert len(begun) == 2
    assert events[begun[1]]["resumed"] is True
    before = max(event["epoch"] for event in events[: begun[1]] if event["event"] == "epoch")
    after = [event["epoch"] for event in events[begun[1] :] if event["event"] == "epoch"]
    assert before < 1500
    assert before <= after[0] <= before + 1  # the epoch of the last checkpoint, or the one after it
    assert after == list(range(after[0], 1501))
    assert summary_of(_run(tmp_path))["status"] == "ok"


def _wait(process: subprocess.Popen, condition) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _run(folder: Path) -> Path:
    return next(path.parent for path in folder.rglob("record.jsonl"))


def _epochs(folder: Path) -> int:
    """Epochs in the record of the one run; its last line may be cut short."""
    for path in folder.rglob("record.jsonl"):
        lines = path.read_text().splitlines()[:-1]
        return sum(json.loads(text)["event"] == "epoch" for text in lines)
    return 0
