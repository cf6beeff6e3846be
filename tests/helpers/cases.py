"""Many small cases in one test."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any


def each(names: str, values: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Like `pytest.mark.parametrize`, but the values are a loop inside of one test, and a failure names its case.

    For hundreds of cases of two assertions, which as tests of their own take longer to set up than to run. The cases
    share the fixtures of the test.
    """
    keys, values = [name.strip() for name in names.split(",")], list(values)

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def loop(**others: Any) -> None:
            for value in values:
                case = dict(zip(keys, value if len(keys) > 1 else [value], strict=True))
                try:
                    test(**others, **case)
                except Exception as error:
                    error.add_note("in the case " + ", ".join(f"{key}={value!r}" for key, value in case.items()))
                    raise

        signature = inspect.signature(test)
        rest = [parameter for name, parameter in signature.parameters.items() if name not in keys]
        loop.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]  # pytest's fixtures
        return loop

    return decorate
