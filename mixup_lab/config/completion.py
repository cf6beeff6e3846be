"""Completion in bash, zsh and fish: the words that fit at the cursor, and the scripts of the shells.

Hydra's own scripts ignore commands, take `=` out of bash's word breaks for every other program too, and need half a
second for an answer, since they compose. Here the answer is read from the configuration folder.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mixup_lab.config.commands import COMMANDS, COMPLETION, FLAGS, SHELLS
from mixup_lab.config.tree import Tree, groups_of, own_keys
from mixup_lab.config.words import tree_of
from mixup_lab.types import UserError


class Word(NamedTuple):
    """A whole word that fits at the cursor, with a description."""

    text: str
    about: str = ""


# Keys whose value is a folder, even if their default is not.
FOLDER_KEYS = ("resume", "dataset.root", "hydra.run.dir", "hydra.sweep.dir")


def shell_completion(words: Sequence[str]) -> str:
    """The answer to `-sc install=bash`, `-sc uninstall=zsh` or, from the scripts, `-sc query=fish`."""
    index = next(i for i, word in enumerate(words) if word in COMPLETION)
    request = next(iter(words[index + 1 :]), "")
    action, _, shell = request.partition("=")
    if shell not in SHELLS or action not in ("install", "uninstall", "query"):
        raise UserError(
            f"{words[index]} must be followed by install=SHELL or uninstall=SHELL with SHELL one of "
            f"{', '.join(SHELLS)}, got '{request}'"
        )
    if action != "query":
        name = Path(sys.argv[0]).name
        return script(action, shell, "mixup-lab" if name.startswith("__main__") else name)
    try:
        answers = complete(os.environ.get("COMP_LINE", ""))
    except Exception:  # a half-typed line can be wrong in any way; a traceback in the prompt helps nobody
        answers = []
    if shell == "bash":
        return "".join(f"{word.text}\n" for word in answers)
    return "".join(f"{word.text}\t{word.about}\n" for word in answers)


def complete(line: str) -> list[Word]:
    """The words that the last word of a line (up to the cursor, the program's name in front) can become."""
    _, *words = line.split() or [""]
    last = "" if not line or line[-1].isspace() else words.pop() if words else ""
    return sorted({word for word in _candidates(words, last) if word.text.startswith(last)})


def _candidates(words: list[str], last: str) -> Iterable[Word]:
    before = next((flag for flag in FLAGS if words and words[-1] in flag.names), None)
    if before is not None and before.values:
        return [Word(value) for value in before.values]
    if before is not None and before.value == "DIR":
        return _paths("", last, folders_only=True)
    command = next((word for word in words if not word.startswith("-")), None)
    if command is None:
        return [*(Word(name, command.about) for name, command in COMMANDS.items()), *_flags(top=True)]
    if command not in COMMANDS:
        return []
    if before is not None and before.value == "NAME":
        return [Word(path.stem) for folder in tree_of(words, command).folders for path in folder.glob("*.yaml")]
    if last.startswith("-"):
        return _flags()
    if last.lstrip("+~").startswith("hydra"):
        return [Word(text) for text in _ask_hydra([*words, last], command)]
    return _overrides(tree_of(words, command), words, last, command)


def _flags(top: bool = False) -> list[Word]:
    return [Word(name, flag.about) for flag in FLAGS if flag.top or not top for name in flag.names]


def _overrides(tree: Tree, words: Sequence[str], last: str, command: str) -> Iterator[Word]:
    key, equals, value = last.partition("=")
    group = key.lstrip("+~")
    sign = key[: len(key) - len(group)]
    groups = groups_of(command, tree)
    if equals:
        chosen = "lens" if group == "lenses" else group
        if chosen in groups or group == "lenses":
            done = value[: 1 + max(value.rfind(","), value.rfind("["))]  # of several options the last is completed
            yield from (Word(f"{key}={done}{name}", about) for name, about in tree.options(chosen).items())
        elif group in FOLDER_KEYS or value.startswith((".", "/", "~")):
            yield from _paths(f"{key}=", value, folders_only=group in FOLDER_KEYS)
        else:
            yield from (Word(f"{key}={k.value}", k.comment) for k in tree.known(words) if k.name == group)
        return
    keys = [*tree.known(words), *own_keys(command, tree)]
    if "." in group:
        yield from _next_parts(keys, group, sign)
        return
    yield from (Word(f"{sign}{name}=", f"one of {', '.join(tree.options(name))}") for name in groups)
    yield from (Word(f"{sign}{k.name}=", k.comment) for k in keys if "." not in k.name and k.name not in groups)
    for name in {k.name.split(".")[0] for k in keys if "." in k.name}:
        yield Word(f"{sign}{name}.", "settings of the chosen option")


def _next_parts(keys: Iterable[tuple[str, str, str]], typed: str, sign: str) -> Iterator[Word]:
    """For dotted keys, the part up to the next dot, or the whole key and `=`."""
    for name, value, comment in keys:
        if name.startswith(typed):
            head, dot, _ = name[len(typed) :].partition(".")
            yield Word(f"{sign}{typed}{head}{dot or '='}", "" if dot else f"{comment} [{value}]".strip())


def _paths(prefix: str, typed: str, folders_only: bool = False) -> Iterator[Word]:
    head = typed[: typed.rfind("/") + 1]
    folder = Path(head or ".").expanduser()
    hidden = typed.rpartition("/")[2].startswith(".")
    for path in folder.iterdir() if folder.is_dir() else ():
        if (path.is_dir() or not folders_only) and (hidden or not path.name.startswith(".")):
            yield Word(f"{prefix}{head}{path.name}{'/' if path.is_dir() else ''}")


def _ask_hydra(words: list[str], command: str) -> list[str]:
    """Only Hydra can complete its own settings and plugins."""
    from mixup_lab.config.launch import environment, launch

    if COMMANDS[command].job is None:
        return []
    # Of the earlier words, only a choice of launcher or sweeper matters; anything else could be wrong.
    relevant = [word for word in words[:-1] if word.startswith("hydra/")]
    line = environment("COMP_LINE", " ".join(["mixup-lab", *relevant, words[-1]]))
    answer = io.StringIO()
    with line, contextlib.redirect_stdout(answer), contextlib.redirect_stderr(io.StringIO()):
        launch(command, ["-sc", "query=bash"])
    return answer.getvalue().split()


def script(action: str, shell: str, program: str) -> str:
    """The shell's function, which passes on the line up to the cursor and shows the answer."""
    function = "_" + "".join(c if c.isalnum() else "_" for c in program) + "_complete"
    template = {"install": _INSTALL, "uninstall": _UNINSTALL}[action][shell]
    return template.replace("PROGRAM", program).replace("FUNCTION", function)


_INSTALL = {
    # bash itself breaks words at `=` and `:` and replaces only what follows, so that much is cut off each answer.
    "bash": r"""FUNCTION() {
    local line="${COMP_LINE:0:COMP_POINT}" word head reply
    word="${line##*[[:space:]]}"
    head=""
    if [[ $COMP_WORDBREAKS == *=* && $word == *[=:]* ]]; then
        head="${word%"${word##*[=:]}"}"
    fi
    COMPREPLY=()
    while IFS= read -r reply; do
        COMPREPLY+=("${reply#"$head"}")
    done < <(COMP_LINE="$line" "${COMP_WORDS[0]}" -sc query=bash 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=./] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F FUNCTION PROGRAM
""",
    "zsh": r"""FUNCTION() {
    local line reply
    local -a open open_notes closed closed_notes
    line="${(j: :)words[1,CURRENT-1]} $PREFIX"
    for reply in "${(@f)$(COMP_LINE="$line" "${words[1]}" -sc query=zsh 2>/dev/null)}"; do
        [[ -n $reply ]] || continue
        local word="${reply%%$'\t'*}" note="${reply#*$'\t'}"
        if [[ $word == *[=./] ]]; then
            open+=("$word") open_notes+=("$word${note:+  -- $note}")
        else
            closed+=("$word") closed_notes+=("$word${note:+  -- $note}")
        fi
    done
    (( $#open )) && compadd -Q -l -S '' -d open_notes -a open
    (( $#closed )) && compadd -Q -l -d closed_notes -a closed
    return $(( $#open + $#closed == 0 ))
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef FUNCTION PROGRAM
""",
    "fish": r"""function FUNCTION
    set -l program (commandline -cpo)[1]
    COMP_LINE=(commandline -cp | string trim --left) $program -sc query=fish 2>/dev/null
end
complete -c PROGRAM -e
complete -c PROGRAM -f -a '(FUNCTION)'
""",
}
_UNINSTALL = {
    "bash": "complete -r PROGRAM 2>/dev/null\nunset -f FUNCTION\n",
    "zsh": "compdef -d PROGRAM\nunfunction FUNCTION\n",
    "fish": "complete -c PROGRAM -e\nfunctions -e FUNCTION\n",
}
