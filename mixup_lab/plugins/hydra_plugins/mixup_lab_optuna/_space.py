"""The space of a search, from the words of the line in Hydra's grammar."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from mixup_lab.types import UserError


@dataclass(frozen=True)
class Axis:
    """One setting that is searched over."""

    key: str  # as on the line, with + if there is one
    distribution: BaseDistribution
    values: tuple[Any, ...]  # all of them in the order of the line; (): an interval

    def word(self, value: Any) -> str:
        """The override that sets it; six digits, so that names of runs can be read."""
        return f"{self.key}={value:.6g}" if isinstance(value, float) else f"{self.key}={value}"


def space_of(overrides: Sequence[Override]) -> tuple[dict[str, Axis], list[str]]:
    """The searched settings by key, and the words that are the same for all trials.

    Raises:
        UserError: if nothing is searched over, or an interval makes no sense.
    """
    space: dict[str, Axis] = {}
    fixed = []
    for override in overrides:
        if override.is_sweep_override():
            key = override.get_key_element()
            space[key] = _axis(key, override)
        else:
            fixed.append(str(override.input_line))
    if "seed" in space:
        raise UserError("seed is searched over, but the best of several seeds is luck: give one, such as seed=0")
    if not space:
        raise UserError(
            "hydra/sweeper=optuna has nothing to search over: write KEY=a,b,c or KEY=range(a,b) or KEY=interval(a,b)"
        )
    return space, fixed


def _axis(key: str, override: Override) -> Axis:
    sweep = override.value()
    tags: set[str] = getattr(sweep, "tags", set())
    if isinstance(sweep, IntervalSweep):
        return Axis(key, _interval(override, sweep, tags), ())
    # As text in Hydra's own grammar: choices may be lists, and quotation marks have to stay.
    texts = tuple(str(text) for text in override.sweep_string_iterator())
    if isinstance(sweep, RangeSweep) and isinstance(sweep.start, int) and isinstance(sweep.step, int):
        numbers = tuple(int(text) for text in texts)
        if numbers:
            distribution = IntDistribution(min(numbers), max(numbers), step=abs(sweep.step))
            return Axis(key, distribution, numbers)
    return Axis(key, CategoricalDistribution(texts), texts)


def _interval(override: Override, sweep: IntervalSweep, tags: set[str]) -> BaseDistribution:
    assert sweep.start is not None
    assert sweep.end is not None
    low, high, log = sweep.start, sweep.end, "log" in tags
    if low > high:
        raise UserError(f"{override.input_line}: the interval ends before it begins")
    if log and low <= 0:
        raise UserError(f"{override.input_line}: an interval on a log scale begins above 0")
    if "int" in tags or (isinstance(low, int) and isinstance(high, int)):  # int(interval(..)) leaves whole numbers
        if low != int(low) or high != int(high):
            raise UserError(f"{override.input_line}: an interval of whole numbers begins and ends with one")
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(float(low), float(high), log=log)
