"""The words of a `compare` line: sorted, and completed with the default axes and the name of the study."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from mixup_lab.config.commands import COMPARE, FLAGS
from mixup_lab.config.launch import find_plugins
from mixup_lab.config.tree import Tree, read
from mixup_lab.config.words import tree_of
from mixup_lab.runs import store
from mixup_lab.types import UserError

SEEDS = 8
DIGITS = 4  # of a number of seeds, at most
DOSES = {"aug.alpha": "0,0.1,0.2,0.4,1", "aug.prob": "0,0.25,0.5,1"}  # key of a method -> values by default
BUNDLES = ("variant", "experiment")  # groups whose options change settings of any other group
WITH_VALUE = {name for flag in FLAGS if flag.value for name in flag.names}


@dataclass(frozen=True)
class Line:
    """The words of a line, sorted."""

    own: dict[str, str]  # study, confirm, ...
    overrides: list[str]  # for Hydra, the default axes included
    flags: list[str]  # for Hydra
    typed: list[str]  # all words, in their order
    bundled: set[str]  # keys and groups set by swept bundles, which differ between arms without being axes
    lens_settings: list[str]  # words such as lens.calibration.bins=20


def complete(words: Sequence[str]) -> Line:
    """Sort the words of a line and add what is missing: the axes alpha and seed, and the name of the study."""
    words = _with_seeds_of_folds(words)
    own: dict[str, str] = {}
    rest: list[str] = []
    flags: list[str] = []
    lens_settings: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        key, equals, value = word.partition("=")
        if word.startswith("-") or before in WITH_VALUE:
            flags.append(word)
        elif equals and key in COMPARE:
            own[key] = value
        elif equals and key.startswith("lens."):
            lens_settings.append(word)
        else:
            rest.append(word)
    if own.get("fail_fast", "false") not in ("true", "false"):
        raise UserError(f"fail_fast must be true or false, got {own['fail_fast']}")
    if not own.get("confirm", "0").isdecimal() or len(own.get("confirm", "0")) > DIGITS:
        raise UserError(f"confirm must be a number of seeds, 0 or more, got {own['confirm']}")
    if own.get("until", "decided") != "decided":
        raise UserError(f"until must be decided, got {own['until']}")
    if "max_seeds" in own and "until" not in own:
        raise UserError("max_seeds is for until=decided; without it, seed=range(N) trains N seeds")
    most = own.get("max_seeds", "24")
    if not most.isdecimal() or not SEEDS <= int(most[: DIGITS + 1]) < 10**DIGITS:
        raise UserError(f"max_seeds must be a number of seeds, {SEEDS} or more, got {most}")
    if any(word.lstrip("+").startswith("resume=") and word != "resume=null" for word in rest):
        raise UserError("resume continues one run; a study goes on by the same line again")
    if "until" in own and any(word.startswith("seed=") for word in rest):
        raise UserError("until=decided adds seeds by itself; leave out seed=, and set max_seeds=N for the most")
    if lens_settings and "lenses" not in own:
        raise UserError(f"{lens_settings[0]} sets a lens, but this study has none; add lenses=[NAME]")
    tree = tree_of(words, "compare")
    rest = [_without_glob(tree, word) for word in rest]
    values = {word.partition("=")[0].lstrip("+"): word.partition("=")[2] for word in rest if "=" in word}
    presets = {key: value for key, value in _swept_by(tree, values.get("experiment")).items() if key not in values}
    axes = [f"{key}={value}" for key, value in presets.items()]
    values |= presets
    if "," not in values.get("variant", ""):  # variants set the mixing themselves
        based, dose = _with_dose(tree, values, [*axes, *rest])
        axes, rest = [*based[: len(axes)], *dose], based[len(axes) :]
    if "seed" not in values:
        folds = values.get("dataset.folds", "")
        whole = max(1, int(folds)) if folds.isdecimal() else 1
        axes.append(f"seed=range({-(-SEEDS // whole) * whole})")  # whole cross-validations
    if "study" not in own:
        own["study"] = _default_study(tree, values, tree.choices([w for w in rest if "=" in w]))
    if not re.fullmatch(r"[\w.,=+\-]+(/[\w.,=+\-]+)*", own["study"]) or ".." in own["study"]:
        raise UserError(f"study must be a name of letters, digits and ._,=+-, got {own['study']!r}")
    # Seeds outermost, so that a study that is cut short has complete pairs.
    overrides = sorted([*axes, *rest], key=lambda word: not word.startswith("seed="))
    return Line(own, overrides, flags, list(words), _bundled(tree, values), lens_settings)


def _with_seeds_of_folds(words: Sequence[str]) -> Sequence[str]:
    """`dataset.fold=range(5) seed=range(2)` as the seeds that test these folds, `seed=0,1,2,...`.

    A fold is no arm. With a seed of its own, it also has first weights of its own: luck that all folds share would be
    in no interval.
    """
    values = {word.partition("=")[0].lstrip("+"): word.partition("=")[2] for word in words if "=" in word}
    if "dataset.fold" not in values or values["dataset.fold"] == "null":
        return words
    count = values.get("dataset.folds", "")
    folds, repeats = (_listed(key, values.get(key, "0")) for key in ("dataset.fold", "seed"))
    if not count.isdecimal() or not all(text.isdecimal() for text in (*folds, *repeats)):
        raise UserError("dataset.fold needs dataset.folds=K, and both are whole numbers, as are seeds")
    wrong = next((text for text in folds if int(text) >= int(count)), None)
    if wrong is not None:
        raise UserError(f"dataset.fold must be 0..{int(count) - 1} with dataset.folds={count}, got {wrong}")
    seeds = ",".join(str(int(count) * int(repeat) + int(fold)) for repeat in repeats for fold in folds)
    others = [word for word in words if word.partition("=")[0].lstrip("+") not in ("dataset.fold", "seed")]
    return [*others, f"seed={seeds}"]


def _bundled(tree: Tree, values: Mapping[str, str]) -> set[str]:
    keys: set[str] = set()
    for group in BUNDLES:
        options = values.get(group, "").split(",")
        for option in options if len(options) > 1 else ():
            path = tree.find(f"{group}/{option}")
            keys |= {key.name for key in tree.option_keys(group, option)}
            keys |= {default.name.lstrip("/") for default in (read(path).defaults if path else ()) if default.override}
    return keys


def _swept_by(tree: Tree, experiment: str | None) -> dict[str, str]:
    """The axes of a preset: its `hydra.sweeper.params`."""
    path = tree.find(f"experiment/{experiment}") if experiment and "," not in experiment else None
    if path is None:
        return {}
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return {str(k): str(v) for k, v in content.get("hydra", {}).get("sweeper", {}).get("params", {}).items()}


def _with_dose(tree: Tree, values: Mapping[str, str], words: list[str]) -> tuple[list[str], list[str]]:
    """The words with a baseline added, and the axis of the dose if they have none.

    The dose is alpha; for methods without alpha, the share of batches that is mixed; for others, the method or none.
    """
    augs = values.get("aug", "mixup")
    axes = [] if "aug" in values else ["aug=mixup"]
    if augs.startswith("["):
        raise UserError(f"aug must be one option, got {augs}; several methods to compare are written aug={augs[1:-1]}")
    names = _listed("aug", augs)
    methods = [name for name in names if name != "none"]
    if not methods:
        return words, axes
    keys = set.intersection(*({key.name for key in tree.option_keys("aug", name)} for name in methods))
    doses = [key for key in DOSES if key in keys]
    dose = next((key for key in doses if key in values), None)
    if len(names) == 1 and doses and dose != doses[0]:
        return words, [*axes, f"{doses[0]}={DOSES[doses[0]]}"]
    if dose is not None:  # each method with dose 0 is the baseline, so none, which lacks the key, is not needed
        words = [f"aug={','.join(methods)}" if word == f"aug={augs}" else word for word in words]
        return [_with_baseline(word, dose) for word in words], axes
    names = names if "none" in names else ["none", *names]
    return [f"aug={','.join(names)}" if word == f"aug={augs}" else word for word in words], axes


def _with_baseline(word: str, dose: str) -> str:
    """Add 0, the baseline, to a list of doses: without it there is nothing to compare with."""
    key, _, value = word.partition("=")
    if key.lstrip("+") != dose:
        return word
    values = _listed(dose, value)
    try:
        doses = [float(text) for text in values]
    except ValueError:
        return word
    return word if 0 in doses else f"{key}=0,{','.join(values)}"


def _without_glob(tree: Tree, word: str) -> str:
    """`aug=glob(mix*)` as the list of the options that it means."""
    key, _, value = word.partition("=")
    if not value.startswith("glob("):
        return word
    find_plugins()
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob

    glob = OverridesParser.create().parse_override(word).value()
    options: list[str] = glob.filter(list(tree.options(key))) if isinstance(glob, Glob) else []
    return f"{key}={','.join(options)}" if options else word


def _listed(key: str, value: str) -> list[str]:
    """The values that a word gives its key, each as it would be typed alone: those of `A,B`, `choice` and `range`.

    An interval is not a list: it stays as it is, and the plan refuses it.
    """
    if not re.search(r"[,(]", value):
        return [value]
    find_plugins()
    from hydra.core.override_parser.overrides_parser import OverridesParser

    override = OverridesParser.create().parse_override(f"{key}={value}")
    if not override.is_sweep_override() or override.is_interval_sweep():
        return [value]
    return list(override.sweep_string_iterator())


def _default_study(tree: Tree, values: Mapping[str, str], choices: Mapping[str, str]) -> str:
    """DATASET-MODEL; the user's own data by the name of its file or folder, a swept group by the name of the group."""
    parts = [group if "," in values.get(group, "") else choices[group] for group in ("dataset", "model")]
    root = values.get("dataset.root", "").strip("'\"")
    # The root of a data set that can be downloaded holds many of them, so its name does not matter.
    own_data = not any(key.name == "dataset.download" for key in tree.option_keys("dataset", parts[0]))
    if root and "," not in root and parts[0] != "dataset" and own_data:
        path = Path(root).expanduser().resolve()
        parts[0] = path.stem if path.is_file() else path.name
    if "experiment" in values:
        parts.append(values["experiment"].replace(",", "+"))
    return store.safe_name("-".join(parts))
