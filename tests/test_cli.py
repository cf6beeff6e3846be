"""The command line as a user meets it: what it prints, how fast it answers, what it says about mistakes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mixup_lab import cli
from mixup_lab.config.nearest import nearest, nearest_key
from mixup_lab.config.tree import Tree, read

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a line in this process, in an empty directory; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def line(*words: str) -> tuple[int, str, str]:
        code = cli.main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return line


def process(*words: str, cwd: Path, script: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a line in a process of its own."""
    start = ["-c", script] if script else ["-m", "mixup_lab"]
    return subprocess.run(
        [sys.executable, *start, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def empty(folder: Path) -> bool:
    return not any(folder.iterdir())


# What it prints


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_overview_lists_commands_and_where_results_go(run, words):
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    for text in [*cli.COMMANDS, "outputs", "Examples", "-sc install=bash", "mixup-lab train --help"]:
        assert text in out


def test_version_names_torch(run):
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("mixup-lab 0.1.0 (Python 3.")
    assert "torch 2." in out
    assert run("train", "--version")[1] == out


def test_help_lists_every_option_with_its_comment(run):
    code, out, _ = run("train", "--help")
    flat = " ".join(out.split())
    assert code == 0
    for path in (CHECKOUT / "conf").glob("*/*.yaml"):
        if path.parent.name != "hydra":
            about = read(path).about
            assert about, f"{path} has no comment line that says what it is"
            assert f"{path.stem} {' '.join(about.split())}" in flat
    assert "* digits" in out
    assert "* none" in out
    for key in ("seed=0", "resume=null", "trainer.epochs=20", "dataset.train_size=", "--cfg", "--multirun"):
        assert key in out
    assert "aug.alpha=1.0" not in out
    assert "\033" not in out


def test_help_shows_the_keys_of_the_chosen_option(run):
    out = run("train", "aug=mixup", "--help")[1]
    assert "Keys of aug=mixup" in out
    assert "aug.alpha=1.0" in out
    assert "._target_" not in out


def test_help_knows_the_users_folder(run, tmp_path):
    (tmp_path / "conf" / "aug").mkdir(parents=True)
    (tmp_path / "conf" / "aug" / "mine.yaml").write_text("# Mixing of my own\n_target_: mine.Mix\nstrength: 3  # how\n")
    out = run("train", "--config-dir", "conf", "aug=mine", "-h")[1]
    assert "Mixing of my own" in out
    assert "aug.strength=3" in out
    (tmp_path / "conf" / "own.yaml").write_text("defaults: \n  - train\n  - _self_\nextra: 1  # mine\n")
    out = run("train", "-cd=conf", "--config-name=own", "-h")[1]
    assert "extra=1" in out
    assert "* digits" in out


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_help_fits_the_terminal(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    out = run("train", "aug=mixup", "--help")[1]
    longest = max(len(line) for line in out.splitlines() if line.startswith("        "))
    assert longest <= max(50, int(columns))


def test_cfg_job_shows_the_composed_configuration(run):
    code, out, err = run("train", "aug=mixup", "aug.alpha=0.4", "--cfg", "job")
    assert (code, err) == (0, "")
    assert "alpha: 0.4" in out
    assert "seed: 0" in out
    code, out, _ = run("train", "--cfg", "job", "--package", "trainer", "trainer.epochs=7")
    assert code == 0
    assert "epochs: 7" in out
    assert "seed" not in out


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["train", "--cfg", "job"], ["train", "agu=mixup"]])
def test_nothing_of_this_imports_torch(words, tmp_path):
    script = (
        "import sys; from mixup_lab.cli import main; main(sys.argv[1:]); "
        "loaded = {m.split('.')[0] for m in sys.modules}; "
        "print(sorted(loaded & {'torch', 'torchvision', 'tensorboard', 'rich', 'hydra'}))"
    )
    loaded = process(*words, cwd=tmp_path, script=script).stdout.splitlines()[-1]
    assert loaded == ("[]" if "--help" in words else "['hydra']")


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    line = f"{sys.executable} -m mixup_lab train --help | true"
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""


# Mistakes: one sentence, exit code 2, nothing left behind

TYPO = "# @package _global_\ntrainer:\n  epocs: 3\n"
MISTAKES = [
    (["trian"], "mixup-lab: unknown command 'trian'; did you mean 'train'?"),
    (["aug=mixup"], "mixup-lab: a command comes first: mixup-lab train aug=mixup"),
    (["train", "agu=mixup"], "unknown key 'agu'; did you mean 'aug'?"),
    (["train", "aug=mixup", "aug.alhpa=0.4"], "unknown key 'aug.alhpa'; did you mean 'aug.alpha'?"),
    (["train", "aug=none", "aug.alpha=0.4"], "unknown key 'aug.alpha': aug=none has no 'alpha'; add aug="),
    (["train", "trainer.epocs=3"], "unknown key 'trainer.epocs'; did you mean 'trainer.epochs'?"),
    (["train", "trianer.epochs=3"], "unknown key 'trianer.epochs'; did you mean 'trainer.epochs'?"),
    (["train", "epochs=3"], "unknown key 'epochs'; did you mean 'trainer.epochs'?"),
    (["train", "sede=3"], "unknown key 'sede'; did you mean 'seed'?"),
    (["train", "optimizer.momentun=0.5"], "did you mean 'optimizer.momentum'?"),
    (["train", "hydra.run.dri=x"], "unknown key 'hydra.run.dri'; did you mean 'hydra.run.dir'?"),
    (["train", "aug=mixpu"], "aug has no option 'mixpu'; did you mean 'mixup'? It has: "),
    (["train", "aug="], "aug= names no option; there are: "),
    (["train", "aug=null"], "aug has no option 'null'. It has: "),
    (["train", "trainer.epochs=abc"], "trainer.epochs must be a whole number, got 'abc'"),
    (["train", "trainer.epochs=[1]"], "trainer.epochs must be a whole number, got [1]"),
    (["train", "trainer.epochs=null"], "trainer.epochs must have a value, got null"),
    (["train", "trainer.epochs.x=1"], "trainer.epochs is a single value: nothing can be set below it"),
    (["train", "seed=x"], "seed must be a whole number, got 'x'"),
    (["train", "aug=mixup", "aug.alpha=0.1,0.2"], "aug.alpha=0.1,0.2 is a sweep; add -m to run each value"),
    (["train", "seed=range(3)"], "seed=range(3) is a sweep; add -m"),
    (["train", "aug.alpha=0.4,"], "cannot read 'aug.alpha=0.4,': a value is missing beside a comma"),
    (["train", "foo"], "cannot read 'foo': write key=value"),
    (["train", "sed"], "cannot read 'sed': write key=value; did you mean seed=...?"),
    (["train", "seed=(3"], "'(' and ')' do not match"),
    (["train", "resume='abc"], "resume='abc: there is no such directory"),
    (["train", "dataset.root='abc"], "a quotation mark is not closed"),
    (["train", "=3"], "cannot read '=3': write key=value"),
    (["train", "+seed=3"], "+seed=3: 'seed' exists already; leave the + out"),
    (["train", "+aug=mixup"], "'aug' is chosen twice"),
    (["train", "~foo"], "unknown key 'foo'"),
    (["train", "--config-dir", "absent"], "--config-dir: there is no directory "),
    (["train", "--config-name", "trian"], "there is no configuration 'trian'; did you mean 'train'?"),
    (["train", "--resolve"], "The --resolve flag can only be used"),
    (["train", "hydra/launcher=absent"], "hydra/launcher has no option 'absent'; is the plugin installed?"),
    (["train", "resume=absent"], "resume=absent: there is no such directory"),
    (["train", "resume=."], "resume=.: that is not a run directory, it has no config.yaml"),
    (["train", "resume="], "resume= needs a run directory"),
    (["train", "-m", "resume=."], "resume goes on with one run, so it cannot be combined with -m"),
    (["train", "-m", "aug=mixup,mixpu"], "aug has no option 'mixpu'; did you mean 'mixup'?"),
    (["-sc", "install=tcsh"], "SHELL one of bash, zsh, fish, got 'install=tcsh'"),
]


@pytest.mark.parametrize(("words", "sentence"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_gets_one_sentence(run, tmp_path, words, sentence):
    code, out, err = run(*words)
    assert sentence in err
    assert err.startswith("mixup-lab")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert not list(tmp_path.rglob("seed=*"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (TYPO, "in 'experiment/own': unknown key 'trainer.epocs'; did you mean 'trainer.epochs'?"),
        (
            TYPO.replace("epocs: 3", "epochs: many"),
            "in 'experiment/own': trainer.epochs must be a whole number, got 'm",
        ),
        ("# @package _global_\nseeed: 3\n", "in 'experiment/own': unknown key 'seeed'; did you mean 'seed'?"),
        ("# @package _global_\ndefaults:\n  - override /agu: mixup\n", "unknown key 'agu'; did you mean 'aug'?"),
        (
            "# @package _global_\ndefaults:\n  - override /aug: mixpu\n",
            "aug has no option 'mixpu'; did you mean 'mixup'?",
        ),
        ("trainer: [\n", "cannot read a yaml file: "),
    ],
)
def test_a_mistake_in_the_users_file_gets_one_too(run, tmp_path, text, sentence):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "own.yaml").write_text(text)
    code, _, err = run("train", "--config-dir", "conf", "experiment=own")
    assert sentence in err
    assert (code, err.count("\n")) == (2, 1)


def test_unknown_flags_are_argparses(run):
    code, _, err = run("train", "--multirum")
    assert code == 2
    assert "unrecognized arguments: --multirum" in err


@pytest.mark.parametrize("words", [["--debug"], []])
def test_debug_shows_the_traceback_as_well(run, monkeypatch, words):
    if not words:
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    code, _, err = run("train", *words, "agu=mixup")
    assert code == 2
    assert "Traceback" in err
    assert err.endswith("mixup-lab train: unknown key 'agu'; did you mean 'aug'?\n")


# Mistakes that only the run finds: the real job in a process of its own


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["+typo=1"], "unknown key 'typo'"),
        (["+trainer.epocs=1"], "unknown key 'trainer.epocs'; did you mean 'trainer.epochs'?"),
        (["dataset=image_folder"], "dataset.root has no value; give one with dataset.root=..."),
        (["trainer.epochs=-1"], "trainer.epochs"),
        (["aug=mixup", "aug.alpha=-1"], "alpha"),
    ],
)
def test_a_mistake_found_by_the_run_leaves_nothing_behind(tmp_path, words, sentence):
    done = process("train", *words, cwd=tmp_path)
    assert sentence in done.stderr
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert empty(tmp_path)


# How a run ends, with jobs of our own in place of training

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
    "import sys; from mixup_lab import cli; cli.COMMANDS['train'] = ('jobs:job', ''); sys.exit(cli.main(sys.argv[1:]))"
)


@pytest.fixture
def job(tmp_path):
    """Run a line whose job is the one above, found in the working directory as a user's own classes are."""
    (tmp_path / "jobs.py").write_text(JOBS)

    def line(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return process("train", *words, cwd=tmp_path, script=START, **env)

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


# The real thing, once each

SMALL = ["dataset=digits", "trainer.epochs=1", "trainer.progress=none"]


def test_a_run_that_diverges_has_exit_code_1(tmp_path):
    done = process("train", *SMALL, "optimizer.lr=1e30", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("mixup-lab train: ")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_with_its_exit_code(tmp_path, signum, code):
    words = ["train", "dataset=digits", "trainer.epochs=100000", "trainer.progress=none", "hydra.run.dir=run"]
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mixup_lab", *words]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as started:
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


# The parts


def test_nearest():
    assert nearest("mixpu", ["none", "mixup", "cutmix"]) == "mixup"
    assert nearest("MIXUP", ["none", "mixup"]) == "mixup"
    assert nearest("xyz", ["none", "mixup"]) is None
    keys = ["seed", "trainer.epochs", "optimizer.lr", "aug.alpha"]
    assert nearest_key("lr", keys) == "optimizer.lr"
    assert nearest_key("model.lr", keys) == "optimizer.lr"
    assert nearest_key("optimiser.lr", keys) == "optimizer.lr"
    assert nearest_key("zzz.qqq", keys) is None


def test_tree_reads_what_yaml_allows(tmp_path):
    (tmp_path / "top.yaml").write_text(
        "# About it\n# more\ndefaults:\n  - schema\n  - g: one  # why\n  - override hydra/launcher: x\n  - _self_\n"
        "\n# a note\na: 1 # first\nb: 'x # y'  # second\nc:\n  d: [1, 2]\n  e:\n    - p\n    - q  # r\nf: http://x#y\n"
        "hydra:\n  run:\n    dir: x\n"
    )
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "base.yaml").write_text("_target_: x.Y\nsize: 1  # how big\n")
    (tmp_path / "g" / "one.yaml").write_text("# One\ndefaults: \n  - base\nsize: 2\n")
    file = read(tmp_path / "top.yaml")
    assert file.about == "About it"
    assert [tuple(key) for key in file.keys] == [
        ("a", "1", "first"),
        ("b", "'x # y'", "second"),
        ("c.d", "[1, 2]", ""),
        ("c.e", "[p, q]", ""),
        ("f", "http://x#y", ""),
    ]
    tree = Tree([tmp_path, tmp_path / "absent"], "top")
    assert tree.groups() == ["g"]
    assert tree.options("g") == {"base": "", "one": "One"}
    assert [tuple(key) for key in tree.option_keys("g", "one")] == [("g.size", "2", "how big")]


@pytest.mark.parametrize("text", ["a", "a b", "it's", "\\", "a\\'b", "x,y={z}", "\\\\'", "end\\"])
def test_quote_survives_hydras_grammar(text):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    [override] = OverridesParser.create().parse_overrides([f"key={cli.quote(text)}"])
    assert override.value() == text
