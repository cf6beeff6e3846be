"""Lines for the user, printed once by all processes of a sweep."""

import io
import subprocess
import sys

from helpers.processes import CHECKOUT, environment

from mixup_lab.notices import lines, remembering, say


def test_a_line_is_printed_once_by_all_that_remember_in_one_folder(tmp_path, capsys):
    with remembering(tmp_path):
        say("first")
        say("second")
        say("first")
    assert capsys.readouterr().err == "first\nsecond\n"
    script = (
        "from pathlib import Path; from mixup_lab.notices import remembering, say\n"
        f"with remembering(Path({str(tmp_path)!r})): say('first'); say('third')\n"
    )
    line = [sys.executable, "-c", script]
    done = subprocess.run(line, cwd=CHECKOUT, env=environment(), capture_output=True, text=True, check=True)
    assert done.stderr == "third\n"


def test_without_a_folder_each_is_printed(tmp_path, capsys):
    with remembering(tmp_path / "on another machine"):
        say("line")
    say("line")
    assert capsys.readouterr().err == "line\nline\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_lines_broken_between_words_and_commands_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = (
        "mixup-lab train: stopped in epoch 3, step 7 of 19; go on with: mixup-lab train resume='a folder with spaces'"
    )
    assert lines(text, Terminal()) == (
        "mixup-lab train: stopped in epoch 3,\nstep 7 of 19; go on with:\nmixup-lab train resume='a folder with spaces'"
    )
    assert lines("a short one", Terminal()) == "a short one"
    assert lines(text, io.StringIO()) == text
    assert lines("a\x1b[31mb", Terminal()) == "a\ufffd[31mb"
    assert lines(f"one {'x' * 60} and two", Terminal()) == f"one\n{'x' * 60}\nand two"
