"""From a component's configuration to the object: the only place that instantiates."""

import inspect
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from hydra.errors import HydraException
from hydra.utils import instantiate

from mixup_lab.config.kinds import allowed, fits, hints_of, several
from mixup_lab.config.nearest import unknown_key
from mixup_lab.config.words import config_dir
from mixup_lab.types import UserError

OURS = "mixup_lab"


def build(
    group: str,
    component: dict[str, Any],
    *,
    base: type = object,
    trust: Iterable[str] = (),
    offered: Mapping[str, Any] | None = None,
    **runtime: Any,
) -> Any:
    """Make the object that a component's `_target_` and arguments describe.

    Args:
        group: the configuration group, for messages (`aug`, `model`, ...).
        component: `_target_` and flat arguments.
        base: class that the object must be an instance of.
        trust: packages that a `_target_` may come from, besides the options of `conf/`.
        offered: arguments that are passed on only if there is a parameter of that name.
        runtime: arguments that come from the program instead of the configuration, such as `num_outputs`.

    Raises:
        UserError: for a target that is not trusted or not found, unknown arguments, or values that it refuses.
    """
    factory = _factory(group, component, trust)
    taken = _parameters(factory.func)
    own = factory.keywords  # a key of the configuration with the name of an offered argument means something else
    runtime |= {k: value for k, value in (offered or {}).items() if k in taken and k not in own}
    _check_arguments(group, taken, factory.keywords, runtime)
    _check_types(group, factory.func, factory.keywords)
    try:
        made = factory(**runtime)
    except (ValueError, TypeError) as error:
        raise UserError(_refused(group, factory.keywords, error)) from error
    if not isinstance(made, base):
        raise UserError(
            f"{group}._target_={component['_target_']} must be derived from {base.__module__}.{base.__qualname__};"
            f" it makes a {type(made).__name__}, which is not"
        )
    return made


def check_types(group: str, component: dict[str, Any], *, trust: Iterable[str] = ()) -> None:
    """Compare the arguments of a component with the annotations of its constructor; nothing is made.

    Raises:
        UserError: for an argument of another type, and as `build` does for a `_target_`.
    """
    factory = _factory(group, component, trust)
    _check_types(group, factory.func, factory.keywords)


def accepts(group: str, component: dict[str, Any], name: str, *, trust: Iterable[str] = ()) -> bool:
    """Whether the class or function of a component has a parameter of this name. Raises as `build` does."""
    return name in _parameters(_factory(group, component, trust).func)


def _factory(group: str, component: dict[str, Any], trust: Iterable[str]) -> Any:
    """The class or function of a component as a `functools.partial`, with the configured arguments."""
    target, trust = component["_target_"], tuple(trust)
    ours = isinstance(target, str) and target in _options(group.partition(".")[0])
    if not ours and not _within(target, trust):
        raise UserError(_refusal(group, target, trust))
    for key, value in component.items():
        if _holds_target(value):
            raise UserError(f"{group}.{key} holds a _target_ of its own; components are flat")
    try:
        factory = instantiate({**component, "_partial_": True}, _convert_="all")
    except HydraException as error:
        reason = str(error).splitlines()[0]
        if "blocklisted" in reason:  # Hydra's own list of functions that run code
            raise UserError(_refusal(group, target, trust)) from error
        raise UserError(f"{group}._target_={target} cannot be loaded: {reason}") from error
    # A path such as my_package.os.system begins with a trusted name and ends elsewhere.
    made_in = getattr(factory.func, "__module__", None) or ""
    if not ours and not _within(f"{made_in}.", trust):
        raise UserError(_refusal(group, target, trust))
    return factory


@cache
def _options(group: str) -> frozenset[str]:
    """The targets of the options of a group that come with the program."""
    texts = [path.read_text(encoding="utf-8") for path in (config_dir() / group).glob("*.yaml")]
    return frozenset(target for text in texts for target in re.findall(r"^_target_: *(\S+)", text, re.MULTILINE))


def _within(path: object, packages: Iterable[str]) -> bool:
    return isinstance(path, str) and any(path.startswith(f"{package}.") for package in packages)


def _refusal(group: str, target: object, trust: Iterable[str]) -> str:
    package = str(target).split(".")[0]
    known = f"the options of {group}" + "".join(f" and what {name} defines" for name in trust)
    advice = "" if package in trust or package == OURS else f" (if you trust that package, add trust=[{package}])"
    return f"{group}._target_={target} is not trusted: targets are {known}{advice}"


def _check_types(group: str, factory: Any, given: dict[str, Any]) -> None:
    hints = hints_of(factory)
    for name, value in given.items():
        if name in hints and not fits(value, hints[name]):
            key = f"{group}.{name}"
            shown = "null" if value is None else repr(value)
            raise UserError(f"{key} must be {allowed(hints[name])}, got {shown}{several(key, value)}")


def _refused(group: str, given: dict[str, Any], error: Exception) -> str:
    """The sentence for values that a constructor refuses: it begins with the key, or the group."""
    text = str(error)
    first = re.match(r"\w+(?=( must |=))", text)
    if first and first[0] in given:
        return f"{group}.{text}"
    # The words of Python itself name no argument: those that it may be about are the texts and lists.
    open_to = [f"{group}.{k}={v}" for k, v in given.items() if isinstance(v, (str, list))]
    about = f" ({', '.join(open_to)})" if isinstance(error, TypeError) and open_to else ""
    return f"{group}: {text}{about}"


def _holds_target(value: Any) -> bool:
    if isinstance(value, dict):
        return "_target_" in value or any(map(_holds_target, value.values()))
    return isinstance(value, list) and any(map(_holds_target, value))


def _parameters(factory: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory).parameters
    except ValueError:  # built in C: its own TypeError has to do
        return {}


def _check_arguments(
    group: str, parameters: Mapping[str, inspect.Parameter], configured: dict[str, Any], runtime: dict[str, Any]
) -> None:
    if not parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    names = [name for name in parameters if name not in runtime and name != "self"]
    for key in configured:
        if key not in names:
            raise UserError(unknown_key(f"{group}.{key}", [f"{group}.{name}" for name in names]))
    for name, p in parameters.items():
        if p.default is p.empty and p.kind is not p.VAR_POSITIONAL and name not in {*configured, *runtime}:
            raise UserError(f"{group}.{name} has no value; give one with {group}.{name}=...")
