"""The pages of the project, read as text: their blocks of code, commands, links and pictures."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block: its language and its text."""

    language: str
    text: str


def pages() -> list[Path]:
    found = [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md")]
    return sorted(path for path in found if "_build" not in path.parts)


def name(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def blocks(path: Path, *languages: str) -> list[Block]:
    found = [Block(language, text) for language, text in FENCE.findall(path.read_text(encoding="utf-8"))]
    return [block for block in found if not languages or block.language in languages]


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def commands(path: Path) -> list[tuple[str, ...]]:
    """The words after `mixup-lab` of every command of a page: lines of shell blocks, and code within sentences."""
    lines = [line for block in blocks(path, "sh") for line in block.text.replace("\\\n", "").splitlines()]
    lines += re.findall(r"`(mixup-lab [^`\s]+ [^`]+)`", prose(path).replace("\n", " "))
    lines += [line for block in blocks(path, "text") for line in re.findall(r"^ +(mixup-lab .*)$", block.text, re.M)]
    found = [shlex.split(line.partition(" | ")[0], comments=True) for line in lines if line.startswith("mixup-lab ")]
    return [tuple(words[1:]) for words in found]


def own_files(path: Path) -> dict[str, str]:
    """The files that a page shows in full: blocks below a line that is their name."""
    text = path.read_text(encoding="utf-8")
    return dict(re.findall(r"^`([\w/]+\.(?:py|yaml))`\n\n```\w+\n((?:.*\n)*?)```$", text, re.MULTILINE))


def table(path: Path, *head: str) -> list[list[str]]:
    """The rows of the table with this head."""
    lines = iter(path.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if _cells(line) == list(head):
            next(lines)
            rows = []
            for row in lines:
                if not row.startswith("|"):
                    break
                rows.append(_cells(row))
            return rows
    raise AssertionError(f"{path} has no table with the head {head}")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
