"""A mistake of the user: one sentence, exit code 2, nothing left behind."""

from importlib.util import find_spec

import pytest
from helpers.command_line import in_this_process
from helpers.processes import mixup_lab


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    return in_this_process(monkeypatch, capsys, tmp_path)


TYPO = "# @package _global_\ntrainer:\n  epocs: 3\n"
MISTAKES = [
    (["trian"], "mixup-lab: unknown command 'trian'; did you mean 'train'?"),
    (["aug=mixup"], "mixup-lab: the command must come first: mixup-lab train aug=mixup"),
    (["train", "agu=mixup"], "unknown key 'agu'; did you mean 'aug'?"),
    (["train", "aug=mixup", "aug.alhpa=0.4"], "unknown key 'aug.alhpa'; did you mean 'aug.alpha'?"),
    (["train", "aug=none", "aug.alpha=0.4"], "unknown key 'aug.alpha': aug=none has no 'alpha'; add aug="),
    (["train", "trainer.epocs=3"], "unknown key 'trainer.epocs'; did you mean 'trainer.epochs'?"),
    (["train", "trianer.epochs=3"], "unknown key 'trianer.epochs'; did you mean 'trainer.epochs'?"),
    (["train", "epochs=3"], "unknown key 'epochs'; did you mean 'trainer.epochs'?"),
    (["train", "sede=3"], "unknown key 'sede'; did you mean 'seed'?"),
    (["train", "optimizer.momentun=0.5"], "did you mean 'optimizer.momentum'?"),
    (["train", "hydra.run.dri=x"], "unknown key 'hydra.run.dri'; did you mean 'hydra.run.dir'?"),
    (["train", "aug=mixpu"], "aug has no option 'mixpu'; did you mean 'mixup'? Its options are: "),
    (["train", "aug="], "aug= needs an option; choose one of: "),
    (["train", "aug=null"], "aug has no option 'null'. Its options are: "),
    (["train", "trainer.eval_every=abc"], "trainer.eval_every must be a whole number, got 'abc'"),
    (["train", "trainer.eval_every=[1]"], "trainer.eval_every must be a whole number, got [1]"),
    (["train", "trainer.eval_every=null"], "trainer.eval_every must have a value, got null"),
    (["train", "trainer.eval_every.x=1"], "trainer.eval_every is a single value: nothing can be set below it"),
    (["train", "seed=x"], "seed must be a whole number, got 'x'"),
    (["train", "aug=mixup", "aug.alpha=0.1,0.2"], "aug.alpha=0.1,0.2 is a sweep; add -m to run each value"),
    (["train", "seed=range(3)"], "seed=range(3) is a sweep; add -m"),
    (["train", "aug.alpha=0.4,"], "cannot read 'aug.alpha=0.4,': a value is missing next to a comma"),
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
    (
        ["train", "hydra/launcher=slosts"],
        "hydra/launcher has no option 'slosts'; did you mean 'slots'? Its options are: ",
    ),
    (["train", "resume=absent"], "resume=absent: there is no such directory"),
    (["train", "resume=."], "resume=.: that is not a run directory, it has no config.yaml"),
    (["train", "resume="], "resume= needs a run directory"),
    (["train", "-m", "resume=."], "resume continues one run, so it cannot be combined with -m"),
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
            TYPO.replace("epocs: 3", "eval_every: many"),
            "in 'experiment/own': trainer.eval_every must be a whole number, got 'm",
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


@pytest.mark.parametrize(
    ("option", "extra", "plugin"),
    [
        ("joblib", "joblib", "hydra_joblib_launcher"),
        ("submitit_local", "submitit", "hydra_submitit_launcher"),
        ("submitit_slurm", "submitit", "hydra_submitit_launcher"),
    ],
)
def test_a_launcher_that_is_not_installed_names_its_extra(run, option, extra, plugin):
    try:
        installed = find_spec(f"hydra_plugins.{plugin}") is not None
    except ModuleNotFoundError:
        installed = False
    if installed:
        pytest.skip(f"{plugin} is installed")
    code, _, err = run("train", "-m", f"hydra/launcher={option}", "seed=0,1")
    assert err == f"mixup-lab train: hydra/launcher={option} needs an extra: pip install 'mixup-lab[{extra}]'\n"
    assert code == 2


# What only the run finds: the real job in a process of its own


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
    done = mixup_lab("train", *words, cwd=tmp_path)
    assert sentence in done.stderr
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert not any(tmp_path.iterdir())
