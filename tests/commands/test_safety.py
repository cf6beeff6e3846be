"""Files of others in the working directory, in a study or in a table: nothing of theirs runs or leads elsewhere."""

import os
import shutil
import subprocess

import pytest
from helpers.command_line import in_this_process
from helpers.processes import begin, fresh, lines_of
from helpers.studies import manifest, write_study

from mixup_lab.runs import store
from mixup_lab.runs.environment import git_commit
from mixup_lab.types import UserError

TINY = ("dataset=fake", "dataset.shape=[1,8,8]", "model.hidden=[8]", "trainer.epochs=1", "trainer.batch_size=64",
        "trainer.device=cpu", "trainer.threads=1")  # fmt: skip


@pytest.fixture
def line(monkeypatch, capsys, tmp_path):
    return in_this_process(monkeypatch, capsys, tmp_path)


# ---- git ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_runs_nothing_that_a_repository_names_and_tells_commit_and_changes(tmp_path, monkeypatch):
    def git(*words):
        who = ("-c", "user.name=x", "-c", "user.email=x@x")
        return subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    monkeypatch.chdir(tmp_path)
    assert git_commit() is None
    git("init", "-q")
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "b.txt").write_text("one\n")
    git("add", ".")
    git("commit", "-qm", "x")
    commit = git("rev-parse", "HEAD").strip()
    assert git_commit() == commit

    spy = f"touch '{tmp_path / 'ran'}'"
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
        (hooks / name).write_text(f"#!/bin/sh\n{spy}\n")
        (hooks / name).chmod(0o755)
    settings = {"core.fsmonitor": spy, "core.hooksPath": str(hooks), "filter.x.clean": f"{spy}; cat",
                "diff.external": spy, "filter.x.process": spy, "core.pager": spy}  # fmt: skip
    for key, value in settings.items():
        git("config", key, value)
    (tmp_path / ".gitattributes").write_text("* filter=x diff=x\n")
    (tmp_path / ".git" / "info" / "attributes").write_text("* filter=x\n")
    os.utime(tmp_path / "a.txt", (1, 1))  # as unpacked: git has to look at the content
    assert git_commit() == commit
    (tmp_path / "b.txt").write_text("two\n")
    assert git_commit() == f"{commit}+"
    assert not (tmp_path / "ran").exists()
    subprocess.run(["git", "status"], cwd=tmp_path, check=False, capture_output=True)
    assert (tmp_path / "ran").exists(), "the trap works"


# ---- code in the working directory ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_plugins_in_the_working_directory_are_not_imported(tmp_path):
    for name in ("hydra_plugins/evil.py", "hydra_plugins/more/evil.py", "evil.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("open('ran', 'w').close()\nraise ImportError\n")
    done = fresh("train", "--cfg", "job", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = fresh("train", "-m", "seed=0,1", *TINY, "hydra/launcher=slots", "trainer.progress=none", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "ran").exists()


def test_the_working_directory_is_searched_for_code_only_with_trust(line, tmp_path):
    assert line("train", *TINY, "--cfg", "job")[0] == 0
    assert str(tmp_path) not in os.environ["PYTHONPATH"].split(os.pathsep)
    assert line("train", *TINY, "trust=[mine]", "--cfg", "job")[0] == 0
    assert str(tmp_path) in os.environ["PYTHONPATH"].split(os.pathsep)


# ---- studies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["../elsewhere", "/{}/elsewhere", "a/../../elsewhere", "..", ".", "", "a/b", 3, None])
def test_a_study_file_cannot_lead_elsewhere(place, line, tmp_path):
    words = (*TINY, "aug.alpha=1", "seed=0", "study=s", "hydra/launcher=basic")
    study = tmp_path / "outputs" / "s"
    write_study(study, {0: [[True]] * 2})  # so that it has begun
    place = place.format(tmp_path) if isinstance(place, str) else place
    (study / "study.json").write_text(manifest(arms={"x": place}))
    before = sorted(tmp_path.rglob("*"))
    code, out, err = line("compare", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    wrong = "is damaged: arms.x must be a text", "as the folder of an arm, which must be a plain name"
    assert any(words in err for words in wrong)
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name != ".lock"] == before


def test_an_arm_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "baseline").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="baseline is a link; an arm must be a folder of its study"):
        store.enter(tmp_path / "s", {"1": "baseline"}, {"1": {}}, [], {})
    assert not (tmp_path / "s" / "study.json").exists()


DAMAGED = [
    "[]", "{}", "null", "3", '{"schema": 3}', '{"schema": 3, "arms": {}}', "[" * 100_000, "\x00",
    *(
        manifest(**{key: value})
        for key, values in {
            "settings": [None, [], 3], "axes": [{}, "seed", [3], None], "roots": [[], None], "arms": [[], None],
            "ends": [[], {"x": "3"}, {"x": None}], "looks": [3, ["8"], {}],
        }.items()
        for value in values
    ),
]  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_study_file_is_one_sentence(text, tmp_path):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(UserError, match=r"study\.json (cannot be read|is damaged|was written by another)") as error:
        store.read_manifest(tmp_path)
    assert "\n" not in str(error.value)


# ---- terminals ------------------------------------------------------------------------------------------------------


def test_names_from_files_reach_no_terminal_as_they_are(line, tmp_path):
    name = "\x1b]0;title\x07\x1b[31mred\x9b2J"
    rows = [f"{arm},{seed},{0.5 + seed / 9}" for arm in ("erm", f"mixup{name}") for seed in range(3)]
    (tmp_path / "t.csv").write_text(f"arm,seed,test/accuracy{name}\n" + "\n".join(rows) + "\n")
    for words in (["report", "t.csv", "baseline=erm"], ["report", f"{name}.csv"], ["train", f"aug={name}"]):
        out = "".join(line(*words)[1:])
        assert "title" in out
        assert not {"\x1b", "\x07", "\x9b"} & set(out)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_without_utf_8_gets_another_sign(encoding, tmp_path):
    rows = [f"{arm},{seed},{score + seed / 99}" for arm, score in (("erm", 0.9), ("mixup", 0.5)) for seed in range(8)]
    (tmp_path / "t.csv").write_text("arm,seed,test/accuracy\n" + "\n".join(rows) + "\n", encoding="utf-8")
    process = begin("report", "t.csv", "baseline=erm", cwd=tmp_path, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def test_the_start_of_a_run_names_no_command_of_git(line, tmp_path):
    assert line("train", *TINY, "hydra.run.dir=run")[0] == 0
    assert "git" in lines_of(tmp_path / "run")[0]
