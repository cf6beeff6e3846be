"""How a run ends: exit codes, sweeps in which some runs fail, resuming, signals."""

import errno
import os
import re
import signal
import subprocess
import time

import pytest
from helpers.command_line import in_this_process
from helpers.processes import begin, mixup_lab

from mixup_lab import cli
from mixup_lab.commands.plan import jobs_of
from mixup_lab.config.errors import explain
from mixup_lab.config.words import tree_of
from mixup_lab.types import Interrupted, UserError

# Jobs of our own in place of training, found in the working directory as a user's own classes are.
JOBS = """
import os, signal
from mixup_lab.types import Interrupted, RunFailed, UserError

def job(cfg):
    kind = cfg.trainer.device
    if kind == "echo":
        print("env", os.environ.get("HYDRA_FULL_ERROR"), "resume", cfg.resume)
    if kind == "user":
        raise UserError("device must be better")
    if kind == "failed":
        raise RunFailed("the loss is nan at step 3")
    if kind == "interrupted":
        raise Interrupted(signal.SIGTERM, "stopped, saved")
    if kind == "ctrl-c":
        raise KeyboardInterrupt
    if kind == "bug":
        raise ZeroDivisionError("ours")
    print("ran", cfg.seed)
    return 0.0
"""
START = (
    "import sys; sys.path.append('.'); from mixup_lab import cli;"
    "cli.COMMANDS['train'] = cli.COMMANDS['train']._replace(job='jobs:job');"
    "sys.exit(cli.main(sys.argv[1:]))"
)


@pytest.fixture
def job(tmp_path):
    """Run a line whose job is the one above, found in the working directory as a user's own classes are."""
    (tmp_path / "jobs.py").write_text(JOBS)

    def line(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return mixup_lab("train", *words, cwd=tmp_path, script=START, **env)

    return line


@pytest.mark.parametrize(
    ("kind", "code", "sentence"),
    [
        ("user", 2, "mixup-lab train: device must be better\n"),
        ("failed", 1, "mixup-lab train: the loss is nan at step 3\n"),
        ("interrupted", 143, "mixup-lab train: stopped, saved\n"),
        ("ctrl-c", 130, "mixup-lab train: interrupted\n"),
    ],
)
def test_exit_codes(job, kind, code, sentence):
    done = job(f"trainer.device={kind}")
    assert (done.returncode, done.stderr) == (code, sentence)


def test_a_bug_shows_its_traceback(job):
    done = job("trainer.device=bug")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("ZeroDivisionError: ours\n")


def test_in_a_sweep_the_others_go_on(job):
    done = job("-m", "trainer.device=auto,failed,user,bug", "seed=5")
    assert done.returncode == 1
    assert done.stdout.count("ran 5") == 1
    assert "run 1 (trainer.device=failed seed=5): the loss is nan at step 3\n" in done.stderr
    assert "run 2 (trainer.device=user seed=5): device must be better\n" in done.stderr
    assert done.stderr.count("ZeroDivisionError: ours") == 1
    last = done.stderr.splitlines()[-1]
    assert last == "mixup-lab train: 3 runs of the sweep failed; the first: the loss is nan at step 3"


@pytest.mark.parametrize(
    ("words", "env", "seen"), [([], {}, "None"), (["--debug"], {}, "1"), ([], {"HYDRA_FULL_ERROR": "0"}, "0")]
)
def test_the_run_sees_the_users_environment(job, words, env, seen):
    done = job("trainer.device=echo", *words, **env)
    assert done.stdout.startswith(f"env {seen} resume None")


@pytest.mark.parametrize("name", ["plain", "with space", "a=b,c", "it's (a) {run} [1]", 'quo"te', "back\\slash"])
def test_resume_uses_the_run_directory_whatever_its_name(job, tmp_path, name):
    folder = tmp_path / "kept" / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("")
    done = job("trainer.device=echo", f"resume={folder.relative_to(tmp_path)}")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"resume {folder}\n" in done.stdout
    assert not (tmp_path / "outputs").exists()
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]


# The real thing

SMALL = ["dataset=digits", "trainer.epochs=1", "trainer.progress=none"]


def test_a_run_that_diverges_has_exit_code_1(tmp_path):
    done = mixup_lab("train", *SMALL, "optimizer.lr=1e30", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("mixup-lab train: ")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_with_its_exit_code(tmp_path, signum, code):
    words = ["train", "dataset=digits", "trainer.epochs=100000", "trainer.progress=none", "hydra.run.dir=run"]
    started = begin(*words, cwd=tmp_path)
    record = tmp_path / "run" / "record.jsonl"
    deadline = time.monotonic() + 60
    while started.poll() is None and not (record.exists() and '"epoch"' in record.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started.send_signal(signum)
    _, err = started.communicate(timeout=60)
    assert started.returncode == code
    assert err.startswith("mixup-lab train: ")
    assert err.count("\n") == 1


def test_a_signal_while_nobody_handles_it_is_an_interruption():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match=r"^stopped$") as error, cli._terminable():
        signal.raise_signal(signal.SIGTERM)
    assert error.value.signum == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES, errno.EIO])
def test_an_error_of_the_file_system_is_one_sentence(number):
    error = OSError(number, os.strerror(number), "outputs/x")
    assert explain(error, [], tree_of([], "train")) == f"cannot use outputs/x: {os.strerror(number)}"
    assert explain(OSError("a bug of ours"), [], tree_of([], "train")) is None


@pytest.mark.parametrize("command", ["train", "preview"])
def test_a_place_for_runs_that_cannot_be_made_is_one_sentence(command, monkeypatch, capsys, tmp_path):
    (tmp_path / "outputs").write_text("")
    line = in_this_process(monkeypatch, capsys, tmp_path)
    code, _, err = line(command, "dataset=fake")
    assert (code, err.count("\n")) == (2, 1)
    assert re.match(rf"mixup-lab {command}: cannot write .*outputs.*: (Not a directory|File exists)", err)


@pytest.mark.parametrize("word", ["seed=range(0)", "seed=range(100000)"])
def test_sweeps_over_nothing_or_far_too_much_are_refused(word):
    with pytest.raises(UserError, match=rf"^{re.escape(word)} must have 1 to 10,000 values"):
        jobs_of([word])
