"""Errors of Hydra and OmegaConf as one sentence that names the key, the value and what is allowed."""

import errno
import re
from collections.abc import Iterator, Sequence
from typing import Any, get_type_hints

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import errors as oc

from mixup_lab.config.kinds import allowed, several
from mixup_lab.config.nearest import hint, nearest, nearest_key, unknown_key
from mixup_lab.config.tree import Tree
from mixup_lab.pasting import word as pasted
from mixup_lab.types import UserError

# Options of Hydra's groups that come with an extra of ours.
_EXTRAS = {"hydra/launcher": {"joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit"}}
# The user can do something about these, wherever they come from; other errors of the system are bugs of ours.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG, errno.ENAMETOOLONG)
# Hydra raises these as bare ValueError; their beginnings tell them from a bug of ours.
_HYDRA_VALUE_ERRORS = ("Only one of --run", "The --resolve flag", "Config group override", "File ", "No config source")


def explain(error: BaseException, overrides: Sequence[str], tree: Tree) -> str | None:
    """The sentence for a user's mistake, or None for a bug of ours, which needs a traceback."""
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, UserError):
            return str(link)
    for link in chain:
        sentence = _explain_one(link, overrides, tree)
        if sentence:
            where = _file_of(chain)
            return f"in '{where}': {sentence}" if where else sentence
    if isinstance(error, HydraException):
        return _one_line(str(error))
    if isinstance(error, OSError) and error.errno in _DISK:
        return f"cannot use {error.filename or 'the disk'}: {error.strerror}"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes; Hydra sometimes raises without `from`, so the context counts as well.

    Only errors of the configuration are followed: another error that came from one of them is a bug.
    """
    yield error
    while isinstance(error, (HydraException, oc.OmegaConfBaseException)):
        link = error.__cause__ or error.__context__
        if link is None:
            return
        error = link
        yield error


def _file_of(chain: list[BaseException]) -> str | None:
    """The file that Hydra blames. The command's own configuration is not at fault for a wrong option."""
    match = re.match(r"In '([^']+)': (?!Could not find)", str(chain[0]))
    return match[1] if match else None


def _explain_one(error: BaseException, overrides: Sequence[str], tree: Tree) -> str | None:
    if isinstance(error, OverrideParseException):
        return _grammar(error.override, overrides, tree)
    if isinstance(error, MissingConfigException):
        return _missing(error, tree)
    if isinstance(error, oc.MissingMandatoryValue):
        key = _full_key(error) or str(error).split("'")[1]
        return f"{key} has no value; give one with {key}=..."
    if isinstance(error, (oc.ConfigKeyError, oc.ConfigAttributeError)) and _full_key(error):
        return _unknown_key(_typed_key(_full_key(error), overrides), overrides, tree, _siblings(error))
    if isinstance(error, oc.ValidationError) and _full_key(error):
        return wrong_type(error)
    if isinstance(error, oc.InterpolationResolutionError):
        key = _full_key(error)
        reason = _one_line(str(error).split("\n")[0])
        return f"cannot work out the value of {key}: {reason}" if key else reason
    if type(error).__module__.startswith("yaml."):
        return f"cannot read a yaml file: {_one_line(str(error))}"
    if isinstance(error, ValueError) and str(error).startswith(_HYDRA_VALUE_ERRORS):
        return _group_value(error, overrides, tree)
    return _composition(str(error), overrides, tree) if isinstance(error, HydraException) else None


def _composition(text: str, overrides: Sequence[str], tree: Tree) -> str | None:
    """The sentence for an error of Hydra itself; these have one type and differ only in their text."""
    if match := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.*)'(?:\n| req)", text):
        word = match[1]
        key, _, value = word.partition("=")
        as_list = f", or write {key}=[{value}] if it is a list" if re.fullmatch(r"[^()\[\]{}'\"]+", value) else ""
        as_path = f", or {pasted(key, value)} if it is one path" if re.search("/|(root|csv|file|dir)=", word) else ""
        return f"{word} is a sweep; add -m to run each value{as_list}{as_path}"
    if match := re.match(r"Sweeping over Hydra's configuration is not supported : '(.*)'", text):
        return f"{match[1]} is a sweep over a setting of Hydra, which is not possible"
    if match := re.match(r"Could not append to config. An item is already at '(.*)'", text):
        word = next((word for word in overrides if word.startswith(f"+{match[1]}=")), f"+{match[1]}=...")
        return f"{word}: '{match[1]}' exists already; leave the + out"
    if match := re.match(r"Multiple values for ([^.\s]+)\.", text):
        return f"'{match[1]}' is chosen twice; write {match[1]}=OPTION once, without +"
    if match := re.search(r"Could not override '([^']+)'\. No match in the defaults list", text):
        if match[1] in tree.groups():
            return f"the group '{match[1]}' is not in the defaults list; write +{match[1]}=OPTION"
        return _unknown_key(match[1], overrides, tree)
    if match := re.match(r"Additional config directory '(.*)' not found", text):
        return f"--config-dir: there is no directory {match[1]}"
    if match := re.match(r"You must specify '([^']+)'", text):
        return f"'{match[1]}' has no default; choose one of {', '.join(tree.options(match[1]))}"
    unknown = r"(?:Could not delete from config.|Override \S+ looks like a config group override, but config group)"
    match = re.match(rf"{unknown} '(.*)' does not", text)
    return _unknown_key(match[1], overrides, tree) if match else None


def _unknown_key(key: str, overrides: Sequence[str], tree: Tree, siblings: Sequence[str] = ()) -> str:
    """The sentence for a key that does not exist, with the nearest that does."""
    group, _, rest = key.partition(".")
    is_group = bool(rest) and group in tree.groups()
    keys = {k.name for k in tree.known(overrides)} | set(tree.groups()) | set(siblings)
    keys -= {key, "hydra"}  # a typo in a preset is a key of the tree
    if is_group:
        option = tree.choices(overrides).get(group)
        owners = [o for o in tree.options(group) if o != option and key in (k.name for k in tree.option_keys(group, o))]
        if owners:
            return f"unknown key '{key}': {group}={option} has no '{rest}'; add {group}={' or '.join(owners)}"
    prefix = f"{group}." if is_group else ""
    names = sorted(k for k in keys if k.startswith(prefix) and "." not in k.removeprefix(prefix))
    if not names and not nearest_key(key, keys):
        return f"unknown key '{key}': {group}={tree.choices(overrides).get(group)} has no keys"
    return unknown_key(key, keys, names)


def _siblings(error: Any) -> list[str]:
    """Full names of the keys next to the unknown one, from the composed configuration itself."""
    parent = getattr(error, "parent_node", None)
    prefix = _full_key(error).rpartition(".")[0]
    try:
        names = [str(key) for key in parent or () if not str(key).startswith("_")]
        return [f"{prefix}.{name}" if prefix else name for name in names]
    except (oc.OmegaConfBaseException, TypeError):
        return []


def _typed_key(key: str, overrides: Sequence[str]) -> str:
    """The whole key that was typed: OmegaConf names only the part that it could not find."""
    typed = (word.partition("=")[0].lstrip("+~") for word in overrides)
    return next((name for name in typed if name.startswith(f"{key}.")), key)


def _full_key(error: Any) -> str:
    return str(getattr(error, "full_key", None) or "")


def wrong_type(error: Any) -> str:
    """The sentence for a value that does not fit the type of its key in a structured configuration."""
    key, value, text = _full_key(error), error.value, str(error).split("\n")[0]
    if value == {}:
        return f"{key} is a single value: nothing can be set below it"
    if match := re.search(r"expected one of \[(.*)\]", text):
        return f"{key} must be one of {match[1]}, got {value!r}"
    try:
        hint = get_type_hints(error.object_type)[key.rpartition(".")[2]]
    except (TypeError, KeyError, NameError):
        return f"{key}: {_one_line(text)}"
    if value is None:
        return f"{key} must have a value, got null"
    return f"{key} must be {allowed(hint)}, got {value!r}{several(key, value)}"


def _missing(error: MissingConfigException, tree: Tree) -> str:
    name = error.missing_cfg_file or ""
    if error.options is None:
        here = sorted(path.stem for folder in tree.folders for path in folder.glob("*.yaml"))
        return f"there is no configuration '{name}'{hint(name, here)}"
    group, _, option = name.rpartition("/")
    if not option:
        return f"{group}= needs an option; choose one of: {', '.join(error.options)}"
    if option in (extras := _EXTRAS.get(group, {})):
        return f"{group}={option} needs an extra: pip install 'mixup-lab[{extras[option]}]'"
    close = nearest(option, error.options)
    unlike = "; is the plugin installed?" if group.startswith("hydra/") else "."
    end = f"; did you mean '{close}'?" if close else unlike
    return f"{group} has no option '{option}'{end} Its options are: {', '.join(error.options)}"


def _group_value(error: ValueError, overrides: Sequence[str], tree: Tree) -> str:
    for word in overrides:
        group, _, value = word.partition("=")
        if group in tree.groups() and re.fullmatch(r"[\d.]+|null|true|false|", value, re.IGNORECASE):
            return f"{group} has no option '{value}'. Its options are: {', '.join(tree.options(group))}"
        if not group:
            return f"cannot read '{word}': write key=value"
    return _one_line(str(error))


def _grammar(word: str, overrides: Sequence[str], tree: Tree) -> str:
    key, equals, value = word.partition("=")
    if not equals:
        close = nearest_key(word.lstrip("+~"), [*tree.groups(), *(k.name for k in tree.known(overrides))])
        return f"cannot read '{word}': write key=value" + (f"; did you mean {close}=...?" if close else "")
    if value.rstrip().endswith(",") or value.lstrip().startswith(",") or ",," in value.replace(" ", ""):
        return f"cannot read '{word}': a value is missing next to a comma"
    if value.count("'") % 2 or value.count('"') % 2:
        return f"cannot read '{word}': a quotation mark is not closed; as part of the value: {pasted(key, value)}"
    for opening, closing in ("()", "[]", "{}"):
        if value.count(opening) != value.count(closing):
            return f"cannot read '{word}': '{opening}' and '{closing}' do not match"
    items = [item.strip() for item in value[1:-1].split(",")] if value[:1] + value[-1:] == "[]" else value
    return (
        f"cannot read '{word}': a value with special characters needs quotes, two for the shell: {pasted(key, items)}"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
