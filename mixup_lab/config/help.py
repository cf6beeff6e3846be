"""The help of a command: groups, options and keys with a line each, read from the configuration folder.

Hydra's own help composes first, which takes a second, and it lacks the descriptions of options.
"""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby

from mixup_lab.config.commands import COMMANDS, FLAGS, LAUNCHERS, OWN, SLOTS
from mixup_lab.config.tree import LENS, Key, Tree, groups_of, lens_keys, read

Row = tuple[str, str]
USAGE = {
    "report": "DIR... [key=value ...]",
    "evaluate": "RUN_OR_STUDY... [lens=[NAME,...]] [key=value ...]",
    "predict": "RUN_OR_ARM... INPUT... [key=value ...]",
    "export": "RUN_DIR out=FILE [key=value ...]",
}
FILES = {  # input and output of the commands that compose no configuration
    "report": "One or several folders that contain run directories, or a table (.csv, .jsonl) with the columns arm,"
    " seed and one for each metric. It writes report.html, report.md, results.csv and report.json.",
    "predict": "First the runs: a run directory, or folders of runs, whose probabilities (or numbers) are averaged."
    " Then the inputs, of the kind that the runs were trained on: pictures, sounds, tables, .txt files, or folders of"
    " them. The data of training must be there. It writes a row for each input: its path (for a row of a table the path"
    " and the number of the row), the prediction, and the probability p_NAME of each class or tag; or a PNG of labels"
    " for each picture; or one file of boxes, as COCO has them.",
    "export": "A run directory, whose data must be there. The file holds the model with its preprocessing, for batches"
    " of any size, and in the extra file mixup_lab.json the names of the classes and the form of the inputs.",
}

EXAMPLES: dict[str, tuple[Row, ...]] = {
    "compare": (
        ("mixup-lab compare", "the baseline and alpha 0.1, 0.2, 0.4, 1; 8 seeds"),
        ("mixup-lab compare dataset=image_folder dataset.root=DIR model=small_cnn", "your own pictures"),
        ("mixup-lab compare aug.alpha=0,0.2,1 'seed=range(10)'", "other alphas and seeds"),
        ("mixup-lab compare dataset.train_size=200,1000", "mixing with little and with more data"),
        ("mixup-lab compare confirm=8", "with a verdict from fresh seeds"),
        ("mixup-lab compare hydra.launcher.slots=2", "two runs side by side"),
        ("mixup-lab compare lenses=[calibration]", "and a closer look at the runs in the end"),
    ),
    "evaluate": (
        ("mixup-lab evaluate outputs/digits-mlp", "a study, by all lenses that need predictions alone"),
        ("mixup-lab evaluate outputs/digits-mlp lens=[calibration,robustness]", "by these lenses"),
        ("mixup-lab evaluate RUN_DIR lens=[calibration] lens.calibration.bins=20", "one run"),
        ("mixup-lab evaluate outputs/digits-mlp lens=[corruptions] hydra.launcher.slots=4", "four runs at a time"),
    ),
    "export": (
        ("mixup-lab export RUN_DIR out=model.pt2", "for torch.export.load"),
        ("mixup-lab export RUN_DIR out=model.onnx", "for other programs"),
    ),
    "predict": (
        ("mixup-lab predict RUN_DIR new_pictures", "a folder, into predictions.csv"),
        ("mixup-lab predict outputs/titanic/mixup-a0.4 test.csv calibrated=true", "the mean of all seeds of an arm"),
        ("mixup-lab predict RUN_DIR test.csv columns=[id,label] out=submission.csv", "two columns, for a competition"),
        ("mixup-lab predict RUN_DIR new_scans out=masks", "a mask for each picture"),
    ),
    "preview": (
        ("mixup-lab preview aug=mixup aug.alpha=0.4", "the embedded digits and their mixtures"),
        ("mixup-lab preview dataset=image_folder dataset.root=DIR transform=crop_flip aug=cutmix", "your own pictures"),
        ("mixup-lab preview -m aug=mixup,cutmix,fmix aug.alpha=0.2,1", "six sheets"),
    ),
    "report": (
        ("mixup-lab report outputs/digits-mlp", "a study, or folders of sweeps by `train -m`"),
        ("mixup-lab report results.csv baseline=erm metric=accuracy", "results of another trainer: columns arm, seed"),
    ),
    "train": (
        ("mixup-lab train aug=mixup aug.alpha=0.4", "one run"),
        ("mixup-lab train -m aug=mixup aug.alpha=0.1,0.2,0.4,1 seed=0,1,2", "twelve runs"),
        ("mixup-lab train dataset=image_folder dataset.root=DIR model=small_cnn", "your own pictures"),
        ("mixup-lab train resume=RUN_DIR", "resume an interrupted run"),
        ("mixup-lab train resume=RUN_DIR trainer.epochs=40", "longer, where the schedule admits it"),
        ("mixup-lab train from=RUN_DIR seed=1", "the settings of a run again, with another seed"),
        ("mixup-lab train aug=mixup --cfg job", "show the configuration, run nothing"),
    ),
}


def _flags(top: bool = False) -> list[Row]:
    """All flags, or those that an overview shows."""
    return [
        (f"{', '.join(flag.names)} {flag.value}".rstrip(), flag.about)
        for flag in FLAGS
        if not top or (flag.top and not flag.value)
    ]


class Page:
    """Text in sections of two columns, as wide as the terminal, with bold and dim on a terminal only."""

    def __init__(self) -> None:
        self.width = max(50, min(shutil.get_terminal_size((100, 24)).columns, 140))
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
        self.styled = not plain
        self.lines: list[str] = []

    def _style(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.styled else text

    def text(self, text: str) -> None:
        """One paragraph."""
        self.lines += textwrap.wrap(text, self.width)

    def paragraph(self, text: str, indent: str, following: str | None = None) -> list[str]:
        """The lines of a paragraph that is indented, from its second line on by `following`."""
        later = indent if following is None else following
        return textwrap.wrap(text, self.width, initial_indent=indent, subsequent_indent=later, break_on_hyphens=False)

    def section(self, title: str) -> None:
        """A title after an empty line."""
        self.lines += ["", self._style(title, "1")]

    def rows(self, rows: Iterable[Row], limit: int = 30, indent: int = 2) -> None:
        """Two columns; a left cell longer than `limit` gets a line of its own."""
        rows = list(rows)
        limit = min(limit, self.width * 2 // 3)
        column = indent + 2 + max((len(left) for left, _ in rows if len(left) <= limit), default=0)
        for left, right in rows:
            notes = textwrap.wrap(right, max(12, self.width - column), break_on_hyphens=False)
            head = f"{'':{indent}}{left}"
            if not notes or len(head) + 2 > column:
                self.lines.append(head)
                head = ""
            for note in notes:
                self.lines.append(f"{head:{column}}{self._style(note, '2')}")
                head = ""

    def __str__(self) -> str:
        return "\n".join(self.lines) + "\n"


def overview() -> str:
    """The help of `mixup-lab` itself: the commands, how to begin, where results go."""
    page = Page()
    page.lines += ["usage: mixup-lab COMMAND [flags] [group=option ...] [key=value ...]", ""]
    page.text("Does Mixup help my data, with my model, at which alpha, and is the gain more than noise?")
    page.section("Commands")
    page.rows((name, command.about) for name, command in COMMANDS.items())
    page.section("Examples")
    page.rows(
        [
            *EXAMPLES["compare"][:1],
            *EXAMPLES["train"][:2],
            ("mixup-lab train --help", "groups, options, keys and flags"),
            ("tensorboard --logdir outputs", "curves of all runs"),
        ],
        limit=page.width - 27,
    )
    page.section("Results")
    page.text("Each run has a directory of its own below ./outputs: config.yaml, record.jsonl, summary.json, ")
    page.text("checkpoint.pt, predictions.npz and TensorBoard's events. hydra.run.dir=DIR puts it elsewhere.")
    page.section("Flags")
    page.rows(_flags(top=True))
    page.section("Completion in your shell")
    page.rows(
        [
            ('eval "$(mixup-lab -sc install=bash)"', "bash: put this line into ~/.bashrc"),
            ('eval "$(mixup-lab -sc install=zsh)"', "zsh: into ~/.zshrc"),
            ("mixup-lab -sc install=fish | source", "fish: into ~/.config/fish/config.fish"),
        ],
        limit=page.width - 27,
    )
    return str(page)


def command_help(command: str, tree: Tree, overrides: Sequence[str]) -> str:
    """The help of one command; options chosen on the line have their keys explained."""
    page = Page()
    page.text(f"usage: mixup-lab {command} {USAGE.get(command, '[group=option ...] [key=value ...] [flags]')}")
    page.lines.append("")
    page.text(COMMANDS[command].about)
    page.section("Examples")
    page.rows(EXAMPLES[command], limit=page.width - 27)
    if command in OWN:
        page.section(f"Keys of {command} itself")
        page.rows((f"{key}=", note) for key, note in OWN[command].items())
    if command in FILES:
        page.section("Input and output")
        page.text(FILES[command])
        return str(page)
    if command == "evaluate":
        page.section("Lenses: choose with lens=[NAME,...]")
        page.rows(tree.options(LENS).items(), limit=28)
        page.section("Keys of the lenses")
        page.rows(map(_row, lens_keys(tree)))
        return str(page)
    groups = groups_of(command, tree)
    asked = [group for group in groups if group in overrides]
    for group in asked:
        page.section(f"Options of {group}: choose with {_head(group, tree)}=OPTION (* is the default)")
        page.rows(_marked(group, tree))
    chosen = _typed(tree, overrides)
    for group, option in chosen.items():
        _option(page, tree, group, option)
    launcher = any(word.startswith("hydra/launcher=") for word in overrides)
    short = bool(asked or chosen or launcher)
    if launcher or not short:
        _launchers(page, tree)
    _groups(page, groups, tree)
    page.section("Keys: set with key=value")
    page.rows(_row(key) for key in tree.keys if "." not in key.name)
    if not short:
        _keys(page, tree)
    page.section("Flags")
    page.rows(_flags(top=short), limit=28)
    page.lines.append("")
    more = "; all keys and flags: mixup-lab {} --help" if short else ", mixup-lab {} GROUP=OPTION --help"
    page.text(f"More: mixup-lab {command} GROUP --help{more.format(command)}.")
    return str(page)


def _typed(tree: Tree, overrides: Sequence[str]) -> dict[str, str]:
    """The options that a line chooses by a word of its own; of a list the last."""
    groups = {word.lstrip("+").partition("=")[0] for word in overrides if "=" in word}
    return {group: option for group, option in tree.choices(overrides).items() if group in groups & {*tree.groups()}}


def _option(page: Page, tree: Tree, group: str, option: str) -> None:
    """What the file of an option says at its top, and its keys."""
    path = tree.find(f"{group}/{option}")
    page.section(f"{group}={option}")
    for prose, part in groupby(read(path).header if path else (), lambda line: line[:1].strip() != ""):
        text = list(part)
        page.lines += page.paragraph(" ".join(text), "  ") if prose else [f"  {line}".rstrip() for line in text]
    page.section(f"Keys of {group}={option}")
    common = {key.name for key in tree.keys if group != "trainer"}
    rows = [_row(key) for key in tree.option_keys(group, option) if key.name not in common]
    page.rows(rows or [("(none)", "")])


def _launchers(page: Page, tree: Tree) -> None:
    page.section("Several runs: choose where they run with hydra/launcher=NAME (* is the default)")
    default = tree.chosen.get("hydra/launcher", "basic")
    page.rows((f"{'*' if name == default else ' '} {name}", about) for name, about in LAUNCHERS.items())
    page.section("Keys of hydra/launcher=slots")
    page.rows((f"hydra.launcher.{name}={value}", about) for name, (value, about) in SLOTS.items())


def _groups(page: Page, groups: Iterable[str], tree: Tree) -> None:
    """Groups, with the names of their options."""
    page.section("Groups: choose with group=option (* is the default)")
    for group in groups:
        line = ", ".join(name.strip().replace(" ", "\0") for name, _ in _marked(group, tree))
        lines = page.paragraph(f"{_head(group, tree)}: {line}", "  ", "        ")
        page.lines += [line.replace("\0", " ") for line in lines]  # the default keeps its mark


def _head(group: str, tree: Tree) -> str:
    """A group that is not in the defaults list has to be appended, in Hydra's grammar with a plus."""
    return group if group in tree.chosen else f"+{group}"


def _marked(group: str, tree: Tree) -> Iterable[Row]:
    """The options of a group, the default with a mark, and a line on each."""
    default = tree.chosen.get(group)
    for name, about in tree.options(group).items():
        yield f"{'*' if name == default else ' '} {name}", about


def _keys(page: Page, tree: Tree) -> None:
    """The keys that do not depend on the options chosen."""
    for group in sorted({key.name.split(".")[0] for key in tree.keys if "." in key.name}):
        page.section(f"Keys of every {group}")
        page.rows(_row(key) for key in tree.keys if key.name.startswith(f"{group}."))
    page.section(f"Keys of trainer={tree.chosen['trainer']}")
    page.rows(_row(key) for key in tree.option_keys("trainer", tree.chosen["trainer"] or ""))


def _row(key: Key) -> Row:
    return f"{key.name}={key.value}", key.comment
