"""The progress of a run in terminals of several widths."""

import io
import re

import pytest
from rich.console import Console

from mixup_lab.runs.progress import Bar, Plain

SCALARS = {"train/loss": 0.51234, "val/loss": 0.4, "val/accuracy": 0.91234, "time/samples_per_second": 31204.4}


def line_of(width: int, title: str) -> str:
    """What a bar shows in the middle of the fourth of twenty epochs."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    bar = Bar(console, "accuracy")
    bar.start(title, "8 steps an epoch", 20, 8, 0)
    bar.epoch(3, 20, SCALARS)
    bar.step(3, 4, 31204.4)
    bar.stop()
    with console.capture() as seen:
        console.print(bar._bar.make_tasks_table(bar._bar.tasks))
    lines = seen.get().splitlines()
    assert len(lines) == 1
    return lines[0].rstrip()


@pytest.mark.parametrize(
    ("width", "title", "what", "values"),
    [
        (60, "mixup-a0.4 seed=0", "mixup…seed=0", "val accuracy 0.9123"),
        (80, "baseline seed=0", "baseline seed=0", "val accuracy 0.9123  loss 0.512"),
        (80, "mixup-a0.4,optimizer.lr=0.003 seed=12", "mixup-a0.4,op…0.003 seed=12", "val accuracy 0.9123"),
        (100, "baseline seed=0", "baseline seed=0", "val accuracy 0.9123  loss 0.512  val loss 0.400"),
        (
            140,
            "baseline seed=0",
            "baseline seed=0",
            "val accuracy 0.9123  loss 0.512  val loss 0.400  31,204 samples/s",
        ),
    ],
)
def test_a_bar_shows_what_matters_first(width: int, title: str, what: str, values: str) -> None:
    shown = re.fullmatch(r"(.+?) epoch +3/20 ([━╸╺ ]+) (\S+) (.+)", line_of(width, title))
    assert shown is not None
    assert (shown[1], shown[4].strip()) == (what, values)
    assert len(shown[2]) >= 7
    assert re.fullmatch(r"-:--:--|\d+:\d\d:\d\d", shown[3])


def test_lines_have_the_same_values(capsys: pytest.CaptureFixture[str]) -> None:
    Plain("accuracy").epoch(3, 20, SCALARS)
    assert capsys.readouterr().out == (
        "  epoch 3/20  val accuracy 0.9123  loss 0.512  val loss 0.400  31,204 samples/s\n"
    )
