"""Completion as it is typed: real shells behind a pseudo-terminal, and the answers that their scripts ask for."""

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from helpers.cases import each

from mixup_lab.config.completion import SHELLS, complete

CHECKOUT = Path(__file__).resolve().parents[2]


def texts(line: str) -> list[str]:
    return [word.text for word in complete(line)]


@each(
    "line, words",
    [
        ("mixup-lab tr", ["train"]),
        ("mixup-lab --v", ["--version"]),
        ("mixup-lab nothing aug=", []),
        ("mixup-lab train aug=mani", ["aug=manifold_mixup"]),
        ("mixup-lab train -m aug=none,mani", ["aug=none,manifold_mixup"]),
        ("mixup-lab train +experiment=smo", ["+experiment=smoke"]),
        ("mixup-lab train trainer.ep", ["trainer.epochs="]),
        ("mixup-lab train trainer.epochs=", ["trainer.epochs=auto"]),
        ("mixup-lab train see", ["seed="]),
        ("mixup-lab train aug", ["aug="]),
        ("mixup-lab train aug=mixup aug", ["aug.", "aug="]),
        ("mixup-lab train aug=none aug.", []),
        ("mixup-lab predict ", ["calibrated=", "columns=", "out=", "overwrite=", "trainer."]),
        ("mixup-lab export o", ["out=", "overwrite="]),
        ("mixup-lab train --multi", ["--multirun"]),
        ("mixup-lab train --cfg ", ["all", "hydra", "job"]),
        ("mixup-lab train -c j", ["job"]),
        ("mixup-lab train -cn ", ["train"]),
        ("mixup-lab -sc install=", ["install=bash", "install=fish", "install=zsh"]),
        ("/somewhere/bin/mixup-lab   train   aug=mani", ["aug=manifold_mixup"]),
    ],
)
def test_answers(line, words):
    found = texts(line)
    if line.endswith("-cn "):
        assert set(words) <= set(found)
    else:
        assert found == words


def test_keys_are_those_of_the_chosen_option():
    assert {"aug.alpha=", "aug.lam_per=", "aug.prob="} <= set(texts("mixup-lab train aug=mixup aug."))
    assert {"aug=", "dataset=", "seed=", "trainer.", "trainer="} <= set(texts("mixup-lab train "))
    comments = {word.text: word.about for word in complete("mixup-lab train aug=mixup aug.")}
    assert comments["aug.alpha="].endswith("[1.0]")


def test_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "rest.txt").touch()
    (tmp_path / ".hidden").mkdir()
    assert texts("mixup-lab train resume=") == ["resume=runs/"]
    assert texts("mixup-lab train seed=./r") == ["seed=./rest.txt", "seed=./runs/"]
    assert texts("mixup-lab train --config-dir ") == ["runs/"]


def test_the_users_folder_counts(tmp_path, monkeypatch):
    (tmp_path / "aug").mkdir()
    (tmp_path / "aug" / "mine.yaml").write_text("# Mine\nstrength: 1\n")
    assert texts(f"mixup-lab train -cd {tmp_path} aug=min") == ["aug=mine"]
    assert texts(f"mixup-lab train --config-dir={tmp_path} aug=mine aug.") == ["aug.strength="]


# Through the shells


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A folder with a `mixup-lab` such as an installation makes."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "mixup-lab"
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom mixup_lab.cli import main\nsys.exit(main())\n")
    script.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def environment(program, tmp_path_factory):
    home = str(tmp_path_factory.mktemp("home"))
    return {
        **{key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")},
        "PATH": f"{program}:{os.environ['PATH']}",
        "PYTHONPATH": str(CHECKOUT),
        "HOME": home,
        "XDG_CONFIG_HOME": home,
        "ZDOTDIR": home,
        "TERM": "dumb",
        "PS1": "> ",
    }


def test_query_is_quick_and_imports_no_torch(environment, tmp_path):
    script = (
        "import sys; from mixup_lab.cli import main; main(['-sc', 'query=bash']); "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'hydra', 'omegaconf'}))"
    )
    env = {**environment, "COMP_LINE": "mixup-lab train aug=mixup aug.al"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "aug.alpha=\n[]\n"


def test_hydras_own_settings_are_asked_of_hydra(environment, tmp_path):
    env = {**environment, "COMP_LINE": "mixup-lab train aug=none hydra/launch"}
    line = ["mixup-lab", "-sc", "query=zsh"]
    done = subprocess.run(line, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("hydra/launcher=\t\n", "")
    env["COMP_LINE"] = "mixup-lab train hydra.swee"
    done = subprocess.run(line, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert {"hydra.sweep.\t", "hydra.sweeper.\t"} <= set(done.stdout.splitlines())


def test_every_command_completes_hydras_settings_with_its_own_job(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("COMP_LINE", "as it was")
    argv = list(sys.argv)
    for command in ("compare", "train", "preview"):
        assert "hydra/launcher=slots" in texts(f"mixup-lab {command} hydra/launcher=")
    assert texts("mixup-lab report hydra/launcher=") == []
    assert (sys.argv, os.environ["COMP_LINE"]) == (argv, "as it was")


class Terminal:
    """An interactive shell behind a pseudo-terminal."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: Path) -> None:
        self.cwd = cwd
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(command[0], command, env)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def read_until(self, pattern: str, seconds: float = 20.0) -> str:
        seen, deadline = "", time.monotonic() + seconds
        while not re.search(pattern, seen):
            ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{pattern!r} never came, but {seen!r}"
            seen += os.read(self.fd, 4096).decode(errors="replace")
        return seen

    def close(self) -> None:
        os.close(self.fd)
        os.waitpid(self.pid, 0)


COMMANDS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(mixup-lab -sc install=bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -Uz compinit; compinit -D; eval "$(mixup-lab -sc install=zsh)"'),
    "fish": (["fish", "--no-config", "-i"], "mixup-lab -sc install=fish | source"),
}


@pytest.fixture(params=SHELLS, scope="module")
def terminal(request, environment, tmp_path_factory):
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    command, install = COMMANDS[shell]
    # On a dumb terminal fish shows no list of choices; the others are easier to read there.
    opened = Terminal(
        command, {**environment, "TERM": "xterm" if shell == "fish" else "dumb"}, tmp_path_factory.mktemp(shell)
    )
    opened.type(f"{install}; echo rea''dy\n")
    opened.read_until("ready\r")
    yield opened
    opened.close()


# What is typed with tabs, and the words that then stand on the line.
TYPED = [
    ("tr\t", ["train"]),
    ("train aug=mani\t", ["train", "aug=manifold_mixup"]),
    ("train -m aug=none,mani\t", ["train", "-m", "aug=none,manifold_mixup"]),
    ("train trainer.ep\t7", ["train", "trainer.epochs=7"]),
    ("train aug=mani\taug.al\t0.4", ["train", "aug=manifold_mixup", "aug.alpha=0.4"]),
    ("train --multi\tsee\t3", ["train", "--multirun", "seed=3"]),
]


@pytest.mark.parametrize(("typed", "words"), TYPED, ids=[typed.replace("\t", "<TAB>") for typed, _ in TYPED])
def test_words_are_completed(terminal, typed, words):
    # Once completed, the line is not run but echoed: back to its beginning, and to its end again.
    terminal.type(f"mixup-lab {typed}\x01echo \x05 >line; echo do''ne\n")
    terminal.read_until("done\r")
    assert (terminal.cwd / "line").read_text().split() == ["mixup-lab", *words]


def test_choices_are_listed(terminal):
    terminal.type("mixup-lab train aug=mixup aug.\t\t")
    seen = terminal.read_until(r"(?s)alpha=.*lam_per=.*prob=")
    terminal.type("\x03")
    assert "trainer" not in seen
